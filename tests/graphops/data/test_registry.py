"""Data sets by name, by path, and what is neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphops import data
from graphops.bench import Bench
from graphops.data import registry
from passes.errors import UserError


def test_the_data_sets_that_have_a_name() -> None:
    assert {"digits", "cifar10", "cifar100"} <= set(data.names())


def test_a_new_data_set_is_one_registered_function(digits: data.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_loaders", dict(registry._loaders))

    @registry.named("numerals")
    def numerals(data_dir: Path | None) -> data.DataSet:
        assert data_dir == Path("somewhere")
        return digits

    assert data.load("numerals", Path("somewhere")) is digits
    assert "numerals" in data.names()


def test_paths_are_read_by_what_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", x=np.zeros((8, 1, 2, 2), np.uint8), y=np.arange(8) % 2)
    assert data.load(str(tmp_path / "toy.npz")).name == "toy.npz"


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'cifar10'"):
        data.load("cifar1O")
    with pytest.raises(UserError, match="there are cifar10, cifar100, digits"):
        data.load("xyz")


def test_the_home_of_nobody_is_a_path_like_any_other() -> None:
    with pytest.raises(UserError, match=r"There is no file ~nobody-of-that-name/x\.npz"):
        Bench().data("~nobody-of-that-name/x.npz")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no data")
    with pytest.raises(UserError, match=r"notes.txt is not a data set; give an .npz file or a folder"):
        data.load(str(tmp_path / "notes.txt"))
