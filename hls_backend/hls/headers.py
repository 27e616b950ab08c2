"""Where ap_int.h is: the one thing that C simulation needs from others, besides a compiler."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from passes.errors import UserError

WHEEL = "hls4ml==1.3.0"
"""The package whose wheel carries AMD's ap_int headers (Apache-2.0)."""

_SHA256 = "01bf1de2cd9bca56699b9fe3385cb1735026b022f9580fe1d73faf192dfb90f2"

_INSIDE = "hls4ml/templates/vivado/ap_types"
_HEADER = "ap_int.h"


def ap_int(given: Path | None = None, cache: Path | None = None) -> Path:
    """The folder of ap_int.h.

    In this order: the one ``given``; that of Vitis HLS, where its ``XILINX_HLS`` is set; that of an installed hls4ml;
    that of hls4ml's wheel, which pip downloads, and of which nothing but these headers is kept.

    Args:
        given: a folder.
        cache: where downloaded headers are kept; default: the user's cache.

    Raises:
        UserError: when there is none.
    """
    if given is not None:
        if not (given / _HEADER).is_file():
            raise UserError(f"There is no {_HEADER} in {str(given)!r}; name the folder that holds it with --ap-int.")
        return given
    kept = (cache or _user_cache()) / WHEEL.replace("==", "-")
    for folder in (*_installed(), kept):
        if (folder / _HEADER).is_file():
            return folder
    _download(kept)
    return kept


def _installed() -> list[Path]:
    found = []
    if vitis := os.environ.get("XILINX_HLS"):
        found.append(Path(vitis) / "include")
    spec = importlib.util.find_spec("hls4ml")  # finds it without running it
    if spec is not None and spec.origin:
        found.append(Path(spec.origin).parent / "templates" / "vivado" / "ap_types")
    return found


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphops"


def _download(folder: Path) -> None:
    """Put the headers of hls4ml's wheel into ``folder``, all of them or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".ap_int.") as temporary:
        wanted = Path(temporary) / "requirements.txt"
        wanted.write_text(f"{WHEEL} --hash=sha256:{_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        options = ["--quiet", "-d", temporary, "-r", str(wanted)]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            raise UserError(
                f"C simulation needs {_HEADER}, and pip could not download the wheel {WHEEL} that carries it; "
                "install hls4ml, or name a folder that holds it with --ap-int."
            )
        unpacked = Path(temporary) / "ap_types"
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in wheel.namelist():
                inside = Path(member)
                if member.startswith(f"{_INSIDE}/") and inside.suffix == ".h" and ".." not in inside.parts:
                    target = unpacked / inside.relative_to(_INSIDE)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(wheel.read(member))
        if not (unpacked / _HEADER).is_file():
            raise UserError(f"The wheel {WHEEL} holds no {_HEADER}; name a folder that does with --ap-int.")
        if not folder.exists():
            unpacked.rename(folder)
