"""The corpus's small networks; `python -m examples.corpus` checks the large ones as well, and every skip alone."""

from __future__ import annotations

import pytest

from examples.corpus.check import check
from examples.corpus.networks import Network, corpus
from tests.passes.networks import Net

LIGHT = [network for network in corpus() if network.light]


@pytest.mark.parametrize("network", LIGHT, ids=lambda network: network.name)
def test_as_its_paper_has_it(network: Network) -> None:
    """The skips of the paper, graphs that are valid and run without them, and exact passes that are."""
    outcome = check(network, every=False)
    assert outcome.faults == []
    assert "remove" not in outcome.refused


def test_outputs_that_are_no_numbers_prove_nothing() -> None:
    net = Net()
    x = net.image(4)
    model = net.model(net.op("Log", [net.op("Add", [net.conv(x, "conv", 4), x], "join")], "log"))
    outcome = check(Network("log", "", {"identity": 1}, lambda: model, light=True))
    assert "gate-skips changes an output by nan of its largest" in outcome.faults


def test_both_exporters_have_written_each_network() -> None:
    exported = {network.name.rsplit(" (", 1)[0] for network in corpus() if "PyTorch" in network.name}
    by = {who: {n.name.rsplit(" (", 1)[0] for n in corpus() if who in n.name} for who in ("torchscript", "dynamo")}
    assert exported
    assert exported == by["torchscript"] == by["dynamo"]
