"""Why one layer or one skip is left alone, before a pass makes a note or an error of it."""

from __future__ import annotations


class Refusal(Exception):
    """Raised before anything is edited.

    Args:
        reason: a clause without a full stop, e.g. ``"MaxPool 'pool' is not linear"``.
        remedy: what to do instead, a clause as well.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(reason)
