"""Reading what rests, cell by cell, so that decay is found before a reader finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runtime.store import recover
from runtime.store.pair import FilePair
from runtime.store.words import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.contract.cellmap import MapHeader
    from runtime.store.blob import Blob
    from runtime.store.core import Core
    from runtime.store.recover import Found
    from runtime.store.tier import Tier


class ScrubStep(NamedTuple):
    """One cell that was read and compared. ``good`` is False if it had to be dropped."""

    key: str
    cell: int
    size: int
    good: bool


class Resting(NamedTuple):
    """A dormant object, and the tier where it is."""

    tier: Tier
    dataset: str
    key: str


def scrub(
    core: Core,
    blobs: Callable[[], list[Blob]],
    dormant: Callable[[], Iterator[Resting]],
    wake: Callable[[str, str], Blob | None],
) -> Iterator[ScrubStep]:
    """Verify every cell that is present, one a step, blob after blob.

    Each step reads one cell without holding the lock. Cells that leave meanwhile are passed over.
    Dormant objects stay so, unless they are suspect or corrupt: then ``wake(dataset, key)`` makes
    their blobs.
    """
    for blob in blobs():
        yield from _scrub_blob(core, blob)
    for resting in dormant():
        yield from _scrub_dormant(core, resting, wake)


def _scrub_blob(core: Core, blob: Blob) -> Iterator[ScrubStep]:
    for unit in tuple(blob.units):
        blob.vet(unit)
        for cell in blob.layout.unit_cells(unit):
            yield from _scrub_cell(core, blob, cell)


def _scrub_cell(core: Core, blob: Blob, cell: int) -> Iterator[ScrubStep]:
    if not blob.present(cell):
        return
    start, stop = blob.layout.cell_range(cell)
    before = core.counters.corrupt_cells
    good = blob.verify(cell)
    if good:
        core.counters.scrubbed_bytes += stop - start
    if good or core.counters.corrupt_cells > before:
        yield ScrubStep(blob.layout.key, cell, stop - start, good)


def _scrub_dormant(
    core: Core, resting: Resting, wake: Callable[[str, str], Blob | None]
) -> Iterator[ScrubStep]:
    found = _look_at(core, resting)
    if found is None:
        blob = wake(resting.dataset, resting.key)
        if blob is not None:
            yield from _scrub_blob(core, blob)
        return
    header = found.header
    for cell in marked(found.cells):
        start = cell * header.cell_size
        size = min(header.cell_size, header.size - start)
        if _matches(core, resting, header, cell, (start, start + size)):
            core.counters.scrubbed_bytes += size
            yield ScrubStep(resting.key, cell, size, good=True)
            continue
        blob = wake(resting.dataset, resting.key)
        if blob is None:
            return
        yield from _scrub_cell(core, blob, cell)


def _look_at(core: Core, resting: Resting) -> Found | None:
    """Return what a dormant object holds; None for what must be looked at as a blob."""
    tier, dataset, key = resting
    with core.lock:
        if tier.suspect or not tier.rests(dataset, key):
            return None
        try:
            return recover.inspect(tier, dataset, key)
        except OSError as error:
            tier.failed(error)
            return None


def _matches(
    core: Core, resting: Resting, header: MapHeader, cell: int, place: tuple[int, int]
) -> bool:
    """Read a cell of an object that is still dormant, and compare it with all its checksums."""
    tier, dataset, key = resting
    pair = FilePair(core, tier, dataset, header)
    try:
        with core.lock:
            if not tier.rests(dataset, key):
                return False
            pair.acquire()
        if not pair.mapped.present(cell):
            return False
        size = place[1] - place[0]
        return pair.matches(cell, size, (0, size), pair.read(*place), thorough=True)
    except OSError:
        return False
    finally:
        with core.lock:
            core.descriptors.close(pair)
