"""Single flight: however many ask for a unit, it is fetched once, and all watch it arrive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runtime.errors import NotCached, PeerLied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from runtime.agent.content import Content
    from runtime.agent.landing import Landing
    from runtime.contract.route import Via


class Flight:
    """Cells of one unit on their way to this node.

    ``span`` is the flight's range of bytes in the blob. ``rooted`` tells that the bytes come from
    the origin or from an owner: only then may a peer be given them while they arrive, or two
    agents could wait for each other. ``failed`` holds an error for each cell that could not be
    had; ``admitted`` tells whether the store took the rest. ``sums`` are the checksums of the
    cells that could, known once ``summed`` is set.
    """

    def __init__(self, content: Content, unit: int, cells: Sequence[int], *, priority: int) -> None:
        self.content = content
        self.unit = unit
        self.cells = tuple(cells)
        self.priority = priority
        first, last = self.cells[0], self.cells[-1]
        layout = content.layout
        self.whole = len(self.cells) == len(layout.unit_cells(unit)) or len(self.cells) > 1
        self.span = (
            layout.unit_range(unit)
            if self.whole
            else (layout.cell_range(first)[0], layout.cell_range(last)[1])
        )
        self.name = content.unit_name(unit) if self.whole else f"{content.unit_name(unit)}:{first}"
        self.via: Via = "origin"
        self.rooted = False
        self.admitted = False
        self.failed: dict[int, Exception] = {}
        self.sums: dict[int, int] = {}
        self.summed = asyncio.Event()
        self.landing: Landing | None = None
        self.landed_at = 0.0
        self._landings: list[Landing] = []
        self._changed: asyncio.Event = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes of the span."""
        return self.span[1] - self.span[0]

    @property
    def answer_cells(self) -> int:
        """How many cells a peer's answer for this span has."""
        return len(self.content.layout.unit_cells(self.unit)) if self.whole else 1

    def index_of(self, cell: int) -> int:
        """Return a cell's place among those of a peer's answer."""
        return cell - self.content.layout.unit_cells(self.unit).start if self.whole else 0

    def place(self, cell: int) -> tuple[int, int]:
        """Return a cell's bytes in the span as ``(start, stop)``."""
        start, stop = self.content.layout.cell_range(cell)
        return start - self.span[0], stop - self.span[0]

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run the fetch as a task of its own, which no waiter's end can end."""
        self.task = asyncio.create_task(work, name=f"flight {self.name}")

    async def landed(self) -> None:
        """Wait for the end of the flight.

        Raises:
            CacheError: why nothing could be had.
        """
        assert self.task is not None
        await asyncio.shield(self.task)

    async def begun(self) -> None:
        """Wait until the first bytes arrive, so that an early failure is told as one.

        Raises:
            CacheError: why nothing can be had.
        """
        assert self.task is not None
        while not any(landing.filled for landing in self._landings):
            if self.task.done():
                self.task.result()
                return
            best = next(iter(self._landings), None)
            await self._progress(best, 0)

    def watch(self, landing: Landing) -> None:
        """Show a landing's bytes to those who stream this flight."""
        self._landings.append(landing)
        self._announce()

    def unwatch(self, landing: Landing) -> None:
        """Stop showing a landing that failed."""
        if landing in self._landings:
            self._landings.remove(landing)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def trailer(self) -> list[int]:
        """Wait for the verified bytes; return a checksum for each cell of a peer's answer.

        Raises:
            CacheError: why the bytes cannot be had.
        """
        assert self.task is not None
        summed = asyncio.ensure_future(self.summed.wait())
        try:
            await asyncio.wait([summed, self.task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            summed.cancel()
        if not self.summed.is_set():
            self.task.result()
        sums = [0] * self.answer_cells
        for cell, value in self.sums.items():
            sums[self.index_of(cell)] = value
        return sums

    async def stream(self, start: int, stop: int) -> AsyncIterator[memoryview]:
        """Yield bytes ``start`` to ``stop`` of the span as they arrive.

        Where a landing fails midway the stream goes on from another attempt's, once that one has
        got as far and agrees with every byte that was shown.

        Raises:
            CacheError: why the rest cannot be had.
        """
        current: Landing | None = None
        try:
            while start < stop:
                best = max(self._landings, key=lambda landing: landing.shown, default=None)
                if best is None or best.shown <= start:
                    await self._progress(best, start)
                    continue
                if best is not current:
                    if current is not None and current.view[:start] != best.view[:start]:
                        raise PeerLied(f"two answers for unit {self.name} differ")
                    best.retain()
                    if current is not None:
                        current.release()
                    current = best
                upto = min(best.shown, stop)
                yield best.view[start:upto]
                start = upto
        finally:
            if current is not None:
                current.release()

    async def _progress(self, best: Landing | None, start: int) -> None:
        """Wait until a landing shows more, another one appears, or the flight ends."""
        assert self.task is not None
        if self.task.done():
            self.task.result()
            raise NotCached(f"unit {self.name} landed without these bytes")
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._changed.wait())]
        if best is not None:
            waits.append(asyncio.ensure_future(best.beyond(start)))
        try:
            await asyncio.wait([*waits, self.task], return_when=asyncio.FIRST_COMPLETED)
            if best is not None and best.error is not None:
                self.unwatch(best)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
