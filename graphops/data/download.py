"""Files and archives of published data sets: found on disk, else downloaded, checked and unpacked."""

from __future__ import annotations

import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from passes.errors import UserError


@dataclass(frozen=True)
class Archive:
    """A published .tar.gz with a single folder in it.

    Attributes:
        name: the data set's name.
        url: where it is published.
        sha256: of the archive; publishers of old data sets give an MD5 only, which proves less.
        folder: the folder that it holds.
    """

    name: str
    url: str
    sha256: str
    folder: str


@dataclass(frozen=True)
class File:
    """A published file that is read as it is.

    Attributes:
        name: the data set's name.
        url: where it is published.
        sha256: of the file.
        folder: the folder that it is put into.
    """

    name: str
    url: str
    sha256: str
    folder: str


def find_file(file: File, data_dir: Path | None = None) -> Path:
    """The path of ``file``: in ``data_dir`` or its folder there, downloaded into that when it is not.

    ``data_dir`` is as in `find`.

    Raises:
        UserError: when it is not there and cannot be downloaded, or its checksum is wrong.
    """
    import pooch

    root, name = _root(data_dir), file.url.split("/")[-1]
    for folder in (root / file.folder, root):
        if (folder / name).is_file():
            return folder / name
    try:
        return Path(pooch.retrieve(file.url, f"sha256:{file.sha256}", name, root / file.folder))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{file.name} is not in {root} and cannot be downloaded ({reason}); put {file.url} into "
            f"{root / file.folder}, or say where {name} lies (--data-dir or GRAPHOPS_DATA)."
        ) from error


def find(archive: Archive, data_dir: Path | None = None) -> Path:
    """The folder of ``archive``: ``data_dir``, or under it, downloaded there when it is not.

    ``data_dir`` defaults to ``$GRAPHOPS_DATA``, else to the user's cache.

    Raises:
        UserError: when it is not there and cannot be downloaded, or its checksum is wrong.
    """
    root = _root(data_dir)
    for folder in (root / archive.folder, root):
        if folder.name == archive.folder and folder.is_dir():
            return folder
    _download(archive, root)
    return root / archive.folder


def _root(data_dir: Path | None) -> Path:
    return Path(os.path.expanduser(data_dir or os.environ.get("GRAPHOPS_DATA") or _cache()))


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("graphops"))


def _download(archive: Archive, root: Path) -> None:
    import pooch

    manual = f"unpack {archive.url} into {root}, or say where {archive.folder}/ lies (--data-dir or GRAPHOPS_DATA)"
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = Path(pooch.retrieve(archive.url, f"sha256:{archive.sha256}", archive.url.split("/")[-1], root))
        _unpack(file, archive.folder, root)
        file.unlink()
    except (OSError, ValueError, tarfile.TarError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{archive.name} is not in {root} and cannot be downloaded ({reason}); {manual}.") from error


def _unpack(file: Path, folder: str, root: Path) -> None:
    """Unpack beside the goal and rename, so that an interrupted run leaves no half data set."""
    with tempfile.TemporaryDirectory(dir=root) as temporary, tarfile.open(file) as tar:
        tar.extractall(temporary, filter="data")
        Path(temporary, folder).rename(root / folder)
