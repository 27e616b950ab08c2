"""Random residual graphs: the analysis against brute force, and what every pass must leave true."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from random import Random

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from passes import (
    FoldBatchNorm,
    FoldConstants,
    FoldSkips,
    GateSkips,
    MergeSkips,
    MorphSkips,
    Pass,
    PassError,
    RemoveSkips,
    ShortenSkips,
    find_skips,
)
from tests.passes.net import feeds, run
from tests.passes.networks import Net
from tests.passes.proof import applied

CHANNELS = 2
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STEPS = ["block"] * 6 + [
    "conv", "point", "relu", "bn", "neg", "add", "add", "sum2", "sum3", "mul", "concat", "split", "gate", "shift", "if",
]  # fmt: skip


def graph(seed: int, steps: int) -> onnx.ModelProto:
    """Steps on tensors drawn from all that came before, later ones rather than earlier.

    Drawn by Python's generator and not by hypothesis, whose examples are too small to hold many skips.
    """
    random = Random(seed)
    net = Net()
    tensors = [net.input("image", ["N", CHANNELS, 6, 6])]
    if random.random() < 0.3:
        tensors.append(net.input("side", ["N", CHANNELS, 6, 6]))

    def pick() -> str:
        return tensors[max(len(tensors) - 1 - int(random.expovariate(0.7)), 0)]

    for i in range(steps):
        tensors.append(step(random, net, random.choice(STEPS), f"{i}", pick))
    read = {name for node in net.nodes for name in node.input}
    ends = [t for t in tensors if t not in read] + random.sample(tensors, random.randint(0, 2))
    return net.model(*dict.fromkeys(e for e in [*ends, tensors[-1]] if e not in ("image", "side")))


graphs = st.builds(graph, st.integers(0, 2**32), st.integers(4, 24))


def step(random: Random, net: Net, kind: str, name: str, pick: Callable[[], str]) -> str:
    x = pick()
    name = f"{kind}{name}"
    if kind == "block":
        main = x
        for i in range(random.randint(1, 4)):
            main = step(
                random, net, random.choice(["conv", "conv", "bn", "relu", "shift"]), f"{name}.{i}", lambda x=main: x
            )
        skip = (
            step(random, net, random.choice(["point", "split", "gate"]), name, lambda: x)
            if random.random() < 0.4
            else x
        )
        return net.op(random.choice(["Add", "Sum"]), [main, skip], name)
    if kind in ("conv", "point"):
        return net.conv(x, name, CHANNELS, 3 if kind == "conv" else 1)
    if kind in ("relu", "neg"):
        return net.op(kind.capitalize(), [x], name)
    if kind == "bn":
        return net.bn(x, name)
    if kind in ("add", "mul", "sum2", "sum3"):
        others = [pick() for _ in range(2 if kind == "sum3" else 1)]
        return net.op(kind.strip("23").capitalize(), [x, *others], name)
    if kind == "concat":
        both = net.op("Concat", [x, pick()], f"{name}.both", 2 * CHANNELS, axis=1)
        return net.conv(both, name, CHANNELS, 1)
    if kind == "split":
        halves = [f"{name}.left", f"{name}.right"]
        net.nodes.append(helper.make_node("Split", [x], halves, name=f"{name}.split", axis=1))
        return net.op("Concat", halves[:: random.choice([1, -1])], name, CHANNELS, axis=1)
    if kind == "gate":
        return net.op("Mul", [x, net.constant(np.float32(0.5), f"{name}.gate")], name)
    if kind == "shift":
        shift = net.op("Exp", [net.weight([CHANNELS, 1, 1], f"{name}.w")], f"{name}.exp")
        return net.op("Add", [x, shift], name, CHANNELS)
    z = pick()
    info = helper.make_tensor_value_info("", 1, ["N", CHANNELS, 6, 6])
    branches = {}
    for branch, read in (("then", x), ("else", z)):
        info.name = f"{name}.{branch}.made"
        node = helper.make_node("Relu", [read], [info.name], name=f"{name}.{branch}")
        branches[f"{branch}_branch"] = helper.make_graph([node], branch, [], [info])
    condition = net.constant(np.array(True), f"{name}.condition")
    return net.op("If", [condition], name, CHANNELS, **branches)


# -- brute force --------------------------------------------------------------------------------------------------


class Brute:
    """The words of the design, read literally: every way through the graph is walked."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.maker = {o: n for n in self.graph.node for o in n.output}
        self.inputs = [i.name for i in self.graph.input]

    def reads(self, tensor: str) -> list[str]:
        node = self.maker.get(tensor)
        if node is None:
            return []
        inner = [i for a in node.attribute for n in a.g.node for i in n.input]
        return [*node.input, *inner]

    def reaches(self, tensor: str, without: str | None = None) -> bool:
        """Whether data come from an input, on a way that avoids ``without``."""
        seen, pending = set(), [tensor]
        while pending:
            tensor = pending.pop()
            if tensor == without or tensor in seen:
                continue
            if tensor in self.inputs:
                return True
            seen.add(tensor)
            pending += self.reads(tensor)
        return False

    def ancestors(self, tensor: str) -> set[str]:
        seen, pending = {tensor}, [tensor]
        while pending:
            for read in self.reads(pending.pop()):
                if read not in seen:
                    seen.add(read)
                    pending.append(read)
        return seen

    def fork(self, a: str, b: str) -> str | None:
        """Of the tensors without which nothing reaches either, the one that all the others are ancestors of."""
        common = self.ancestors(a) & self.ancestors(b)
        cuts = [t for t in common if not self.reaches(a, t) and not self.reaches(b, t) and self.reaches(t)]
        return next((t for t in cuts if all(u in self.ancestors(t) for u in cuts)), None)

    def ways(self, tensor: str, fork: str) -> Iterator[int]:
        """The weighted layers of each way from the fork."""
        if tensor == fork:
            yield 0
            return
        for read in dict.fromkeys(self.reads(tensor)):
            if self.reaches(read):
                for way in self.ways(read, fork):
                    yield way + (self.maker[tensor].op_type == "Conv")

    def skips(self) -> dict[str, tuple[str, str, int]]:
        """Join -> fork, main and span."""
        found = {}
        for node in self.graph.node:
            if node.op_type in ("Add", "Sum") and len(node.input) == 2 and all(map(self.reaches, node.input)):
                fork = self.fork(*node.input)
                if fork is None:
                    continue
                depths = {t: max(self.ways(t, fork)) for t in node.input}
                main = max(node.input, key=depths.__getitem__)
                if min(depths.values()) < depths[main]:
                    found[node.name] = (fork, main, depths[main])
        return found


@EXAMPLES
@given(graphs)
def test_the_analysis_finds_what_brute_force_finds(model: onnx.ModelProto) -> None:
    """With a second input there may be more: forks that side inputs go round (see `passes.sides`)."""
    ours = {s.node: (s.fork, s.main, s.span) for s in find_skips(model)}
    literal = Brute(model).skips()
    assert {join: ours.get(join) for join in literal} == literal
    if len(model.graph.input) == 1:
        assert ours.keys() == literal.keys()
    assert [s.number for s in find_skips(model)] == [str(i + 1) for i in range(len(ours))]


@EXAMPLES
@given(graphs, st.randoms(use_true_random=False))
def test_removing_makes_joins_their_main_paths(model: onnx.ModelProto, random: Random) -> None:
    """The outputs are those of a copy in which the joins are identities of their main paths."""
    found = find_skips(model)
    if not found:
        return
    some = random.sample(found, random.randint(1, len(found)))
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for node in copy.graph.node:
        for skip in some:
            if node.name == skip.node:
                node.op_type, node.input[:] = "Identity", [skip.main]
    result = applied(RemoveSkips(skips=tuple(s.number for s in some)), model).model
    inputs = feeds(model)
    for a, b in zip(run(copy, inputs), run(result, inputs), strict=True):
        np.testing.assert_array_equal(a, b)
    untouched(model, result)
    if len(model.graph.input) == 1:  # else a side input may go round fewer joins than before
        left = {s.number for s in find_skips(result)}
        assert left <= {s.number for s in found} - {s.number for s in some}


@EXAMPLES
@given(graphs)
def test_stages_come_to_the_same(model: onnx.ModelProto) -> None:
    if not find_skips(model):
        return
    staged = model
    for stage in (1, 2, 3):
        staged = RemoveSkips(stage=stage).apply(staged).model
        assert staged == RemoveSkips(stage=stage).apply(model).model
    assert staged.graph == RemoveSkips().apply(model).model.graph


@EXAMPLES
@given(graphs)
def test_gates_change_nothing_and_go_without_a_trace(model: onnx.ModelProto) -> None:
    if not find_skips(model):
        return
    gated = applied(GateSkips(), model).model
    inputs = feeds(model)
    for a, b in zip(run(model, inputs), run(gated, inputs), strict=True):
        np.testing.assert_array_equal(a, b)
    untouched(model, gated)
    assert [(s.number, s.node, s.span) for s in find_skips(gated)] == [
        (s.number, s.node, s.span) for s in find_skips(model)
    ]
    assert RemoveSkips().apply(gated).model.graph == RemoveSkips().apply(model).model.graph


@EXAMPLES
@given(graphs, st.sampled_from(["last", "each"]), st.sampled_from(["before-activation", "after-activation"]))
def test_shortened_skips_span_one_layer(model: onnx.ModelProto, keep: str, join: str) -> None:
    found = find_skips(model)
    if not found:
        return
    try:
        result = applied(ShortenSkips(keep=keep, join=join), model)  # type: ignore[arg-type]
    except PassError:
        return
    untouched(model, result.model)
    refused = {note.split()[2] for note in result.notes if "none certainly has" in note}
    # A skip that spanned one layer may span more now, where a piece of another one reaches past its fork.
    left = {note.split()[1] for note in result.notes if "spans one layer already" in note}
    after = find_skips(result.model)
    assert {s.number for s in after if s.span > 1} <= refused | left
    assert {s.number.split(".")[0] for s in after} <= {s.number for s in found}


@EXAMPLES
@given(graphs)
def test_folding_constants_changes_no_output(model: onnx.ModelProto) -> None:
    result = applied(FoldConstants(), model)
    inputs = feeds(model)
    for a, b in zip(run(model, inputs), run(result.model, inputs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(a).max(initial=1))
    assert not any(node.op_type == "Exp" for node in result.model.graph.node)


REWRITERS: list[Pass] = [
    RemoveSkips(), GateSkips(), ShortenSkips(), ShortenSkips(keep="each"), MorphSkips(), FoldConstants(),
    FoldBatchNorm(), FoldSkips(), MergeSkips(),
]  # fmt: skip


@EXAMPLES
@given(graphs, st.sampled_from([rewriter for rewriter in REWRITERS if rewriter.exact]))
def test_exact_means_equal(model: onnx.ModelProto, rewriter: Pass) -> None:
    """And nothing dead is left, and a second time changes nothing (see `applied`)."""
    try:
        result = applied(rewriter, model)
    except PassError:
        return
    inputs = feeds(model)
    for a, b in zip(run(model, inputs), run(result.model, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(a).max(initial=1))


@EXAMPLES
@given(graphs, st.sampled_from(REWRITERS))
def test_what_a_pass_does_not_touch_stays(model: onnx.ModelProto, rewriter: Pass) -> None:
    """Inputs, outputs, and every node that is left: its operator, its attributes, its place among the others."""
    try:
        result = rewriter.apply(model).model
    except PassError:
        return
    assert (model.graph.input, model.graph.output) == (result.graph.input, result.graph.output)
    assert (model.opset_import, model.ir_version) == (result.opset_import, result.ir_version)
    old = {n.name: n for n in model.graph.node}
    kept = [n for n in result.graph.node if n.name in old]
    assert [n.name for n in kept] == [n.name for n in model.graph.node if n.name in {k.name for k in kept}]
    weights = {i.name for i in model.graph.initializer}
    for node in kept:
        before = old[node.name]
        assert (node.op_type, node.domain) == (before.op_type, before.domain)
        if not set(before.input) & weights:  # else the pass may have given the layer other weights
            assert node.attribute == before.attribute


@EXAMPLES
@given(graphs, st.permutations(list(range(60))), st.sampled_from(REWRITERS))
def test_names_do_not_matter(model: onnx.ModelProto, order: list[int], rewriter: Pass) -> None:
    """Renaming everything and any pass commute, up to the names of what the pass adds."""
    one, other = outcome(rewriter, model), outcome(rewriter, renamed(model, order))
    assert one == other


def outcome(rewriter: Pass, model: onnx.ModelProto) -> list[object] | str:
    """What the pass makes of the graph, names apart; or its remedy where it refuses."""
    try:
        return shape_of(rewriter.apply(model).model)
    except PassError as error:
        return error.remedy


def renamed(source: onnx.ModelProto, order: list[int]) -> onnx.ModelProto:
    """A copy in which every name is another."""
    copy = onnx.ModelProto.FromString(source.SerializeToString())
    names: dict[str, str] = {"": ""}
    fresh = itertools.chain((f"n{i}" for i in order), (f"m{i}" for i in itertools.count()))

    def new(name: str) -> str:
        if name not in names:
            names[name] = next(fresh)
        return names[name]

    def rename(node: onnx.NodeProto) -> None:
        node.name = new(node.name)
        node.input[:], node.output[:] = [new(n) for n in node.input], [new(n) for n in node.output]
        for attribute in node.attribute:
            for inner in attribute.g.node:
                rename(inner)
            for value in attribute.g.output:
                value.name = new(value.name)

    for field in ("input", "output", "initializer", "value_info"):
        for item in getattr(copy.graph, field):
            item.name = new(item.name)
    for node in copy.graph.node:
        rename(node)
    return copy


def shape_of(model: onnx.ModelProto) -> list[object]:
    """All of a graph but its names, for which there are numbers in the order in which they are met."""
    numbers: dict[str, int] = {"": -1}

    def number(names: Iterable[str]) -> list[int]:
        return [numbers.setdefault(name, len(numbers)) for name in names]

    def node_shape(node: onnx.NodeProto) -> list[object]:
        inner = [node_shape(n) for a in node.attribute for n in a.g.node]
        plain = sorted(a.SerializeToString() for a in node.attribute if not a.HasField("g"))
        return [node.op_type, node.domain, number(node.input), inner, plain, number(node.output)]

    graph = model.graph
    nodes = [node_shape(node) for node in graph.node]
    ends = [number(i.name for i in graph.input), number(o.name for o in graph.output)]
    weights = {}
    for weight in graph.initializer:
        bare = onnx.TensorProto()
        bare.CopyFrom(weight)
        bare.ClearField("name")
        weights[numbers[weight.name]] = bare.SerializeToString()
    return [nodes, *ends, weights]


def untouched(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """What is there before and after differs in what it reads and makes, at most; order and weights stay."""
    old = {n.name: n for n in before.graph.node}
    kept = [n for n in after.graph.node if n.name in old]
    assert [n.name for n in kept] == [n.name for n in before.graph.node if n.name in {k.name for k in kept}]
    for node in kept:
        copy = onnx.NodeProto()
        copy.CopyFrom(old[node.name])
        copy.input[:], copy.output[:] = node.input, node.output
        assert copy == node
    weights = {i.name: i for i in before.graph.initializer}
    assert all(i == weights.get(i.name, i) for i in after.graph.initializer)
    assert (before.graph.input, before.graph.output) == (after.graph.input, after.graph.output)
