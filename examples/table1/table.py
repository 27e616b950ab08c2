"""Every way from a residual network to a skip-free one at the same budget, one after another, as one table.

    python -m examples.table1.table --model resnet20-cifar10.onnx --out runs/table1
    python -m examples.table1.table --model resnet20-cifar10.onnx --ways morph,gates-linear --epochs 24 --out runs/long

Each way is a recipe that comes with graphops, its epochs scaled so that they add up to the budget. Run it again after
a stop, and it goes on where it was. ``results.json`` and ``table.png`` in the output folder hold what came out, and
are written anew after each way; a way that is in ``results.json`` is not done again.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from examples import script
from graphops import recipe
from graphops.cli.run import RunWatch
from graphops.files import write_bytes, write_json
from graphops.modelfile import fingerprint
from graphops.report.text import number, percent
from passes import UserError

WAYS = (
    "algorithm1-weights algorithm1-logits algorithm1-features resnet20-three-stages one-by-one-input one-by-one-output "
    "one-by-one-sensitivity gates-linear gates-cosine gates-quadratic gates-in-turn morph merge-prune "
    "resnet20-shorten-fold scratch-shortresnet scratch-nonresnet"
).split()

# Weng, Khodamoradi, Kastner 2021, Table I: accuracy in percent.
PUBLISHED = {
    "cifar10": {"ResNet20": 94.03, "ShortResNet20": 93.29, "NonResNet20": 93.61},
    "cifar100": {"ResNet20": 70.36, "ShortResNet20": 69.70, "NonResNet20": 71.63},
    "svhn": {"ResNet20": 96.57, "ShortResNet20": 96.67, "NonResNet20": 96.86},
}


def budgeted(content: dict[str, Any], epochs: float, seed: int, steps: int | None) -> dict[str, Any]:
    """The recipe with trainings of ``epochs`` in all, each in its old proportion; or of ``steps`` steps each."""
    trainings = [step["finetune"] for step in content["steps"] if isinstance(step, dict) and "finetune" in step]
    before = sum(training["epochs"] for training in trainings)
    for training in trainings:
        training["epochs"] = training["epochs"] * epochs / before
        training["seed"] = seed
        if steps is not None:
            training["steps"] = steps
    return content


def run(way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Do one way, or go on with it; what it came to."""
    path = recipe.find(way)
    content = budgeted(yaml.safe_load(path.read_text()), arguments.epochs, arguments.seed, arguments.steps)
    content |= {"data": arguments.data} | ({"limit": arguments.limit} if arguments.limit else {})
    builds = any(isinstance(step, dict) and "build" in step for step in content["steps"])
    if builds and arguments.data == "cifar100":
        content["steps"][0]["build"]["classes"] = 100
    pipeline = recipe.parse(content, way, path.parent)
    pipeline.data_dir = arguments.data_dir
    with RunWatch() as watch:
        done = pipeline.run(None if builds else arguments.model, arguments.out / way, watch=watch)
    last = done.records[-1]
    kept = ("folder", "accuracy", "joins", "parameters", "macs", "buffer_bits", "seconds", "history")
    return {
        "title": pipeline.title,
        **{name: last[name] for name in ("accuracy", "joins", "parameters", "macs")},
        "seconds": round(sum(record["seconds"] for record in done.records), 1),
        "steps": [{name: record[name] for name in kept} for record in done.records],
    }


def begun(path: Path, budget: dict[str, Any]) -> dict[str, Any]:
    """The results so far, of the same budget."""
    if not path.is_file():
        return {**budget, "teacher": None, "ways": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    other = [name for name, value in budget.items() if found.get(name, value) != value]  # the last came later
    if other:
        raise SystemExit(f"{path} is of another {other[0]}, {found.get(other[0])}; give another --out.")
    return found


def table(results: dict[str, Any]) -> Table:
    """The ways, best first, and the published figures under them."""
    found = Table(box=None, header_style="bold", pad_edge=False)
    found.add_column("way", no_wrap=True)
    for column in ("joins", "parameters", "MACs", "test accuracy", "minutes"):
        found.add_column(column, justify="right")
    ways = {way: result for way, result in results["ways"].items() if "accuracy" in result}
    for way, result in sorted(ways.items(), key=lambda item: -(item[1]["accuracy"] or 0)):
        figures = [number(result[name]) for name in ("joins", "parameters", "macs")]
        found.add_row(way, *figures, percent(result["accuracy"]), f"{result['seconds'] / 60:.1f}")
    for way, result in results["ways"].items():
        if "stopped" in result:
            found.add_row(way, "", "", "", "stopped", "")
    found.add_section()
    if results["teacher"] is not None:
        found.add_row("(the network as it was)", "", "", "", percent(results["teacher"]), "")
    for name, accuracy in PUBLISHED.get(results["data"], {}).items():
        found.add_row(f"(paper: {name})", "", "", "", f"{accuracy:.2f} %", "")
    return found


def plot(results: dict[str, Any]) -> bytes:
    """A PNG: test accuracy over the epochs of each way."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axis = figure.subplots()
    axis.set_prop_cycle(color=colormaps["tab20"].colors)  # a colour for each way
    ways = [(way, result) for way, result in results["ways"].items() if "steps" in result]
    for way, result in sorted(ways, key=lambda item: -(item[1]["accuracy"] or 0)):
        begin, points = 0.0, []
        for step in result["steps"]:
            tested = [line for line in step["history"] if line.get("test_accuracy") is not None]
            points += [(begin + line["epoch"], 100 * line["test_accuracy"]) for line in tested]
            begin += step["history"][-1]["epoch"] if step["history"] else 0
        if points:
            axis.plot(*zip(*points, strict=True), marker=".", label=f"{way}  {percent(result['accuracy'])}")
    if results["teacher"] is not None:
        axis.axhline(100 * results["teacher"], color="black", lw=0.8, ls="--", label="the network as it was")
    axis.set_xlabel("epochs")
    axis.set_ylabel("test accuracy while training, %")
    if axis.has_data():
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the trained residual network to start from")
    parser.add_argument("--out", type=Path, default=Path("runs/table1"), help="where the runs and the results go")
    parser.add_argument("--data", default="cifar10", help="the data set")
    parser.add_argument("--data-dir", type=Path, help="where the data set lies")
    parser.add_argument("--epochs", type=float, default=8.0, help="epochs of all trainings of a way together")
    parser.add_argument("--ways", default=",".join(WAYS), help="recipes, with commas between")
    parser.add_argument("--seed", type=int, default=0, help="of the order of images and of the augmentation")
    parser.add_argument("--steps", type=int, help="steps of each training, in place of the epochs: for a trial")
    parser.add_argument("--limit", type=int, help="test images; default: all")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    arguments = parser.parse_args()

    budget = {"data": arguments.data, "epochs": arguments.epochs, "seed": arguments.seed, "model": arguments.model.name}
    budget |= {"steps": arguments.steps, "limit": arguments.limit, "model_sha256": fingerprint(arguments.model)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = begun(arguments.out / "results.json", budget)
    for way in arguments.ways.split(","):
        if "accuracy" in results["ways"].get(way, {}):
            continue
        try:
            results["ways"][way] = run(way, arguments)
        except UserError as error:  # the other ways go on
            results["ways"][way] = {"stopped": str(error)}
            Console(stderr=True).print(f"{way}: {error}", markup=False)
        first = results["ways"][way].get("steps", [{}])[0]
        if first.get("folder") == "00-input":
            results["teacher"] = first["accuracy"]
        write_json(arguments.out / "results.json", results)
        write_bytes(arguments.out / "table.png", plot(results))
    if arguments.json:
        print(json.dumps(results))
    else:
        Console().print(table(results))


if __name__ == "__main__":
    script.run(main)
