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
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import onnx

from passes.errors import UserError
from passes.graph import Editor


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

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Run the pass on a copy of ``model``.

        Raises:
            PassError: where the pass cannot do the whole of what it says.
        """
        editor = Editor(model)
        notes = self.rewrite(editor)
        rewritten, changed = editor.finish()
        return PassResult(rewritten, changed, tuple(notes))

    @abstractmethod
    def rewrite(self, editor: Editor) -> list[str]:
        """Edit the graph in ``editor``; return the notes."""


registry: dict[str, type[Pass]] = {}

P = TypeVar("P", bound=type[Pass])


def register(cls: P) -> P:
    """Make a pass known by its ``name`` to the command line, to recipes and to the adapters."""
    if cls.name in registry and registry[cls.name] is not cls:
        raise ValueError(f"two passes are called {cls.name!r}: {registry[cls.name]!r} and {cls!r}")
    registry[cls.name] = cls
    return cls


def get(name: str) -> type[Pass]:
    """The pass class called ``name``.

    Raises:
        UserError: when there is none.
    """
    import difflib

    if name in registry:
        return registry[name]
    near = difflib.get_close_matches(name, registry, n=1)
    hint = f"did you mean {near[0]!r}" if near else "`graphops passes` lists them"
    raise UserError(f"There is no pass called {name!r}; {hint}.")
