"""Each layer's integers, cycles, foldings and FINN node."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hls_backend import Folding, Layer
from hls_backend.dataflow import Flavour
from hls_backend.datatypes import least, named
from hls_backend.layers import (
    MVAU,
    VVAU,
    AddStreams,
    ChannelwiseOp,
    ConvolutionInputGenerator,
    DuplicateStreams,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Pool,
    StreamingDataWidthConverter,
    StreamingFIFO,
    Thresholding,
    channel_padding,
)

RANDOM = np.random.default_rng(0)
UINT2, INT4, INT8 = named("UINT2"), named("INT4"), named("INT8")
SIGNS = RANDOM.choice([-1, 1], (16, 144))

EXAMPLES: list[Layer] = [
    FMPadding("pad", (5, 6), 4, UINT2, (1, 2, 0, 1)),
    ConvolutionInputGenerator("window", (6, 7), 4, INT4, (3, 2), (1, 2)),
    ConvolutionInputGenerator("depthwise", (6, 7), 4, INT4, (3, 2), (2, 1), depthwise=True),
    MVAU("mvau", (3, 2), RANDOM.integers(-7, 8, (6, 12)), INT4, UINT2, named("INT9")),
    VVAU("vvau", (3, 2), RANDOM.integers(-7, 8, (4, 3, 2)), INT4, UINT2, named("INT9")),
    Thresholding("few", (3, 2), np.sort(RANDOM.integers(-8, 8, (4, 3)), axis=1), -1, INT4, INT4),
    Thresholding("many", (3, 2), np.sort(RANDOM.integers(-128, 128, (4, 40)), axis=1), 0, INT8, named("UINT6")),
    DuplicateStreams("fork", (3, 2, 4), INT4, 3),
    AddStreams("add", (3, 2, 4), (INT4, UINT2)),
    ChannelwiseOp("bias", (3, 2), "add", np.array([-3, 0, 200, 7]), INT4, named("INT9")),
    ChannelwiseOp("sign", (3, 2), "mul", np.array([-1, 1, -1, 1]), INT4, named("INT5")),
    Pool("pool", (3, 2), 4, (2, 2), INT4),
    GlobalAccPool("sum", (3, 2, 4), INT4),
    LabelSelect("label", 6, INT8),
    StreamingDataWidthConverter("dwc", (3, 2, 4), (1, 1, 24), INT4, 1, 12),
    StreamingFIFO("fifo", (3, 2, 4), INT4, 2, 100),
]


def integers(layer: Layer, images: int = 3) -> list[np.ndarray]:
    """Anything that the layer's inputs can be."""
    return [
        RANDOM.integers(int(port.type.min()), int(port.type.max()) + 1, (images, *port.shape)) for port in layer.inputs
    ]


@pytest.mark.parametrize("layer", EXAMPLES, ids=lambda layer: layer.name)
def test_what_goes_out_fits_its_port(layer: Layer) -> None:
    made = layer.execute(*integers(layer))
    assert len(made) == len(layer.outputs)
    for array, port in zip(made, layer.outputs, strict=True):
        assert array.shape == (3, *port.shape)
        assert array.dtype.kind in "iu"
        assert array.min() >= port.type.min()
        assert array.max() <= port.type.max()


@pytest.mark.parametrize("layer", EXAMPLES, ids=lambda layer: layer.name)
def test_every_folding_divides_what_passes(layer: Layer) -> None:
    assert Folding() in layer.foldings()
    cycles = []
    for folding in layer.foldings():
        folded = layer.fold(folding)
        for port in (*folded.inputs, *folded.outputs):
            assert port.size % port.lanes == 0
            assert port.width == port.lanes * port.type.bitwidth()
        cycles.append((folding.pe * folding.simd, folded.cycles))
        assert folded.resources().luts > 0
        assert [port.shape for port in folded.outputs] == [port.shape for port in layer.outputs]
    fastest, slowest = max(cycles), min(cycles)
    assert fastest[1] <= slowest[1]
    with pytest.raises(ValueError, match="cannot be folded"):
        layer.fold(Folding(7, 7))


@pytest.mark.parametrize("layer", EXAMPLES, ids=lambda layer: layer.name)
@pytest.mark.parametrize("flavour", ["finn-plus", "finn-main"])
def test_the_finn_node_carries_the_folding(layer: Layer, flavour: str) -> None:
    folded = layer.fold(layer.foldings()[-1])
    parameters = folded.finn_parameters(flavour)  # type: ignore[arg-type]
    names = [f"in{i}" for i in range(len(layer.inputs))] + list(parameters)
    node = folded.finn_node(names, [f"out{i}" for i in range(len(layer.outputs))], flavour)  # type: ignore[arg-type]
    found = {a.name: a for a in node.attribute}
    assert found["backend"].s == b"fpgadataflow"
    for name, value in (("PE", folded.folding.pe), ("SIMD", folded.folding.simd)):
        if name in found:
            assert found[name].i == value
    for values, type in parameters.values():
        assert values.dtype == np.float32
        assert type.allowed(values).all() if type.name != "BINARY" else set(np.unique(values)) <= {0, 1}


def test_the_join_has_two_names() -> None:
    add = AddStreams("add", (1, 1, 4), (INT4, INT4))
    assert (add.finn_op("finn-plus"), add.finn_op("finn-main")) == ("ElementwiseAdd", "AddStreams")


# -- integers ----------------------------------------------------------------------------------------------------


def test_windows_come_row_by_row_channels_last() -> None:
    layer = ConvolutionInputGenerator("w", (4, 5), 2, INT8, (2, 3), (2, 1))
    (x,) = integers(layer, 1)
    (found,) = layer.execute(x)
    for row, column in product(range(2), range(3)):
        expected = x[0, 2 * row : 2 * row + 2, column : column + 3]
        np.testing.assert_array_equal(found[0, row, column], expected.reshape(-1))


def test_a_matrix_for_every_pixel() -> None:
    weights = RANDOM.integers(-128, 128, (5, 300))
    layer = MVAU("m", (2, 2), weights, INT8, INT8, named("INT24"))
    (x,) = integers(layer)
    np.testing.assert_array_equal(layer.execute(x)[0], np.einsum("nhwi,oi->nhwo", x, weights))


def test_a_kernel_for_every_channel() -> None:
    layer = VVAU("v", (2, 2), RANDOM.integers(-8, 8, (5, 3, 3)), INT4, INT8, named("INT16"))
    (x,) = integers(layer)
    windows = x.reshape(3, 2, 2, 3, 3, 5)
    np.testing.assert_array_equal(layer.execute(x)[0], np.einsum("nhwijc,cij->nhwc", windows, layer.weights))


def test_sums_beyond_what_float32_holds_are_exact() -> None:
    """Odd ones above 2**24."""
    weights, count = np.full((1, 1201), 127), 1201
    units: list[Layer] = [
        MVAU("m", (1, 1), weights, INT8, INT8, named("INT26")),
        VVAU("v", (1, 1), weights[..., None], INT8, INT8, named("INT26")),
    ]
    for unit in units:
        (found,) = unit.execute(np.full((1, 1, 1, count), 127))
        assert found.reshape(-1).tolist() == [127 * 127 * count]


@pytest.mark.parametrize("steps", [1, 3, 15, 16, 255])
def test_thresholds_count_those_that_are_reached(steps: int) -> None:
    thresholds = np.sort(RANDOM.integers(-500, 500, (3, steps)), axis=1)
    layer = Thresholding("t", (4, 4), thresholds, -2, named("INT10"), least(-2, steps - 2))
    (x,) = integers(layer)
    np.testing.assert_array_equal(layer.execute(x)[0], (x[..., None] >= thresholds).sum(axis=-1) - 2)


def test_thresholds_must_rise() -> None:
    with pytest.raises(ValueError, match="must rise"):
        Thresholding("t", (1, 1), np.array([[3, 2]]), 0, INT4, UINT2)


def test_the_first_of_equal_labels_wins() -> None:
    layer = LabelSelect("l", 4, INT8)
    x = np.array([[1, 5, 5, 0], [-3, -3, -9, -3]]).reshape(2, 1, 1, 4)
    np.testing.assert_array_equal(layer.execute(x)[0].reshape(-1), [1, 0])


@pytest.mark.parametrize(("channels", "before", "after"), [(16, 8, 8), (6, 3, 3), (4, 0, 2), (5, 1, 0)])
def test_channels_are_padded_as_columns_of_groups(channels: int, before: int, after: int) -> None:
    layer = channel_padding("p", (2, 3), channels, INT4, before, after)
    x = RANDOM.integers(-8, 8, (2, 2, 3, channels))
    (found,) = layer.execute(x.reshape(2, *layer.inputs[0].shape))
    expected = np.pad(x, ((0, 0), (0, 0), (0, 0), (before, after)))
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


# -- cycles ------------------------------------------------------------------------------------------------------


def test_the_block_s_cycles() -> None:
    """16 channels, 32x32, PE 2, SIMD 16: FINN+ and RTL both take 73,728 cycles a frame."""
    layer = MVAU("m", (32, 32), SIGNS, named("BIPOLAR"), UINT2, named("INT10"), folding=Folding(2, 16))
    assert layer.cycles == layer.finn_cycles == 73_728


@pytest.mark.parametrize(
    ("layer", "simd", "cycles", "finn_cycles"),
    [
        # As finn/custom_op/fpgadataflow/rtl/convolutioninputgenerator_rtl.py computes them: fill, then rows.
        (ConvolutionInputGenerator("w", (34, 34), 16, UINT2, (3, 3)), 16, 9216, 71 + 32 * 288),
        (ConvolutionInputGenerator("w", (34, 34), 16, UINT2, (3, 3)), 1, 147_456, (71 + 32 * 288) * 16),
        (ConvolutionInputGenerator("w", (33, 33), 16, UINT2, (3, 3), (2, 2)), 4, 9216, (69 + 16 * 144) * 4),
        (ConvolutionInputGenerator("w", (32, 32), 16, UINT2, (1, 1), (2, 2)), 4, 4096, 4098),
        (ConvolutionInputGenerator("w", (1, 20), 4, UINT2, (1, 3)), 2, 108, 110),
        (ConvolutionInputGenerator("w", (1, 20), 4, UINT2, (1, 3), (1, 2), True), 2, 54, 56 + 2 * 2 - 2),
        (ConvolutionInputGenerator("w", (20, 1), 4, UINT2, (3, 1), (2, 1), True), 2, 54, 56 + 2 * 2 - 2),
        (ConvolutionInputGenerator("w", (10, 10), 4, UINT2, (2, 2), (2, 2), True), 2, 200, 24 + 5 * (40 + 5) + 20),
        (FMPadding("p", (32, 32), 16, UINT2, (1, 1, 1, 1)), 4, 34 * 34 * 4, 34 * 34 * 4),
    ],
)
def test_window_and_padding_cycles(layer: Layer, simd: int, cycles: int, finn_cycles: int) -> None:
    folded = layer.fold(Folding(simd=simd))
    assert folded.cycles == cycles
    assert folded.finn_cycles == finn_cycles


def test_narrower_is_cheaper() -> None:
    wide = MVAU("m", (4, 4), RANDOM.integers(-127, 128, (16, 16)), INT8, INT8, named("INT20"), folding=Folding(4, 4))
    narrow = MVAU("m", (4, 4), SIGNS[:, :16], named("BIPOLAR"), UINT2, named("INT8"), folding=Folding(4, 4))
    assert narrow.resources().luts < wide.resources().luts
    assert narrow.resources().luts < narrow.fold(Folding(16, 16)).resources().luts


# -- FINN --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", ["finn-plus", "finn-main"])
@pytest.mark.parametrize(
    ("base", "steps", "output"),
    [(0, 3, "UINT2"), (-1, 3, "INT3"), (-7, 14, "INT4"), (-4, 3, "INT3"), (0, 177, "UINT8"), (0, 1, "UINT2")],
)
def test_finn_s_thresholds_fill_its_search_tree(base: int, steps: int, output: str, flavour: Flavour) -> None:
    """As many levels as the output has bits, or FINN's memories and its tree disagree; and the same function."""
    thresholds = np.sort(RANDOM.integers(-150, 150, (4, steps)), axis=1)
    layer = Thresholding("t", (3, 2), thresholds, base, INT8, named(output))
    attributes, (found, type) = layer.finn_attributes(flavour), layer.finn_parameters(flavour)["thresholds"]
    assert attributes["numSteps"] == found.shape[1]
    assert int(attributes["numSteps"]).bit_length() == layer.output_type.bitwidth()
    assert attributes["weightDataType"] == type.name
    assert type.min() <= found.min()
    assert found.max() <= type.max()
    if flavour == "finn-main":
        assert found.shape[1] == 2 ** layer.output_type.bitwidth() - 1
    x = np.arange(-128, 128)
    clamped = np.clip(x, type.min(), type.max())  # as hardware does where its thresholds are narrower
    for channel in range(4):
        expected = (x[:, None] >= thresholds[channel]).sum(axis=1) + base
        counted = (clamped[:, None] >= found[channel]).sum(axis=1) + attributes["ActVal"]
        np.testing.assert_array_equal(counted, expected)


@pytest.mark.parametrize(
    ("weights", "type", "device", "style"),
    [
        ([[-7, 7]], "INT4", "xc7z020clg400-1", "rtl"),
        ([[-8, 7]], "INT4", "xc7z020clg400-1", "hls"),
        ([[-8, 7]], "INT4", "xczu7ev-ffvc1156-2-e", "rtl"),
        ([[-1, 1]], "INT2", "xczu7ev-ffvc1156-2-e", "hls"),
        ([[3, 9]], "UINT4", "xczu7ev-ffvc1156-2-e", "hls"),
    ],
)
def test_finn_s_choice_of_hls_and_rtl(weights: list[list[int]], type: str, device: str, style: str) -> None:
    layer = MVAU("m", (1, 1), np.array(weights), named(type), INT4, named("INT12"))
    assert layer.finn_style(device) == style


def test_finn_takes_no_stride_beyond_the_image() -> None:
    layer = ConvolutionInputGenerator("w", (6, 2), 3, INT4, (1, 2), (1, 3))
    assert layer.windows == (6, 1)
    assert layer.finn_attributes("finn-plus")["Stride"] == [1, 2]


@pytest.mark.parametrize(
    ("flavour", "ops"), [("finn-plus", ["ElementwiseAdd", "ElementwiseMul"]), ("finn-main", 2 * ["ChannelwiseOp"])]
)
def test_constants_a_channel_have_two_names(flavour: Flavour, ops: list[str]) -> None:
    layers = [ChannelwiseOp("c", (3, 2), f, np.arange(4), INT4, INT8) for f in ("add", "mul")]
    assert [layer.finn_op(flavour) for layer in layers] == ops
    shape = [1, 3, 2]
    for layer in layers:
        attributes = layer.finn_attributes(flavour)
        assert attributes.get("numInputVectors", attributes.get("lhs_shape", [])[:3]) == shape
