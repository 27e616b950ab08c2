"""The least sum of factors over discrete variables, by eliminating one variable after another.

Nonserial dynamic programming (Bertelè and Brioschi, 1972; bucket elimination: Dechter, 1999). Exact. Time and memory
are those of the largest table, a product of the sizes of variables that meet in it: small for a graph that is nearly
a chain, such as a residual network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

Variable = str

LARGEST = 2**25
"""Entries of a table, 8 bytes each, that is still made."""


class TooLargeError(Exception):
    """A table would have more than `LARGEST` entries."""


@dataclass(frozen=True, eq=False)
class Factor:
    """A cost for each choice of some variables: ``costs`` has one axis each; infinity forbids a choice."""

    variables: tuple[Variable, ...]
    costs: np.ndarray


def minimise(sizes: Mapping[Variable, int], factors: Iterable[Factor]) -> tuple[float, dict[Variable, int]]:
    """The least sum, and a choice that has it (of equal ones, always the same).

    Args:
        sizes: how many choices each variable has, at least one.
        factors: to be added up.

    Returns:
        Infinity, and any choice, where all choices are forbidden.

    Raises:
        TooLargeError: when too many variables meet.
    """
    left = list(factors)
    eliminated: list[tuple[Variable, tuple[Variable, ...], np.ndarray]] = []
    remaining = dict(sizes)
    total = 0.0
    while remaining:
        variable = min(remaining, key=lambda name: _table(name, left, sizes))
        if _table(variable, left, sizes) > LARGEST:
            raise TooLargeError
        touching = [factor for factor in left if variable in factor.variables]
        left = [factor for factor in left if variable not in factor.variables]
        others = tuple(sorted({v for factor in touching for v in factor.variables} - {variable}))
        scope = (*others, variable)
        table = np.zeros([sizes[v] for v in scope])
        for factor in touching:
            table = table + _spread(factor, scope)
        best = table.argmin(axis=-1)
        eliminated.append((variable, others, best))
        least = np.take_along_axis(table, best[..., None], axis=-1)[..., 0]
        if others:
            left.append(Factor(others, least))
        else:
            total += float(least)
        del remaining[variable]
    chosen: dict[Variable, int] = {}
    for variable, others, best in reversed(eliminated):
        chosen[variable] = int(best[tuple(chosen[v] for v in others)])
    return total, chosen


def _table(variable: Variable, factors: list[Factor], sizes: Mapping[Variable, int]) -> int:
    """The size of the table that eliminating ``variable`` makes."""
    scope = {v for factor in factors if variable in factor.variables for v in factor.variables} | {variable}
    return prod(sizes[v] for v in scope)


def _spread(factor: Factor, scope: tuple[Variable, ...]) -> np.ndarray:
    """The factor's costs with an axis for each variable of ``scope``, those that it does not have of size 1."""
    order = sorted(range(len(factor.variables)), key=lambda i: scope.index(factor.variables[i]))
    costs = factor.costs.transpose(order)
    sizes = iter(costs.shape)
    return costs.reshape([next(sizes) if v in factor.variables else 1 for v in scope])
