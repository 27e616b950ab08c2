"""`graphops csim`: a build's C++, compiled and run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from graphops.bench import Bench
from graphops.cli.common import DataDir, Force, Json, Normalisation, Report, ScreenWatch, check_data, check_report, emit
from graphops.cli.execution import BuildFolder, Count, Data
from graphops.hardware import from_dataset
from graphops.modelfile import load_model
from passes.errors import UserError

HlsLib = Annotated[
    Path | None,
    typer.Option("--hlslib", metavar="FOLDER", help="Compile on this finn-hlslib; default: templates of our own."),
]
ApInt = Annotated[
    Path | None,
    typer.Option(
        "--ap-int", metavar="FOLDER", help="Where ap_int.h is; default: Vitis HLS's, hls4ml's, or downloaded."
    ),
]
Bounded = Annotated[
    bool, typer.Option("--bounded", help="Each layer in a thread, on streams as deep as in hardware: must not hang.")
]
Depths = Annotated[
    list[str] | None,
    typer.Option("--depth", metavar="STREAM=N", help="Another depth of a stream, for --bounded; may be repeated."),
]


def csim(
    build: BuildFolder,
    data: Data = None,
    count: Count = None,
    hlslib: HlsLib = None,
    bounded: Bounded = False,
    depth: Depths = None,
    ap_int: ApInt = None,
    data_dir: DataDir = None,
    normalisation: Normalisation = None,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Compile a build's C++ with g++, run it, and compare every output with the integers expected."""
    from hls_backend.build import MODEL, load
    from hls_backend.hls import simulate
    from hls_backend.hls.headers import ap_int as headers

    check_report(report, force)
    check_data(data, data_dir, normalisation)
    depths = _depths(depth or [], bounded)
    design = load(build)
    with ScreenWatch("test data") as watch:
        vectors = None
        if data is not None:
            dataset = Bench(data_dir=data_dir).data(data)
            vectors = from_dataset(load_model(build / MODEL), design.dataflow, dataset, count, normalisation)
        found = simulate(
            build / "hls",
            headers(ap_int),
            vectors=vectors,
            count=count,
            hlslib=hlslib,
            bounded=bounded,
            depths=depths,
            progress=watch.restart,
        )
    if found.waiting:
        shallow = "; ".join(str(w) for w in found.waiting if w.shallow)
        raise UserError(
            f"The dataflow hangs: {len(found.waiting)} layers wait for each other, {shallow}; make that stream deeper."
        )
    images, total = len(found.outputs), found.outputs.size
    payload = {
        "build": str(build),
        "data": data,
        "library": "graphops" if hlslib is None else str(hlslib),
        "bounded": bounded,
        "images": images,
        "outputs": total,
        "different": found.different,
    }

    def show(screen: Console) -> None:
        library = "our templates" if hlslib is None else f"finn-hlslib in {hlslib}"
        streams = ", on bounded streams" if bounded else ""
        screen.print(
            f"{total - found.different:,} of {total:,} outputs of {images:,} images as expected; "
            f"C++ on {library}{streams}.",
            soft_wrap=True,
        )

    emit(payload, show, json, report)
    if found.different:
        raise typer.Exit(1)


def _depths(given: list[str], bounded: bool) -> dict[str, int]:
    found = {}
    for text in given:
        stream, _, depth = text.rpartition("=")
        if not stream or not depth.isdecimal() or int(depth) < 1:
            raise UserError(f"--depth {text!r} is no stream and depth; write STREAM=N with N of at least 1.")
        found[stream] = int(depth)
    if found and not bounded:
        raise UserError("--depth is for bounded streams; pass --bounded as well.")
    return found
