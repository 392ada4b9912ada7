"""How results are printed: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PIPE_WIDTH: Final = 1000
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
CLASS_STYLES: Final = {"Cloud": "cyan", "Dedicated": "green", "Basic": "yellow"}


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_yaml(value: Any) -> None:
    """Print a value as YAML, fields in their own order."""
    click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100), nl=False)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", wrap: int = -1
) -> None:
    """Print a table in the way of kubectl; ``wrap`` is the column that is folded to fit.

    Into a pipe, lines are as long as they need to be, so that ``grep`` and ``cut`` see them whole.
    """
    from rich.console import Console  # noqa: PLC0415  rich is slow to import
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else _PIPE_WIDTH, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    fold = wrap % len(columns)
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index != fold, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=CLASS_STYLES.get(cell, "")) for cell in row))
    with console.capture() as captured:
        if title:
            console.print(Text(title, style="bold"))
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=terminal)


def note(text: str) -> None:
    """Print a remark to standard error, where it does not disturb a reading program."""
    click.echo(f"cachectl: {text}", err=True)


def age(timestamp: str, now: dt.datetime) -> str:
    """Return how long ago a time of Kubernetes was: ``42s``, ``5m30s``, ``3h``, ``12d``."""
    then = dt.datetime.fromisoformat(timestamp)
    seconds = max(0, int((now - then).total_seconds()))
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 10 * _MINUTE:
        return f"{seconds // _MINUTE}m{seconds % _MINUTE}s"
    if seconds < 3 * _HOUR:
        return f"{seconds // _MINUTE}m"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR}h"
    return f"{seconds // _DAY}d"
