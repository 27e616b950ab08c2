"""Archives: found, downloaded from a server of the test's own, checked, unpacked, refused."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from graphops.data import download
from graphops.data.download import Archive, File
from passes.errors import UserError


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server and the folder that it serves."""
    served = tmp_path / "served"
    served.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(served))) as http:
        threading.Thread(target=http.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", served
        http.shutdown()


def publish(server: tuple[str, Path], member: str = "toy-bin/a.bin", content: bytes = b"abc") -> Archive:
    address, folder = server
    with tarfile.open(folder / "toy.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    digest = hashlib.sha256((folder / "toy.tar.gz").read_bytes()).hexdigest()
    return Archive("toy", f"{address}/toy.tar.gz", digest, "toy-bin")


def test_an_archive_is_downloaded_checked_and_unpacked_once(server: tuple[str, Path], tmp_path: Path) -> None:
    archive, root = publish(server), tmp_path / "new" / "data"
    assert (download.find(archive, root) / "a.bin").read_bytes() == b"abc"
    assert [entry.name for entry in root.iterdir()] == ["toy-bin"]
    (server[1] / "toy.tar.gz").unlink()
    assert download.find(archive, root) == root / "toy-bin"


def test_the_folder_itself_will_do(tmp_path: Path) -> None:
    (tmp_path / "toy-bin").mkdir()
    archive = Archive("toy", "http://127.0.0.1:9/toy.tar.gz", "0" * 64, "toy-bin")
    assert download.find(archive, tmp_path / "toy-bin") == tmp_path / "toy-bin"


def test_a_folder_may_begin_with_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves the ``~`` of ``--data-dir=~/data`` as it is."""
    (tmp_path / "data" / "toy-bin").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.find(Archive("toy", "", "", "toy-bin"), Path("~/data")) == tmp_path / "data" / "toy-bin"


def test_without_a_folder_the_environment_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy-bin").mkdir()
    monkeypatch.setenv("GRAPHOPS_DATA", str(tmp_path))
    assert download.find(Archive("toy", "", "", "toy-bin")) == tmp_path / "toy-bin"


def test_without_an_environment_the_users_cache(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAPHOPS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert (download.find(publish(server)) / "a.bin").is_relative_to(tmp_path / "cache")


def refusal(archive: Archive, root: Path) -> str:
    """The sentence that refuses ``archive``; nothing may be left in ``root``."""
    with pytest.raises(UserError) as caught:
        download.find(archive, root)
    assert "\n" not in str(caught.value)
    assert not (root / archive.folder).exists()
    return str(caught.value)


def test_without_a_network_it_says_where_to_put_the_files(tmp_path: Path) -> None:
    archive = Archive("toy", "http://127.0.0.1:9/toy.tar.gz", "0" * 64, "toy-bin")
    sentence = refusal(archive, tmp_path)
    assert sentence.startswith(f"toy is not in {tmp_path} and cannot be downloaded")
    assert f"unpack {archive.url} into {tmp_path}" in sentence


def test_a_wrong_checksum_is_refused(server: tuple[str, Path], tmp_path: Path) -> None:
    good = publish(server)
    assert "hash" in refusal(Archive("toy", good.url, "0" * 64, "toy-bin"), tmp_path / "data")


def test_an_archive_that_writes_elsewhere_is_refused(server: tuple[str, Path], tmp_path: Path) -> None:
    refusal(publish(server, "../../escaped.bin"), tmp_path / "data")
    assert not list(tmp_path.rglob("escaped.bin"))


def test_an_archive_without_the_folder_is_refused(server: tuple[str, Path], tmp_path: Path) -> None:
    refusal(publish(server, "other/a.bin"), tmp_path / "data")


def test_a_file_where_a_folder_is_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refusal(Archive("toy", "http://127.0.0.1:9/toy.tar.gz", "0" * 64, "toy-bin"), tmp_path / "file")


def test_a_file_is_downloaded_checked_and_found_again(server: tuple[str, Path], tmp_path: Path) -> None:
    address, served = server
    (served / "toy.mat").write_bytes(b"abc")
    file = File("toy", f"{address}/toy.mat", hashlib.sha256(b"abc").hexdigest(), "toy")
    assert download.find_file(file, tmp_path / "data") == tmp_path / "data" / "toy" / "toy.mat"
    (served / "toy.mat").unlink()
    assert download.find_file(file, tmp_path / "data").read_bytes() == b"abc"
    assert download.find_file(file, tmp_path / "data" / "toy").read_bytes() == b"abc"


@pytest.mark.parametrize("content", [None, b"abd"])
def test_a_file_that_is_not_there_or_another_is_refused(
    server: tuple[str, Path], tmp_path: Path, content: bytes | None
) -> None:
    address, served = server
    if content:
        (served / "toy.mat").write_bytes(content)
    file = File("toy", f"{address}/toy.mat", hashlib.sha256(b"abc").hexdigest(), "toy")
    with pytest.raises(UserError, match=rf"toy is not in .* cannot be downloaded .* put {file.url} into"):
        download.find_file(file, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("toy.mat"))
