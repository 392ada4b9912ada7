"""The run on a terminal: what is being measured, a table a row, and what is under its bar."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from tests.perf.bench import words
from tests.perf.bench.results import (
    Change,
    PairResult,
    Results,
    RowResult,
    SingleResult,
    Verdict,
)

STYLES: dict[Verdict, str] = {"aim": "bold green", "bar": "green", "under": "bold red", "shown": ""}
MARKS: dict[Verdict, str] = {"aim": "aim", "bar": "ok", "under": "UNDER", "shown": ""}


class Screen:
    """Prints a run. Into a pipe it prints the tables only, as wide as they need to be."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = 200
        self._status: Status | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Show what is done now for the time of the block."""
        with self.console.status("") as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None

    def now(self, text: str) -> None:
        """Say what is done now."""
        if self._status is not None:
            self._status.update(text)

    def row(self, row: RowResult) -> None:
        """Print a measured row."""
        self.console.print(Text(f"{row.name}", style="bold"), f"{row.work} ({row.seconds:.0f} s)")
        if row.pairs:
            self.console.print(_pairs(row.pairs))
        if row.singles:
            self.console.print(_singles(row.singles))
        for gap in row.gaps:
            self.console.print(Text(f"  gap: {gap.case}, {gap.peer}: {gap.why}", style="yellow"))
        if row.failure:
            self.console.print(Text(f"  failed: {row.failure}", style="bold red"))
        self.console.print()

    def end(self, results: Results) -> None:
        """Print what is under its bar, and what was installed."""
        under = [row for row in results.rows if row.under]
        for row in under:
            cases = [_named(case) for case in row.cases if case.verdict == "under"]
            said = "; ".join(cases + ([f"failed: {row.failure}"] if row.failure else []))
            self.console.print(Text(f"under its bar: {row.name}: {said}", style="bold red"))
        if not results.rows:
            self.console.print(Text("Nothing was measured to its end.", style="yellow"))
        elif not under:
            self.console.print(Text("Every bar is met.", style="green"))
        versions = ", ".join(f"{name} {what}" for name, what in sorted(results.versions.items()))
        self.console.print(f"{results.seconds:.0f} s; {versions or 'no peers'}")

    def changes(self, changes: Iterable[Change], before: str) -> None:
        """Print how the run differs from an earlier one."""
        table = _table("compared", "peer", "before", "after", "change")
        for change in changes:
            style = ""
            if change.clear:
                style = "green" if change.factor > 1 else "red"
            shown = [
                words.ratio(value)
                if change.unit == "x"
                else words.amount(value.median, change.unit)
                for value in (change.before, change.after)
            ]
            word = f"{(change.factor - 1) * 100:+.0f} %" + (
                "" if change.clear else " (in the spread)"
            )
            table.add_row(
                f"{change.row}: {change.case}", change.peer, *shown, Text(word, style=style)
            )
        self.console.print(f"Beside {before}; better is +:")
        self.console.print(table)


def _named(case: PairResult | SingleResult) -> str:
    if isinstance(case, PairResult):
        return f"{case.case} {case.ratio.median:.2f} of {case.peer}, bar {case.bar:g}"
    value, bar = (words.amount(number, case.unit) for number in (case.value.median, case.bar or 0))
    return f"{case.case} {value}, bar {bar}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=True, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _pairs(pairs: Iterable[PairResult]) -> Table:
    table = _table(
        "case", "peer", "ratio", "bar", "", "ours", "theirs", "client s/GiB", "server s/GiB", "RSS"
    )
    for pair in pairs:
        style = STYLES[pair.verdict]
        ours, theirs = pair.ours, pair.theirs
        table.add_row(
            pair.case,
            pair.peer,
            Text(words.ratio(pair.ratio), style=style),
            words.limits(pair.bar, pair.aim),
            Text(MARKS[pair.verdict], style=style),
            words.rate(ours.rate, pair.unit),
            words.rate(theirs.rate, pair.unit),
            _both(words.processor(ours.client_cpu), words.processor(theirs.client_cpu)),
            _both(words.processor(ours.server_cpu), words.processor(theirs.server_cpu)),
            _both(words.memory(ours.rss), words.memory(theirs.rss)),
        )
    return table


def _both(ours: str, theirs: str) -> str:
    return ours if ours == theirs == words.NONE else f"{ours} / {theirs}"


def _singles(singles: Iterable[SingleResult]) -> Table:
    table = _table("figure", "value", "bar", "", "how")
    for single in singles:
        style = STYLES[single.verdict]
        table.add_row(
            single.case,
            Text(words.amount(single.value.median, single.unit), style=style),
            words.limits(single.bar, single.aim, unit=single.unit, best=single.best),
            Text(MARKS[single.verdict], style=style),
            single.about,
        )
    return table
