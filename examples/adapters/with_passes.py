"""Every pass under whatever versions of onnx, onnx-graphsurgeon and numpy are installed here.

The other scripts call `check` first: their hosts pin versions of their own.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import numpy as np
import onnx
import onnxruntime
from network import image, joins, residual, run

import passes

IMAGES = [image(seed) for seed in range(4)]


def check() -> None:
    print("with", ", ".join(_versions("onnx", "onnx-graphsurgeon", "numpy", "protobuf", "onnxruntime")))
    for bits in (0, 4):
        model = residual(bits)
        for name, cls in passes.registry.items():
            _check(name, cls(), model, bits)


def _check(name: str, rewriter: passes.Pass, model: onnx.ModelProto, bits: int) -> None:
    try:
        made = rewriter.apply(model).model
    except passes.UserError as refusal:
        print(f"{name}, {bits or 'no'} bits: {refusal}")
        return
    onnx.checker.check_model(made, full_check=not bits)
    outputs = run(made, *IMAGES)
    if rewriter.exact:
        np.testing.assert_allclose(outputs, run(model, *IMAGES), rtol=1e-4, atol=1e-5)
    if not bits:
        np.testing.assert_allclose(in_onnxruntime(made), outputs, rtol=1e-3, atol=1e-4)
    print(f"{name}, {bits or 'no'} bits: {joins(model)} joins before, {joins(made)} after")


def in_onnxruntime(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: each})[0] for each in IMAGES])


def same(made: onnx.ModelProto, model: onnx.ModelProto, rewriter: passes.Pass, in_runtime: bool) -> None:
    """Refuse a host's result that does not compute what the pass alone gives, here and in onnxruntime."""
    expected = run(rewriter.apply(model).model, *IMAGES)
    np.testing.assert_allclose(run(made, *IMAGES), expected, rtol=1e-4, atol=1e-5)
    if in_runtime:
        np.testing.assert_allclose(in_onnxruntime(made), expected, rtol=1e-3, atol=1e-4)


def _versions(*packages: str) -> list[str]:
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    check()
