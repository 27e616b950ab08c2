"""Which skip connections a graph has.

A *join* adds two tensors that both carry data from the graph's inputs. A *skip connection* is a join fed by two
paths from one *fork*, the nearest tensor through which everything that reaches the join flows. Of the two the *main
path* has more weighted layers, counted along its longest way, the *skip path* fewer; on a tie there is no skip.
Nothing here looks at names or at patterns of operators.

Where side inputs (a mask, a second sequence) reach the join past every fork, `passes.sides` looks for the fork.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import onnx
import onnx_graphsurgeon as gs

from passes.flow import Flow, Origin
from passes.geometry import fill_of
from passes.graph import Editor, Node, Shape, attributes, is_standard, is_unknown
from passes.joins import addends, is_join
from passes.refusal import Refusal
from passes.requantise import is_quantiser
from passes.sides import Sides

Kind = Literal["identity", "padding", "projection", "other"]

METADATA = "graphops.skips"
"""The metadata_props key under which the first pass that rewires skips keeps number, fork and join of each."""

_PADDING = frozenset(
    "Slice Pad AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool Concat Split Gather Squeeze "
    "Unsqueeze Reshape Flatten Transpose Expand ConstantOfShape Crop SpaceToDepth DepthToSpace "
    "QLinearAveragePool QLinearGlobalAveragePool QLinearConcat".split()
)
_AFFINE = frozenset(
    "Conv ConvTranspose Gemm MatMul BatchNormalization Identity Dropout Slice Pad AveragePool "
    "GlobalAveragePool Concat Split Gather Squeeze Unsqueeze Reshape Flatten Transpose Expand Neg Sub Add "
    "Sum ReduceMean ReduceSum".split()
)


@dataclass(frozen=True)
class Skip:
    """One skip connection; tensors are given by name.

    Attributes:
        number: ``"3"``, or ``"3.1"`` for a piece of skip 3, counted in topological order of the joins.
        node: the name of the node that joins (its output's, where it has none).
        join: what the join makes.
        fork: where the two paths part.
        main: what the main path brings to the join.
        skip: what the skip path brings to the join.
        kind: ``identity`` (nothing but Identity and quantisers), ``padding`` (slicing, padding, pooling, no weights),
            ``projection`` (weights) or ``other``.
        span: weighted layers on the main path.
        linear: the main path holds one weighted layer and everything else on both paths is affine.
        gate: the constant scalar that multiplies the skip path, if any.
        shape: the join's shape, None where it cannot be inferred.
        streaming_bits: what a dataflow design must hold of the fork while the main path fills, in bits.
        map_bits: the fork's whole map, in bits.
    """

    number: str
    node: str
    join: str
    fork: str
    main: str
    skip: str
    kind: Kind
    span: int
    linear: bool
    gate: str | None = None
    shape: Shape | None = None
    streaming_bits: int | None = None
    map_bits: int | None = None


def find_skips(model: onnx.ModelProto, bits: int = 32) -> list[Skip]:
    """The skip connections of ``model`` in topological order of their joins.

    Args:
        model: functions are not looked into; ``inline-functions`` flattens them first.
        bits: the width of an activation that no quantiser gives one.

    Raises:
        ModelError: when the graph is none that ONNX allows.
    """
    from passes.buffers import streaming_elements, width

    editor = Editor(model)
    skips = []
    for found in analyse(editor):
        fork = editor.tensor(found.fork)
        shape = editor.shape(fork)
        sizes = [d for d in (shape or ())[1:] if isinstance(d, int)]
        whole = math.prod(sizes) if shape is not None and len(sizes) == len(shape) - 1 else None
        joined = editor.shape(editor.tensor(found.join))
        rows = streaming_elements(editor, found)
        each = width(editor, found, bits)
        skips.append(
            replace(
                found,
                shape=None if joined is None else tuple(None if is_unknown(d) else d for d in joined),
                streaming_bits=None if rows is None else rows * each,
                map_bits=None if whole is None else whole * each,
            )
        )
    return skips


def gates(model: onnx.ModelProto) -> list[str]:
    """The initialisers that gate one skip connection and do nothing else, in the skips' order."""
    editor = Editor(model)
    return [skip.gate for skip in analyse(editor) if skip.gate is not None and is_own_gate(editor, skip)]


def analyse(editor: Editor) -> list[Skip]:
    """As `find_skips`, on a graph being edited, without the shapes and buffers (which no rewiring needs)."""
    flow, sides = Flow.of(editor), Sides(editor)
    found: list[tuple[Node, Flow, str]] = []
    for node in editor.nodes:
        if is_join(node) and all(flow.carries(t) for t in addends(node)):
            fork = flow.common_dominator(*addends(node))
            if fork is not None:
                found.append((node, flow, fork))
            else:
                found.extend((node, *way) for way in sides.fork(node))
    described = [(_describe(editor, way, node, fork), node) for node, way, fork in found]
    skips = [(skip, node) for skip, node in described if skip is not None]
    numbers = _numbers([skip.join for skip, _ in skips], read_records(editor))
    for number, (_, node) in zip(numbers, skips, strict=True):
        editor.joins.setdefault(number, node)
    return [replace(skip, number=number) for number, (skip, _) in zip(numbers, skips, strict=True)]


def _numbers(joins: list[str], records: list[dict[str, Any]]) -> list[str]:
    """The numbers of the skips with these joins, in topological order, from what earlier passes recorded.

    Other tools rename tensors between two passes, some even give one join's name to the next. So where there are as
    many skips as there should be, but not of those names, they are taken in order.
    """
    known = {r["join"]: r["number"] for r in records if not r.get("out")}
    if len(known) == len(joins) and known.keys() != set(joins):
        return list(known.values())
    count = max((int(r["number"].split(".")[0]) for r in records), default=0)
    fresh = (str(n) for n in itertools.count(count + 1))
    return [known[join] if join in known else next(fresh) for join in joins]


def _describe(editor: Editor, flow: Flow, node: Node, fork: str) -> Skip | None:
    """The skip that ``node`` ends, not numbered yet; None on a tie."""
    main, skip = sorted(addends(node), key=flow.layers, reverse=True)
    if flow.layers(main) == flow.layers(skip):
        return None
    base = flow.layers(editor.tensor(fork))
    span = flow.layers(main) - base
    return Skip(
        number="",
        node=node.name or node.outputs[0].name,
        join=node.outputs[0].name,
        fork=fork,
        main=main.name,
        skip=skip.name,
        kind=_kind(editor, flow, skip, fork, flow.layers(skip) > base),
        span=span,
        linear=span == 1 and _is_linear(editor, flow, main, skip, fork),
        gate=_gate(editor, flow, skip, fork),
    )


def region(editor: Editor, flow: Flow, end: gs.Variable, fork: str) -> Iterator[Node]:
    """The nodes on any way from ``fork`` to ``end``, walked backwards."""
    seen: set[int] = set()
    pending = [end]
    while pending:
        tensor = pending.pop()
        node = editor.producer(tensor)
        if tensor.name == fork or node is None or id(node) in seen or not flow.carries(tensor):
            continue
        seen.add(id(node))
        yield node
        pending.extend(t for t in editor.read_by(node) if flow.carries(t))


def _kind(editor: Editor, flow: Flow, skip: gs.Variable, fork: str, weighted: bool) -> Kind:
    if weighted:
        return "projection"
    kind: Kind = "identity"
    for node in region(editor, flow, skip, fork):
        if _is_identity(editor, node) or _gate_of(editor, flow, node) is not None:
            continue
        if node.op not in _PADDING:
            return "other"
        kind = "padding"
    return kind


def _is_identity(editor: Editor, node: Node) -> bool:
    return is_quantiser(editor, node) or node.op in ("Identity", "Dropout")


def _is_linear(editor: Editor, flow: Flow, main: gs.Variable, skip: gs.Variable, fork: str) -> bool:
    weighted = 0
    for node in region(editor, flow, main, fork):
        weighted += flow.is_weighted(node)
        if weighted > 1 or not is_affine(flow, node):
            return False
    return all(is_affine(flow, node) for node in region(editor, flow, skip, fork))


def is_affine(flow: Flow, node: Node) -> bool:
    """Whether the node's output is an affine function of the data that flow into it."""
    carrying = [t for t in node.inputs if flow.carries(t)]
    others = [t for t in node.inputs if t.name and not flow.carries(t)]
    if not is_standard(node) or any(flow.origin(t) > Origin.SHAPES for t in others):
        return False
    if node.op in ("Mul", "Conv", "ConvTranspose", "Gemm", "MatMul"):
        return len(carrying) == 1
    if node.op in ("Div", "Pad", "Slice", "Gather", "Reshape", "Expand"):
        return not any(flow.carries(t) for t in node.inputs[1:])
    if node.op == "BatchNormalization":
        return len(carrying) == 1 and not attributes(node).get("training_mode", 0)
    return node.op in _AFFINE


def _gate(editor: Editor, flow: Flow, skip: gs.Variable, fork: str) -> str | None:
    """The gate nearest to the join. Between the two is nothing but what makes zeros of zeros."""
    tensor = skip
    while tensor.name != fork:
        node = editor.producer(tensor)
        if node is None:
            return None
        gate = _gate_of(editor, flow, node)
        if gate is not None:
            return gate
        carried = [t for t in editor.read_by(node) if flow.carries(t)]
        if len(carried) != 1 or not _keeps_zeros(editor, node):
            return None
        tensor = carried[0]
    return None


def _keeps_zeros(editor: Editor, node: Node) -> bool:
    """Whether the node makes zeros of zeros, as far as that is known."""
    if node.op == "Pad":
        try:
            return fill_of(editor, node) == 0
        except Refusal:
            return False
    if node.op in ("Concat", "QLinearConcat", "BipolarQuant", "MultiThreshold"):
        return False
    return _is_identity(editor, node) or node.op in _PADDING


def _gate_of(editor: Editor, flow: Flow, node: Node) -> str | None:
    """The name of the constant scalar by which ``node`` multiplies data, if that is what it does."""
    if node.op != "Mul" or not is_standard(node):
        return None
    constants = [t for t in node.inputs if not flow.carries(t)]
    is_gate = len(constants) == 1 and flow.origin(constants[0]) is Origin.CONSTANT and editor.size(constants[0]) == 1
    return constants[0].name if is_gate else None


def is_own_gate(editor: Editor, skip: Skip) -> bool:
    """Whether the skip has a gate that is an initialiser and gates nothing else, so that it can be changed."""
    if skip.gate is None or editor.initializer(skip.gate) is None:
        return False
    return editor.is_private(editor.tensor(skip.gate))


def join_of(editor: Editor, skip: Skip) -> tuple[Node, int]:
    """The node that joins, and which of its inputs the main path is."""
    node = editor.producer(editor.tensor(skip.join))
    assert node is not None, "a join is made by a node"
    return node, [t.name for t in node.inputs].index(skip.main)


def read_records(editor: Editor) -> list[dict[str, Any]]:
    """Number, fork and join of each skip as the last rewiring pass left them, and whether it is out.

    In the order of their numbers; empty before the first such pass, and where somebody else wrote the text.
    """
    try:
        records = json.loads(editor.metadata(METADATA) or "[]")
    except (ValueError, RecursionError):
        return []
    return records if isinstance(records, list) and _are_records(records) else []


def _are_records(records: list[Any]) -> bool:
    """Whether these are records, numbered without a gap (1, 2, 3.1, 3.2, ...), each with a join of its own."""
    for record in records:
        if not isinstance(record, dict) or not all(isinstance(record.get(k), str) for k in ("number", "fork", "join")):
            return False
        if not re.fullmatch(r"[1-9][0-9]{0,8}(\.[1-9][0-9]{0,8})?", record["number"]):
            return False
    numbers = [r["number"] for r in records]
    whole = [int(n.split(".")[0]) for n in numbers]
    joins = [r["join"] for r in records if not r.get("out")]
    return (
        len(set(numbers)) == len(numbers)
        and len(set(joins)) == len(joins)
        and sorted(set(whole)) == list(range(1, len(set(whole)) + 1))
    )


def write_records(
    editor: Editor, skips: list[Skip], pieces: dict[str, list[Skip]] | None = None, short: Iterable[str] = ()
) -> None:
    """Keep the numbers of ``skips``, and of those that this pass or earlier ones took out.

    Args:
        editor: the graph, rewired.
        skips: what `analyse` found before.
        pieces: for a skip that was replaced, by its number, the skips that stand for it now.
        short: numbers of skips that `shorten-skips` is done with, whatever other skips make of their spans.
    """
    records: dict[str, dict[str, Any]] = {r["number"]: r for r in read_records(editor)}
    for skip in skips:
        record = records.setdefault(skip.number, {"number": skip.number, "fork": skip.fork})
        made = editor.joins[skip.number].outputs
        record |= {"join": made[0].name} if made and made[0].name else {"join": skip.join, "out": True}
    for number, replacements in (pieces or {}).items():
        if replacements:
            records.pop(number, None)
        for skip in replacements:
            records[skip.number] = {"number": skip.number, "fork": skip.fork, "join": skip.join}
    for number in short:
        records[number]["short"] = True
    ordered = sorted(records.values(), key=lambda r: [int(part) for part in r["number"].split(".")])
    editor.set_metadata(METADATA, json.dumps(ordered))
