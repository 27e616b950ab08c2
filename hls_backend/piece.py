"""The pieces of a graph between an accumulator and the next quantiser, evaluated as they stand, in any precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hls_backend.elementwise import affine, direction
from hls_backend.errors import LoweringError
from hls_backend.layout import Layout
from hls_backend.reference import evaluator
from passes.graph import Node, label


@dataclass(frozen=True, eq=False)
class Piece:
    """Elementwise nodes from one tensor to another, both of one layout.

    Attributes:
        nodes: in topological order; every input is ``source``, made by a node before, or constant.
        source, result: the tensors' names.
        layout: of both.
        constants: the nodes' constant inputs by name.
        opset: the default domain's version.
    """

    nodes: tuple[Node, ...]
    source: str
    result: str
    layout: Layout
    constants: Mapping[str, np.ndarray]
    opset: int

    def then(self, node: Node, constants: Mapping[str, np.ndarray]) -> Piece:
        """This piece with ``node`` after it."""
        both = {**self.constants, **constants}
        return Piece((*self.nodes, node), self.source, node.outputs[0].name, self.layout, both, self.opset)

    def beside(self, other: Piece) -> Piece:
        """The nodes of two pieces from one source; the result is still this one's."""
        nodes = tuple(dict.fromkeys((*self.nodes, *other.nodes)))
        return Piece(nodes, self.source, self.result, self.layout, {**self.constants, **other.constants}, self.opset)

    @cached_property
    def _evaluator(self) -> Callable[[np.ndarray], np.ndarray]:
        return evaluator(self.nodes, self.constants, self.source, self.result, self.opset, np.float64)

    def evaluate(self, values: np.ndarray) -> np.ndarray:
        """The piece in float64.

        Args:
            values: float64 [n, channels].

        Returns:
            The results, likewise.

        Raises:
            LoweringError: when the piece is not one function a channel, or makes no number.
        """
        if not self.nodes:
            return values
        try:
            result = self._evaluator(self.layout.spread(values))
        except Exception as error:
            raise self._refusal(f"it cannot be evaluated ({error})") from error
        gathered = self.layout.gather(result)
        if gathered is None or gathered.shape != values.shape:
            raise self._refusal("it differs between pixels")
        if np.isnan(gathered).any():
            reason = "it makes no number of some integers that it may be given"
            raise LoweringError(label(self._without_number(values)), reason, "put a Clip to its domain before it")
        return gathered

    def _without_number(self, values: np.ndarray) -> Node:
        """The first node that makes NaN of some of ``values``."""
        for end, node in enumerate(self.nodes, 1):
            part = replace(self, nodes=self.nodes[:end], result=node.outputs[0].name)
            if np.isnan(part._evaluator(self.layout.spread(values))).any():
                return node
        raise AssertionError("the last node made NaN")

    def _refusal(self, reason: str) -> LoweringError:
        return LoweringError(label(self.nodes[-1]), reason, "make it one function a channel, or take it out")

    def direction(self, channels: int) -> np.ndarray | None:
        """1, -1 or 0 a channel where the whole piece rises, falls or is constant; None where that is not known."""
        total = np.ones(channels, int)
        for node in self.nodes:
            own = self.node_direction(node, channels)
            if own is None:
                return None
            total = total * own
        return total

    def node_direction(self, node: Node, channels: int) -> np.ndarray | None:
        """As `direction`, of one node; None also where two branches meet."""
        slot = self._only_slot(node)
        own = None if slot is None else direction(node, self.constants, slot)
        return None if own is None else self._per_channel(own, node, channels)

    def _only_slot(self, node: Node) -> int | None:
        """The one input of ``node`` that is not constant."""
        slots = [i for i, t in enumerate(node.inputs) if t.name and t.name not in self.constants]
        return slots[0] if len(slots) == 1 else None

    def affine(self, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Factor and summand a channel, in float64, where the piece is affine; else None."""
        factor, summand = np.ones(channels), np.zeros(channels)
        for node in self.nodes:
            slot = self._only_slot(node)
            own = None if slot is None else affine(node, self.constants, slot)
            if own is None:
                return None
            by, plus = (self._per_channel(part, node, channels) for part in own)
            if by is None or plus is None:
                return None
            factor, summand = factor * by, summand * by + plus
        return factor, summand

    def _per_channel(self, value: np.ndarray, node: Node, channels: int) -> np.ndarray | None:
        return self.layout.per_channel(value, channels, on_axis_1=node.op == "BatchNormalization")
