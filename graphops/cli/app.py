"""The verbs together."""

from __future__ import annotations

from typing import Annotated

import typer

from graphops.cli.demo import demo
from graphops.cli.doctor import doctor
from graphops.cli.draw import draw
from graphops.cli.evaluate import evaluate
from graphops.cli.finetune import finetune_verb
from graphops.cli.passes import list_passes
from graphops.cli.rewrite import rewrite_verb
from graphops.cli.run import run
from graphops.cli.skips import skips
from passes.base import registry

app = typer.Typer(
    name="graphops",
    help="Takes the skip connections out of trained ONNX networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"graphops {version('graphops')}")
        except PackageNotFoundError:
            print("graphops, from a folder that is not installed")
        raise typer.Exit


@app.callback()
def _graphops(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for _verb in (demo, skips, evaluate, run, draw, doctor):
    app.command(_verb.__name__)(_verb)
app.command("finetune")(finetune_verb())
app.command("passes")(list_passes)

for _name in registry:
    app.command(_name, rich_help_panel="Passes")(rewrite_verb(registry[_name]))
