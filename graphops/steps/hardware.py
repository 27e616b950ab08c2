"""What the steps on hardware have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from graphops.bench import Bench
from graphops.steps.base import Step
from passes.errors import UserError


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
        return () if self.data is None else (self.data,)


class WithYosys(Step):
    """Counts what RTL takes, by ``jobs`` processes; ``place`` is where whole designs are placed and routed besides,
    None for nowhere."""

    @property
    @abstractmethod
    def place(self) -> str | None: ...

    @property
    @abstractmethod
    def jobs(self) -> int: ...

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UserError(f"A synthesis by {self.jobs} processes is impossible; give at least 1.")

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
