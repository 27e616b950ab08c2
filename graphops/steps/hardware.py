"""What the steps on hardware have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from graphops.bench import Bench
from graphops.steps.base import Step


class WithImages(Step):
    """Uses test images of ``data``; None is the pipeline's own data set, and without one there are none."""

    @property
    @abstractmethod
    def data(self) -> str | None: ...

    def has_data(self, bench: Bench) -> bool:
        """Whether there are images."""
        return self.data is not None or bench.default_data is not None

    def identity(self, bench: Bench) -> dict[str, Any]:
        return super().identity(bench) | {"data": [bench.data_id(self.data)] if self.has_data(bench) else []}

    def data_sets(self) -> Iterable[str | None]:
        return (self.data,) if self.data else ()


class WithYosys(Step):
    """Counts what RTL takes; ``place`` is where whole designs are placed and routed besides, None for nowhere."""

    @property
    @abstractmethod
    def place(self) -> str | None: ...

    @property
    def reads_weights(self) -> bool:
        return False

    def check_tools(self) -> None:
        from hls_backend.synthesize import check_tools

        check_tools(self.place is not None)

    def identity(self, bench: Bench) -> dict[str, Any]:
        identity = super().identity(bench)
        del identity["settings"]["jobs"]
        return identity
