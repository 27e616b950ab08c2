"""`graphops diff`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graphops.cli.conftest import Graphops


@pytest.fixture
def without(graphops: Graphops, model: Path, tmp_path: Path) -> Path:
    """The network without its first skip."""
    assert graphops("remove-skips", model, "--skips", "1", "-o", tmp_path / "without.onnx").code == 0
    return tmp_path / "without.onnx"


def test_what_changed_and_how_far_the_outputs_lie_apart(graphops: Graphops, model: Path, without: Path) -> None:
    answer = graphops("diff", model, without, "--json")
    assert answer.code == 0
    found = answer.json
    assert not found["equal"]
    assert len(found["nodes_removed"]) == 1
    assert found["nodes_added"] == found["weights"] == []
    assert found["outputs"]["largest"] > 0
    shown = graphops("diff", model, without).out
    assert "node removed" in shown
    assert "rewired" in shown
    assert "Largest difference of the outputs on random inputs" in shown


def test_of_many_changes_the_first_are_shown(graphops: Graphops, model: Path, tmp_path: Path) -> None:
    longer = onnx.load(model)
    for number in range(45):
        made = {"op_type": "Identity", "name": f"n{number}", "output": [f"t{number}"]}
        longer.graph.node.add(**made, input=[longer.graph.input[0].name])
    onnx.save(longer, tmp_path / "longer.onnx")
    shown = graphops("diff", model, tmp_path / "longer.onnx").out
    assert [f"Identity 'n{number}'" in shown for number in range(45)] == [True] * 40 + [False] * 5
    assert "and 5 more; --json lists them" in shown
    assert len(graphops("diff", model, tmp_path / "longer.onnx", "--json").json["nodes_added"]) == 45


def test_a_model_and_itself(graphops: Graphops, model: Path) -> None:
    assert graphops("diff", model, model, "--json").json["equal"]
    shown = graphops("diff", model, model).out.splitlines()
    assert shown[0] == "The two models say the same."
    assert "random inputs: 0," in shown[1]


def test_given_inputs(graphops: Graphops, model: Path, without: Path, tmp_path: Path) -> None:
    name = onnx.load(model).graph.input[0].name
    np.savez(tmp_path / "x.npz", **{name: np.zeros((2, 1, 8, 8), np.float32)})
    assert graphops("diff", model, without, "--data", tmp_path / "x.npz", "--json").code == 0
    np.savez(tmp_path / "y.npz", other=np.zeros((2, 1, 8, 8), np.float32))
    answer = graphops("diff", model, without, "--data", tmp_path / "y.npz")
    assert answer.code == 2
    assert "other" in answer.err
    (tmp_path / "z.npz").write_bytes(b"none")
    assert graphops("diff", model, without, "--data", tmp_path / "z.npz").code == 2
