"""How a row is measured: both sides in turns, and what their samples say together."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from tests.perf.bench.discovery import Row
from tests.perf.bench.results import (
    GapResult,
    PairResult,
    RowResult,
    Side,
    SingleResult,
    Spread,
)
from tests.perf.bench.row import Case, Context, Gap, Pair, Sample, Single

PAIRS = 5
QUICK_PAIRS = 3
GIB = 1 << 30

Told = Callable[[str], None]


class Measurement:
    """Measures rows, telling ``told`` what it does."""

    def __init__(self, told: Told = lambda _: None) -> None:
        self._told = told

    def row(self, row: Row, context: Context) -> RowResult:
        """Measure one row; whatever ends it early becomes its ``failure``.

        Interrupts go through, after everything that the row started was stopped.
        """
        start = time.monotonic()
        pairs: list[PairResult] = []
        singles: list[SingleResult] = []
        gaps: list[GapResult] = []
        failure = ""
        self._told(f"{row.name}: prepares")
        work = ""
        try:
            work = row.work
            with contextlib.closing(row.run(context)) as cases:
                for case in cases:
                    found = self._case(row.name, case, quick=context.quick)
                    match found:
                        case PairResult():
                            pairs.append(found)
                        case SingleResult():
                            singles.append(found)
                        case GapResult():
                            gaps.append(found)
                    self._told(f"{row.name}: prepares")
        except Exception as error:  # noqa: BLE001 - one row must not end the others
            failure = sentence(error)
        return RowResult(
            row.name,
            work,
            time.monotonic() - start,
            tuple(pairs),
            tuple(singles),
            tuple(gaps),
            failure,
        )

    def _case(self, name: str, case: Case, *, quick: bool) -> PairResult | SingleResult | GapResult:
        match case:
            case Pair():
                where = f"{name}: {case.case} beside {case.peer}"
                return measure_pair(
                    case,
                    QUICK_PAIRS if quick else PAIRS,
                    lambda turn: self._told(f"{where}, {turn}"),
                )
            case Single():
                self._told(f"{name}: {case.case}")
                return measure_single(case)
            case Gap():
                return GapResult(case.case, case.peer, case.why)


def sentence(error: Exception) -> str:
    """Return the first line of an error, with its kind where it says too little alone."""
    text = str(error).strip().split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def turns(pairs: int) -> Iterator[tuple[bool, int]]:
    """Yield (is it ours, number of the pair): ours, theirs, theirs, ours, ours, theirs, ..."""
    for number in range(pairs):
        first = number % 2 == 0
        yield first, number
        yield not first, number


def measure_pair(pair: Pair, pairs: int, told: Told = lambda _: None) -> PairResult:
    """Let both sides take turns; the ratio is taken within each pair of neighbouring turns.

    A drift of the machine's speed touches both sides of a pair alike, and the changing order
    takes out what going first is worth.
    """
    ours: list[Sample] = []
    theirs: list[Sample] = []
    for is_ours, number in turns(pairs):
        told(f"turn {number + 1} of {pairs}, {'ours' if is_ours else pair.peer}")
        found = (pair.ours if is_ours else pair.theirs)()
        (ours if is_ours else theirs).append(found)
    ratios = [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)]
    return PairResult(
        case=pair.case,
        peer=pair.peer,
        unit=pair.unit,
        ratio=Spread.of(ratios),
        ours=side(ours),
        theirs=side(theirs),
        pairs=pairs,
        page_cache=pair.page_cache,
        bar=pair.bar,
        aim=pair.aim,
    )


def side(samples: Sequence[Sample]) -> Side:
    """Summarise one side's turns."""
    peaks = [found.rss for found in samples if found.rss is not None]
    return Side(
        rate=statistics.median(found.rate for found in samples),
        client_cpu=_a_gib([(found.client_cpu, found.bytes) for found in samples]),
        server_cpu=_a_gib([(found.server_cpu, found.bytes) for found in samples]),
        rss=max(peaks) if peaks else None,
    )


def _a_gib(costs: Sequence[tuple[float | None, int]]) -> float | None:
    known = [cpu * GIB / moved for cpu, moved in costs if cpu is not None and moved]
    return statistics.median(known) if known else None


def measure_single(single: Single) -> SingleResult:
    """Take a figure as often as it asks for."""
    values = [float(single.measure()) for _ in range(max(single.times, 1))]
    return SingleResult(
        case=single.case,
        unit=single.unit,
        value=Spread.of(values),
        best=single.best,
        bar=single.bar,
        aim=single.aim,
        about=single.about,
    )
