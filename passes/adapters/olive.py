"""Passes as Olive's surgeons: ``{"surgeon": "RemoveSkips", "stage": 1}`` in the pass GraphSurgeries.

Importing this module registers one for every pass, called as its class is; Olive must have it imported before it
reads a configuration. For Olive's command line there is

    python -m passes.adapters.olive run --config config.json
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

import onnx
from olive.passes.onnx.graph_surgeries import ProtoSurgeon, Surgeon

from passes.adapters.common import make, run
from passes.base import Pass, registry

_log = logging.getLogger("passes")


def as_surgeon(cls: type[Pass]) -> type[ProtoSurgeon]:
    """A surgeon whose parameters are the options of ``cls``; Olive finds it by the name of ``cls``."""

    def __init__(self: Any, **options: Any) -> None:
        ProtoSurgeon.__init__(self)
        self.rewriter = make(cls, options)

    def __call__(self: Any, model: onnx.ModelProto) -> onnx.ModelProto:
        return run(self.rewriter, model).model

    __init__.__signature__ = inspect.signature(cls.__init__)  # type: ignore[attr-defined]
    members = {"__init__": __init__, "__call__": __call__, "__doc__": cls.__doc__, "__module__": __name__}
    return type(cls.__name__, (ProtoSurgeon,), members)


surgeons: dict[str, type[ProtoSurgeon]] = {}
for _cls in registry.values():
    if _cls.__name__.lower() in Surgeon.registry:
        _log.warning("Olive has a surgeon called %r already; the pass %s is none.", _cls.__name__, _cls.name)
    else:
        surgeons[_cls.name] = as_surgeon(_cls)

if __name__ == "__main__":
    from olive.cli.launcher import main

    main()
