"""What a row of the suite is: pairs of measurements, ours and a peer's, and single figures.

A row is a module in ``tests/perf/bench/rows`` with ``NAME``, ``WORK`` (one sentence) and
``run(context)``, a generator of ``Pair`` and ``Single``. The suite measures each as it is yielded
and only then takes the next: what a row started before a ``yield`` runs while it is measured, and
is stopped by the row's own ``with`` after it. ``NAME`` is the module's name with dashes. A module
with ``OPT_IN = True`` is measured when it is named only. ``BARS``, where a module has it, says
``(case, peer): (bar, aim)`` before anything runs; the peer of a ``Single`` is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one side did in one turn.

    Attributes:
        seconds: wall time of the turn; one of at least a second, but for cold reads.
        work: what was done in it, in the pair's ``unit`` (bytes, reads, requests, files).
        client_cpu: processor seconds of the reading side.
        server_cpu: of the serving processes; None where there is none.
        rss: peak resident bytes of the serving side; where there is none, what the turn added to
            the reader's.
        bytes: bytes moved, for processor seconds a GiB; 0 where that says nothing.
    """

    seconds: float
    work: float
    client_cpu: float = 0.0
    server_cpu: float | None = None
    rss: int | None = None
    bytes: int = 0

    @property
    def rate(self) -> float:
        """Work a second."""
        return self.work / self.seconds


Turn = Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Pair:
    """One work done by both sides in turns: ours, the peer's, the peer's, ours, and so on.

    Attributes:
        case: what of the row's work this is, such as ``second pass``.
        peer: the peer's name, as in ``peers``.
        unit: what ``Sample.work`` counts: ``B`` is shown as GiB/s, another one by its name.
        ours, theirs: do the work once and measure it. What a turn needs before (a cache made
            cold, page cache warmed) it does itself, outside of the time it reports.
        bar, aim: ratios of the rates, ours to the peer's; None where the peer is only shown.
        page_cache: the state it was measured in, in words.
    """

    case: str
    peer: str
    unit: str
    ours: Turn
    theirs: Turn
    bar: float | None = None
    aim: float | None = None
    page_cache: str = "warm"


@dataclass(frozen=True, slots=True)
class Single:
    """A figure with a bar of its own, such as bytes resident, or requests at the origin.

    Attributes:
        measure: returns the value; called ``times`` times, the median counts.
        bar, aim: limits of the value; ``best`` tells on which side of them to be.
        unit: as printed after the value; ``B`` and ``s`` are scaled.
        about: a sentence on how it was had; shown in the report.
    """

    case: str
    unit: str
    measure: Callable[[], float]
    bar: float | None = None
    aim: float | None = None
    best: str = "low"
    times: int = 1
    about: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that could not be measured here; printed and kept, never left out in silence."""

    case: str
    peer: str
    why: str


Case = Pair | Single | Gap


@dataclass(frozen=True, slots=True)
class Context:
    """What every row is given.

    Attributes:
        folder: scratch on disk (``str`` path) of the row's own, removed after it.
        memory: scratch in memory (tmpfs), likewise.
        quick: measure less: smaller data, three pairs.
        versions: rows and peers note here what ran, by name.
    """

    folder: str
    memory: str
    quick: bool = False
    versions: dict[str, str] = field(default_factory=dict)

    def sized(self, full: T, quick: T) -> T:
        """Return one of two sizes, or of two choices."""
        return quick if self.quick else full


def versions_of(found: Mapping[str, str]) -> str:
    """Return versions as one line."""
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
