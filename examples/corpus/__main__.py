"""Prints the corpus table: what each network has of skip connections, and what passes make of them.

python -m examples.corpus                       # everything: minutes
python -m examples.corpus --light               # what the tests check
python -m examples.corpus --only resnet-50      # networks whose name holds this
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.table import Table

from examples.corpus.check import Outcome, check
from examples.corpus.networks import Kinds, corpus
from graphops.cli.common import ScreenWatch, console

COLUMNS = (
    "network",
    "skips expected",
    "found",
    "removed",
    "exact: merged",
    "short, folded",
    "error",
    "refused",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--light", action="store_true", help="small networks, not every skip alone")
    parser.add_argument("--only", default="", metavar="NAME", help="networks whose name holds this")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    chosen = parser.parse_args()
    networks = [n for n in corpus() if chosen.only in n.name and (n.light or not chosen.light)]
    outcomes = []
    with ScreenWatch("networks") as watch:
        for done, network in enumerate(networks):

            def say(text: str, done: int = done, name: str = network.name) -> None:
                watch.progress(done, len(networks), f"{done}/{len(networks)} {name}: {text}")

            outcomes.append(check(network, not chosen.light, say))
    if chosen.json:
        print(json.dumps([o.as_json() for o in outcomes], indent=2))
    elif chosen.markdown:
        print(markdown(outcomes))
    else:
        show(outcomes)
    return int(any(o.faults for o in outcomes))


def row(outcome: Outcome) -> list[str]:
    found = sum(outcome.found.values())
    refused = [
        f"{verb} {count} of {found}: {reason}"
        for verb, reasons in outcome.refused.items()
        for reason, count in reasons.items()
    ]
    return [
        outcome.network,
        kinds(outcome.expected),
        str(found) if outcome.found == dict(sorted(outcome.expected.items())) else kinds(outcome.found),
        f"all ({outcome.removals} graphs run)" if found and "remove" not in outcome.refused else "",
        str(outcome.merged) if found else "",
        f"{outcome.shortened}, {outcome.folded}" if found else "",
        f"{outcome.largest:.0e}" if found else "",
        "; ".join(refused + [f"FAULT: {fault}" for fault in outcome.faults]),
    ]


def kinds(counts: Kinds) -> str:
    each = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{sum(counts.values())} ({each})" if counts else "0"


def markdown(outcomes: Sequence[Outcome]) -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(row(o) for o in outcomes)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def show(outcomes: Sequence[Outcome]) -> None:
    table = Table(*COLUMNS)
    for outcome in outcomes:
        table.add_row(*row(outcome))
    screen = console()
    screen.width = max(screen.width, 160)
    screen.print(table)


if __name__ == "__main__":
    sys.exit(main())
