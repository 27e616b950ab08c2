"""Where data sets are found: by name, or by what lies at a path."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import graphops.data
from graphops.data.dataset import DataSet
from passes.errors import UserError

Loader = Callable[[Path | None], DataSet]
Reader = Callable[[Path], DataSet]
L = TypeVar("L", bound=Loader)
R = TypeVar("R", bound=Reader)

_loaders: dict[str, Loader] = {}
_readers: list[tuple[Callable[[Path], bool], Reader]] = []


def named(name: str) -> Callable[[L], L]:
    """Register a function of a data folder (``None``: the usual places) as the data set ``name``."""

    def register(loader: L) -> L:
        _loaders[name] = loader
        return loader

    return register


def reader(fits: Callable[[Path], bool]) -> Callable[[R], R]:
    """Register a function that reads the data set at a path, for those paths that ``fits`` accepts."""

    def register(read: R) -> R:
        _readers.append((fits, read))
        return read

    return register


@cache
def _discover() -> None:
    for module in pkgutil.iter_modules(graphops.data.__path__):
        importlib.import_module(f"graphops.data.{module.name}")


def names() -> list[str]:
    """The data sets that :func:`load` knows by name."""
    _discover()
    return sorted(_loaders)


def load(name: str | Path, data_dir: str | Path | None = None) -> DataSet:
    """Load a data set: one of :func:`names`, or the path of an .npz file or of a folder of class folders.

    Args:
        name: the data set's name or path; a name wins over a file that is called the same.
        data_dir: where named data sets lie or are downloaded to; else ``$GRAPHOPS_DATA``, else a cache.

    Raises:
        UserError: when there is none, or it cannot be read.
    """
    _discover()
    name = str(name)
    if name in _loaders:
        return _loaders[name](None if data_dir is None else Path(data_dir))
    path = Path(os.path.expanduser(name))
    for fits, read in _readers:
        if fits(path):
            return read(path)
    if path.exists():
        raise UserError(f"{name} is not a data set; give an .npz file or a folder of class folders of images.")
    near = difflib.get_close_matches(name, _loaders, n=1)
    hint = f"did you mean {near[0]!r}" if near else f"there are {', '.join(names())}"
    raise UserError(f"There is no data set or file {name!r}; {hint}, or give an .npz file or a folder of images.")
