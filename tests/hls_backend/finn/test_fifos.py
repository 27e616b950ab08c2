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
    """Of the stream that leaves the fork for the join."""
    joined = insert_width_converters(design.dataflow)
    skip = joined.outputs_of(only(joined, DuplicateStreams))[1]
    assert skip.target, "it does not leave the dataflow"
    assert skip.target.layer == only(joined, AddStreams).name
    depth = depths(joined, "finn")[skip.name]
    assert depth > 100
    return depth


def test_the_skip_waits_behind_its_fork(the_block: Designer) -> None:
    design = the_block()
    dataflow = for_finn(design.dataflow, "finn-plus")
    found = attributes(dataflow)
    assert found.outputs[only(dataflow, DuplicateStreams).name][1] == skip_depth(design)
    assert found.inputs[only(dataflow, AddStreams).name] == [2, 2]


def test_behind_a_width_converter_it_waits_before_its_join(the_block: Designer) -> None:
    """Seen in FINN+: a converter stands between the fork and the join, and the FIFO behind it takes its depth."""
    design = the_block()
    join = only(design.dataflow, AddStreams)
    dataflow = for_finn(design.dataflow.fold({join.name: Folding(pe=4)}), "finn-plus")
    found = attributes(dataflow)
    joined = insert_width_converters(dataflow)
    skip = joined.inputs_of(only(joined, AddStreams))[1]
    wanted = depths(joined, "finn")
    before = wanted.get(f"{skip.name}_dwc_in", 2)
    assert found.outputs[only(dataflow, DuplicateStreams).name][1] == before
    assert found.inputs[join.name][1] == wanted.get(skip.name, 2)
    assert max(before, found.inputs[join.name][1]) > 25


def test_fifos_are_numbered_as_finn_does(the_block: Designer) -> None:
    """In FINN+, the FIFO of the fork's last output is StreamingFIFO_rtl_1, behind that of the input."""
    design = the_block()
    dataflow = for_finn(design.dataflow, "finn-plus")
    found = inserted(dataflow)
    first, second, third, *_ = found
    assert (first, second) == (2, skip_depth(design))
    assert third == attributes(dataflow).outputs[only(dataflow, DuplicateStreams).name][0]
    converters = len(insert_width_converters(design.dataflow).layers) - len(design.dataflow.layers)
    assert converters > 0
    assert len(found) == len(design.dataflow.streams) + converters
    wanted = depths(insert_width_converters(dataflow), "finn").values()
    assert sorted(d for d in found if d > 2) == sorted(wanted)


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
