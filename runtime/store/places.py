"""Where a cell's bytes lie, and what keeps them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from runtime.store.blob import Blob
    from runtime.store.tier import Resident


class Place(NamedTuple):
    """Where a cell's bytes lie: for pread or sendfile, while the unit is pinned."""

    fd: int
    offset: int
    length: int


class Span(NamedTuple):
    """Bytes ``start`` to ``stop`` of a cell, and the whole checksummed pieces around them.

    ``low`` and ``high`` bound these pieces in the cell, ``offset`` is where ``low`` lies in the
    blob.
    """

    cell: int
    unit: int
    start: int
    stop: int
    low: int
    high: int
    offset: int
    whole: bool
    """The pieces are the whole cell, which has a checksum of its own."""


class BlobFiles(NamedTuple):
    """The read-only descriptors of a blob's files in the tier with this number."""

    tier: int
    data_fd: int
    map_fd: int


class Pin:
    """Keeps a unit's bytes and descriptors while it is entered.

    ``held`` tells whether the unit was here; without it nothing is kept.
    """

    __slots__ = ("_blob", "_resident", "_unit", "held")

    def __init__(self, blob: Blob, unit: int) -> None:
        self._blob = blob
        self._unit = unit
        self._resident: Resident | None = None
        self.held = False

    def __enter__(self) -> Self:
        self._resident = self._blob.pin_resident(self._unit)
        self.held = self._resident is not None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._resident is not None:
            self._blob.unpin_resident(self._resident)
            self._resident = None
