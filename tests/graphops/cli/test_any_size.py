"""Passes that only rewire, on the structure of a language model of seven billion parameters with its 13 GB of data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from examples.benchmarks.networks import transformer
from passes import find_skips, registry

ALLOWED = 300
"""Megabytes."""

# The peak since the program began: what getrusage gives has that of the process that started it in it.
PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line)
"""

VERB = f"""
from graphops.cli import main
try:
    main()
finally:
    {PEAK.strip().replace(chr(10), chr(10) + "    ")}
"""

PASSES = f"""
import sys
import onnx
from passes import registry
path = sys.argv[1]
for name in sys.argv[2:]:
    model = onnx.load(path, load_external_data=False)
    onnx.save(registry[name]().apply(model).model, path.replace("model", name))
{PEAK}
"""


def peak(program: str, *arguments: str) -> float:
    """Megabytes of a process of its own that runs ``program``."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model; its data file is as long as it should be, and one hole."""
    model = transformer()
    path = tmp_path_factory.mktemp("large") / "model.onnx"
    path.write_bytes(model.SerializeToString())
    facts = [{e.key: e.value for e in i.external_data} for i in model.graph.initializer]
    with path.with_name("weights.bin").open("wb") as data:
        data.truncate(max(int(f["offset"]) + int(f["length"]) for f in facts if f))
    return path


pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak")


def assert_rewired(path: Path, skips: int) -> None:
    """The file has so many skips, and its weights lie where they lay."""
    result = onnx.load(path, load_external_data=False)
    told = {entry.value for i in result.graph.initializer for entry in i.external_data if entry.key == "location"}
    assert told == {"weights.bin"}
    assert len(find_skips(result)) == skips


def test_no_pass_that_rewires_loads_a_weight(large: Path) -> None:
    rewiring = {name: 64 for name in registry if not registry[name].reads_weights}
    rewiring |= {"remove-skips": 0, "morph-skips": 96}  # half of them have a layer that keeps the width
    assert peak(PASSES, str(large), *rewiring) < ALLOWED
    for name, skips in rewiring.items():
        assert_rewired(large.with_name(f"{name}.onnx"), skips)


def test_the_command_line_loads_none_either(large: Path) -> None:
    written = large.with_name("written.onnx")
    assert peak(VERB, "remove-skips", str(large), "-o", str(written)) < ALLOWED
    assert_rewired(written, 0)
