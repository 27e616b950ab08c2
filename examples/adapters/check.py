"""Runs the adapters inside the tools they are for, each in an environment of its own with the versions it pins.

    python examples/adapters/check.py                   # olive, hls4ml and finn: minutes, 2 GB
    python examples/adapters/check.py finn-plus         # 1.6 GB more
    python examples/adapters/check.py --folder envs     # keeps the environments there for the next time

graphops goes into each as a wheel without its dependencies, so whatever the tool has is what the passes run on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "graphops", "hls_backend", "passes")

# What each command of pip installs. torch comes first and by version, so that nothing brings another one; where pip
# finds a build of it without CUDA, it saves gigabytes.
Installs = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Host:
    """A tool, how to install it, and the script that runs the adapter in it."""

    script: str
    installs: Installs
    by_default: bool = True


HOSTS = {
    "olive": Host(
        "with_olive.py",
        # requests: olive-ai 0.13.0 imports it and does not ask for it.
        (("torch==2.13.0",), ("olive-ai[cpu]==0.13.0", "requests", "onnx-graphsurgeon")),
    ),
    "hls4ml": Host("with_hls4ml.py", (("hls4ml[onnx]==1.3.0", "qonnx", "onnx-graphsurgeon"),)),
    "finn": Host(
        "with_finn.py",
        # FINN is in no package index; these are the versions in its requirements.txt (main and dev, April 2026).
        (
            ("onnx==1.17.0", "numpy==1.24.1", "protobuf==5.29.6", "onnxruntime==1.18.1", "scipy==1.10.1"),
            ("qonnx", "onnx-graphsurgeon", "numpy==1.24.1", "onnx==1.17.0", "protobuf==5.29.6"),
        ),
    ),
    "finn-plus": Host(
        "with_finn_plus.py",
        (
            ("torch==2.13.0",),
            # Without their dependencies: they would bring another torch.
            ("--no-deps", "finn-plus==1.6.1", "brevitas==0.13.0", "mip==1.17.0", "dependencies==2.0.1", "unfoldNd"),
            ("--rest-of", "finn-plus", "onnx-graphsurgeon", "cffi", "psutil"),
            ("--no-deps", "setuptools<70"),
        ),
        by_default=False,
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", nargs="*", metavar="HOST", help=f"{', '.join(HOSTS)}; default: all but finn-plus")
    parser.add_argument("--folder", type=Path, help="where the environments lie; default: a folder that goes again")
    chosen = parser.parse_args()
    for name in chosen.hosts:
        if name not in HOSTS:
            parser.error(f"there is no host {name!r}; there are {', '.join(HOSTS)}")
    names = chosen.hosts or [name for name, host in HOSTS.items() if host.by_default]
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary) / "environments"
        folder.mkdir(parents=True, exist_ok=True)
        wheel = build_wheel(Path(temporary))
        failed = [name for name in names if not check(name, HOSTS[name], folder.resolve(), wheel)]
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


def build_wheel(folder: Path) -> Path:
    """graphops as a wheel, from a copy of its sources."""
    (folder / "source").mkdir()
    for name in SOURCES:
        source = HERE.parent.parent / name
        if not source.exists():
            continue
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / "source" / name)
    pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "source"))
    return next(folder.glob("*.whl"))


def check(name: str, host: Host, folder: Path, wheel: Path) -> bool:
    started = time.monotonic()
    python = environment(folder / name, host.installs)
    installed = time.monotonic()
    pip(python, "install", "--no-deps", "--force-reinstall", str(wheel))
    print(f"== {name}", flush=True)
    passed = subprocess.run([python, HERE / host.script], cwd=folder, check=False).returncode == 0
    print(
        f"== {name} {'passed' if passed else 'FAILED'}: installed in {installed - started:.0f} s, "
        f"checked in {time.monotonic() - installed:.0f} s",
        flush=True,
    )
    return passed


def environment(folder: Path, installs: Installs) -> Path:
    """The interpreter of the environment in ``folder``, made unless it is there with the same installs."""
    python, stamp = folder / "bin" / "python", folder / "installed.json"
    if not (stamp.is_file() and json.loads(stamp.read_text()) == json.loads(json.dumps(installs))):
        venv.create(folder, clear=True, with_pip=True)
        for command in installs:
            if command[0] == "--rest-of":
                command = (*rest_of(python, command[1]), *command[2:])
            pip(python, "install", *command)
        stamp.write_text(json.dumps(installs))
    return python


def rest_of(python: Path, package: str) -> list[str]:
    """What ``package`` asks for, as it says itself, and has not got yet."""
    script = (
        "from importlib.metadata import distributions, requires\n"
        "from pip._vendor.packaging.requirements import Requirement\n"
        "have = {d.name.lower() for d in distributions()}\n"
        f"for line in requires({package!r}):\n"
        "    need = Requirement(line)\n"
        "    if need.name.lower() not in have and (need.marker is None or need.marker.evaluate({'extra': ''})):\n"
        "        need.marker = None\n"
        "        print(need)\n"
    )
    return subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout.split("\n")[:-1]


def pip(python: Path, *arguments: str) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
