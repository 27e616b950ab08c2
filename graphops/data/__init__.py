"""Labelled images: one file a data set, all of them loaded by name or path.

    from graphops.data import load
    data = load("digits")            # or "cifar10", "cifar100", "svhn", "images.npz", "folder/of/class/folders"
    data.train.images                # uint8 [N, C, H, W]

A new data set is one file in this package with a function under ``@named(...)`` or ``@reader(...)``
(see :mod:`graphops.data.registry`); nothing else has to change.
"""

from graphops.data.dataset import DataSet, Split
from graphops.data.registry import load, names

__all__ = ["DataSet", "Split", "load", "names"]
