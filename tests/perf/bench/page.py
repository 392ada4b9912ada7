"""``docs/performance.md`` and its plots, from a run's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.perf.bench import plots, words
from tests.perf.bench.results import PairResult, Results, RowResult, Side, SingleResult, Verdict

HOW = "how.md"
"""Beside the plots: what was tried and what it gave, written by hand and taken in as it is."""
MARKS: dict[Verdict, str] = {
    "aim": "aim met",
    "bar": "met",
    "under": "**under its bar**",
    "shown": "",
}


def write(results: Results, page: Path) -> None:
    """Write the page, and its plots into the folder with its name."""
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, about, draw in PLOTS:
        picture = draw(results)
        target = folder / f"{name}.svg"
        if picture is None:
            target.unlink(missing_ok=True)
            continue
        target.write_bytes(picture)
        drawn.append((f"{folder.name}/{name}.svg", about))
    how = folder / HOW
    text = how.read_text().strip() if how.exists() else ""
    page.write_text("\n".join(_lines(results, drawn, text)) + "\n")


PLOTS = (
    ("ratios", "Every ratio with its spread, and its bar", plots.ratios),
    ("throughput", "Throughput, ours beside each peer's", plots.throughput),
    ("processor", "Processor seconds a GiB, ours beside each peer's", plots.processor),
)


def _lines(results: Results, drawn: Sequence[tuple[str, str]], how: str) -> Iterator[str]:
    yield "# Performance"
    yield ""
    yield "The data plane, measured beside what a user could have instead."
    yield (
        "`make bench` measures it again, and `make bench ARGS=--page=docs/performance.md` writes "
        "this page, so do not edit it."
    )
    yield ""
    yield from _summary(results)
    for path, about in drawn:
        yield f"![{about}]({path})"
        yield ""
    yield from _reading()
    yield from _machine(results)
    for row in results.rows:
        yield from _row(row)
    yield from _gaps(results.rows)
    if how:
        yield "## How it gets there"
        yield ""
        yield how
    else:
        yield "Nothing is noted yet on how it gets there."


def _summary(results: Results) -> Iterator[str]:
    cases = [case for row in results.rows for case in row.cases]
    held = [case for case in cases if case.bar is not None]
    met = sum(case.verdict != "under" for case in held)
    aimed = [case for case in cases if case.aim is not None]
    reached = sum(case.verdict == "aim" for case in aimed)
    yield (
        f"{met} of {len(held)} bars are met, and {reached} of {len(aimed)} aims"
        f"{' (in a quick run, with less data)' if results.quick else ''}."
    )
    under = [row.name for row in results.rows if row.under]
    if under:
        links = ", ".join(f"[{name}](#{name})" for name in under)
        yield f"Rows with something under its bar: {links}."
    yield ""


READING = (
    "Both sides of a pair take turns in one run: ours, theirs, theirs, ours.",
    "The ratio is taken within each pair of neighbouring turns.",
    "Its median is given, and the quartiles (of fewer than five, the least and the greatest).",
    "Above 1 we are quicker.",
    "Ratios carry over to other machines far better than figures do.",
    "Warm turns last at least a second, and bytes are compared before anything is timed.",
    "Processor seconds are those a GiB.",
    "Memory is the server's peak, or what a turn added to the reader's where nobody serves.",
    "Figures of a pair are ours, then the peer's.",
)


def _reading() -> Iterator[str]:
    yield "## How to read it"
    yield ""
    yield from READING
    yield ""


def _machine(results: Results) -> Iterator[str]:
    machine = results.machine
    yield "## Where it was measured"
    yield ""
    yield "| | |"
    yield "|---|---|"
    rows = {
        "started": f"{results.started}, took {results.seconds / 60:.0f} min",
        "processor": f"{machine.cpu}, {machine.cores} cores",
        "memory": words.amount(machine.memory, "B"),
        "kernel": machine.kernel,
        "Python": machine.python,
        "disk": machine.disk,
        "memory's file system": machine.ram,
        "load before": f"{machine.load:.2f}",
        "installed": ", ".join(f"{name} {what}" for name, what in sorted(results.versions.items())),
    }
    for name, value in rows.items():
        yield f"| {name} | {_cell(value)} |"
    yield ""


def _row(row: RowResult) -> Iterator[str]:
    yield f"## {row.name}"
    yield ""
    if row.work:
        yield f"{row.work[0].upper()}{row.work[1:]}."
        yield ""
    if row.failure:
        yield f"**It failed**: {row.failure}"
        yield ""
    if row.pairs:
        yield from _table(
            "case",
            "peer",
            "ratio",
            "bar",
            "",
            "rates",
            "client s/GiB",
            "server s/GiB",
            "memory",
            "page cache",
        )
        yield from map(_pair, row.pairs)
        yield ""
    if row.singles:
        yield from _table("figure", "value", "bar", "", "how")
        yield from map(_single, row.singles)
        yield ""


def _table(*columns: str) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)


def _pair(pair: PairResult) -> str:
    sides = (pair.ours, pair.theirs)
    return _line(
        pair.case,
        pair.peer,
        words.ratio(pair.ratio),
        words.limits(pair.bar, pair.aim),
        MARKS[pair.verdict],
        " / ".join(words.rate(side.rate, pair.unit) for side in sides),
        _both(sides, "client_cpu"),
        _both(sides, "server_cpu"),
        " / ".join(words.memory(side.rss) for side in sides),
        pair.page_cache,
    )


def _both(sides: Sequence[Side], field: str) -> str:
    return " / ".join(words.processor(getattr(side, field)) for side in sides)


def _single(single: SingleResult) -> str:
    spread = single.value
    value = words.amount(spread.median, single.unit)
    if spread.low != spread.high:
        low, high = (words.amount(end, single.unit) for end in (spread.low, spread.high))
        value += f" ({low} to {high})"
    return _line(
        single.case,
        value,
        words.limits(single.bar, single.aim, unit=single.unit, best=single.best),
        MARKS[single.verdict],
        single.about,
    )


def _gaps(rows: Sequence[RowResult]) -> Iterator[str]:
    gaps = [(row.name, gap) for row in rows for gap in row.gaps]
    if not gaps:
        return
    yield "## What could not be measured"
    yield ""
    yield from _table("row", "case", "peer", "why")
    for name, gap in gaps:
        yield _line(name, gap.case, gap.peer, gap.why)
    yield ""


def _line(*cells: str) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
