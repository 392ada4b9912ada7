"""How many may ask an origin at once, how long it may take, and when it is closed.

Three waits are kept apart: for one's turn (no clock: it is not the origin's fault), for the origin
(a clock), and for the reader to take its bytes (not seen here, so that it never counts).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from runtime.errors import OriginUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Gate:
    """Lets ``limit`` in at once, in order, until it is closed for good. For one event loop."""

    def __init__(self, limit: int) -> None:
        self._places = asyncio.Semaphore(limit)
        self._waits: set[asyncio.Timeout] = set()
        self._closed = False

    def close(self) -> None:
        """End every wait now, and refuse all later ones."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)

    @contextlib.asynccontextmanager
    async def held(self, name: str) -> AsyncGenerator[None, None]:
        """Hold a place during the block, after waiting for it however long it takes.

        Raises:
            OriginUnavailable: the gate is closed.
        """
        async with self.waiting(name, None):
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    @contextlib.asynccontextmanager
    async def waiting(self, name: str, seconds: float | None) -> AsyncGenerator[None, None]:
        """Wait for the origin during the block, at most ``seconds``; yield nothing from within.

        Raises:
            OriginUnavailable: the gate is closed, or was closed meanwhile and the block failed.
            TimeoutError: the block took longer.
        """
        if self._closed:
            raise _closed(name)
        try:
            async with asyncio.timeout(seconds) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except Exception as error:
            # Whatever its connections say when they are closed under a wait, this is why.
            if self._closed:
                raise _closed(name) from error
            raise


def _closed(name: str) -> OriginUnavailable:
    return OriginUnavailable(f"{name}: this origin was closed, as the plan changed")
