"""Which members answer: the agent's own view, from its own askings and probes.

A member that failed is left out of the read path until a probe, an answer or a question of its
own shows that it is back; probes follow each other at growing pauses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from runtime.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 2.0


class Health:
    """Members that do not answer now. ``probe`` asks one, and raises when it does not answer."""

    def __init__(self, probe: Callable[[str], Awaitable[None]]) -> None:
        self._probe = probe
        self._down: dict[str, float] = {}  # uid -> the pause before its next probe
        self._failed = asyncio.Event()

    def failed(self, uid: str) -> None:
        """Note that a member did not answer as it should."""
        self._down.setdefault(uid, FIRST_PAUSE)
        self._failed.set()

    def answered(self, uid: str) -> None:
        """Note that a member answered, or asked."""
        self._down.pop(uid, None)

    def down(self) -> set[str]:
        """Return the members that are to be left out now."""
        return set(self._down)

    def keep_only(self, members: set[str]) -> None:
        """Forget members that left the plan."""
        self._down = {uid: pause for uid, pause in self._down.items() if uid in members}

    async def run(self) -> None:
        """Probe whoever is down, until cancelled."""
        watched: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                self._failed.clear()
                for uid in self._down:
                    if uid not in watched or watched[uid].done():
                        watched[uid] = asyncio.create_task(self._watch(uid))
                await self._failed.wait()
        finally:
            for task in watched.values():
                task.cancel()
            await asyncio.gather(*watched.values(), return_exceptions=True)

    async def _watch(self, uid: str) -> None:
        while uid in self._down:
            await asyncio.sleep(self._down.get(uid, 0))
            try:
                await self._probe(uid)
            except CacheError:
                if uid in self._down:
                    self._down[uid] = min(self._down[uid] * 2, LONGEST_PAUSE)
            else:
                self.answered(uid)
