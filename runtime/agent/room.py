"""Room for bytes on their way."""

from __future__ import annotations

import asyncio
from collections import OrderedDict


class Room:
    """A semaphore over bytes, first come, first served; one unit always fits."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._waiting: OrderedDict[asyncio.Future[None], int] = OrderedDict()

    async def enter(self, count: int) -> None:
        """Wait for ``count`` bytes of room."""
        if not self._waiting and (self._free >= count or self._free == self._size):
            self._free -= count
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = count
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None) is None and not turn.cancelled():
                self.leave(count)
            raise

    def leave(self, count: int) -> None:
        """Give ``count`` bytes of room back."""
        self._free += count
        while self._waiting:
            turn, wanted = next(iter(self._waiting.items()))
            if self._free < wanted and self._free < self._size:
                return
            del self._waiting[turn]
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
