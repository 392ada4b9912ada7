"""Scanning a map's words at the speed of ``bytes``, with nothing but the standard library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.contract.cellmap import PRESENT

if TYPE_CHECKING:
    from collections.abc import Iterator

_BIT: Final = bytes(value & PRESENT for value in range(256))


def presence(words: bytes | memoryview) -> bytes:
    """Return one byte a cell, 1 where the word says present, of little-endian words."""
    return bytes(words)[::8].translate(_BIT)


def marked(flags: bytes) -> Iterator[int]:
    """Yield the positions that hold 1."""
    cell = flags.find(1)
    while cell >= 0:
        yield cell
        cell = flags.find(1, cell + 1)


def gaps(flags: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and stop of each run of positions that hold 0."""
    start = flags.find(0)
    while start >= 0:
        stop = flags.find(1, start)
        stop = len(flags) if stop < 0 else stop
        yield start, stop
        start = flags.find(0, stop)
