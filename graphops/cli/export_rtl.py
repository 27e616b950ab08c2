"""`graphops export-rtl`: a build's design as SystemVerilog."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from graphops.cli.common import Force, Json, emit
from graphops.cli.execution import BuildFolder
from passes.errors import UserError


def export_rtl(build: BuildFolder, force: Force = False, json: Json = False) -> None:
    """Write a build's RTL: a top, the library files it uses, memory files and a test bench."""
    from hls_backend import rtl
    from hls_backend.build import load

    design = load(build)
    folder = build / "rtl"
    if folder.exists() and not force:
        raise UserError(f"{folder} is there already; pass --force to write it again.")
    new = Path(tempfile.mkdtemp(prefix=".rtl.", dir=build))
    try:
        rtl.emit(design, new)
        shutil.rmtree(folder, ignore_errors=True)
        new.chmod(0o755)
        new.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder} was not written: {error.strerror or error}; mend that or write elsewhere."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    files = sorted(path.name for path in folder.iterdir())
    payload = {"build": str(build), "folder": str(folder), "top": rtl.TOP, "files": files}
    memories = sum(name.endswith(".mem") for name in files)

    def show(screen: Console) -> None:
        screen.print(
            f"Written: {folder} with the module {rtl.TOP!r}, {len(files) - memories - 2} files of SystemVerilog and "
            f"{memories} memories.",
            soft_wrap=True,
        )

    emit(payload, show, json)
