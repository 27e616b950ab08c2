"""The verbs together."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from graphops.cli.compare import compare
from graphops.cli.csim import csim
from graphops.cli.demo import demo
from graphops.cli.diff import diff
from graphops.cli.doctor import doctor
from graphops.cli.draw import draw
from graphops.cli.evaluate import evaluate
from graphops.cli.execution import execute
from graphops.cli.export_hls import export_hls
from graphops.cli.export_rtl import export_rtl
from graphops.cli.finetune import finetune_verb
from graphops.cli.finn import finn
from graphops.cli.passes import list_passes
from graphops.cli.rewrite import rewrite_verb
from graphops.cli.run import run
from graphops.cli.simulate import simulate
from graphops.cli.skips import skips
from graphops.cli.synth import synth
from passes.base import registry

_log = logging.getLogger("passes")

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


for _verb in (
    demo,
    skips,
    diff,
    evaluate,
    run,
    draw,
    doctor,
    export_hls,
    export_rtl,
    execute,
    csim,
    simulate,
    synth,
    compare,
):
    app.command(_verb.__name__.replace("_", "-"))(_verb)
app.command("finetune")(finetune_verb())
app.command("passes")(list_passes)
app.add_typer(finn)

_taken = {*(command.name for command in app.registered_commands), finn.info.name}
for _cls in registry.values():
    try:
        if _cls.name in _taken:
            raise ValueError("graphops has a verb of that name")
        app.command(_cls.name, rich_help_panel="Passes")(rewrite_verb(_cls))
    except ValueError as error:  # a pass of another package, with a name or an option's name that is ours
        _log.warning(f"The pass {_cls.name!r} of {_cls.__module__} is no verb: {error}; use it in Python.")
