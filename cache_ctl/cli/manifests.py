"""``-f FILE``: files, folders and standard input with objects, checked whole before use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cache_ctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache_ctl.api.kinds import Resource

_ENDINGS: Final = (".yaml", ".yml", ".json")

MANIFESTS = click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    metavar="FILE",
    help="File or folder with Kubernetes objects, YAML or JSON; - is standard input. May be "
    "repeated.",
)


def load(files: Sequence[str]) -> tuple[Resource, ...]:
    """Return all objects in these files.

    Raises:
        Unreadable: a file cannot be read.
        InvalidInput: something in them is wrong; a line for each problem, with file and line.
        click.UsageError: no file is given.
    """
    from cache_ctl.api.load import load_files  # noqa: PLC0415  pydantic is slow to import

    if not files:
        raise click.UsageError("give at least one file with -f, or -f - for standard input")
    objects = load_files(path for name in files for path in _paths(name)).required()
    if not objects:
        raise InvalidInput(f"{', '.join(files)}: there are no objects in it; give files that have")
    return objects


def _paths(name: str) -> list[Path]:
    """Return a file as it is, and of a folder the files in it, by name."""
    path = Path(name)
    if not path.is_dir():
        return [path]
    found = sorted(item for item in path.iterdir() if item.suffix in _ENDINGS and item.is_file())
    if not found:
        raise InvalidInput(f"{path} has no files that end with {', '.join(_ENDINGS)}")
    return found
