"""`graphops draw`: a picture of one model, or of what passes did to a block."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import onnx
import typer
from rich.console import Console

from graphops.cli.common import Force, Json, emit
from graphops.files import check_output, write_bytes
from graphops.modelfile import load_model
from passes.errors import UserError

FORMATS = ("svg", "png", "pdf")

Models = Annotated[list[Path], typer.Argument(metavar="MODEL.onnx...", help="The models.", show_default=False)]
Figure = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FIGURE", help="The picture: .svg, .png or .pdf.", show_default=False),
]
OfBlock = Annotated[
    str | None, typer.Option("--block", metavar="N", help="Only around skip N of the first model, in every model.")
]
From = Annotated[str | None, typer.Option("--from", metavar="TENSOR", help="Begin at this tensor.")]
To = Annotated[str | None, typer.Option("--to", metavar="TENSOR", help="End at this tensor.")]
Titles = Annotated[
    str | None, typer.Option("--titles", metavar="A,B,...", help="What stands above; default: the files' names.")
]


def draw(
    models: Models,
    output: Figure,
    block: OfBlock = None,
    start: From = None,
    end: To = None,
    titles: Titles = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Draw models side by side: the main path downwards, skip connections as arcs."""
    from graphops.draw import Region, around_skip, between, block_of, paint, whole

    format = output.suffix.lstrip(".").lower()
    if format not in FORMATS:
        raise UserError(f"{output} should end in .{', .'.join(FORMATS)}; give it one of these endings.")
    if (start is None) != (end is None) or None not in (block, start):
        raise UserError("Give --from and --to together, or --block alone.")
    named = titles.split(",") if titles else [path.stem for path in models]
    if len(named) != len(models):
        raise UserError(f"There are {len(named)} titles for {len(models)} models; give one each, split by commas.")
    check_output(output, force)
    loaded = [load_model(path, weights=False) for path in models]
    place = None if block is None else block_of(loaded[0], block)

    def region(model: onnx.ModelProto) -> Region:
        if place is not None:
            return around_skip(model, place)
        return whole(model) if start is None or end is None else between(model, start, end)

    regions = [region(model) for model in loaded]
    write_bytes(output, paint(regions, named, format), force)
    payload = {"output": str(output), "models": [str(path) for path in models], "titles": named}

    def show(screen: Console) -> None:
        screen.print(f"Written: {output}", soft_wrap=True)

    emit(payload, show, json)
