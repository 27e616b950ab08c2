"""Small graphs for the tests of training, written in ONNX's text form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

HEAD = """
pooled = GlobalAveragePool(b)
flat = Flatten(pooled)
y = Gemm <transB = 1> (flat, fc_w, fc_b)
"""


def net(
    body: str,
    weights: Mapping[str, object],
    given: str = "float[N,1,8,8] x",
    wanted: str = "float[N,10] y",
    opset: int = 17,
    ir: int = 8,
    domains: str = "",
    functions: str = "",
) -> onnx.ModelProto:
    """A model of ``body`` with ``weights`` as initialisers."""
    header = f'<ir_version: {ir}, opset_import: ["" : {opset}{domains}]>'
    model = onnx.parser.parse_model(f"{header} net ({given}) => ({wanted}) {{ {body} }} {functions}")
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def he(*shape: int, seed: int = 0) -> np.ndarray:
    """He-normal float32 weights."""
    scale = np.sqrt(2 / np.prod(shape[1:]))
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * scale).astype(np.float32)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def small(middle: str = "b = Relu(a)", more: Mapping[str, object] | None = None, **kwargs: object) -> onnx.ModelProto:
    """Conv, ``middle`` (from ``a`` to ``b``, 4 channels of 8 x 8), pooling and a classifier of 10 classes."""
    weights = {"conv_w": he(4, 1, 3, 3), "fc_w": he(10, 4), "fc_b": zeros(10), **(more or {})}
    return net(f"a = Conv <pads = [1,1,1,1]> (x, conv_w)\n{middle}\n{HEAD}", weights, **kwargs)  # type: ignore[arg-type]


def normalised(seed: int = 0) -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu twice, and a classifier: a net with statistics."""
    middle = """
    n = BatchNormalization <momentum = 0.8> (a, s1, b1, m1, v1)
    r = Relu(n)
    c = Conv <pads = [1,1,1,1]> (r, conv2_w)
    n2 = BatchNormalization (c, s2, b2, m2, v2)
    b = Relu(n2)
    """
    rng = np.random.default_rng(seed)
    more: dict[str, object] = {"conv2_w": he(4, 4, 3, 3, seed=seed)}
    for k in "12":
        more |= {f"s{k}": ones(4), f"b{k}": zeros(4)}
        more |= {f"m{k}": rng.normal(size=4).astype(np.float32), f"v{k}": ones(4)}
    return small(middle, more)


def value(model: onnx.ModelProto, name: str) -> np.ndarray:
    """The initialiser ``name``."""
    return numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == name))


def same_values(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    """Whether all initialisers are equal to the bit."""
    return [(i.name, i.raw_data) for i in one.graph.initializer] == [
        (i.name, i.raw_data) for i in other.graph.initializer
    ]
