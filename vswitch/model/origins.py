"""Who asked for the changes that the datapath tells of: it names the request of the channel and the item of its batch."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

Sent = Callable[[int, int, int], None]      # (the channel's xid, first item, past the last)


class Origins:
    def __init__(self) -> None:
        self._by_xid: dict[int, tuple[object, Sequence[int]]] = {}

    @contextlib.contextmanager
    def noting(self, origin: object, xids: Sequence[int]) -> Iterator[Sent | None]:
        """While requests of `origin` are under way: what to tell of each that is sent. `xids` are its items'."""
        if not xids:
            yield None
            return
        noted: list[int] = []

        def sent(xid: int, first: int, last: int) -> None:
            noted.append(xid)
            self._by_xid[xid] = origin, xids[first:last]

        try:
            yield sent
        finally:
            for xid in noted:
                del self._by_xid[xid]

    def of(self, xid: int, item: int) -> tuple[object, int]:
        """(origin, xid) of an item; (None, 0) where nobody asked."""
        origin, xids = self._by_xid.get(xid, (None, ()))
        return (origin, xids[item]) if item < len(xids) else (origin, xids[-1] if xids else 0)
