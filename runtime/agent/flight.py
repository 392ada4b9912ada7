"""Single flight: however many ask for a unit, it is fetched once, and all watch it arrive."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from runtime.errors import NotCached, PeerLied, PeerMissing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from runtime.agent.content import Content
    from runtime.agent.landing import Landing
    from runtime.contract.route import Via


class Flight:
    """Cells of one unit on their way to this node: of a ``whole`` unit, or one cell alone.

    ``span`` is the flight's range of bytes in the blob; ``asking`` counts the
    members that are being asked to fetch it, ``ways`` the askings under way of each kind.
    ``failed`` holds an error for each cell that could not be had; ``admitted`` tells whether the
    store took the rest. ``sums`` are the checksums of the cells that landed, known once
    ``summed``. ``rested`` reads the first bytes of the span back from the store, verified.
    """

    def __init__(
        self,
        content: Content,
        unit: int,
        cells: Sequence[int],
        *,
        name: str,
        whole: bool,
        priority: int,
        rested: Callable[[int], bytes | None],
    ) -> None:
        self.content = content
        self.unit = unit
        self.cells = tuple(cells)
        self.name = name
        self.whole = whole
        self.priority = priority
        self._rested = rested
        layout = content.layout
        self.span = layout.unit_range(unit) if whole else layout.cell_range(self.cells[0])
        self.asking: Counter[str] = Counter()
        self.ways: Counter[Via] = Counter()
        self.admitted = False
        self.failed: dict[int, Exception] = {}
        self.sums: dict[int, int] = {}
        self.summed = False
        self.landing: Landing | None = None
        self._landings: list[Landing] = []
        self._waiters: list[asyncio.Future[None]] = []
        self.task: asyncio.Task[None] | None = None

    @property
    def done(self) -> bool:
        """Tell whether the flight has ended."""
        return self.task is not None and self.task.done()

    @property
    def crosses(self) -> bool:
        """Tell whether the origin is being asked: then nobody else is."""
        return self.ways["origin"] > 0

    @property
    def rooted(self) -> bool:
        """Tell whether the bytes are whole, or the origin or the owner is being asked for them.

        Only then may a peer wait for them while they arrive. An owner waits for nothing but the
        origin, what rests with others, and one who crosses, so nobody waits in a circle.
        """
        return (
            self.crosses
            or self.ways["owner"] > 0
            or any(landing.complete for landing in self._landings)
        )

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
        self.task.add_done_callback(lambda _: self.notify())

    async def landed(self) -> None:
        """Wait for the end of the flight.

        Raises:
            CacheError: why nothing could be had.
        """
        assert self.task is not None
        await asyncio.shield(self.task)

    def watch(self, landing: Landing) -> None:
        """Show a landing's bytes to those who stream this flight."""
        self._landings.append(landing)
        self.notify()

    def unwatch(self, landing: Landing) -> None:
        """Stop showing a landing: it failed, or its bytes rest in the store."""
        self._landings.remove(landing)
        self.notify()

    def notify(self) -> None:
        """Wake those who wait for something to change."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        """Wait until something changes or the flight, which has not ended yet, does.

        A bare future and no task: this happens for every piece and everyone who is passed it on.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

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
            await self._change()

    async def trailer(self) -> list[int]:
        """Wait for the verified bytes; return a checksum for each cell of a peer's answer.

        Raises:
            CacheError: why the bytes cannot be had.
        """
        assert self.task is not None
        while not self.summed:
            if self.task.done():
                self.task.result()
            await self._change()
        sums = [0] * self.answer_cells
        for cell, value in self.sums.items():
            sums[self.index_of(cell)] = value
        return sums

    def sum_up(self, sums: dict[int, int]) -> None:
        """Note the checksums of the cells that landed."""
        self.sums = sums
        self.summed = True
        self.notify()

    async def stream(
        self, start: int, stop: int, *, verified: bool, rooted: bool = False
    ) -> AsyncIterator[memoryview]:
        """Yield bytes ``start`` to ``stop`` of the span as they arrive.

        With ``verified`` a peer's bytes are shown once they are whole and proved right; without,
        the caller verifies. With ``rooted`` it ends rather than to wait for bytes when the flight
        is no longer rooted. Where a landing fails midway the stream goes on from another
        attempt's, once that one has got as far and agrees with every byte that was shown.

        Raises:
            CacheError: why the rest cannot be had.
        """
        assert self.task is not None
        shown: Landing | None = None
        try:
            while start < stop:
                source = self._source(shown, start, verified=verified)
                if source is None and not self.task.done():
                    if rooted and not self.rooted:
                        raise PeerMissing(f"the owner of unit {self.name} is asked no more")
                    await self._change()
                    continue
                if source is None:
                    self.task.result()
                    rest = memoryview(await self._resting(stop))
                    _agree(self.name, shown, rest, start)
                    yield rest[start:]
                    return
                if source is not shown:
                    _agree(self.name, shown, source.view, start)
                    source.retain()
                    if shown is not None:
                        shown.release()
                    shown = source
                upto = min(source.shown, stop)
                yield source.view[start:upto]
                start = upto
        finally:
            if shown is not None:
                shown.release()

    def _source(self, shown: Landing | None, start: int, *, verified: bool) -> Landing | None:
        """Return the landing to go on from at ``start``: the one in use while it is good."""
        held = self._landings if shown is None else [shown, *self._landings]
        able = [
            landing
            for landing in held
            if landing.shown > start
            and landing.error is None
            and (landing.trusted or landing.complete or not verified)
        ]
        return able[0] if shown in able else max(able, key=lambda one: one.shown, default=None)

    async def _resting(self, stop: int) -> bytes:
        """Return the span's bytes up to ``stop`` from the store, where they went meanwhile."""
        data = await asyncio.to_thread(self._rested, stop)
        if data is None:
            raise NotCached(f"unit {self.name} left the store as quickly as it came; read again")
        return data


def _agree(name: str, shown: Landing | None, other: memoryview, start: int) -> None:
    """Refuse to go on with bytes that contradict those that were shown."""
    if shown is not None and shown.view[:start] != other[:start]:
        raise PeerLied(f"two answers for unit {name} differ")
