"""What training through quantisers costs: a step of the quantised network beside one of the float network, in turns.

    python -m examples.benchmarks.quantised --model resnet20 --weights 4 --acts 4

The float network has its batch norms and is built with random weights; the quantised one is made of it by `quantize`,
which folds them. A step is that of `training.py`.
"""

from __future__ import annotations

import argparse
import json
from statistics import median
from typing import Any

import numpy as np

from examples import script
from examples.benchmarks.training import Ours
from graphops.models import build
from graphops.training.engine import usable_cores
from graphops.training.loss import LABELS
from graphops.training.prepare import prepare
from passes import Quantize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20", help="a network of graphops.models")
    parser.add_argument("--weights", type=int, default=4, help="bits of weights")
    parser.add_argument("--acts", type=int, default=4, help="bits of activations")
    parser.add_argument("--batch", type=int, default=128, help="images a step")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="sessions of one thread")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, after one to warm up")
    parser.add_argument("--steps", type=int, default=2, help="steps a turn")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()

    model = build(chosen.model)
    rewriter = Quantize(weights=chosen.weights, acts=chosen.acts)
    ranges = {name: (-3.0 if signed else 0.0, 3.0) for name, (_, signed) in rewriter.points(model).items()}
    quantised = rewriter.calibrated(ranges).apply(model).model
    rng = np.random.default_rng(0)
    prepared = {"float": prepare(model), "quantised": prepare(quantised)}
    images = rng.standard_normal((chosen.batch, 3, 32, 32)).astype(np.float32)
    batch = {prepared["float"].input: images, LABELS: np.arange(chosen.batch) % 10}
    trainers = {name: Ours(network, batch, chosen.workers) for name, network in prepared.items()}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in trainers}
    for _ in range(chosen.rounds + 1):
        for name, trainer in trainers.items():
            found[name].append(trainer.train(chosen.steps))
    payload: dict[str, Any] = {"model": chosen.model, "weights": chosen.weights, "acts": chosen.acts}
    for clock in ("seconds", "cpu_seconds"):
        spent = {name: median(turn[clock] for turn in turns[1:]) for name, turns in found.items()}
        speeds = {name: chosen.steps * chosen.batch / seconds for name, seconds in spent.items()}
        payload[f"images_a_{clock.removesuffix('s')}"] = speeds | {"ratio": speeds["quantised"] / speeds["float"]}
    if chosen.json:
        print(json.dumps(payload, indent=2))
        return
    for clock, words in (("second", "by the clock"), ("cpu_second", "a second of CPU time")):
        speeds = payload[f"images_a_{clock}"]
        print(
            f"{words}: {speeds['float']:.0f} images/s in float, {speeds['quantised']:.0f} with weights of "
            f"{chosen.weights} and activations of {chosen.acts} bits: {speeds['ratio']:.2f} times as fast"
        )


if __name__ == "__main__":
    script.run(main)
