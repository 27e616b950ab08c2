"""Networks as their papers draw them, with very few channels, written with onnx.helper alone.

Weights are drawn from their names, so that a network built without one of its skip connections has the same others.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Net:
    """Adds nodes one after another; each method gives the name of the tensor it makes, ``<name>.out``.

    Args:
        without: numbers of the joins to leave out, with what only their skip paths need.
    """

    def __init__(self, without: Collection[int] = (), opset: int = 17) -> None:
        self.without, self.opset = without, opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.channels: dict[str, int] = {}
        self.joins = 0

    def input(self, name: str, shape: Sequence[int | str], kind: int = FLOAT, channels: int = 0) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        self.channels[name] = channels or (shape[1] if len(shape) > 1 and isinstance(shape[1], int) else 0)
        return name

    def image(self, channels: int = 3, size: int = 16) -> str:
        return self.input("image", ["N", channels, size, size])

    def op(self, kind: str, inputs: Sequence[str], name: str, channels: int = 0, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}.out"], name=name, **attributes))
        self.channels[f"{name}.out"] = channels or next((self.channels[i] for i in inputs if i in self.channels), 0)
        return f"{name}.out"

    def constant(self, value: Any, name: str) -> str:
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, shape: Sequence[int], name: str) -> str:
        """Normally distributed with standard deviation 1 / sqrt(fan-in)."""
        random = np.random.default_rng(zlib.crc32(name.encode()))
        return self.constant(random.standard_normal(shape) / np.sqrt(max(np.prod(shape[1:]), 1)), name)

    def conv(
        self, x: str, name: str, outputs: int, kernel: int | tuple[int, ...] = 3, stride: int = 1, groups: int = 1,
        rank: int = 2, bias: bool = False,
    ) -> str:  # fmt: skip
        """A convolution that keeps the size at stride 1."""
        taps = [kernel] * rank if isinstance(kernel, int) else list(kernel)
        inputs = [x, self.weight([outputs, self.channels[x] // groups, *taps], f"{name}.w")]
        if bias:
            inputs.append(self.weight([outputs], f"{name}.b"))
        pads = [k // 2 for k in taps] * 2
        strides = [stride] * rank
        return self.op(
            "Conv", inputs, name, outputs, kernel_shape=taps, pads=pads, strides=strides, group=groups
        )  # fmt: skip

    def bn(self, x: str, name: str) -> str:
        random = np.random.default_rng(zlib.crc32(name.encode()))
        channels = self.channels[x]
        values = {
            "scale": random.uniform(0.5, 1.5, channels),
            "bias": random.normal(0, 0.1, channels),
            "mean": random.normal(0, 0.1, channels),
            "var": random.uniform(0.5, 1.5, channels),
        }
        return self.op("BatchNormalization", [x, *(self.constant(v, f"{name}.{k}") for k, v in values.items())], name)

    def conv_bn(self, x: str, name: str, outputs: int, kernel: Any = 3, stride: int = 1, **more: Any) -> str:
        return self.bn(self.conv(x, name, outputs, kernel, stride, **more), f"{name}.bn")

    def relu(self, x: str, name: str) -> str:
        return self.op("Relu", [x], name)

    def conv_bn_relu(self, x: str, name: str, outputs: int, kernel: Any = 3, stride: int = 1, **more: Any) -> str:
        return self.relu(self.conv_bn(x, name, outputs, kernel, stride, **more), f"{name}.relu")

    def silu(self, x: str, name: str) -> str:
        return self.op("Mul", [x, self.op("Sigmoid", [x], f"{name}.sigmoid")], name)

    def pool(self, x: str, name: str) -> str:
        return self.op("MaxPool", [x], name, kernel_shape=[2, 2], strides=[2, 2])

    def dense(self, x: str, name: str, outputs: int) -> str:
        """A matrix product over the last axis, with a bias that is an Add of a constant."""
        product = self.op("MatMul", [x, self.weight([self.channels[x], outputs], f"{name}.w")], f"{name}.mul", outputs)
        return self.op("Add", [product, self.weight([outputs], f"{name}.b")], name)

    def layer_norm(self, x: str, name: str) -> str:
        channels = self.channels[x]
        scale, bias = (
            self.constant(np.ones(channels), f"{name}.scale"),
            self.constant(np.zeros(channels), f"{name}.bias"),
        )
        return self.op("LayerNormalization", [x, scale, bias], name, axis=-1)

    def join(self, main: str, skip: str | Callable[[], str], name: str, op: str = "Add") -> str:
        """The end of skip connection number ``self.joins``; ``skip`` may be what builds the skip path."""
        self.joins += 1
        if self.joins in self.without:
            return main
        return self.op(op, [main, skip if isinstance(skip, str) else skip()], name)

    def squeeze_excite(self, x: str, name: str) -> str:
        """Two layers on the channels' means gate the channels."""
        channels = self.channels[x]
        pooled = self.op("GlobalAveragePool", [x], f"{name}.pool")
        hidden = self.relu(self.conv(pooled, f"{name}.fc1", max(channels // 2, 1), 1), f"{name}.relu")
        gates = self.op("Sigmoid", [self.conv(hidden, f"{name}.fc2", channels, 1)], f"{name}.sigmoid")
        return self.op("Mul", [x, gates], name)

    def classify(self, x: str, classes: int = 5) -> str:
        pooled = self.op("Flatten", [self.op("GlobalAveragePool", [x], "pool")], "flatten", self.channels[x])
        weight, bias = self.weight([classes, self.channels[x]], "fc.w"), self.weight([classes], "fc.b")
        return self.op("Gemm", [pooled, weight, bias], "fc", classes, transB=1)

    def model(self, *outputs: str, kind: int = FLOAT, ir: int = 8) -> onnx.ModelProto:
        made = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "network", self.inputs, made, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir, producer_name="tests")
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output
        for output, known in zip(graph.output, inferred, strict=True):
            output.CopyFrom(known)
        model.graph.CopyFrom(graph)
        onnx.checker.check_model(model, full_check=True)
        return model


# -- He et al. 2015, "Deep Residual Learning for Image Recognition" ---------------------------------------------


def cifar_resnet(blocks: int = 2, option: str = "A", without: Collection[int] = ()) -> onnx.ModelProto:
    """Section 4.2: three stages of basic blocks; shortcuts A (zeros) or B (1x1 convolutions) where the size halves."""
    net = Net(without)
    x = net.conv_bn_relu(net.image(), "stem", 4)
    for stage in range(3):
        for block in range(blocks):
            x = basic_block(net, x, f"s{stage}b{block}", 4 << stage, 2 if stage and not block else 1, option)
    return net.model(net.classify(x))


def basic_block(net: Net, x: str, name: str, width: int, stride: int, option: str = "B") -> str:
    main = net.conv_bn_relu(x, f"{name}.1", width, stride=stride)
    main = net.conv_bn(main, f"{name}.2", width)
    skip = shortcut(net, x, name, width, stride, option)
    return net.relu(net.join(main, skip, f"{name}.join"), f"{name}.relu")


def shortcut(net: Net, x: str, name: str, width: int, stride: int, option: str = "B") -> Callable[[], str]:
    def build() -> str:
        if stride == 1 and net.channels[x] == width:
            return x
        if option == "B":
            return net.conv_bn(x, f"{name}.projection", width, 1, stride)
        every = {"starts": [0, 0], "ends": [2**31] * 2, "axes": [2, 3], "steps": [stride] * 2}
        bounds = [net.constant(np.array(v), f"{name}.{k}") for k, v in every.items()]
        before = (width - net.channels[x]) // 2
        pads = net.constant(np.array([0, before, 0, 0, 0, width - net.channels[x] - before, 0, 0]), f"{name}.pads")
        return net.op("Pad", [net.op("Slice", [x, *bounds], f"{name}.slice"), pads], f"{name}.pad", width)

    return build


IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def imagenet_resnet(depth: int, groups: int = 1, op: str = "Add", without: Collection[int] = ()) -> onnx.ModelProto:
    """Table 1; with ``groups`` ResNeXt (Xie et al. 2017)."""
    net = Net(without)
    x = net.conv_bn_relu(net.image(size=32), "stem", 4, 7, 2)
    x = net.op("MaxPool", [x], "stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stage, blocks in enumerate(IMAGENET[depth]):
        for block in range(blocks):
            name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
            if depth < 50:
                x = basic_block(net, x, name, 4 + stage, stride)
                continue
            width = 2 + 2 * stage
            main = net.conv_bn_relu(x, f"{name}.1", width, 1)
            main = net.conv_bn_relu(main, f"{name}.2", width, 3, stride, groups=groups)
            main = net.conv_bn(main, f"{name}.3", 4 * width, 1)
            x = net.relu(net.join(main, shortcut(net, x, name, 4 * width, stride), f"{name}.join", op), f"{name}.relu")
    return net.model(net.classify(x))


# -- He et al. 2016, "Identity Mappings"; Zagoruyko and Komodakis 2016, "Wide Residual Networks" ------------------


def preactivation(
    blocks: int = 2, widen: int = 1, dropout: bool = False, without: Collection[int] = ()
) -> onnx.ModelProto:
    """BN and ReLU before each convolution; where the width changes, the 1x1 shortcut starts behind the first pair."""
    net = Net(without)
    x = net.conv(net.image(), "stem", 4)
    for stage in range(3):
        for block in range(blocks):
            name, width, stride = f"s{stage}b{block}", (4 << stage) * widen, 2 if stage and not block else 1
            active = net.relu(net.bn(x, f"{name}.bn1"), f"{name}.relu1")
            main = net.conv(active, f"{name}.1", width, stride=stride)
            main = net.relu(net.bn(main, f"{name}.bn2"), f"{name}.relu2")
            if dropout:
                main = net.op("Dropout", [main], f"{name}.dropout")
            main = net.conv(main, f"{name}.2", width)
            changes = stride > 1 or net.channels[x] != width

            def skip(x: str = x, active: str = active, name: str = name, width: int = width, stride: int = stride,
                     changes: bool = changes) -> str:  # fmt: skip
                return net.conv(active, f"{name}.projection", width, 1, stride) if changes else x

            x = net.join(main, skip, f"{name}.join")
    return net.model(net.classify(net.relu(net.bn(x, "last.bn"), "last.relu")))


# -- Hu et al. 2018, "Squeeze-and-Excitation Networks" ------------------------------------------------------------


def se_resnet(without: Collection[int] = ()) -> onnx.ModelProto:
    net = Net(without)
    x = net.conv_bn_relu(net.image(), "stem", 4)
    for stage in range(2):
        for block in range(2):
            name, width, stride = f"s{stage}b{block}", 4 << stage, 2 if stage and not block else 1
            main = net.conv_bn_relu(x, f"{name}.1", width, stride=stride)
            main = net.squeeze_excite(net.conv_bn(main, f"{name}.2", width), f"{name}.se")
            x = net.relu(net.join(main, shortcut(net, x, name, width, stride), f"{name}.join"), f"{name}.relu")
    return net.model(net.classify(x))


# -- Sandler et al. 2018, "MobileNetV2"; Tan and Le 2019, "EfficientNet" ------------------------------------------


def mobilenet_v2(without: Collection[int] = ()) -> onnx.ModelProto:
    """Table 2: repeats of inverted residuals with a linear bottleneck; a skip where neither size nor width changes."""
    net = Net(without)
    x = net.conv_bn_relu(net.image(size=32), "stem", 4, 3, 2)
    for stage, (expand, repeats, stride) in enumerate(
        [(1, 1, 1), (2, 2, 2), (2, 3, 2), (2, 4, 2), (2, 3, 1), (2, 3, 2), (2, 1, 1)]
    ):
        for i in range(repeats):
            x = inverted_residual(net, x, f"s{stage}b{i}", expand, 2 + stage, stride if i == 0 else 1, squeeze=False)
    return net.model(net.classify(net.conv_bn_relu(x, "last", 8, 1)))


def efficientnet_b0(without: Collection[int] = ()) -> onnx.ModelProto:
    """Table 1: repeats of inverted residuals with squeeze-and-excitation and SiLU."""
    net = Net(without)
    x = net.conv_bn_relu(net.image(size=32), "stem", 4, 3, 2)
    for stage, (repeats, stride) in enumerate([(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]):
        for i in range(repeats):
            x = inverted_residual(net, x, f"s{stage}b{i}", 2, 2 + stage, stride if i == 0 else 1, squeeze=True)
    return net.model(net.classify(net.conv_bn_relu(x, "last", 8, 1)))


def inverted_residual(net: Net, x: str, name: str, expand: int, width: int, stride: int, squeeze: bool) -> str:
    active = net.silu if squeeze else net.relu
    inner = net.channels[x] * expand
    main = active(net.conv_bn(x, f"{name}.1", inner, 1), f"{name}.act1") if expand > 1 else x
    main = active(net.conv_bn(main, f"{name}.2", inner, 3, stride, groups=inner), f"{name}.act2")
    if squeeze:
        main = net.squeeze_excite(main, f"{name}.se")
    main = net.conv_bn(main, f"{name}.3", width, 1)
    return net.join(main, x, f"{name}.join") if stride == 1 and net.channels[x] == width else main


# -- Liu et al. 2022, "A ConvNet for the 2020s" -------------------------------------------------------------------


def convnext(depths: Sequence[int] = (3, 3, 9, 3), without: Collection[int] = ()) -> onnx.ModelProto:
    """7x7 depthwise, LayerNorm and two dense layers with the channels last, a scale per channel, the join."""
    net = Net(without)
    x = net.conv(net.image(size=32), "stem", 2, 3, 2, bias=True)
    for stage, depth in enumerate(depths):
        if stage:
            x = net.conv(x, f"down{stage}", 2 + stage, 1, 2, bias=True)
        for i in range(depth):
            name, width = f"s{stage}b{i}", net.channels[x]
            main = net.conv(x, f"{name}.dw", width, 7, groups=width, bias=True)
            main = net.op("Transpose", [main], f"{name}.last", perm=[0, 2, 3, 1])
            main = net.dense(net.layer_norm(main, f"{name}.norm"), f"{name}.1", 4 * width)
            main = net.dense(gelu(net, main, f"{name}.gelu"), f"{name}.2", width)
            main = net.op("Mul", [main, net.weight([width], f"{name}.gamma")], f"{name}.scale")
            main = net.op("Transpose", [main], f"{name}.first", perm=[0, 3, 1, 2])
            x = net.join(main, x, f"{name}.join")
    return net.model(net.classify(x))


def gelu(net: Net, x: str, name: str) -> str:
    """As exporters write it before opset 20: x * (1 + erf(x / sqrt 2)) / 2."""
    inner = net.op("Div", [x, net.constant(2**0.5, f"{name}.root")], f"{name}.div")
    inner = net.op("Add", [net.op("Erf", [inner], f"{name}.erf"), net.constant(1.0, f"{name}.one")], f"{name}.plus")
    return net.op("Mul", [net.op("Mul", [x, inner], f"{name}.mul"), net.constant(0.5, f"{name}.half")], name)


# -- Ronneberger et al. 2015, "U-Net", its concatenations replaced by sums as in LinkNet --------------------------


def unet(levels: int = 2, without: Collection[int] = ()) -> onnx.ModelProto:
    net = Net(without)
    x = net.image()
    encoded = []
    for level in range(levels):
        x = net.conv_bn_relu(net.conv_bn_relu(x, f"e{level}.1", 2 << level), f"e{level}.2", 2 << level)
        encoded.append(x)
        x = net.pool(x, f"e{level}.pool")
    x = net.conv_bn_relu(net.conv_bn_relu(x, "bottom.1", 2 << levels), "bottom.2", 2 << levels)
    for level in reversed(range(levels)):
        width = 2 << level
        weight = net.weight([net.channels[x], width, 2, 2], f"d{level}.up.w")
        x = net.op("ConvTranspose", [x, weight], f"d{level}.up", width, kernel_shape=[2, 2], strides=[2, 2])
        x = net.join(x, encoded[level], f"d{level}.join")
        x = net.conv_bn_relu(net.conv_bn_relu(x, f"d{level}.1", width), f"d{level}.2", width)
    return net.model(net.conv(x, "out", 2, 1))


# -- Vaswani et al. 2017, "Attention Is All You Need" -------------------------------------------------------------

WIDTH, HEADS, TOKENS = 8, 2, 6


def encoder(
    layers: int = 2, mask: str | None = None, norm_first: bool = True, without: Collection[int] = ()
) -> onnx.ModelProto:
    """Token ids [N, T] to states [N, T, C], learned positions added.

    Args:
        mask: ``input`` (a second input, 1 for tokens and 0 for padding), ``ids`` (computed from the ids) or None.
    """
    net = Net(without)
    ids = net.input("ids", ["N", TOKENS], INT64)
    bias = _mask(net, ids, mask)
    x = _embed(net, ids, "token")
    for i in range(layers):
        for part in ("attention", "ffn"):
            name = f"l{i}.{part}"
            main = net.layer_norm(x, f"{name}.norm") if norm_first else x
            main = attention(net, main, main, name, bias) if part == "attention" else _ffn(net, main, name)
            x = net.join(main, x, f"{name}.join")
            x = x if norm_first else net.layer_norm(x, f"{name}.norm")
    return net.model(net.layer_norm(x, "last.norm"))


def decoder(layers: int = 2, cache: bool = False, without: Collection[int] = ()) -> onnx.ModelProto:
    """Token ids [N, T] and the encoder's states [N, S, C] to states [N, T, C]; self-attention, cross-attention, FFN.

    Args:
        cache: past keys and values are inputs of each layer, and present ones outputs, as language models export.
    """
    net = Net(without)
    ids = net.input("ids", ["N", TOKENS], INT64)
    memory = net.input("memory", ["N", "S", WIDTH], channels=WIDTH)
    x = _embed(net, ids, "token")
    present: list[str] = []
    for i in range(layers):
        for part in ("self", "cross", "ffn"):
            name = f"l{i}.{part}"
            main = net.layer_norm(x, f"{name}.norm")
            if part == "ffn":
                main = _ffn(net, main, name)
            elif part == "cross":
                main = attention(net, main, memory, name)
            else:
                main = attention(net, main, main, name, past=present if cache else None)
            x = net.join(main, x, f"{name}.join")
    return net.model(net.layer_norm(x, "last.norm"), *present)


def _embed(net: Net, ids: str, name: str) -> str:
    table = net.weight([10, WIDTH], f"{name}.table")
    tokens = net.op("Gather", [table, ids], name, WIDTH)
    return net.op("Add", [tokens, net.weight([TOKENS, WIDTH], "positions")], f"{name}.positions")


def _mask(net: Net, ids: str, mask: str | None) -> str | None:
    """0 where a token is, -10000 where padding is, [N, 1, 1, T]."""
    if mask is None:
        return None
    if mask == "ids":
        is_padding = net.op("Equal", [ids, net.constant(np.array(0), "padding")], "is_padding")
        hidden = net.op("Cast", [is_padding], "hidden", to=FLOAT)
    else:
        given = net.op("Cast", [net.input("mask", ["N", TOKENS], INT64)], "given", to=FLOAT)
        hidden = net.op("Sub", [net.constant(1.0, "one"), given], "hidden")
    far = net.op("Mul", [hidden, net.constant(-10000.0, "far")], "bias")
    return net.op("Unsqueeze", [far, net.constant(np.array([1, 2]), "axes")], "mask_bias")


def attention(net: Net, x: str, memory: str, name: str, bias: str | None = None, past: list[str] | None = None) -> str:
    heads = {}
    for part, source in (("q", x), ("k", memory), ("v", memory)):
        projected = net.dense(source, f"{name}.{part}", WIDTH)
        shape = net.constant(np.array([0, -1, HEADS, WIDTH // HEADS]), f"{name}.{part}.shape")
        split = net.op("Reshape", [projected, shape], f"{name}.{part}.split")
        heads[part] = net.op("Transpose", [split], f"{name}.{part}.heads", perm=[0, 2, 1, 3])
        if past is not None and part != "q":
            before = net.input(f"{name}.past.{part}", ["N", HEADS, "P", WIDTH // HEADS])
            heads[part] = net.op("Concat", [before, heads[part]], f"{name}.present.{part}", axis=2)
            past.append(heads[part])
    turned = net.op("Transpose", [heads["k"]], f"{name}.turned", perm=[0, 1, 3, 2])
    scores = net.op("MatMul", [heads["q"], turned], f"{name}.scores")
    scores = net.op("Mul", [scores, net.constant((WIDTH // HEADS) ** -0.5, f"{name}.root")], f"{name}.scaled")
    if bias is not None:
        scores = net.op("Add", [scores, bias], f"{name}.masked")
    mixed = net.op("MatMul", [net.op("Softmax", [scores], f"{name}.softmax", axis=-1), heads["v"]], f"{name}.mixed")
    mixed = net.op("Transpose", [mixed], f"{name}.back", perm=[0, 2, 1, 3])
    shape = net.constant(np.array([0, -1, WIDTH]), f"{name}.merged.shape")
    return net.dense(net.op("Reshape", [mixed, shape], f"{name}.merged", WIDTH), f"{name}.o", WIDTH)


def _ffn(net: Net, x: str, name: str) -> str:
    return net.dense(net.relu(net.dense(x, f"{name}.1", 2 * WIDTH), f"{name}.relu"), f"{name}.2", WIDTH)


# -- Kriman et al. 2020, "QuartzNet" ------------------------------------------------------------------------------


def quartznet(blocks: int = 3, repeats: int = 5, without: Collection[int] = ()) -> onnx.ModelProto:
    """1-D time-channel separable convolutions; each block is bridged by a pointwise convolution and BN."""
    net = Net(without)
    x = net.input("audio", ["N", 4, 32])
    x = net.conv_bn_relu(x, "stem", 4, 5, 2, rank=1)
    for block in range(blocks):
        main, width = x, 4 + 2 * block
        for i in range(repeats):
            name = f"b{block}.{i}"
            main = net.conv(main, f"{name}.depthwise", net.channels[main], 7, groups=net.channels[main], rank=1)
            main = net.conv_bn(main, f"{name}.pointwise", width, 1, rank=1)
            main = net.relu(main, f"{name}.relu") if i < repeats - 1 else main

        def skip(x: str = x, block: int = block, width: int = width) -> str:
            return net.conv_bn(x, f"b{block}.bridge", width, 1, rank=1)

        x = net.relu(net.join(main, skip, f"b{block}.join"), f"b{block}.relu")
    return net.model(net.conv(x, "out", 5, 1, rank=1))


# -- Szegedy et al. 2016, "Inception-v4, Inception-ResNet" --------------------------------------------------------


def inception_resnet(without: Collection[int] = ()) -> onnx.ModelProto:
    """Figures 10 and 11: blocks A and B; branches, concatenation, a linear 1x1, scaled down before the join."""
    net = Net(without)
    x = net.conv_bn_relu(net.image(), "stem", 6)
    for i in range(2):
        for kind, branches in (("a", [[1], [1, 3], [1, 3, 3]]), ("b", [[1], [1, (1, 7), (7, 1)]])):
            name, ends = f"{kind}{i}", []
            for b, kernels in enumerate(branches):
                end = x
                for k, kernel in enumerate(kernels):
                    end = net.conv_bn_relu(end, f"{name}.{b}.{k}", 2, kernel)
                ends.append(end)
            main = net.op("Concat", ends, f"{name}.concat", 2 * len(ends), axis=1)
            main = net.conv(main, f"{name}.up", 6, 1, bias=True)
            main = net.op("Mul", [main, net.constant(0.17, f"{name}.scale")], f"{name}.scaled")
            x = net.relu(net.join(main, x, f"{name}.join"), f"{name}.relu")
    return net.model(net.classify(x))


# -- Huang et al. 2017, "Densely Connected Convolutional Networks" ------------------------------------------------


def densenet() -> onnx.ModelProto:
    """Concatenations alone; each BN is followed by a Mul and an Add of computed constants, as Caffe2 exports it."""
    net = Net()
    x = net.conv(net.image(), "stem", 4)
    for i in range(4):
        name, width = f"l{i}", net.channels[x]
        main = net.bn(x, f"{name}.bn")
        for op in ("Mul", "Add"):
            axes = net.constant(np.array([1, 2]), f"{name}.{op}.axes")
            factor = net.op("Unsqueeze", [net.weight([width], f"{name}.{op}.w"), axes], f"{name}.{op}.unsqueeze")
            main = net.op(op, [main, factor], f"{name}.{op}", width)
        main = net.conv(net.relu(main, f"{name}.relu"), name, 2)
        x = net.op("Concat", [x, main], f"{name}.concat", width + 2, axis=1)
    return net.model(net.classify(x))


Build = Callable[..., onnx.ModelProto]

CORPUS: dict[str, tuple[Build, int]] = {
    "cifar resnet, option A": (lambda **o: cifar_resnet(2, "A", **o), 6),
    "cifar resnet, option B": (lambda **o: cifar_resnet(1, "B", **o), 3),
    "resnet 18": (lambda **o: imagenet_resnet(18, **o), 8),
    "resnet 50 by sums": (lambda **o: imagenet_resnet(50, op="Sum", **o), 16),
    "resnext 50": (lambda **o: imagenet_resnet(50, groups=2, **o), 16),
    "preactivation": (lambda **o: preactivation(2, **o), 6),
    "wide resnet": (lambda **o: preactivation(1, 2, True, **o), 3),
    "se-resnet": (se_resnet, 4),
    "mobilenet v2": (mobilenet_v2, 10),
    "efficientnet b0": (efficientnet_b0, 9),
    "convnext": (lambda **o: convnext((1, 2), **o), 3),
    "u-net": (unet, 2),
    "encoder": (encoder, 4),
    "encoder, mask fed": (lambda **o: encoder(2, "input", **o), 4),
    "encoder, mask computed": (lambda **o: encoder(2, "ids", False, **o), 4),
    "decoder": (decoder, 6),
    "decoder with a cache": (lambda **o: decoder(2, True, **o), 6),
    "quartznet": (lambda **o: quartznet(2, 2, **o), 2),
    "inception-resnet": (inception_resnet, 4),
}
"""Networks by name: what builds one, given ``without``, and how many skip connections it has."""
