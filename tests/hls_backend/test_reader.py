"""QDQ graphs are read as well: their dataflow computes what onnxruntime computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from hls_backend import LoweringError, lower
from hls_backend.execute import execute, run
from hls_backend.host import prepare
from hls_backend.reader import read
from tests.hls_backend.checks import kinds, same_as_qonnx
from tests.hls_backend.graphs import Net

RANDOM = np.random.default_rng(0)


def qdq(symmetric: bool, explicit_zero: bool = True, per_channel: bool = True) -> onnx.ModelProto:
    """Conv, ReLU, join, pooling and Gemm, as onnxruntime's static quantisation writes them."""
    kind, zero = (np.int8, 0) if symmetric else (np.uint8, 121)
    values: dict[str, np.ndarray] = {}
    nodes: list[onnx.NodeProto] = []

    def value(name: str, array: object, dtype: object = np.float32) -> str:
        values[name] = np.asarray(array, dtype)  # type: ignore[arg-type]
        return name

    def pair(x: str, name: str, scale: float) -> str:
        zeros = [value(f"{name}_zero", zero, kind)] if explicit_zero or zero else []
        parameters = [value(f"{name}_scale", scale), *zeros]
        nodes.append(helper.make_node("QuantizeLinear", [x, *parameters], [f"{name}_q"], name=f"{name}_quantize"))
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [name], name=f"{name}_dequantize")
        )
        return name

    def weights(name: str, shape: tuple[int, ...], bits: type, scale: object, axis: int | None) -> str:
        limits = np.iinfo(np.int8)
        stored = (
            RANDOM.integers(limits.min + 1, limits.max, shape) if bits is np.int8 else RANDOM.integers(-99, 99, shape)
        )
        zeros = np.full(np.shape(scale), 0 if symmetric or bits is np.int32 else 5)
        parameters = [value(f"{name}_scale", scale), value(f"{name}_zero", zeros, bits)]
        attributes = {} if axis is None else {"axis": axis}
        inputs = [value(f"{name}_q", stored, bits), *parameters]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}_dequantize", **attributes))
        return name

    x = pair("x", "x0", 0.02)
    steps = RANDOM.uniform(0.005, 0.02, 4) if per_channel else 0.01
    w = weights("w", (4, 3, 3, 3), np.int8, steps, 0 if per_channel else None)
    b = weights("b", (4,), np.int32, 0.02 * steps, 0 if per_channel else None)
    nodes.append(helper.make_node("Conv", [x, w, b], ["c"], name="conv", pads=[1] * 4, kernel_shape=[3, 3]))
    nodes.append(helper.make_node("Relu", ["c"], ["r"], name="relu"))
    y = pair("r", "r0", 0.05)
    nodes.append(helper.make_node("Conv", [y, weights("w2", (4, 4, 1, 1), np.int8, 0.01, None)], ["d"], name="conv2"))
    nodes.append(helper.make_node("Add", [pair("d", "d0", 0.05), y], ["s"], name="join"))
    nodes.append(helper.make_node("GlobalAveragePool", [pair("s", "s0", 0.07)], ["g"], name="pool"))
    nodes.append(helper.make_node("Flatten", [pair("g", "g0", 0.03)], ["f"], name="flatten"))
    nodes.append(
        helper.make_node("Gemm", ["f", weights("v", (5, 4), np.int8, 0.01, None)], ["y"], name="gemm", transB=1)
    )
    graph = helper.make_graph(
        nodes,
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(array, name) for name, array in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("symmetric", "explicit_zero"), [(True, True), (True, False), (False, True)])
def test_it_computes_what_onnxruntime_computes(symmetric: bool, explicit_zero: bool, per_channel: bool) -> None:
    model = qdq(symmetric, explicit_zero, per_channel)
    images = RANDOM.normal(0, 1.2, (20, 3, 6, 6)).astype(np.float32)
    lowered = same_as_qonnx(model, images, most_on_boundary=20)
    plain = lower(model, classify=False).dataflow
    (out,) = plain.outputs
    logits = run(plain, prepare(plain, images))[out.name][:, 0, 0] * out.scale + out.bias
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (wanted,) = session.run(None, {"x": images})
    one_level = 0.03 * 0.01 * 127  # what a value at the very boundary of the last quantiser makes of a logit
    assert np.abs(logits - wanted).max() <= 2 * one_level
    assert np.isclose(logits, wanted, atol=1e-4).mean() > 0.8
    assert kinds(lowered.dataflow)["ElementwiseAdd"] == 1


def test_a_reshape_of_one_image_takes_any_number() -> None:
    """PyTorch writes allowzero, under which a 0 would not stand for the size of the input."""
    net = Net((3, 2, 2))
    flat = net.node("Reshape", net.conv(net.quant("x", 0.5, 4), 3, 4, (2, 2)), net.value([1, 4], np.int64), allowzero=1)
    same_as_qonnx(net.model(net.quant(flat, 0.5, 4)), net.images(3))


@pytest.mark.parametrize("batch", [1, 4])
def test_a_reshape_of_a_batch_that_the_host_computes_takes_any_number(batch: int) -> None:
    net = Net((12,))
    x = net.quant(net.node("Reshape", "x", net.value([batch, 3, 2, 2], np.int64)), 0.5, 4)
    same_as_qonnx(net.model(net.conv(x, 3, 4, (2, 2)), batch=batch), net.images(batch))


@pytest.mark.parametrize("some", [{"end": 1}, {"start": 0, "end": 1}, {"start": -4, "end": -3}])
def test_some_sizes_of_a_shape_are_computed(some: dict[str, int]) -> None:
    """As PyTorch writes ``x.view(x.size(0), -1)`` for any number of images."""
    net = Net((3, 2, 2))
    y = net.conv(net.quant("x", 0.5, 4), 3, 4, (2, 2))
    shape = net.node("Concat", net.node("Shape", y, **some), net.value([-1], np.int64), axis=0)
    same_as_qonnx(net.model(net.quant(net.node("Reshape", y, shape), 0.5, 4)), net.images(3))


@pytest.mark.parametrize("shape", [[1, -1, 1, 1], [1, 4, 1, 1]])
def test_a_reshape_of_a_quantised_constant_stays(shape: list[int]) -> None:
    """Brevitas writes one for its QuantScaleBias; channels are no images."""
    net = Net((2, 4, 4))
    factor = net.quant(net.value([0.5, 1, -2, 1.5]), 0.1, 8, signed=True)
    scaled = net.node(
        "Mul", net.conv(net.quant("x", 0.5, 4), 2, 4), net.node("Reshape", factor, net.value(shape, np.int64))
    )
    same_as_qonnx(net.model(net.quant(scaled, 0.5, 4, signed=True)), net.images(3))


@pytest.mark.parametrize("where", ["nodes", "inputs"])
def test_constants_stand_where_exporters_put_them(where: str) -> None:
    """TorchScript's exporter writes scales as Constant nodes; some list every initialiser among the inputs."""
    model = qdq(True)
    written = onnx.ModelProto()
    written.CopyFrom(model)
    graph = written.graph
    if where == "nodes":
        nodes = [helper.make_node("Constant", [], [i.name], value=i) for i in graph.initializer] + list(graph.node)
        del graph.initializer[:], graph.node[:]
        graph.node.extend(nodes)
    else:
        graph.input.extend(helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in graph.initializer)
    images = RANDOM.normal(0, 1.2, (4, 3, 6, 6)).astype(np.float32)
    assert np.array_equal(execute(lower(written).dataflow, images), execute(lower(model).dataflow, images))


def test_a_tensor_may_be_dequantised_for_each_of_its_readers() -> None:
    """As onnxruntime and PyTorch leave it."""
    model = qdq(True)
    nodes = {node.name: node for node in model.graph.node}
    wanted = lower(model).dataflow
    again = onnx.NodeProto()
    again.CopyFrom(nodes["r0_dequantize"])
    again.name, again.output[0] = "again", "again"
    nodes["join"].input[1] = "again"
    model.graph.node.insert(list(model.graph.node).index(nodes["join"]), again)
    found, images = lower(model).dataflow, RANDOM.normal(0, 1.2, (3, 3, 6, 6)).astype(np.float32)
    assert kinds(found) == kinds(wanted)
    np.testing.assert_array_equal(execute(found, images), execute(wanted, images))


def test_a_tensor_dequantised_to_two_scales_is_two_tensors() -> None:
    model = qdq(True)
    (node,) = [n for n in model.graph.node if n.name == "r0_dequantize"]
    again = helper.make_node("DequantizeLinear", [node.input[0], "s0_scale", node.input[2]], ["again"])
    (join,) = [n for n in model.graph.node if n.name == "join"]
    join.input[1] = "again"
    model.graph.node.insert(list(model.graph.node).index(join), again)
    with pytest.raises(LoweringError, match="no half of a pair"):
        lower(model)


def clipped(low: int, high: int, kind: object) -> onnx.ModelProto:
    """A convolution whose outputs QuantizeLinear, Clip and DequantizeLinear quantise."""
    net = Net((2, 4, 4))
    parameters = net.value(0.1), net.value(0, kind)
    made = net.node("QuantizeLinear", net.conv(net.quant("x", 0.5, 4), 2, 4), *parameters)
    made = net.node("Clip", made, net.value(low, kind), net.value(high, kind))
    return net.model(net.node("DequantizeLinear", made, *parameters))


@pytest.mark.parametrize(("low", "high", "kind"), [(-8, 7, np.int8), (-7, 7, np.int8), (0, 15, np.uint8)])
def test_a_clip_to_fewer_bits(low: int, high: int, kind: object) -> None:
    (out,) = lower(clipped(low, high, kind)).dataflow.outputs
    assert (out.type.min(), out.type.max()) == (-8 if low < 0 else 0, high)


@pytest.mark.parametrize(
    ("low", "high", "kind"), [(0, 14, np.uint8), (0, 7, np.int8), (-3, 7, np.int8), (2, 7, np.int8)]
)
def test_a_clip_to_what_no_bits_hold_is_refused(low: int, high: int, kind: type) -> None:
    with pytest.raises(LoweringError, match=rf"Clip .* it clips {kind.__name__} to {low} to {high}; clip to the least"):
        lower(clipped(low, high, kind))


def test_activations_of_four_bits_as_a_type_are_refused() -> None:
    net = Net((2, 4, 4))
    parameters = net.value(0.1), net.value(0, helper.tensor_dtype_to_np_dtype(TensorProto.INT4))
    made = net.node("QuantizeLinear", net.conv(net.quant("x", 0.5, 4), 2, 4), *parameters)
    with pytest.raises(LoweringError, match="it makes int4; quantise to int8 or uint8, with a Clip to fewer bits"):
        lower(net.model(net.node("DequantizeLinear", made, *parameters), opset=21))


def test_the_integers_type_may_be_an_attribute() -> None:
    net = Net((2, 4, 4))
    scale = net.value(0.1)
    made = net.node("QuantizeLinear", net.conv(net.quant("x", 0.5, 4), 2, 4), scale, output_dtype=TensorProto.INT8)
    (out,) = lower(net.model(net.node("DequantizeLinear", made, scale), opset=21)).dataflow.outputs
    assert out.type.signed()


@pytest.mark.parametrize("kind", [np.int8, helper.tensor_dtype_to_np_dtype(TensorProto.INT4)])
def test_weights_whose_inputs_are_one_block_are_quantised_by_channel(kind: object) -> None:
    """More blocks than one have scales that differ within an output, which no matrix of integers has."""

    def model(blocks: int) -> onnx.ModelProto:
        net = Net((8,))
        parameters = net.value(net.random.uniform(0.1, 0.2, (blocks, 4))), net.value(np.zeros((blocks, 4)), kind)
        stored = net.value(net.random.integers(-7, 8, (8, 4)), kind)
        weights = net.node("DequantizeLinear", stored, *parameters, axis=0, block_size=8 // blocks)
        return net.model(net.node("MatMul", net.quant("x", 0.25, 4), weights), opset=21)

    same_as_qonnx(model(1), RANDOM.normal(0, 1.2, (20, 8)).astype(np.float32))
    with pytest.raises(LoweringError, match="the scale of its weights differs between inputs"):
        lower(model(4))


def test_half_a_pair_is_refused() -> None:
    model = qdq(True)
    node = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.output[0] == "r0")
    node.input[1] = "d0_scale"
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    next(i for i in broken.graph.initializer if i.name == "d0_scale").CopyFrom(
        numpy_helper.from_array(np.float32(0.5), "d0_scale")
    )
    with pytest.raises(LoweringError, match="no half of a pair"):
        lower(broken)


def test_the_model_given_is_not_modified() -> None:
    model = qdq(True)
    before = model.SerializeToString(deterministic=True)
    read(model)
    assert model.SerializeToString(deterministic=True) == before
