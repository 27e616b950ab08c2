"""FINN+'s judgement of a folder: the same integers, the same cycles, code for every node, FIFOs as deep as wanted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hls_backend.dataflow import Dataflow
from hls_backend.design import Design
from hls_backend.execute import run
from hls_backend.finn import inside
from hls_backend.finn.environment import Environment
from hls_backend.finn.fifos import inserted
from hls_backend.finn.folder import BUILD, MODEL
from hls_backend.finn.graph import for_finn, node_names
from passes.errors import UserError

Progress = Callable[[float, float, str], None]

_BATCH = 10
"""Images whose every stream numpy holds at once."""


@dataclass(frozen=True)
class Row:
    """A node of FINN+'s and the layer that it is.

    Attributes:
        node, layer: their names; the layer is "" for a width converter or FIFO that FINN+ put in itself.
        equal: images for which its outputs are those of numpy, to the bit.
        cycles: an image, by `Layer.finn_cycles`.
        finn_cycles: by FINN+.
        files: that FINN+ generated for it.
        error: what FINN+ said instead.
    """

    node: str
    layer: str
    equal: int
    cycles: int
    finn_cycles: int
    files: int
    error: str


@dataclass(frozen=True)
class Judgement:
    """What FINN+ made of a folder.

    Attributes:
        version: of FINN+.
        images: how many were executed.
        rows: one a layer.
        joints: width converters and FIFOs, one each.
        verified: whether FINN+'s own verification, on the folder's vectors, said so.
        wanted, found: depths of FIFOs in FINN+'s order, ours and its.
    """

    version: str
    images: int
    rows: tuple[Row, ...]
    joints: tuple[Row, ...]
    verified: bool
    wanted: tuple[int, ...]
    found: tuple[int, ...]

    @property
    def complaints(self) -> list[str]:
        """One sentence for each thing that is not as it must be."""
        said = []
        for row in (*self.rows, *self.joints):
            if row.layer and row.equal < self.images:
                said.append(f"{row.node} differs from numpy on {self.images - row.equal} of {self.images} images.")
            if row.layer and row.cycles != row.finn_cycles:
                said.append(f"{row.node} takes {row.finn_cycles:,} cycles by FINN+ and {row.cycles:,} by ours.")
            if not row.files:
                said.append(f"FINN+ generated no code for {row.node}: {row.error or 'it wrote no files'}.")
        if not self.verified:
            said.append("FINN+'s own verification of output.npy failed.")
        if self.wanted != self.found:
            said.append(f"FINN+ put in FIFOs {list(self.found)} deep where {list(self.wanted)} were wanted.")
        return said


def check(
    design: Design, folder: Path, environment: Environment, inputs: np.ndarray, progress: Progress | None = None
) -> Judgement:
    """Run FINN+ on what `emit` wrote, as far as that goes without Vivado.

    Args:
        design: that was emitted.
        folder: where to.
        environment: FINN+'s own.
        inputs: integers [N, rows, columns, channels] of the dataflow's input.
        progress: told how much is done, of how much, and what.

    Raises:
        UserError: when the folder is for FINN and not FINN+, something in it is missing, or FINN+ stops.
    """
    if design.flavour != "finn-plus":
        raise UserError(
            f"{str(folder)!r} is for {design.flavour}, which has no package to run it in; export the network again "
            "with --for finn-plus to check it."
        )
    for name in (MODEL, BUILD):
        if not (folder / name).is_file():
            raise UserError(f"There is no {name} in {str(folder)!r}; export the network again.")
    tell = progress or (lambda done, total, text: None)
    expected = _digests(for_finn(design.dataflow, design.flavour), inputs, tell)
    return judge(design, expected, _run(folder, environment, inputs, tell))


def judge(design: Design, expected: Mapping[str, list[str]], found: Mapping[str, Any]) -> Judgement:
    """What FINN+ found, beside what is expected.

    Args:
        design: that was emitted.
        expected: by the stream's name, a digest for each image.
        found: by `inside.look`.
    """
    dataflow = for_finn(design.dataflow, design.flavour)
    names = node_names(dataflow, design.flavour, design.part.device)
    images = len(next(iter(expected.values())))
    nodes = {node["name"]: node for node in found["nodes"]}
    nothing = {"cycles": 0, "files": 0, "error": "it has no node of that name"}
    rows = []
    for layer in dataflow.layers:
        streams = [s.name for s in dataflow.outputs_of(layer)]
        pairs = [(expected[name], found["tensors"].get(name, [])) for name in streams]
        equal = sum(all(i < len(b) and a[i] == b[i] for a, b in pairs) for i in range(images))
        name = names[layer.name]
        node = nodes.get(name, nothing)
        rows.append(Row(name, layer.name, equal, layer.finn_cycles, node["cycles"], node["files"], node["error"]))
    joints = [Row(n["name"], "", 0, 0, n["cycles"], n["files"], n["error"]) for n in found["joints"]]
    return Judgement(
        version=found["version"],
        images=images,
        rows=tuple(rows),
        joints=tuple(joints),
        verified=found["verified"],
        wanted=tuple(inserted(dataflow)),
        found=tuple(found["fifos"]),
    )


def _digests(dataflow: Dataflow, inputs: np.ndarray, tell: Progress) -> dict[str, list[str]]:
    """By the stream's name, one digest an image."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(inputs), _BATCH):
        tell(start, len(inputs), "numpy")
        for name, values in run(dataflow, inputs[start : start + _BATCH], keep=True).items():
            found.setdefault(name, []).extend(inside.digest(image) for image in values)
    return found


def _run(folder: Path, environment: Environment, inputs: np.ndarray, tell: Progress) -> dict[str, Any]:
    """What `inside.look` found, in FINN+'s environment."""
    work = Path(tempfile.mkdtemp(prefix="graphops-finn-"))
    np.save(work / "images.npy", inputs)
    reader, writer = os.pipe()
    command = [str(environment.python), "-I", str(Path(inside.__file__)), str(work / "images.npy"), str(work)]
    log = work / "log.txt"
    found: dict[str, Any] | None = None
    step = "starting"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, str(writer)],
            cwd=folder,
            pass_fds=(writer,),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        os.close(writer)
        try:
            with os.fdopen(reader) as lines:
                for line in lines:
                    said = json.loads(line)
                    found = said.get("found", found)
                    if "step" in said:
                        step = said["step"]
                        tell(said["done"], said["of"], step)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode or found is None:
        last = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise UserError(
            f"FINN+ stopped while {step} {str(folder)!r}: {last[-1][:300] if last else 'it said nothing'}; all that "
            f"it said is in {str(log)!r}."
        )
    shutil.rmtree(work)
    return found
