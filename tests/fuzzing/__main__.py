"""The long run: `python -m tests.fuzzing --minutes 60 --seed 0`, and one case again: `--only 4711`."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.fuzzing.run import Run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to go on")
    parser.add_argument("--cases", type=int, default=10**9, help="how many cases at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--only", type=int, help="run this case alone")
    chosen = parser.parse_args()
    first, count = (chosen.first, chosen.cases) if chosen.only is None else (chosen.only, 1)
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), chosen.seed, first, count, 60 * chosen.minutes)
        for finding in run.findings():
            found += 1
            print(json.dumps(asdict(finding)), flush=True)
    print(f"{run.cases} cases, {run.commands} command lines, {run.refused} of them refused, {found} findings.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
