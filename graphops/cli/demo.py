"""`graphops demo`: the whole job on a data set that needs no download."""

from __future__ import annotations

from graphops.cli.common import Force, Json, Report
from graphops.cli.run import Out, run


def demo(out: Out = None, json: Json = False, report: Report = None, force: Force = False) -> None:
    """Train a ResNet20 on handwritten digits and take its skip connections out in two ways (recipe `digits`)."""
    run("digits", out=out, json=json, report=report, force=force)
