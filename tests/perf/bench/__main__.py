"""``python -m tests.perf.bench``: the data plane measured beside its peers."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from runtime.errors import ConfigError
from tests.perf.bench import discovery, machine
from tests.perf.bench.discovery import Row
from tests.perf.bench.measure import Measurement
from tests.perf.bench.process import loops_of
from tests.perf.bench.results import Results, RowResult, compare
from tests.perf.bench.row import Context
from tests.perf.bench.screen import Screen

MEMORY = Path("/dev/shm")
INTERRUPTED = 130
LOOP, QUICK_LOOP = 1.0, 0.25
"""Seconds that a warm turn lasts at least."""


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Measure this row; may be repeated.")
@click.option("--quick", is_flag=True, help="Smaller data and three pairs: under three minutes.")
@click.option("--strict", is_flag=True, help="Exit with 1 when something is under its bar.")
@click.option("--list", "listed", is_flag=True, help="Print the rows and what they do, and stop.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("bench.json"),
    show_default=True,
    help="Where the results go.",
)
@click.option("--compare", "earlier", type=click.Path(path_type=Path), help="An earlier output.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the page and its plots.")
@click.option(
    "--from",
    "given",
    type=click.Path(path_type=Path),
    help="Measure nothing: compare, judge or write the page from this output.",
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the data on disk goes; the place for temporary files without it.",
)
def main(
    *,
    only: tuple[str, ...],
    quick: bool,
    strict: bool,
    listed: bool,
    output: Path,
    earlier: Path | None,
    page: Path | None,
    given: Path | None,
    scratch: Path | None,
) -> None:
    """Measure the data plane beside its peers, in turns, and keep what was found."""
    rows = discovery.rows()
    if listed:
        for row in rows:
            click.echo(f"{row.name:14} {row.work}{' (only when named)' if row.opt_in else ''}")
        return
    before = _load(earlier) if earlier else None
    screen = Screen()
    if given:
        results, interrupted = _load(given), False
        for row in results.rows:
            screen.row(row)
    else:
        results, interrupted = run(_chosen(rows, only), screen, quick=quick, scratch=scratch)
        results.save(output)
    screen.end(results)
    if before is not None:
        screen.changes(compare(before, results), f"{earlier} of {before.started}")
    if page is not None:
        from tests.perf.bench.page import write  # noqa: PLC0415 - matplotlib is slow to import

        write(results, page)
    if interrupted:
        sys.exit(INTERRUPTED)
    sys.exit(1 if strict and results.under else 0)


def run(
    rows: Sequence[Row], screen: Screen, *, quick: bool, scratch: Path | None = None
) -> tuple[Results, bool]:
    """Measure rows; return what was found, and whether an interrupt ended it early."""
    start = time.monotonic()
    versions = {name: version(name) for name in ("fsspec", "xxhash")}
    found: list[RowResult] = []
    interrupted = False
    measurement = Measurement(screen.now)
    with _terminated_as_interrupted(), _folders(scratch) as (disk, memory):
        about = machine.describe(disk, memory)
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        try:
            with screen.running(), loops_of(QUICK_LOOP if quick else LOOP):
                for row in rows:
                    with _scratch(row, disk, memory) as (folder, fast):
                        context = Context(str(folder), str(fast), quick, versions)
                        found.append(measurement.row(row, context))
                    screen.row(found[-1])
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.monotonic() - start
    return Results(started, about, quick, seconds, versions, tuple(found)), interrupted


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does: with everything stopped and the results kept."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _folders(scratch: Path | None) -> Iterator[tuple[Path, Path]]:
    """Make the run's two folders, on disk and in memory; names are short for sockets' sake."""
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        disk, memory = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=place)))
            for place in (scratch, MEMORY if MEMORY.is_dir() else scratch)
        )
        yield disk, memory


@contextlib.contextmanager
def _scratch(row: Row, *places: Path) -> Iterator[list[Path]]:
    """Make a row's own folders, and remove them after it: the next one needs the room."""
    folders = [place / row.name for place in places]
    for folder in folders:
        folder.mkdir()
    try:
        yield folders
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _load(path: Path) -> Results:
    try:
        return Results.load(path)
    except (OSError, ConfigError) as error:
        raise click.ClickException(f"{path} is not a bench.json: {error}") from error


def _chosen(rows: Sequence[Row], only: Sequence[str]) -> list[Row]:
    try:
        return discovery.chosen(rows, only)
    except KeyError as error:
        names = ", ".join(row.name for row in rows)
        raise click.ClickException(f"--only is {error.args[0]!r}; the rows are {names}") from error


if __name__ == "__main__":
    main(prog_name="python -m tests.perf.bench")
