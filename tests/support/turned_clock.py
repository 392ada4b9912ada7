"""A clock that a test turns by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class TurnedClock:
    """A ``Clock`` that stands still until ``advance``."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._begin = datetime(2026, 1, 1, tzinfo=UTC)
        self._waiting: list[tuple[float, asyncio.Event]] = []

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> datetime:
        return self._begin + timedelta(seconds=self._now - 1000.0)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        over = asyncio.Event()
        entry = (self._now + seconds, over)
        self._waiting.append(entry)
        tasks = [asyncio.ensure_future(item.wait()) for item in (event, over)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.remove(entry)
            for task in tasks:
                task.cancel()

    async def advance(self, seconds: float) -> None:
        """Turn the clock from one due time to the next, and let everything run at each."""
        end = self._now + seconds
        await quiet()
        while due := [at for at, over in self._waiting if at <= end and not over.is_set()]:
            self._now = max(self._now, min(due))
            for at, over in self._waiting:
                if at <= self._now:
                    over.set()
            await quiet()
        self._now = end
        await quiet()


async def quiet() -> None:
    """Let every task that can run do so."""
    for _ in range(60):
        await asyncio.sleep(0)
