"""Time as the passes see it: handed in, so that tests turn it by hand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock for durations, a wall clock for what people read, and waiting."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        ...

    def wall(self) -> datetime:
        """Return the time of day in UTC."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when the event is set or the time is over; ``inf`` waits for the event alone."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """See ``Clock``."""
        return time.monotonic()

    def wall(self) -> datetime:
        """See ``Clock``."""
        return datetime.now(UTC)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """See ``Clock``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                await event.wait()
