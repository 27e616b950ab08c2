"""Models made to break what reads them: giants in few bytes, endless recursion, places that must not be read."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

FLOAT = TensorProto.FLOAT

GIANTS = (2**20, 2**27, 2**31 - 1, 2**31, 2**32, 2**33, 2**40, 2**62, 2**63 - 1)


@dataclass(frozen=True)
class Bomb:
    """What lies in the model's folder: the model, or the bytes of its file, data files, symbolic links."""

    model: onnx.ModelProto | bytes
    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


Builder = Callable[[random.Random, Path], Bomb]
bombs: dict[str, Builder] = {}


def bomb(build: Builder) -> Builder:
    """Make ``build`` known by its name."""
    bombs[build.__name__.replace("_", " ")] = build
    return build


def parsed(text: str) -> onnx.ModelProto:
    """A model with opset 17 from the text of its graph and functions."""
    return parser.parse_model('<ir_version: 8, opset_import: ["" : 17, "local" : 1]>\n' + text)


def residual() -> onnx.ModelProto:
    """Two matrices with a skip over each; ``w`` is a weight, big enough to lie in another file."""
    model = parsed(
        """
        net (float[N, 16] x) => (float[N, 16] y) {
            a = MatMul (x, w)
            b = Add (a, x)
            c = Relu (b)
            d = MatMul (c, w)
            y = Add (d, c)
        }
        """
    )
    value = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(value, "w"))
    return model


# -- graphs that are no graphs -------------------------------------------------------------------------------------


@bomb
def cycle(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    node = rng.choice(model.graph.node)
    node.input[rng.randrange(len(node.input))] = rng.choice(["y", "d", "c", node.output[0]])
    return Bomb(model)


@bomb
def made_twice(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    way = rng.randrange(4)
    if way == 0:
        rng.choice(model.graph.node).output[0] = rng.choice(["x", "w", "a", "b", "c"])
    elif way == 1:
        model.graph.initializer.append(model.graph.initializer[0])
    elif way == 2:
        model.graph.input.append(model.graph.input[0])
    else:
        model.graph.output.append(model.graph.output[0])
    return Bomb(model)


@bomb
def dangling(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    way = rng.randrange(4)
    if way == 0:
        rng.choice(model.graph.node).input[0] = "nowhere"
    elif way == 1:
        model.graph.output[0].name = "nowhere"
    elif way == 2:
        del model.graph.initializer[:]
    else:
        del model.graph.input[:]
    return Bomb(model)


@bomb
def shuffled(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Bomb(model)


# -- giants ----------------------------------------------------------------------------------------------------------


@bomb
def weight_of_absurd_size(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    weight = model.graph.initializer[0]
    del weight.dims[:]
    weight.dims.extend(
        rng.choice(
            (
                [rng.choice(GIANTS)],
                [2**20, 2**20],
                [2**32, 2**32],
                [-1, 16],
                [0, 16],
                [-16, -16],
                [1] * 5000,
                [16, 2**40],
            )
        )
    )
    way = rng.randrange(4)
    if way == 1:
        weight.raw_data = b""
    elif way == 2:
        weight.ClearField("raw_data")
    elif way == 3:
        weight.ClearField("raw_data")
        weight.float_data.extend([1.0] * rng.choice((1, 256)))
    return Bomb(model)


@bomb
def weight_of_another_type(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    weight = model.graph.initializer[0]
    weight.data_type = rng.randrange(0, 27)
    if rng.random() < 0.3:
        weight.raw_data = b"\1" * rng.choice((0, 1, 255, 256, 2048))
    return Bomb(model)


@bomb
def input_of_absurd_size(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    value = rng.choice([*model.graph.input, *model.graph.output])
    for dim in value.type.tensor_type.shape.dim:
        dim.dim_value = rng.choice((*GIANTS, 0, -1, 16))
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 1000, 20_000))):
            value.type.tensor_type.shape.dim.add(dim_value=rng.choice((1, 2**31)))
    return Bomb(model)


@bomb
def giant_from_few_bytes(rng: random.Random, outside: Path) -> Bomb:
    """A constant of a few bytes that an operator blows up, once or again and again, in the data path or beside it."""
    giant, other = rng.choice(GIANTS), rng.choice((1, 2, 2**16, 2**31))
    call, constants = rng.choice(
        (
            ("ConstantOfShape (s)", f"int64[2] s = {{{giant}, {other}}}"),
            ("Expand (f, s)", f"int64[2] s = {{{giant}, {other}}}, float f = {{1}}"),
            ("Tile (f, s)", f"int64[1] s = {{{giant}}}, float[1] f = {{1}}"),
            ("Range (zero, s, one)", f"int64 s = {{{giant}}}, int64 zero = {{0}}, int64 one = {{1}}"),
            ("Range (zero, s, f)", "float s = {3e38}, float zero = {0}, float f = {1e-38}"),
            ("Range (zero, zero, zero)", "int64 zero = {0}"),
            ("Pad (f, s)", f"int64[2] s = {{0, {giant}}}, float[1] f = {{1}}"),
            ("Resize (f, , s)", f"float[4] s = {{1, 1, {giant}, {other}}}, float[1, 1, 1, 1] f = {{1}}"),
            ("Resize (f, , , s)", f"int64[4] s = {{1, 1, {giant}, {other}}}, float[1, 1, 1, 1] f = {{1}}"),
            ("OneHot (i, s, f)", f"int64[2] i = {{0, 1}}, int64 s = {{{giant}}}, float[2] f = {{0, 1}}"),
            ("EyeLike (e)", "float[1, 1] e = {1}"),
            ("Trilu (e)", "float[1, 1] e = {1}"),
            (f"RandomNormal <shape = [{giant}, {other}]> ()", "float f = {1}"),
            ("BlackmanWindow (s)", f"int64 s = {{{giant}}}"),
            ("SequenceAt (q, zero)", "int64 zero = {0}"),
            ("CumSum (f, s)", f"int64 s = {{{giant}}}, float[1] f = {{1}}"),
            ("GatherND (f, s)", f"int64[1] s = {{{giant}}}, float[1] f = {{1}}"),
            ("Slice (f, s, s)", f"int64[1] s = {{{giant}}}, float[1] f = {{1}}"),
            ("Reshape (f, s)", f"int64[2] s = {{{giant}, {other}}}, float[1] f = {{1}}"),
            ("Unsqueeze (f, s)", f"int64[2] s = {{{giant}, 0}}, float[1] f = {{1}}"),
            ("TopK_ (f, s)", f"int64[1] s = {{{giant}}}, float[1] f = {{1}}"),
            ("MatMul (col, row)", "float[1, 1] col = {1}, float[1, 1] row = {1}"),
            ('Einsum <equation = "i,j,k,l->ijkl"> (v, v, v, v)', f"float[2000] v = {{{', '.join(['1'] * 2000)}}}"),
        )
    )
    carried = rng.choice(("x", "z"))
    text = f"""
        net (float[1, 1] x) => (float[A, B] y) <float[1, 1] w = {{2}}, float[1, 1] z = {{2}}, {constants}> {{
            g = {call}
            h = Cast <to = 1> (g)
            r = ReduceMax <keepdims = 0> (h)
            m = MatMul (x, w)
            n = Mul (m, r)
            k = Mul ({carried}, r)
            y = Add (n, k)
        }}
        """
    try:
        return Bomb(parsed(text))
    except parser.ParseError:  # a number too large for the text's grammar
        return Bomb(text.encode())


@bomb
def doubled_again_and_again(rng: random.Random, outside: Path) -> Bomb:
    """Each Concat of a tensor with itself is twice as long."""
    doublings = rng.choice((10, 30, 60, 1000))
    lines = [f"t{i + 1} = Concat <axis = 0> (t{i}, t{i})" for i in range(doublings)]
    start = rng.choice(("t0 = Identity (x)", "t0 = Identity (w)"))
    text = f"""
        net (float[1, 1] x) => (float[N, 1] y) <float[1, 1] w = {{2}}> {{
            {start}
            {" ".join(lines)}
            m = MatMul (x, w)
            s = Add (m, x)
            y = Add (s, t{doublings})
        }}
        """
    return Bomb(parsed(text))


@bomb
def window_of_absurd_size(rng: random.Random, outside: Path) -> Bomb:
    """A convolution or pooling whose attributes ask for too much or for nothing."""
    values = (*GIANTS, 0, -1, -(2**31), 1)
    name = rng.choice(("pads", "strides", "dilations", "kernel_shape", "group", "output_padding", "output_shape"))
    value = rng.choice(values)
    listed = {"pads": 4, "group": 0}.get(name, 2)
    attribute = f"{name} = {[value] * listed if listed else value}"
    op, weights = rng.choice((("Conv", ", w"), ("ConvTranspose", ", w"), ("AveragePool", ""), ("MaxPool", "")))
    kernel = "" if name == "kernel_shape" or weights else ", kernel_shape = [1, 1]"
    model = parsed(
        f"""
        net (float[N, 2, 4, 4] x) => (float[N, C, H, W] y) {{
            a = {op} <{attribute}{kernel}> (x{weights})
            b = Relu (a)
            c = Conv (b, w)
            y = Add (c, x)
        }}
        """
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w"))
    return Bomb(model)


@bomb
def loop_without_end(rng: random.Random, outside: Path) -> Bomb:
    """Loops of constants alone, one inside the other, or over data."""
    start, depth = rng.choice(("x", "w")), rng.choice((1, 2, 5))
    model = parsed(
        f"""
        net (float[1, 1] x) => (float[1, 1] y)
        <int64 times = {{{rng.choice(GIANTS)}}}, bool yes = {{1}}, float[1, 1] w = {{2}}> {{
            m = MatMul (x, w)
            s = Add (m, x)
            y = Add (s, looped)
        }}
        """
    )
    loop = helper.make_node("Loop", ["times", "yes", start], ["looped"], body=_nested_loops(depth))
    nodes = [loop, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Bomb(model)


def _nested_loops(depth: int) -> onnx.GraphProto:
    value = helper.make_tensor_value_info
    have, further = f"have{depth}", f"next{depth}"
    if depth == 1:
        work = helper.make_node("Add", [have, have], [further])
    else:
        work = helper.make_node("Loop", ["times", "yes", have], [further], body=_nested_loops(depth - 1))
    return helper.make_graph(
        [helper.make_node("Identity", ["yes"], [f"on{depth}"]), work],
        f"body{depth}",
        [
            value(f"i{depth}", TensorProto.INT64, []),
            value(f"go{depth}", TensorProto.BOOL, []),
            value(have, FLOAT, [1, 1]),
        ],
        [value(f"on{depth}", TensorProto.BOOL, []), value(further, FLOAT, [1, 1])],
    )


# -- depth and number ----------------------------------------------------------------------------------------------


@bomb
def branches_in_branches(rng: random.Random, outside: Path) -> Bomb:
    """If inside If: thirty levels fit protobuf's own limit, more do not."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Identity", ["s"], ["t0"])], "g0", [], [value("t0", FLOAT, None)])
    for level in range(1, rng.choice((3, 15, 29, 32))):
        both = {"then_branch": graph} | ({"else_branch": graph} if level < 8 else {})
        node = helper.make_node("If", ["on"], [f"t{level}"], **both)
        graph = helper.make_graph([node], f"g{level}", [], [value(f"t{level}", FLOAT, None)])
    model = residual()
    model.graph.input.append(value("on", TensorProto.BOOL, []))
    branch = graph.node[0]
    branch.output[0] = "deep"
    model.graph.node.append(helper.make_node("Identity", ["y"], ["s"]))
    model.graph.node.append(branch)
    model.graph.output.append(value("deep", FLOAT, None))
    return Bomb(model)


@bomb
def function_that_calls_itself(rng: random.Random, outside: Path) -> Bomb:
    cycle_length = rng.choice((1, 2, 10))
    texts = [
        f"""<domain: "local", opset_import: ["" : 17, "local" : 1]>
        f{i} (x) => (y) {{ t = local.f{(i + 1) % cycle_length} (x) y = Relu (t) }}"""
        for i in range(cycle_length)
    ]
    graph = "net (float[1, 4] x) => (float[1, 4] y) { m = local.f0 (x) y = Add (m, x) }"
    return Bomb(parsed("\n".join([graph, *texts])))


@bomb
def functions_in_functions(rng: random.Random, outside: Path) -> Bomb:
    """Each calls the next once (deep) or twice (a billion nodes)."""
    calls, depth = rng.choice(((1, 10), (1, 100), (1, 1000), (1, 5000), (2, 10), (2, 30), (2, 60), (10, 9)))
    texts = []
    for i in range(depth):
        body = [f"t{k + 1} = local.f{i + 1} (t{k})" for k in range(calls)] if i < depth - 1 else ["t1 = Relu (t0)"]
        last = len(body)
        texts.append(
            f"""<domain: "local", opset_import: ["" : 17, "local" : 1]>
            f{i} (x) => (y) {{ t0 = Identity (x) {" ".join(body)} y = Identity (t{last}) }}"""
        )
    graph = "net (float[1, 4] x) => (float[1, 4] y) { m = local.f0 (x) y = Add (m, x) }"
    return Bomb(parsed("\n".join([graph, *texts])))


@bomb
def function_in_disguise(rng: random.Random, outside: Path) -> Bomb:
    """A function with a standard operator's name, without nodes, with repeated names, with missing opsets."""
    model = parsed(
        """
        net (float[1, 4] x) => (float[1, 4] y) { m = local.f (x) n = Relu (m) y = Add (n, x) }
        <domain: "local", opset_import: ["" : 17]> f (x) => (y) { y = Relu (x) }
        """
    )
    function = model.functions[0]
    way = rng.randrange(8)
    if way == 0:
        function.domain, function.name = rng.choice((("", "Add"), ("", "Relu"), ("ai.onnx", "Add")))
    elif way == 1:
        del function.node[:]
    elif way == 2:
        model.functions.append(function)
    elif way == 3:
        del function.opset_import[:]
    elif way == 4:
        function.output[0] = rng.choice(("x", "nowhere", ""))
    elif way == 5:
        function.input.extend(["x", "z"])
    elif way == 6:
        function.node[0].input[0] = "nowhere"
    else:
        function.attribute.extend(["alpha", "alpha"])
    return Bomb(model)


@bomb
def very_many(rng: random.Random, outside: Path) -> Bomb:
    """A long chain of skips, many skips over one another, many inputs, many outputs."""
    count = rng.choice((100, 300))
    way = rng.randrange(4)
    model = residual()
    nodes, make = [], helper.make_node
    before = "x"
    for i in range(count):
        fork = {0: before, 1: "x", 2: f"x{i}", 3: before}[way]
        nodes.append(make("MatMul", [before, "w"], [f"m{i}"]))
        nodes.append(make("Add", [f"m{i}", fork], [f"s{i}"]))
        before = f"s{i}"
        if way == 2:
            model.graph.input.append(helper.make_tensor_value_info(f"x{i}", FLOAT, ["N", 16]))
        if way == 3:
            model.graph.output.append(helper.make_tensor_value_info(f"s{i}", FLOAT, ["N", 16]))
    del model.graph.node[:]
    model.graph.node.extend([*nodes, make("Identity", [before], ["y"])])
    return Bomb(model)


@bomb
def long_names(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    long = rng.choice(("x", "[/b]", "é", "\n", "\x1b[31m")) * rng.choice((5000, 1_000_000))
    for node in model.graph.node:
        node.name = long
        for names in (node.input, node.output):
            for slot, name in enumerate(names):
                if name in ("a", "b"):
                    names[slot] = name + long
    if rng.random() < 0.5:
        model.graph.node[0].input[0] = long
    return Bomb(model)


# -- text and metadata ---------------------------------------------------------------------------------------------


@bomb
def no_utf8(rng: random.Random, outside: Path) -> Bomb:
    """Names and texts that are no UTF-8: protobuf takes them, Python does not."""
    model = residual()
    mark = b"Qqqq"
    word = mark.decode()
    way = rng.randrange(9)
    if way == 0:
        model.graph.node[0].name = word
    elif way == 1:
        model.graph.node[0].output[0] = model.graph.node[1].input[0] = word
    elif way == 2:
        model.producer_name = word
    elif way == 3:
        model.metadata_props.add(key=word, value=word)
    elif way == 4:
        model.graph.doc_string = word
    elif way == 5:
        model.graph.node[0].op_type = word
    elif way == 6:
        model.graph.initializer[0].name = word
    elif way == 7:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = word
    else:
        model.graph.node[0].domain = word
    return Bomb(
        model.SerializeToString().replace(mark, rng.choice((b"\xff\xfe\xfd\xfc", b"\xc3\x28ab", b"\xed\xa0\x80a")))
    )


@bomb
def garbage_in_the_records(rng: random.Random, outside: Path) -> Bomb:
    """``graphops.skips`` says what nobody would write."""
    number = rng.choice(
        ("1", "1.2.3.4", "", ".", "-1", "٣", "²", "9" * 5000, "1e9", 3, None, [1], "1." * 1000 + "1", "0", "1\n")
    )
    record = {"number": number, "fork": rng.choice(("x", "nowhere", "")), "join": rng.choice(("b", "y", "", "nowhere"))}
    texts = (
        "",
        "[",
        "null",
        "7",
        '"text"',
        "{}",
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '[{"a":' * 5000,
        "[NaN, Infinity]",
        "9" * 100_000,
        json.dumps([record]),
        json.dumps([record, record]),
        json.dumps([record] * 10_000),
        json.dumps([{"number": "1"}]),
        json.dumps([{"number": f"{i}", "fork": "x", "join": "b"} for i in range(100)]),
        json.dumps([record | {"more": "x" * 100_000}]),
    )
    model = residual()
    for _ in range(rng.choice((1, 1, 2))):
        model.metadata_props.add(key="graphops.skips", value=rng.choice(texts))
    return Bomb(model)


@bomb
def weights_that_are_no_numbers(rng: random.Random, outside: Path) -> Bomb:
    model = residual()
    value = np.full((16, 16), rng.choice((np.nan, np.inf, -np.inf, 3e38, 1e-45)), np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(value, "w"))
    return Bomb(model)


# -- data in other files ---------------------------------------------------------------------------------------------


def _refer(model: onnx.ModelProto, entries: list[tuple[str, str]]) -> onnx.TensorProto:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in entries:
        weight.external_data.add(key=key, value=value)
    return weight


@bomb
def data_elsewhere(rng: random.Random, outside: Path) -> Bomb:
    """Locations that lead out of the folder, or nowhere."""
    secret = outside / "secret.bin"
    location = rng.choice(
        (
            *("../outside/secret.bin", str(secret), f"file://{secret}", "below/../../outside/secret.bin"),
            *("./../outside/secret.bin", "..\\outside\\secret.bin", "C:\\secret.bin", "//outside/secret.bin", "~"),
            *(
                "~/secret.bin",
                "$HOME/secret.bin",
                "link.bin",
                "links/secret.bin",
                "loop.bin",
                "dangling.bin",
                "up/secret.bin",
            ),
            *("", ".", "..", "/", "below", "model.onnx", "w.bin\0", "w.bin\0/../secret", "/dev/zero", "/dev/stdin"),
            *(
                "/proc/self/mem",
                "x" * 300,
                "x/" * 3000,
                "w.bin/",
                "./w.bin",
                "below/../w.bin",
                "W.BIN",
                "w.bin ",
                "é.bin",
            ),
        )
    )
    model = residual()
    entries = [("location", location)]
    if rng.random() < 0.3:  # which of two does one believe?
        entries.insert(rng.randrange(2), ("location", "w.bin"))
    if rng.random() < 0.5:
        entries += [("offset", "0"), ("length", "1024")]
    weight = _refer(model, entries)
    way = rng.randrange(5)
    if way == 1:
        constant = helper.make_node("Constant", [], ["w2"])
        constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(weight)
        model.graph.node.insert(0, constant)
    elif way == 2:
        model.training_info.add().initialization.initializer.append(weight)
    elif way == 3:
        function = model.functions.add(name="f", domain="local", output=["o"])
        function.opset_import.add(domain="", version=17)
        constant = function.node.add(op_type="Constant", output=["o"])
        constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(weight)
    links = {
        "link.bin": str(secret),
        "links": str(outside),
        "loop.bin": "loop.bin",
        "dangling.bin": "nowhere.bin",
        "up": "..",
    }
    files = {"w.bin": b"\0" * 1024, "below/b.bin": b"\0" * 1024}
    return Bomb(model, files, links)


@bomb
def data_beyond_the_file(rng: random.Random, outside: Path) -> Bomb:
    """Offsets and lengths that the data file does not have."""
    numbers = (
        "0",
        "-1",
        "1",
        "1024",
        "1025",
        "4096",
        str(2**31),
        str(2**63),
        str(2**64),
        "1e3",
        "0x10",
        "",
        " 5",
        "\u0661",
        "9" * 5000,
    )
    model = residual()
    entries = [("location", "w.bin"), ("offset", rng.choice(numbers)), ("length", rng.choice(numbers))]
    if rng.random() < 0.3:
        entries = rng.sample(entries, 2)
    _refer(model, entries)
    if rng.random() < 0.3:
        model.graph.initializer[0].dims[0] = rng.choice((*GIANTS, -1, 0))
    if rng.random() < 0.2:
        model.graph.initializer[0].raw_data = b"\0" * 1024
    return Bomb(model, {"w.bin": b"\0" * rng.choice((0, 1, 1023, 1024, 5000))})
