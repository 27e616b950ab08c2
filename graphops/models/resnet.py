"""ResNets for small images and their two relatives with shorter and without skip connections.

He et al., "Deep residual learning for image recognition", 2016, arXiv:1512.03385, section 4.2: a 3x3
convolution, then three stages of n blocks of two 3x3 convolutions, ``width``, 2 and 4 times ``width``
channels wide, the second and third stage at half the size of the one before; pooling and a fully connected
layer. These are 6n + 2 layers.
ShortResNet and NonResNet: Weng et al., 2021, arXiv:2102.01351.
"""

from __future__ import annotations

from typing import Literal

import onnx

from graphops.models.graph import Builder
from passes.errors import UserError

Skips = Literal["block", "short", "none"]


def resnet(
    depth: int = 20,
    width: int = 16,
    classes: int = 10,
    image: tuple[int, int, int] = (3, 32, 32),
    shortcut: str = "A",
    seed: int = 0,
) -> onnx.ModelProto:
    """A ResNet with one skip connection a block, over both convolutions, joined before the last ReLU.

    Args:
        depth: 6n + 2 layers.
        width: channels of the first stage.
        classes: of the output ``logits`` [N, classes].
        image: channels, height and width of the input ``input`` [N, C, H, W]; N is symbolic.
        shortcut: where a block changes the shape, "A" takes every second pixel and pads channels with zeros,
            "B" has a 1x1 convolution and batch normalisation.
        seed: of the weights, the same ones for the same seed in all three networks.

    Raises:
        UserError: when an argument is impossible.
    """
    return _build("resnet", "block", depth, width, classes, image, shortcut, seed)


def shortresnet(
    depth: int = 20,
    width: int = 16,
    classes: int = 10,
    image: tuple[int, int, int] = (3, 32, 32),
    shortcut: str = "A",
    seed: int = 0,
) -> onnx.ModelProto:
    """A ResNet with one short skip connection a block, over its second convolution only.

    That is the block's last layer with equal input and output shapes, so every skip is an identity over one
    linear layer and ``shortcut`` has no effect. Arguments and errors: see :func:`resnet`.
    """
    return _build("shortresnet", "short", depth, width, classes, image, shortcut, seed)


def nonresnet(
    depth: int = 20,
    width: int = 16,
    classes: int = 10,
    image: tuple[int, int, int] = (3, 32, 32),
    shortcut: str = "A",
    seed: int = 0,
) -> onnx.ModelProto:
    """A ResNet without skip connections; ``shortcut`` has no effect.

    Arguments and errors: see :func:`resnet`.
    """
    return _build("nonresnet", "none", depth, width, classes, image, shortcut, seed)


def _build(
    family: str,
    skips: Skips,
    depth: int,
    width: int,
    classes: int,
    image: tuple[int, int, int],
    shortcut: str,
    seed: int,
) -> onnx.ModelProto:
    check(family, depth, width, classes, image, shortcut, seed)
    net = Builder(seed)
    x = net.relu(net.batchnorm(net.conv("input", "conv1", image[0], width, 3, 1), "bn1", width), "relu1")
    inputs = width
    for stage in range(3):
        outputs = width * 2**stage
        for block in range((depth - 2) // 6):
            stride = 2 if stage and not block else 1
            x = _block(net, x, f"layer{stage + 1}.{block}", inputs, outputs, stride, skips, shortcut)
            inputs = outputs
    net.classify(x, inputs, classes)
    return net.model(f"{family}{depth}", image, classes)


def _block(net: Builder, x: str, name: str, inputs: int, outputs: int, stride: int, skips: Skips, shortcut: str) -> str:
    """Two convolutions and, by ``skips``, a join before the last ReLU; the block's result is ``name.out``."""
    first = net.batchnorm(net.conv(x, f"{name}.conv1", inputs, outputs, 3, stride), f"{name}.bn1", outputs)
    middle = net.relu(first, f"{name}.relu1")
    y = net.batchnorm(net.conv(middle, f"{name}.conv2", outputs, outputs, 3, 1), f"{name}.bn2", outputs)
    if skips == "short":
        y = net.add(y, middle, f"{name}.add")
    elif skips == "block":
        y = net.add(y, _shortcut(net, x, f"{name}.shortcut", inputs, outputs, stride, shortcut), f"{name}.add")
    return net.relu(y, f"{name}.relu2", f"{name}.out")


def _shortcut(net: Builder, x: str, name: str, inputs: int, outputs: int, stride: int, shortcut: str) -> str:
    if stride == 1 and inputs == outputs:
        return x
    if shortcut == "B":
        return net.batchnorm(net.conv(x, f"{name}.conv", inputs, outputs, 1, stride), f"{name}.bn", outputs)
    before = (outputs - inputs) // 2
    sampled = net.subsample(x, f"{name}.slice", stride)
    return net.pad_channels(sampled, f"{name}.pad", before, outputs - inputs - before)


def check(
    family: str, depth: int, width: int, classes: int, image: tuple[int, int, int], shortcut: str, seed: int
) -> None:
    """Say that there is no such network; see :func:`resnet`.

    Raises:
        UserError: when an argument is impossible.
    """
    for option, number in (("depth", depth), ("width", width), ("classes", classes), ("seed", seed)):
        if type(number) is not int:  # a bool, as YAML reads "yes", is an int to isinstance
            raise UserError(f"A {family} cannot have {option}={number!r}; give a whole number.")
    if depth < 8 or depth % 6 != 2:
        lower = max(8, depth - (depth - 2) % 6)
        near = f"{lower} or {lower + 6}" if depth >= 8 else "8, 14 or 20"
        raise UserError(f"A {family} cannot have {depth} layers; depths are 6n + 2: take {near}.")
    sizes = image if isinstance(image, tuple | list) else ()
    if len(sizes) != 3 or not all(type(size) is int and size > 0 for size in sizes):
        raise UserError(f"A {family} cannot take images of {image}; give channels, height and width, e.g. (3, 32, 32).")
    for option, value, least in (("width", width, 1), ("classes", classes, 2), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"A {family} cannot have {option}={value}; give at least {least}.")
    if shortcut not in ("A", "B"):
        raise UserError(f"A {family} has no shortcut {shortcut!r}; take 'A' (zeros) or 'B' (1x1 convolution).")
