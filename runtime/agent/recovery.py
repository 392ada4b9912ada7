"""Finding what the tiers held before this agent started, while it serves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.store.store import Store

AT_ONCE: Final = 5_000
"""Blobs that are taken in before an opened store serves: a small store is whole from the start."""
SLICE: Final = 64
"""Blobs a step after that: some milliseconds, between which calls of the event loop have turns."""


async def recover(store: Store) -> None:
    """Take in the rest, in a thread."""
    while await asyncio.to_thread(store.continue_recovery, SLICE):
        pass
