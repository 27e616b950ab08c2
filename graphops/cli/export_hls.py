"""`graphops export-hls`: a quantised network as a build folder for FINN, Vitis HLS and RTL tools."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from rich.console import Console
from rich.table import Table

from graphops.bench import Bench
from graphops.cli.common import DataDir, Force, Json, ModelFile, Normalisation, ScreenWatch, emit, print_notes
from graphops.cli.fifo import Fifo, check_fifo, fifo_payload, keep_simulation, show_fifos, sized
from graphops.modelfile import load_model
from graphops.report.text import number, plain
from passes.errors import UserError

if TYPE_CHECKING:
    import onnx

    from hls_backend.dataflow import Dataflow
    from hls_backend.design import Vectors
    from hls_backend.report import Report

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FOLDER", help="The build folder to make.", show_default=False)
]
Target = Annotated[
    float | None,
    typer.Option("--target-fps", min=1e-3, help="Images a second; default: the smallest design.", show_default=False),
]
Clock = Annotated[float, typer.Option("--clock-mhz", min=1, max=2000, help="The clock in MHz.")]
PartName = Annotated[str, typer.Option("--part", help="The part to fit into, e.g. xc7z020 or xczu7ev.")]
For = Annotated[
    str, typer.Option("--for", metavar="finn-plus|finn-main", help="Which FINN's names of nodes and attributes.")
]
TestData = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="Where test images come from; default: random integers."),
]
Count = Annotated[int, typer.Option("--count", min=1, help="Test images.")]


def export_hls(
    model: ModelFile,
    output: Output,
    target_fps: Target = None,
    clock_mhz: Clock = 100,
    part: PartName = "xc7z020",
    flavour: For = "finn-plus",
    data: TestData = None,
    data_dir: DataDir = None,
    count: Count = 10,
    normalisation: Normalisation = None,
    fifo: Fifo = "computed",
    force: Force = False,
    json: Json = False,
) -> None:
    """Map a quantised model to FINN layers, fold it to a frame rate, and write a build folder."""
    from hls_backend import build, lower
    from hls_backend.dataflow import Flavour
    from hls_backend.design import Design
    from hls_backend.folding import fold_to_rate
    from hls_backend.lowering.builder import identifier
    from hls_backend.parts import part as part_called
    from hls_backend.report import report

    if flavour not in get_args(Flavour):
        raise UserError(f"There is no FINN {flavour!r}; --for takes {' or '.join(get_args(Flavour))}.")
    check_fifo(fifo)
    chosen = part_called(part)
    build.check(output, force)
    loaded = load_model(model)
    with ScreenWatch("lowering") as watch, TemporaryDirectory(prefix="graphops-") as work:
        lowered = lower(loaded, identifier(model.stem) or "network")
        watch.restart("folding")
        dataflow = fold_to_rate(lowered.dataflow, target_fps, clock_mhz, chosen)
        watch.restart("test data")
        vectors = _vectors(loaded, dataflow, data, data_dir, count, normalisation)
        design = Design(dataflow, chosen, clock_mhz, target_fps, cast(Any, flavour), vectors)
        design = sized(design, fifo, Path(work), watch)
        emitters = build.emitters()
        build.create(output, design, loaded, emitters, force, lambda name: watch.restart(f"writing {name}"))
        keep_simulation(Path(work), output)
        found = report(design)
    payload = {
        "model": str(model),
        "output": str(output),
        "emitters": list(emitters),
        "vectors": {"count": len(vectors.inputs), "origin": vectors.origin},
        "notes": list(lowered.notes),
        "fifos": fifo_payload(design),
        **asdict(found),
    }

    def show(screen: Console) -> None:
        print_notes(screen, lowered.notes)
        screen.print(_table(found))
        show_fifos(screen, design)
        for line in _summary(found):
            screen.print(line, soft_wrap=True)
        screen.print(f"Test data: {vectors.origin}.", soft_wrap=True)
        folders = ", ".join(f"{name}/" for name in emitters)
        screen.print(f"Written: {output}" + (f" with {folders}" if folders else ""), soft_wrap=True)

    emit(payload, show, json)


def _vectors(
    model: onnx.ModelProto,
    dataflow: Dataflow,
    data: str | None,
    data_dir: Path | None,
    count: int,
    normalisation: str | None,
) -> Vectors:
    from hls_backend import vectors

    if data is None:
        return vectors.random(dataflow, count)
    from graphops.data.feed import Feed

    dataset = Bench(data_dir=data_dir).data(data)
    images = dataset.test.first(count).images
    values = Feed(model, dataset, normalisation)(images)
    return vectors.from_images(dataflow, values, f"the first {len(images)} test images of {dataset.name}")


def _table(found: Report) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", overflow="fold")
    for column in ("PE", "SIMD", "cycles", "FINN's", "weight\nbits", "steps", "thresh.\nbits", "FIFO", "LUT", "BRAM"):
        table.add_column(column, justify="right")
    for layer in found.layers:
        sizes = (layer.weight_bits, layer.steps, layer.threshold_bits, layer.fifo_depth, layer.luts, layer.bram18)
        table.add_row(
            plain(layer.name),
            str(layer.pe),
            str(layer.simd),
            number(layer.cycles),
            number(layer.finn_cycles),
            *(number(size) if size else "-" for size in sizes),
            style="bold" if layer.name == found.bottleneck else None,
        )
    return table


def _summary(found: Report) -> list[str]:
    wanted = "" if found.target_fps is None else f" (asked for: {found.target_fps:,.10g})"
    return [
        f"{found.fps:,.0f} images/s at {found.clock_mhz:g} MHz{wanted}; by FINN's estimate {found.finn_fps:,.0f}. "
        f"The bottleneck is {plain(found.bottleneck)!r} with {found.cycles:,} cycles.",
        f"Estimated: {found.luts:,} of the {found.part_luts:,} LUTs and {found.bram18:,} of the "
        f"{found.part_bram18:,} BRAM18 of {found.part}. Synthesis will say what it really takes.",
    ]
