"""What is known of operators by name."""

from __future__ import annotations

from functools import cache

import onnx

QUANTISERS = frozenset(
    {
        "Quant",
        "BipolarQuant",
        "Trunc",
        "QuantizeLinear",
        "DequantizeLinear",
        "FakeQuant",
        "IntQuant",
        "FloatQuant",
        "MultiThreshold",
    }
)
"""Operators that only round to a grid: for shapes and for naming a skip's kind they are the identity."""

KEEPING = frozenset(
    "MaxPool GlobalMaxPool Slice Pad Flatten Reshape Squeeze Unsqueeze Transpose Identity Dropout Gather Expand".split()
)
"""Operators that only pick and move numbers: what lies on a grid lies on it behind them, too."""

DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})

RANDOM = frozenset("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli".split())
"""Operators that give something else each time they run."""


@cache
def required(op: str, opset: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The inputs and the outputs, by place, that a standard operator must have; none for an unknown one."""
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return (), ()
    options = onnx.defs.OpSchema.FormalParameterOption
    inputs = [
        i
        for i, p in enumerate(schema.inputs)
        if p.option == options.Single or (p.option == options.Variadic and i < schema.min_input)
    ]
    return tuple(inputs), tuple(i for i, p in enumerate(schema.outputs) if p.option == options.Single)
