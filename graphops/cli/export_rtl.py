"""`graphops export-rtl`: a build's design as SystemVerilog."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from graphops.cli.common import Force, Json, ScreenWatch, emit
from graphops.cli.execution import BuildFolder
from graphops.cli.fifo import Fifo, check_fifo, show_fifos
from graphops.hardware import fifo_figures, keep_simulation, sized
from passes.errors import UserError


def export_rtl(build: BuildFolder, fifo: Fifo = "computed", force: Force = False, json: Json = False) -> None:
    """Write a build's RTL: a top, the library files it uses, memory files and a test bench."""
    from hls_backend import rtl
    from hls_backend.build import load, refill

    check_fifo(fifo)
    design = load(build)
    folder = build / "rtl"
    if folder.exists() and not force:
        raise UserError(f"{folder} is there already; pass --force to write it again.")
    with ScreenWatch("writing") as watch, TemporaryDirectory(dir=build, prefix=".rtl.") as work:
        design = sized(design, fifo, Path(work), watch.restart, watch.progress)
        refill(build, design, "rtl", rtl.emit, force)
        keep_simulation(Path(work), build)
    files = sorted(path.name for path in folder.iterdir())
    payload: dict[str, Any] = {"build": str(build), "folder": str(folder), "top": rtl.TOP, "files": files}
    payload |= {"fifo": fifo, "fifos": fifo_figures(design)}
    memories = sum(name.endswith(".mem") for name in files)

    def show(screen: Console) -> None:
        show_fifos(screen, design)
        screen.print(
            f"Written: {folder} with the module {rtl.TOP!r}, {len(files) - memories - 2} files of SystemVerilog and "
            f"{memories} memories.",
            soft_wrap=True,
        )

    emit(payload, show, json)
