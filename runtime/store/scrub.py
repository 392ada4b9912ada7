"""Reading what rests, cell by cell, so that decay is found before a reader finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.store.blob import Blob
    from runtime.store.core import Core


class ScrubStep(NamedTuple):
    """One cell that was read and compared. ``good`` is False if it had to be dropped."""

    key: str
    cell: int
    size: int
    good: bool


def scrub(core: Core, blobs: Callable[[], list[Blob]]) -> Iterator[ScrubStep]:
    """Verify every cell that is present, one a step, blob after blob.

    Each step reads one cell without holding the lock. Cells that leave meanwhile are passed over.
    """
    for blob in blobs():
        for unit in tuple(blob.units):
            blob.vet(unit)
            for cell in blob.layout.unit_cells(unit):
                if blob.present(cell):
                    start, stop = blob.layout.cell_range(cell)
                    before = core.counters.corrupt_cells
                    good = blob.verify(cell)
                    if good:
                        core.counters.scrubbed_bytes += stop - start
                    if good or core.counters.corrupt_cells > before:
                        yield ScrubStep(blob.layout.key, cell, stop - start, good)
