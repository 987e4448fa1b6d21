"""Who is in use that sends short messages, and waits for what is done for another meanwhile."""
from __future__ import annotations

from collections.abc import Hashable
from time import monotonic

_IN_USE = 0.01              # seconds since the last of them


class Neighbours:
    """Of all who send, the two latest with a short message: one of them is another than any that asks."""

    def __init__(self) -> None:
        self._last: tuple[Hashable, float] = None, 0.0
        self._before = self._last

    def note(self, who: Hashable) -> None:
        """A short message of theirs has come."""
        if self._last[0] != who:
            self._before = self._last
        self._last = who, monotonic()

    def has(self, who: Hashable) -> bool:
        """Whether another than them is in use."""
        other, at = self._before if self._last[0] == who else self._last
        return other is not None and monotonic() - at < _IN_USE
