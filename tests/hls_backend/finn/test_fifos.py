"""FIFO depths as FINN's attributes, and in the order of its FIFOs."""

from __future__ import annotations

import pytest

from hls_backend import Folding, insert_width_converters
from hls_backend.design import Design
from hls_backend.fifo import depths
from hls_backend.finn.fifos import attributes, inserted
from hls_backend.finn.graph import for_finn
from hls_backend.finn.order import by_level
from hls_backend.layers import AddStreams, DuplicateStreams
from tests.hls_backend.checks import only
from tests.hls_backend.finn.conftest import Designer


def skip_depth(design: Design) -> int:
    (depth,) = depths(insert_width_converters(design.dataflow), "finn").values()
    assert depth > 100
    return depth


def test_the_skip_waits_behind_its_fork(the_block: Designer) -> None:
    design = the_block()
    dataflow = for_finn(design.dataflow, "finn-plus")
    found = attributes(dataflow)
    assert found.outputs[only(dataflow, DuplicateStreams).name] == [2, skip_depth(design)]
    assert found.inputs[only(dataflow, AddStreams).name] == [2, 2]


def test_behind_a_width_converter_it_waits_before_its_join(the_block: Designer) -> None:
    """Seen in FINN+: a converter stands between the fork and the join, and the FIFO behind it takes its depth."""
    design = the_block()
    join = only(design.dataflow, AddStreams)
    converted = for_finn(design.dataflow.fold({join.name: Folding(pe=4)}), "finn-plus")
    found = attributes(converted)
    assert found.outputs[only(converted, DuplicateStreams).name] == [2, 2]
    assert max(found.inputs[join.name]) > 100


def test_fifos_are_numbered_as_finn_does(the_block: Designer) -> None:
    """In FINN+, the FIFO of the fork's last output is StreamingFIFO_rtl_1, behind that of the input."""
    design = the_block()
    found = inserted(for_finn(design.dataflow, "finn-plus"), "finn-plus")
    assert found[:3] == [2, skip_depth(design), 2]
    assert set(found[3:]) == {2}
    converters = len(insert_width_converters(design.dataflow).layers) - len(design.dataflow.layers)
    assert converters > 0
    assert len(found) == len(design.dataflow.streams) + converters


@pytest.mark.parametrize(
    ("nodes", "edges", "expected"),
    [
        ("abc", ["ab", "bc"], "abc"),
        ("cba", ["ab", "bc"], "abc"),
        ("fabcj", ["fa", "ab", "bj", "fc", "cj"], "facbj"),  # c's longest way is as short as a's
    ],
)
def test_nodes_are_kept_by_their_longest_way_from_the_input(nodes: str, edges: list[str], expected: str) -> None:
    assert by_level(list(nodes), [(a, b) for a, b in edges]) == list(expected)
