"""Which nodes of a graph to draw."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from passes.errors import UserError
from passes.skips import Skip, find_skips


@dataclass(frozen=True)
class Region:
    """A part of a graph that data flow through.

    Attributes:
        model: the graph's model.
        nodes: the nodes in topological order, those left out that only compute constants.
        starts: the tensors at which data come in.
    """

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    starts: frozenset[str]


@dataclass(frozen=True)
class Block:
    """Where a skip connection lies, in words that hold after passes have worked on it.

    Attributes:
        start: its fork.
        ends: tensors behind its join, the one furthest behind first.
        reader: the node that reads what the block makes, and which of its inputs that is; for models in which the
            join is gone and nothing follows it that keeps its name.
    """

    start: str
    ends: tuple[str, ...]
    reader: tuple[str, int] | None


def whole(model: onnx.ModelProto) -> Region:
    """The whole graph."""
    weights = {tensor.name for tensor in model.graph.initializer}
    starts = frozenset(value.name for value in model.graph.input) - weights
    return _region(model, starts, [value.name for value in model.graph.output])


def between(model: onnx.ModelProto, start: str, end: str) -> Region:
    """What lies between tensors ``start`` and ``end``.

    Raises:
        UserError: when there is no such tensor, or nothing lies between them.
    """
    known = {name for node in model.graph.node for name in node.output} | {v.name for v in model.graph.input}
    for name in (start, end):
        if name not in known:
            raise UserError(f"The model has no tensor {name!r}; `graphops skips --json` names forks and joins.")
    region = _region(model, frozenset({start}), [end])
    if not region.nodes:
        raise UserError(f"No path leads from {start!r} to {end!r}; swap them or choose others.")
    return region


def block_of(model: onnx.ModelProto, number: str) -> Block:
    """The block of skip ``number``.

    Raises:
        UserError: when the model has no such skip.
    """
    found = {skip.number: skip for skip in find_skips(model)}
    if number not in found:
        listed = ", ".join(found) or "none"
        raise UserError(f"The first model has no skip {number!r}; it has {listed}.")
    return _block(model, found[number])


def _block(model: onnx.ModelProto, skip: Skip) -> Block:
    """From the fork to behind what alone reads the join (an activation), if something does."""
    readers = _readers(model, skip.join)
    ends: tuple[str, ...] = (skip.join,)
    reader = (readers[0][0].name, readers[0][1]) if readers and readers[0][0].name else None
    if len(readers) == 1 and len(readers[0][0].output) == 1 and len([i for i in readers[0][0].input if i]) == 1:
        ends = (readers[0][0].output[0], skip.join)
    return Block(skip.fork, ends, reader)


def around_skip(model: onnx.ModelProto, block: Block) -> Region:
    """The part of ``model`` that stands where ``block`` stood in the model it was found in.

    Raises:
        UserError: when neither end of it is there any more.
    """
    made = {name for node in model.graph.node for name in node.output}
    ends = [end for end in block.ends if end in made]
    if not ends and block.reader is not None:
        name, slot = block.reader
        ends = [node.input[slot] for node in model.graph.node if node.name == name]
    if not ends:
        raise UserError(f"Nothing in the model is called like the block's end {block.ends[0]!r}; use --from and --to.")
    return between(model, block.start, ends[0])


def _region(model: onnx.ModelProto, starts: frozenset[str], ends: list[str]) -> Region:
    """The nodes through which data flow from ``starts`` to ``ends``."""
    reached, after = set(starts), []
    for node in model.graph.node:
        if reached.intersection(node.input):
            reached.update(filter(None, node.output))  # what is left out has no name
            after.append(node)
    wanted, chosen = set(ends), []
    for node in reversed(after):
        if wanted.intersection(node.output):
            wanted.update(filter(None, node.input))
            chosen.append(node)
    return Region(model, tuple(reversed(chosen)), starts)


def _readers(model: onnx.ModelProto, tensor: str) -> list[tuple[onnx.NodeProto, int]]:
    return [(node, slot) for node in model.graph.node for slot, name in enumerate(node.input) if name == tensor]
