"""The slow walk over all that rests: a flipped bit is found before a reader finds it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.store.scrub import ScrubStep
    from runtime.store.store import Store

ROUND_SECONDS: Final = 24 * 3600.0
"""One walk over everything takes about this long ..."""
PAUSE_SECONDS: Final = 0.25
"""... in steps of a thread at most this often."""
REST_SECONDS: Final = 60.0
"""Between two walks."""


async def scrub(store: Store) -> None:
    """Verify cell after cell, in a thread, until cancelled."""
    while True:
        steps = store.scrub()
        used = sum(tier.used for tier in store.tiers())
        budget = max(1, int(used / ROUND_SECONDS * PAUSE_SECONDS))

        def some(budget: int = budget, steps: Iterator[ScrubStep] = steps) -> bool:
            for step in steps:
                budget -= step.size
                if budget <= 0:
                    return True
            return False

        more = True
        while more:
            more = await asyncio.to_thread(some)
            await asyncio.sleep(PAUSE_SECONDS if more else REST_SECONDS)
