"""Several classifiers of the same images as one, whose logits are the mean of theirs: a teacher better than each.

    python -m examples.table1.ensemble resnet20-cifar10.onnx examples/models/cifar10-nonresnet20-one-by-one.onnx \\
        -o ensemble.onnx
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import compose, helper

from examples import script
from graphops.modelfile import load_model, save_model
from passes import UserError


def ensemble(models: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """The models side by side on one input; the output is the mean of their outputs.

    Args:
        models: each with one input and one output, of the same types, and of the same opset.

    Raises:
        UserError: where they are not.
    """
    first = models[0].graph
    for number, model in enumerate(models, 1):
        own = model.graph
        kinds = [[value.type for value in values] for values in (own.input, own.output)]
        if kinds != [[first.input[0].type], [first.output[0].type]] or model.opset_import != models[0].opset_import:
            raise UserError(
                f"Model number {number} has not one input and one output like the first's in the first's opset; export "
                "them alike."
            )
    parts = [compose.add_prefix(model, f"{number}/").graph for number, model in enumerate(models, 1)]
    given, logits = first.input[0], first.output[0]
    nodes = [helper.make_node("Identity", [given.name], [part.input[0].name]) for part in parts]
    nodes += [node for part in parts for node in part.node]
    nodes.append(helper.make_node("Mean", [part.output[0].name for part in parts], [logits.name], name="mean"))
    weights = [tensor for part in parts for tensor in part.initializer]
    graph = helper.make_graph(nodes, "ensemble", [given], [logits], weights)
    version = max(model.ir_version for model in models)
    return helper.make_model(graph, opset_imports=models[0].opset_import, ir_version=version)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="ONNX classifiers")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the model to write")
    parser.add_argument("--force", action="store_true", help="overwrite it")
    arguments = parser.parse_args()
    save_model(ensemble([load_model(path) for path in arguments.models]), arguments.output, arguments.force)


if __name__ == "__main__":
    script.run(main)
