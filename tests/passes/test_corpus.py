"""The corpus's small networks; `python -m examples.corpus` checks the large ones as well, and every skip alone."""

from __future__ import annotations

import pytest

from examples.corpus.check import check
from examples.corpus.networks import Network, corpus

LIGHT = [network for network in corpus() if network.light]


@pytest.mark.parametrize("network", LIGHT, ids=lambda network: network.name)
def test_as_its_paper_has_it(network: Network) -> None:
    """The skips of the paper, graphs that are valid and run without them, and exact passes that are."""
    outcome = check(network, every=False)
    assert outcome.faults == []
    assert outcome.found == dict(sorted(network.skips.items()))
    assert "remove" not in outcome.refused
    assert outcome.largest <= 1e-4


def test_both_exporters_have_written_each_network() -> None:
    exported = {network.name.rsplit(" (", 1)[0] for network in corpus() if "PyTorch" in network.name}
    by = {who: {n.name.rsplit(" (", 1)[0] for n in corpus() if who in n.name} for who in ("torchscript", "dynamo")}
    assert exported == by["torchscript"] == by["dynamo"]
