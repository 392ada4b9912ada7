"""What all parts of one store share: the lock, the counters, the open descriptors."""

from __future__ import annotations

import resource
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.store.pair import FilePair

FAULT_POINTS: Final = (
    "mark.before-rename",
    "fill.before-create",
    "fill.after-map",
    "fill.after-create",
    "fill.before-write",
    "fill.amid-write",
    "fill.after-write",
    "fill.after-sums",
    "fill.before-publish",
    "fill.amid-publish",
    "fill.after-publish",
    "abort.before-punch",
    "take.before-words",
    "take.amid-words",
    "take.before-punch",
    "take.after-punch",
    "retire.before-words",
    "retire.before-unlink",
    "retire.amid-unlink",
    "retire.before-punch",
    "retire.after-punch",
    "demote.before-copy",
    "demote.after-copy",
    "demote.before-publish",
    "demote.after-publish",
    "recover.before-remove",
    "recover.amid-remove",
    "recover.before-punch",
    "recover.after-punch",
    "vet.before-words",
    "vet.before-publish",
    "close.before-sync",
    "close.before-mark",
)
"""Every instant at which a test may end the process."""


def no_fault(_point: str) -> None:
    """Let the work go on."""


@dataclass(slots=True)
class Counters:
    """What a store did since it was opened.

    ``fills`` counts units that were published, in whole or in part, ``refused`` reservations that
    were not admitted, ``removed_files`` what recovery took away as half made or foreign,
    ``io_errors`` failed reads and writes of a medium.
    """

    fills: int = 0
    evictions: int = 0
    evicted_bytes: int = 0
    demotions: int = 0
    corrupt_cells: int = 0
    scrubbed_bytes: int = 0
    refused: int = 0
    removed_files: int = 0
    io_errors: int = 0


class Descriptors:
    """The file pairs whose descriptors are open, least recently used first.

    A pair in use is never closed; the limit is exceeded rather than that.
    """

    PER_PAIR = 5
    """Data for reading, data for writing, map for passing, the map's mapping, and one to spare."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: OrderedDict[FilePair, None] = OrderedDict()

    @classmethod
    def for_process(cls) -> Descriptors:
        """Return one that takes at most half of what this process may open."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            soft = 1 << 16
        return cls(max(16, min(4096, soft // 2 // cls.PER_PAIR)))

    def __len__(self) -> int:
        return len(self._open)

    def used(self, pair: FilePair) -> None:
        """Note that an open pair is being used, and close others beyond the limit."""
        if pair in self._open:
            self._open.move_to_end(pair)
            return
        self._open[pair] = None
        excess = len(self._open) - self._limit
        if excess > 0:
            idle = (other for other in self._open if not other.uses and other is not pair)
            for other in tuple(islice(idle, excess)):
                self.close(other)

    def close(self, pair: FilePair) -> None:
        """Close a pair."""
        self._open.pop(pair, None)
        pair.close()

    def close_all(self) -> None:
        """Close every pair but those in use, which a late thread may still write to."""
        while self._open:
            pair, _ = self._open.popitem()
            if not pair.uses:
                pair.close()


class Core:
    """Shared by all parts of one store.

    ``lock`` guards all state that is not a cell's bytes. Once ``closed``, nothing is published.
    """

    def __init__(
        self,
        *,
        fault: Callable[[str], None] = no_fault,
        clock: Callable[[], float] = time.monotonic,
        descriptors: Descriptors | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.fault = fault
        self.clock = clock
        self.closed = False
        self.counters = Counters()
        self.descriptors = descriptors or Descriptors.for_process()
