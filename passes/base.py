"""What a pass is, and where passes are found by name.

A pass is a frozen dataclass whose fields are its options, on the command line, in recipes and in Python alike:

    @register
    @dataclass(frozen=True)
    class Prune(Pass):
        '''Takes out what no output needs.'''

        name: ClassVar[str] = "prune"
        exact: ClassVar[bool] = True

        def rewrite(self, editor: Editor) -> list[str]:
            ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import onnx

from passes import plugins
from passes.errors import PassError, UserError
from passes.graph import Editor

_SCALARS: dict[type, Any] = {int: int, float: (int, float), bool: bool}
"""What may be given for an option of each type."""


@dataclass(frozen=True)
class PassResult:
    """What a pass gives back.

    Attributes:
        model: a new model; the one that was given is never modified.
        changed: whether ``model`` differs from the one given.
        notes: one sentence for each thing that the pass left alone on purpose, or that a person should know.
    """

    model: onnx.ModelProto
    changed: bool
    notes: tuple[str, ...] = ()


class Pass(ABC):
    """ONNX in, ONNX out. Subclasses are frozen dataclasses; running one twice changes nothing the second time.

    Class attributes:
        name: the verb on the command line and in recipes.
        exact: whether the outputs stay the same, to float rounding.
        reads_weights: whether weights must be in memory; a pass that only rewires never reads one.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    reads_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for option, hint in get_type_hints(type(self)).items():
            value = getattr(self, option, None)
            if isinstance(value, np.generic) or get_origin(hint) is tuple:
                value = plain(value)
                object.__setattr__(self, option, value)
            if get_origin(hint) is Literal and value not in get_args(hint):
                choices = " or ".join(repr(choice) for choice in get_args(hint))
                raise PassError(self.name, f"{option}={value!r}", "there is no such choice", f"choose {choices}")
            if hint in _SCALARS and not isinstance(value, _SCALARS[hint]):
                raise PassError(self.name, f"{option}={value!r}", f"it is no {hint.__name__}", "give one")
            if get_origin(hint) is tuple:
                if not isinstance(value, tuple | str):
                    raise PassError(self.name, f"{option}={value!r}", "it is no tuple", "give one")
                kind = get_args(hint)[0]
                if kind in _SCALARS and not all(isinstance(one, _SCALARS[kind]) for one in value):
                    raise PassError(
                        self.name, f"{option}={value!r}", f"not every one is a {kind.__name__}", "give such"
                    )

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Run the pass on a copy of ``model``.

        Raises:
            PassError: where the pass cannot do the whole of what it says.
            ModelError: when the graph is none that ONNX allows, or a weight that the pass reads is not in memory.
        """
        with np.errstate(all="ignore"):  # weights that are no finite numbers are refused, and not warned of besides
            editor = Editor(model)
            notes = self.rewrite(editor)
            rewritten, changed = editor.finish()
        return PassResult(rewritten, changed, tuple(notes))

    @abstractmethod
    def rewrite(self, editor: Editor) -> list[str]:
        """Edit the graph in ``editor``; return the notes."""


def plain(value: Any) -> Any:
    """``value`` without numpy's types, which recipes and records cannot hold; lists are tuples."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


class Registry(Mapping[str, type[Pass]]):
    """Pass classes by name. Those of other packages are loaded when a name is looked for that is not here.

    Attributes:
        broken: what is wrong with a pass that its package names but that cannot be had, by the pass's name.
    """

    def __init__(self) -> None:
        self._classes: dict[str, type[Pass]] = {}
        self._complete = False
        self.broken: dict[str, str] = {}

    def add(self, cls: type[Pass]) -> None:
        """Raises ValueError when another pass has the name of ``cls``."""
        if self._classes.setdefault(cls.name, cls) is not cls:
            raise ValueError(f"two passes are called {cls.name!r}: {self._classes[cls.name]!r} and {cls!r}")

    def __getitem__(self, name: str) -> type[Pass]:
        return self._classes[name] if name in self._classes else self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, type[Pass]]:
        if not self._complete:
            self._complete = True  # before loading: a plugin may look in here itself
            self.broken = plugins.load(self.add)
        return self._classes


registry = Registry()

P = TypeVar("P", bound=type[Pass])


def register(cls: P) -> P:
    """Make a pass known by its ``name`` to the command line, to recipes and to the adapters."""
    registry.add(cls)
    return cls


def get(name: str) -> type[Pass]:
    """The pass class called ``name``.

    Raises:
        UserError: when there is none.
    """
    import difflib

    if name in registry:
        return registry[name]
    if name in registry.broken:
        raise UserError(registry.broken[name])
    near = difflib.get_close_matches(name, registry, n=1)
    hint = f"did you mean {near[0]!r}" if near else "`graphops passes` lists them"
    raise UserError(f"There is no pass called {name!r}; {hint}.")
