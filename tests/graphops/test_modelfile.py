"""Models from files and back: what is refused, and that nothing half written is ever left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphops import external, modelfile
from graphops.files import fingerprint_of_folder
from graphops.modelfile import fingerprint, load_model, save_model
from passes.errors import ModelError, UserError


def tiny(seed: int = 0) -> onnx.ModelProto:
    """y = x @ w, with a w large enough to be kept in a data file."""
    weights = np.random.default_rng(seed).normal(size=(8, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 64])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save_model(tiny(), path)
    return path


@pytest.fixture
def external_file(tmp_path: Path) -> Path:
    folder = tmp_path / "big"
    folder.mkdir()
    onnx.save_model(tiny(), folder / "big.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return folder / "big.onnx"


def refer_to(path: Path, location: str) -> None:
    """Make the model at ``path`` keep its weights in ``location``."""
    model = onnx.load_model(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    save_model(tiny(), tmp_path / "a.onnx")
    assert load_model(tmp_path / "a.onnx") == tiny()
    assert files(tmp_path) == {"a.onnx"}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no file .*none\.onnx; check the path\."):
        load_model(tmp_path / "none.onnx")


def test_folder_where_a_file_is_meant(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder; name the ONNX file in it"):
        load_model(tmp_path)
    with pytest.raises(UserError, match="is a folder; name a file to write"):
        save_model(tiny(), tmp_path, force=True)


@pytest.mark.parametrize(
    "content",
    [b"hello world", b"<html>not found</html>", bytes(range(256)) * 4, b"\x08\x08", b"\x89PNG\r\n\x1a\n"],
    ids=["text", "html", "bytes", "only a version", "png"],
)
def test_a_file_that_holds_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not an ONNX model"):
        load_model(path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="is empty"):
        load_model(tmp_path / "empty.onnx")


def test_a_truncated_file_is_refused_wherever_it_was_cut(model_file: Path) -> None:
    content = model_file.read_bytes()
    for length in range(1, len(content), 7):
        model_file.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"is not an ONNX model, or is cut short|not a valid ONNX model"):
            load_model(model_file)


def test_a_graph_that_the_checker_refuses(tmp_path: Path) -> None:
    broken = tiny()
    broken.graph.node[0].input[1] = "nowhere"
    (tmp_path / "broken.onnx").write_bytes(broken.SerializeToString())
    with pytest.raises(ModelError, match=r"broken\.onnx is not a valid ONNX model \(.*nowhere.*\); export it again"):
        load_model(tmp_path / "broken.onnx")


def test_no_permission_to_read(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # the tests may run as root, whom nothing is refused
    with pytest.raises(ModelError, match="may not be read; change its permissions"):
        load_model(model_file)


def test_a_path_that_onnx_cannot_read_is_named(model_file: Path) -> None:
    path = model_file.rename(model_file.with_name(os.fsdecode(b"b\xff.onnx")))
    with pytest.raises(ModelError, match=r"b\\udcff\.onnx' is not UTF-8"):
        load_model(path)


def test_no_permission_to_write() -> None:
    with pytest.raises(UserError, match=r"may not be written|was not written"):
        save_model(tiny(), "/proc/self/fdinfo/out.onnx")


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_text("precious")
    with pytest.raises(UserError, match=r"exists already; choose another name or pass --force"):
        save_model(tiny(), path)
    assert path.read_text() == "precious"
    save_model(tiny(), path, force=True)
    assert load_model(path) == tiny()


def test_the_input_is_not_overwritten_without_force(model_file: Path) -> None:
    before = model_file.read_bytes()
    alias = model_file.parent / "." / "tiny.onnx"
    with pytest.raises(UserError, match="is the input itself"):
        save_model(tiny(1), alias, source=model_file)
    assert model_file.read_bytes() == before


def test_a_pipe_is_no_place_for_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="no file but a pipe or a device"):
        save_model(tiny(), tmp_path / "pipe", force=True)
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_stays_and_leads_to_the_new_file(tmp_path: Path) -> None:
    save_model(tiny(), tmp_path / "first.onnx")
    (tmp_path / "latest.onnx").symlink_to("first.onnx")
    save_model(tiny(1), tmp_path / "latest.onnx", force=True)
    assert (tmp_path / "latest.onnx").is_symlink()
    assert load_model(tmp_path / "first.onnx") == tiny(1)


def test_a_name_may_be_as_long_as_the_file_system_has_it(tmp_path: Path) -> None:
    save_model(tiny(), tmp_path / ("é" * 120 + ".onnx"))
    assert [load_model(path) for path in tmp_path.iterdir()] == [tiny()]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*; make it first"):
        save_model(tiny(), tmp_path / "nowhere" / "out.onnx")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    save_model(tiny(), tmp_path / "a.onnx")
    monkeypatch.setattr(os, call, no_space)
    with pytest.raises(UserError, match="the disk is full"):
        save_model(tiny(1), tmp_path / "a.onnx", force=True)
    with pytest.raises(UserError, match="the disk is full"):
        save_model(tiny(1), tmp_path / "new.onnx")
    assert files(tmp_path) == {"a.onnx"}
    assert load_model(tmp_path / "a.onnx") == tiny()


def test_a_file_is_whole_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(os, "replace", lambda one, other: seen.append(other))
    save_model(tiny(), tmp_path / "a.onnx")
    assert seen == [tiny().ByteSize(), tmp_path / "a.onnx"]


def test_external_weights_stay_where_they_are_unless_asked_for(external_file: Path) -> None:
    assert external.external_tensors(load_model(external_file, weights=False))
    loaded = load_model(external_file)
    assert not external.external_tensors(loaded)
    assert loaded.graph.initializer[0].raw_data == tiny().graph.initializer[0].raw_data


def test_external_weights_of_subgraphs_and_attributes_are_loaded(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(np.arange(600, dtype=np.float32), "inner")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=constant)],
        "branch",
        [],
        [helper.make_empty_tensor_value_info("c")],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)],
        "choice",
        [helper.make_tensor_value_info("condition", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    light = external.split(model, tmp_path / "choice.onnx", force=False)
    assert len(external.external_tensors(light)) == 2
    (tmp_path / "choice.onnx").write_bytes(light.SerializeToString())
    assert load_model(tmp_path / "choice.onnx") == model


def test_saving_into_the_same_folder_refers_to_the_same_data(external_file: Path) -> None:
    data = external_file.parent / "weights.bin"
    before = data.stat()
    model = load_model(external_file, weights=False)
    save_model(model, external_file.with_name("second.onnx"), source=external_file)
    assert files(external_file.parent) == {"big.onnx", "second.onnx", "weights.bin"}
    assert data.stat().st_mtime_ns == before.st_mtime_ns
    assert load_model(external_file.with_name("second.onnx")) == load_model(external_file)


def test_saving_into_another_folder_copies_the_data(external_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    model = load_model(external_file, weights=False)
    save_model(model, tmp_path / "out" / "a.onnx", source=external_file)
    save_model(model, tmp_path / "out" / "b.onnx", source=external_file)  # the same data: nothing is in the way
    assert files(tmp_path / "out") == {"a.onnx", "b.onnx", "weights.bin"}
    assert load_model(tmp_path / "out" / "b.onnx") == load_model(external_file)


def test_other_data_of_that_name_is_kept_without_force(external_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "weights.bin").write_text("another model's")
    model = load_model(external_file, weights=False)
    with pytest.raises(UserError, match=r"weights\.bin exists already"):
        save_model(model, tmp_path / "out" / "a.onnx", source=external_file)
    assert files(tmp_path / "out") == {"weights.bin"}
    assert (tmp_path / "out" / "weights.bin").read_text() == "another model's"


def test_a_data_file_in_the_way_leaves_no_copy_of_another(tmp_path: Path) -> None:
    model = tiny()
    for name in ("a.bin", "b.bin"):
        tensor = numpy_helper.from_array(np.zeros(300, np.float32), name)
        (tmp_path / name).write_bytes(tensor.raw_data)
        onnx.external_data_helper.set_external_data(tensor, name)
        tensor.ClearField("raw_data")
        model.graph.initializer.append(tensor)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.bin").write_text("another model's")
    with pytest.raises(UserError, match="write to another folder or pass --force"):
        save_model(model, tmp_path / "out" / "net.onnx", source=tmp_path / "net.onnx")
    assert files(tmp_path / "out") == {"b.bin"}


def test_a_full_disk_leaves_no_data_file_without_its_model(
    external_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    model = load_model(external_file, weights=False)
    calls: list[object] = []

    def full_at_the_second_file(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            no_space()

    monkeypatch.setattr(os, "fsync", full_at_the_second_file)
    with pytest.raises(UserError, match="the disk is full"):
        save_model(model, tmp_path / "out" / "a.onnx", source=external_file)
    assert files(tmp_path / "out") == set()


@pytest.mark.parametrize("weights", [False, True])
def test_a_model_never_overwrites_its_own_data(external_file: Path, weights: bool) -> None:
    model = load_model(external_file, weights)
    with pytest.raises(UserError, match=r"weights\.bin holds the model .*big\.onnx or weights of it"):
        save_model(model, external_file.parent / "weights.bin", force=True, source=external_file)


def test_a_model_is_not_called_like_its_data(external_file: Path, tmp_path: Path) -> None:
    model = load_model(external_file, weights=False)
    with pytest.raises(UserError, match="would overwrite the model's own data file"):
        save_model(model, tmp_path / "weights.bin", source=external_file)


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret.bin", "sub/../../secret.bin", "C:\\secret.bin"])
def test_weights_outside_the_folder_are_never_read(external_file: Path, location: str) -> None:
    (external_file.parent.parent / "secret.bin").write_bytes(b"s" * 4096)
    refer_to(external_file, location)
    for weights in (False, True):
        with pytest.raises(ModelError, match="outside its own folder"):
            load_model(external_file, weights=weights)


def test_a_link_that_leads_out_of_the_folder_is_refused(external_file: Path) -> None:
    data = external_file.parent / "weights.bin"
    data.rename(external_file.parent.parent / "secret.bin")
    data.symlink_to(external_file.parent.parent / "secret.bin")
    with pytest.raises(ModelError, match=r"is a link that leads outside .* copy the model and the file itself"):
        load_model(external_file)


def test_missing_and_short_data_files(external_file: Path) -> None:
    data = external_file.parent / "weights.bin"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ModelError, match="ends before tensor 'w'; copy it again"):
        load_model(external_file, weights=False)
    data.unlink()
    with pytest.raises(ModelError, match=r"weights\.bin is missing; put it beside the model"):
        load_model(external_file, weights=False)


def test_weights_beyond_one_file_go_to_a_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelfile, "LARGEST", 1000)  # 2 GB in earnest
    model = tiny()
    save_model(model, tmp_path / "large.onnx")
    assert model == tiny(), "the caller's model is not touched"
    assert files(tmp_path) == {"large.onnx", "large.onnx.data"}
    assert load_model(tmp_path / "large.onnx") == tiny()
    onnx.checker.check_model(str(tmp_path / "large.onnx"), full_check=True)


def test_fingerprints_tell_weights_apart(external_file: Path) -> None:
    before = fingerprint(external_file)
    assert fingerprint(external_file) == before
    data = external_file.parent / "weights.bin"
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    data.write_bytes(content)
    assert fingerprint(external_file) != before


def test_fingerprints_of_folders_go_by_names_and_contents(tmp_path: Path) -> None:
    found = []
    for name, content in (("a/b", "c"), ("a/b", "d"), ("a/bb", "c"), ("c", "c")):
        folder = tmp_path / f"{len(found)}"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
        (folder / "a").mkdir(exist_ok=True)
        found.append(fingerprint_of_folder(folder))
        (folder / "tools").mkdir()
        (folder / "tools" / "left").write_text("behind")
        assert fingerprint_of_folder(folder, ["tools"]) == found[-1] != fingerprint_of_folder(folder)
    assert len(set(found)) == 4
