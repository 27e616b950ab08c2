"""Checkpoints: whole or named as damaged, never half written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphops.training.checkpoint import Checkpoints, Damaged, decode, encode
from passes import UserError

ARRAYS = {
    "parameters": np.arange(5, dtype=np.float32),
    "gate a": np.float32(0.5).reshape(()),
    "empty": np.zeros((0, 2)),
}
HEADER = {"step": 3, "loss": 0.1 + 0.2, "history": [{"epoch": 1.0}], "nothing": float("nan")}


def test_what_is_read_is_what_was_written() -> None:
    header, arrays = decode(encode(HEADER, ARRAYS))
    assert str(header) == str(HEADER)
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


@given(place=st.integers(0, len(encode(HEADER, ARRAYS)) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(place: int, bit: int) -> None:
    content = bytearray(encode(HEADER, ARRAYS))
    content[place] ^= 1 << bit
    with pytest.raises(Damaged):
        decode(bytes(content))


@given(length=st.integers(0, len(encode(HEADER, ARRAYS)) - 1))
def test_any_truncation_is_found(length: int) -> None:
    with pytest.raises(Damaged):
        decode(encode(HEADER, ARRAYS)[:length])


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for step in (1, 2, 30):
        kept.save(step, {"step": step}, ARRAYS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-000000002.bin", "checkpoint-000000030.bin"]
    assert kept.last == tmp_path / "checkpoint-000000030.bin"


def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path: Path) -> None:
    before = Checkpoints(tmp_path)
    before.save(10, {"step": 10}, ARRAYS)
    newest = before.save(20, {"step": 20}, ARRAYS)
    newest.write_bytes(newest.read_bytes()[:-1])
    after = Checkpoints(tmp_path)
    found = after.load()
    assert found is not None
    assert found.header == {"step": 10}
    assert len(after.damaged) == 1
    assert newest.name in after.damaged[0]
    assert after.damaged[0].endswith("; checkpoint-000000010.bin is used.")
    after.save(15, {"step": 15}, ARRAYS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-000000010.bin", "checkpoint-000000015.bin"]


def test_where_all_are_damaged_it_is_said_that_training_begins_anew(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(5, {"step": 5}, ARRAYS).write_bytes(b"")
    after = Checkpoints(tmp_path)
    assert after.load() is None
    assert after.damaged[0].endswith("; there is no other, so training begins anew.")


def test_a_copy_under_another_name_is_neither_read_nor_removed(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    copy = tmp_path / "checkpoint-best.bin"
    copy.write_bytes(kept.save(5, {"step": 5}, ARRAYS).read_bytes())
    for step in (10, 15):
        kept.save(step, {"step": step}, ARRAYS)
    found = Checkpoints(tmp_path).load()
    assert found is not None
    assert found.header == {"step": 15}
    assert copy.exists()


def test_an_empty_folder_is_made_and_has_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "new" / "folder").load() is None
    assert (tmp_path / "new" / "folder").is_dir()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-000000001.bin.abcd.tmp").write_bytes(b"half")
    Checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken cannot be used as a folder"):
        Checkpoints(tmp_path / "taken")


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_stays(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from graphops.training.checkpoint import Checkpoints
from passes import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kept = Checkpoints(Path(sys.argv[1]))
kept.save(1, {"step": 1}, {"a": np.zeros(10)})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    kept.save(2, {"step": 2}, {"a": np.zeros(10_000)})
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert "checkpoint-000000002.bin was not written" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000000001.bin"]
    found = Checkpoints(tmp_path).load()
    assert found is not None
    assert found.header == {"step": 1}
