"""What the demo shows: the files it applies, a live table, and the figures at the end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.columns import Columns
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from cache_ctl.demo.figures import PoolFigures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from cache_ctl.demo.bundle import DemoFiles
    from cache_ctl.demo.figures import Outcome

MIB = 1 << 20
_CLASS_STYLES = {"Cloud": "cyan", "Dedicated": "green", "Basic": "yellow"}


@dataclass(frozen=True, slots=True)
class LiveRow:
    """One pool at one moment; ``done`` of ``total`` bytes, ``rate`` in bytes per second."""

    pool: PoolFigures
    done: int
    total: int
    rate: float


def mebibytes(count: float) -> str:
    """Return an amount of bytes for a table's cell: three digits at least, a dash for none."""
    if not count:
        return "-"
    amount = count / MIB
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.1f}"


def pool_name(pool: PoolFigures) -> str:
    """Return how a table names a pool: LocalOnly nodes have no domain and go by their names."""
    return pool.name or ", ".join(pool.nodes)


class Screen:
    """The demo's output: a live table on a terminal, a line per phase elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show the table that ``update`` draws for the time of the block, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        try:
            with self._live:
                yield
        finally:
            self._live = None

    def show_files(self, files: DemoFiles) -> None:
        """Print where the applied files lie, and what the three short ones say."""
        self._console.print(f"Applied, and kept for you in [bold]{files.folder}[/]:")
        self._console.print(f"  nodes.yaml: {files.nodes_summary}", highlight=False)
        panels = [
            Panel.fit(
                Syntax(text, "yaml", theme="ansi_dark", background_color="default"),
                title=name,
                title_align="left",
                box=box.ROUNDED,
            )
            for name, text in files.short_forms()
        ]
        self._console.print(Columns(panels))

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def update(self, title: str, rows: Sequence[LiveRow]) -> None:
        """Redraw the live table; nothing happens where there is no terminal."""
        if self._live is not None:
            self._live.update(_live_table(title, rows), refresh=True)

    def finish(self, outcome: Outcome, commands: Sequence[str]) -> None:
        """Print the closing figures, what does not hold if anything, and where to go from here."""
        self._console.print(_final_table(outcome))
        count = outcome.forbidden_connections
        self._console.print(f"{count} connections to basic or unknown nodes", style="bold")
        if outcome.ok:
            reads = sum(pool.read_bytes for pool in outcome.domains)
            self._console.print(
                f"Every byte was right: {outcome.files} files, {outcome.bytes / MIB:,.0f} MiB, "
                f"{outcome.epochs} epochs on {sum(len(p.nodes) for p in outcome.domains)} nodes, "
                f"{reads / MIB:,.0f} MiB read and checked, in {outcome.wall_seconds:.1f} s.",
                style="green",
                highlight=False,
            )
        for problem in outcome.problems:
            self._console.print(f"Not as it must be: {problem}.", style="red", highlight=False)
        self._console.print("\nTry next:")
        for command in commands:
            self._console.print(f"  {command}", style="bold", highlight=False, soft_wrap=True)


def next_commands(program: str, files: str, where: str) -> tuple[str, ...]:
    """Return three commands that look into what the demo left.

    ``program`` is how ``cachectl`` is called here, ``files`` the folder of the applied files, and
    ``where`` the option that names the state directory, if it must be named.
    """
    chunk = "training/images train/shards/part-00.tar 0 --from factory-east-1"
    return (
        f"{program} explain node store-1{where}",
        f"{program} explain chunk {chunk}{where}",
        f"{program} topology -f {files}/nodes.yaml -o svg --output-file topology.svg",
    )


def _live_table(title: str, rows: Sequence[LiveRow]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("pool")
    table.add_column("progress")
    for name in ("MiB/s", "local\nMiB", "peer\nMiB", "origin\nMiB"):
        table.add_column(name, justify="right", min_width=6, vertical="bottom")
    for row in rows:
        pool = row.pool
        table.add_row(
            Text(pool_name(pool), style=_CLASS_STYLES[pool.network_class]),
            ProgressBar(total=max(row.total, 1), completed=row.done, width=20),
            mebibytes(row.rate),
            mebibytes(pool.local_bytes),
            mebibytes(pool.peer_bytes),
            mebibytes(pool.origin_bytes),
        )
    return table


def _final_table(outcome: Outcome) -> Table:
    table = Table(title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title = "MiB read by where they came from, and samples per second by epoch"
    table.add_column("pool", no_wrap=True)
    for name in ("local\ntier", "peer", "origin", "line\nsaved"):
        table.add_column(name, justify="right")
    for epoch in range(outcome.epochs):
        table.add_column(f"epoch\n{epoch + 1}", justify="right")
    for pool in outcome.domains:
        table.add_row(
            _about(pool),
            mebibytes(pool.local_bytes),
            mebibytes(pool.peer_bytes),
            mebibytes(pool.origin_bytes),
            mebibytes(pool.line_bytes_saved),
            *(f"{rate:,.0f}" for rate in pool.samples_per_second),
        )
    return table


def _about(pool: PoolFigures) -> Text:
    return Text.assemble(
        (pool_name(pool), f"bold {_CLASS_STYLES[pool.network_class]}"),
        f"\n{pool.network_class}, {pool.mode}",
        (f"\n{pool.reason}", "dim"),
    )
