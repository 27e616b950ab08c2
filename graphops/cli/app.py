"""The verbs together."""

from __future__ import annotations

from typing import Annotated

import typer

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


app.command("skips")(skips)
app.command("passes")(list_passes)
app.command("run")(run)

for _name in registry:
    app.command(_name, rich_help_panel="Passes")(rewrite_verb(registry[_name]))
