"""What a run found, as values and as ``bench.json``, and how two runs compare."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runtime.contract import codec
from tests.perf.bench.machine import Machine

RATIO = "x"
"""The unit of a change of ratios."""
Verdict = Literal["aim", "bar", "under", "shown"]
"""The aim is met, the bar is, the bar is not, or there is none."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated measurements: their median, and the quartiles (min and max of fewer than five)."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        if len(values) < 5:
            return Spread(statistics.median(values), min(values), max(values))
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return Spread(middle, low, high)


@dataclass(frozen=True, slots=True)
class Side:
    """Medians of one side of a pair.

    ``rate`` is work a second; the processor seconds are those a GiB moved, None where nothing
    moved or nobody serves; ``rss`` is peak resident bytes.
    """

    rate: float
    client_cpu: float | None = None
    server_cpu: float | None = None
    rss: int | None = None


@dataclass(frozen=True, slots=True)
class PairResult:
    """A ``Pair`` measured: the ratios of ours to the peer's, turn by turn."""

    case: str
    peer: str
    unit: str
    ratio: Spread
    ours: Side
    theirs: Side
    pairs: int
    page_cache: str = "warm"
    bar: float | None = None
    aim: float | None = None

    @property
    def verdict(self) -> Verdict:
        return judge(self.ratio.median, self.bar, self.aim, "high")


@dataclass(frozen=True, slots=True)
class SingleResult:
    """A ``Single`` measured."""

    case: str
    unit: str
    value: Spread
    best: str = "low"
    bar: float | None = None
    aim: float | None = None
    about: str = ""

    @property
    def verdict(self) -> Verdict:
        return judge(self.value.median, self.bar, self.aim, self.best)


@dataclass(frozen=True, slots=True)
class GapResult:
    """What could not be measured."""

    case: str
    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row. ``failure`` is the sentence that ended it early, empty when it came to its end."""

    name: str
    work: str
    seconds: float
    pairs: tuple[PairResult, ...] = ()
    singles: tuple[SingleResult, ...] = ()
    gaps: tuple[GapResult, ...] = ()
    failure: str = ""

    @property
    def cases(self) -> tuple[PairResult | SingleResult, ...]:
        return self.pairs + self.singles

    @property
    def under(self) -> bool:
        """Tell whether anything in it is under its bar, or it failed."""
        return bool(self.failure) or any(case.verdict == "under" for case in self.cases)


@dataclass(frozen=True, slots=True)
class Results:
    """A run: ``started`` is wall-clock text, ``versions`` what was installed, by name."""

    started: str
    machine: Machine
    quick: bool = False
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    rows: tuple[RowResult, ...] = ()
    version: int = 1

    @property
    def under(self) -> bool:
        return any(row.under for row in self.rows)

    def save(self, path: Path) -> None:
        """Write ``bench.json``, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.part")
        scratch.write_text(codec.dumps(self) + "\n")
        scratch.replace(path)

    @staticmethod
    def load(path: Path) -> Results:
        """Read ``bench.json``.

        Raises:
            OSError: it cannot be read.
            ConfigError: it is not such a file; the message names the field.
        """
        return codec.loads(Results, path.read_bytes())


def judge(value: float, bar: float | None, aim: float | None, best: str) -> Verdict:
    """Hold a value against its limits."""
    sign = 1 if best == "high" else -1
    if bar is not None and sign * value < sign * bar:
        return "under"
    if aim is not None and sign * value >= sign * aim:
        return "aim"
    return "shown" if bar is None else "bar"


@dataclass(frozen=True, slots=True)
class Change:
    """One case in two runs; ``factor`` is above 1 where the newer one is better.

    ``clear`` tells that the spreads do not touch, so that chance alone hardly explains it.
    """

    row: str
    case: str
    peer: str
    unit: str
    before: Spread
    after: Spread
    factor: float
    clear: bool


def compare(old: Results, new: Results) -> Iterator[Change]:
    """Yield every case that both runs measured, in the order of the new one."""
    before = {key: case for row in old.rows for key, case in _keyed(row)}
    for row in new.rows:
        for key, case in _keyed(row):
            earlier = before.get(key)
            if type(earlier) is type(case) and earlier is not None:
                yield _change(key, earlier, case)


def _keyed(
    row: RowResult,
) -> Iterator[tuple[tuple[str, str, str], PairResult | SingleResult]]:
    for case in row.cases:
        yield (row.name, case.case, getattr(case, "peer", "")), case


def _change(
    key: tuple[str, str, str], old: PairResult | SingleResult, new: PairResult | SingleResult
) -> Change:
    before, after = _value(old), _value(new)
    best = new.best if isinstance(new, SingleResult) else "high"
    factor = after.median / before.median if before.median else 1.0
    if best == "low":
        factor = 1 / factor if factor else 1.0
    clear = after.low > before.high or after.high < before.low
    unit = new.unit if isinstance(new, SingleResult) else RATIO
    return Change(*key, unit, before, after, factor, clear)


def _value(case: PairResult | SingleResult) -> Spread:
    return case.ratio if isinstance(case, PairResult) else case.value
