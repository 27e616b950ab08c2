"""What a person reads when a network cannot become a dataflow."""

from __future__ import annotations

from passes.errors import UserError


class LoweringError(UserError):
    """A node that has no place in an integer dataflow.

    Args:
        node: what to call the node, e.g. ``"Add 'layer1.0.add'"``.
        reason: why not.
        remedy: what to do about it.
    """

    def __init__(self, node: str, reason: str, remedy: str) -> None:
        self.node, self.reason, self.remedy = node, reason, remedy
        super().__init__(f"{node} cannot become hardware: {reason}; {remedy}.")
