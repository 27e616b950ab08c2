"""Writes exports/quantised/*.onnx: a small residual network of Brevitas, as QONNX and as QDQ, weights and all.

In an environment of its own:

    pip install torch==2.13.0 brevitas==0.13.0 onnxscript==0.7.2 onnxoptimizer qonnx
    python examples/corpus/export_quantised.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import torch
from brevitas import nn as qnn
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.quant import Int8ActPerTensorFloat
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.corpus.structure import without_story

torch.Tensor.rename = lambda tensor, *names: tensor  # torch 2.13 has named tensors no more, Brevitas 0.13 still asks

FOLDER = Path(__file__).parent / "exports" / "quantised"
IMAGE = (1, 3, 8, 8)


class Block(nn.Module):
    """A basic block. One quantiser, called on both paths, puts what is added on one grid, as the adder needs it.

    Args:
        shared: else each path has a quantiser of its own.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, bits: int, shared: bool) -> None:
        super().__init__()

        def conv(before: int, after: int, kernel: int, step: int) -> nn.Sequential:
            layer = qnn.QuantConv2d(before, after, kernel, step, kernel // 2, bias=False, weight_bit_width=bits)
            return nn.Sequential(layer, nn.BatchNorm2d(after))

        self.conv1, self.act1 = conv(inputs, outputs, 3, stride), qnn.QuantReLU(bit_width=bits)
        self.conv2, self.act2 = conv(outputs, outputs, 3, 1), qnn.QuantReLU(bit_width=bits)
        self.shortcut = conv(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()
        self.main = qnn.QuantIdentity(Int8ActPerTensorFloat)
        self.side = self.main if shared else qnn.QuantIdentity(Int8ActPerTensorFloat)

    def forward(self, x: Tensor) -> Tensor:
        return self.act2(self.main(self.conv2(self.act1(self.conv1(x)))) + self.side(self.shortcut(x)))


def network(bits: int, shared: bool) -> nn.Module:
    blocks = [Block(4, 4, 1, bits, shared), Block(4, 6, 2, bits, shared), Block(6, 6, 1, bits, shared)]
    stem = [qnn.QuantIdentity(Int8ActPerTensorFloat), qnn.QuantConv2d(3, 4, 3, 1, 1, bias=False, weight_bit_width=8)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), qnn.QuantLinear(6, 5, bias=True, weight_bit_width=8)]
    return nn.Sequential(*stem, nn.BatchNorm2d(4), qnn.QuantReLU(bit_width=bits), *blocks, *head)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, bits, shared in (("brevitas-4-bits", 4, True), ("brevitas-8-bits-unshared", 8, False)):
        torch.manual_seed(0)
        model = network(bits, shared)
        for _ in range(20):  # the scales settle on what they see
            model(torch.randn(16, *IMAGE[1:]))
        model.eval()
        for form, export in (("qonnx", export_qonnx), ("qcdq", export_onnx_qcdq)):
            path = FOLDER / f"{name}.{form}.onnx"
            export(model, torch.randn(IMAGE), str(path))
            onnx.save(without_story(onnx.load(path)), path)
            path.with_suffix(".onnx.data").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
