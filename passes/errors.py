"""The errors a person reads: one sentence that names the thing and the way out.

The command line prints the message and exits with 2; anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class UserError(Exception):
    """Something a person can mend; ``str(error)`` is one sentence with the thing's name and the way out."""


class ModelError(UserError):
    """A model file or graph that cannot be read, checked or understood."""


class WeightElsewhereError(ModelError):
    """A weight is needed that lies in a file which was not loaded."""


class PassError(UserError):
    """A pass that cannot do the whole of what it says.

    Args:
        pass_name: the pass's ``name``, e.g. ``"fold-skips"``.
        node: the node, tensor or skip it stopped at.
        reason: why it stopped.
        remedy: what to do instead.
    """

    def __init__(self, pass_name: str, node: str, reason: str, remedy: str) -> None:
        self.pass_name, self.node, self.reason, self.remedy = pass_name, node, reason, remedy
        super().__init__(f"{pass_name}: {node}: {reason}; {remedy}.")
