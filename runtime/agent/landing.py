"""Where a unit's bytes arrive: a buffer that can be read while it fills."""

from __future__ import annotations

import mmap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HELD_BACK = 64 * 1024
"""The last bytes of a landing are not shown before it is verified, so that a stream that turns out
wrong always ends short, never whole."""


class BufferPool:
    """Page-aligned buffers that are used again: touching fresh pages costs more than the copy."""

    def __init__(self, *, keep_bytes: int) -> None:
        self._keep = keep_bytes
        self._kept = 0
        self._free: dict[int, list[mmap.mmap]] = {}

    def take(self, size: int) -> mmap.mmap:
        """Return a buffer of at least ``size`` bytes, with old bytes in it."""
        rounded = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        free = self._free.get(rounded)
        if free:
            self._kept -= rounded
            return free.pop()
        return mmap.mmap(-1, rounded)

    def give(self, buffer: mmap.mmap) -> None:
        """Take a buffer back that nobody reads any more."""
        size = len(buffer)
        if self._kept + size <= self._keep:
            self._kept += size
            self._free.setdefault(size, []).append(buffer)


class Landing:
    """A unit on its way in, ``size`` bytes; shared by whoever waits for it.

    States: filling, then complete (verified) or failed. ``absent`` are cells of a group whose bytes
    could not be had and are not in it. ``trusted`` bytes come from the origin itself; those of a
    peer prove right or wrong only with the last of them. ``notify`` is called at every change.
    Holders call ``retain`` and ``release``; the buffer goes back to its pool with the last of them.
    """

    def __init__(
        self, size: int, pool: BufferPool, *, trusted: bool, notify: Callable[[], None]
    ) -> None:
        self.size = size
        self.trusted = trusted
        self.begun_at: float | None = None
        self.filled = 0
        self.complete = False
        self.error: BaseException | None = None
        self.absent: tuple[int, ...] = ()
        self._notify = notify
        self._pool = pool
        self._buffer = pool.take(size)
        self.view = memoryview(self._buffer)[:size]
        self._holders = 1

    @property
    def shown(self) -> int:
        """How many bytes from the start may be read now."""
        return self.size if self.complete else max(0, min(self.filled, self.size - HELD_BACK))

    def begin(self) -> None:
        """Note that the asking begins: it waited for its turn until now."""
        self.begun_at = time.monotonic()

    def advance(self, count: int) -> None:
        """Note that ``count`` more bytes are in the buffer."""
        self.filled += count
        self._notify()

    def reached(self, filled: int) -> None:
        """Note that the first ``filled`` bytes are in the buffer."""
        self.filled = filled
        self._notify()

    def finish(self) -> None:
        """Declare the bytes whole and verified."""
        self.filled = self.size
        self.complete = True
        self._notify()

    def fail(self, error: BaseException) -> None:
        """Declare that these bytes will not become whole."""
        self.error = error
        self._notify()

    def retain(self) -> Landing:
        """Count one more holder."""
        self._holders += 1
        return self

    def release(self) -> None:
        """Count one holder less; the last one gives the buffer back."""
        self._holders -= 1
        if not self._holders:
            self.view.release()
            try:
                # Refused while any slice of the view lives: such a buffer must never be filled
                # again under its reader, so it is left to the collector.
                self._buffer.resize(len(self._buffer))
            except BufferError:
                return
            self._pool.give(self._buffer)
