"""Builders for the store's tests: layouts, contents known by key, and a look at the disk."""

from __future__ import annotations

import os
import random
from functools import lru_cache
from pathlib import Path

from runtime.contract.cellmap import CellMap
from runtime.contract.layout import Layout, ObjectLayout, PackLayout
from runtime.contract.plan import TierPlan
from runtime.contract.units import ALIGN
from runtime.store.blob import Blob
from runtime.store.store import Store

KIB = 1 << 10
MIB = 1 << 20
DATASET = "ns/train"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A folder in memory, where there is one, for tests that look at all files after every step."""


def key_of(number: int) -> str:
    """Return a blob key that ends with ``number``."""
    return f"{random.Random(number).getrandbits(96):024x}{number:08x}"


def an_object(
    number: int, *, cells: int = 4, chunk: int = 16 * KIB, short: int = 0
) -> ObjectLayout:
    """Return an object of ``cells`` chunks, the last one ``short`` bytes shorter."""
    return ObjectLayout(key_of(number), cells * chunk - short, chunk)


def a_pack(number: int, sizes: list[int], *, per_group: int = 4) -> PackLayout:
    """Return a pack of members of these sizes, ``per_group`` in each group."""
    offsets, groups, end = [], [], 0
    for index, size in enumerate(sizes):
        if index % per_group == 0:
            end = -(-end // ALIGN) * ALIGN
            groups.append(index)
        offsets.append(end)
        end += size
    return PackLayout(key_of(number), offsets, sizes, groups)


def tier(path: Path, quota: int, *, high: int = 100, low: int = 100) -> TierPlan:
    """Return a tier at ``path``."""
    return TierPlan("SSD", str(path), quota, high=high, low=low)


@lru_cache(maxsize=64)
def _bytes_of(key: str, size: int) -> bytes:
    return random.Random(key).randbytes(size)


def content(layout: Layout, cell: int) -> bytes:
    """Return what belongs into a cell: never zeros, and nothing that another key has."""
    start, stop = layout.cell_range(cell)
    return _bytes_of(layout.key, layout.size)[start:stop]


def fill(store: Store, blob: Blob, *cells: int, spare: bool = False) -> bool:
    """Fill cells (all of them, if none is named) at once; tell whether they were admitted."""
    reservation = store.reserve(blob, cells or range(blob.layout.cells), spare=spare)
    if reservation is None:
        return False
    with reservation:
        for cell in reservation.cells:
            reservation.write(cell, content(blob.layout, cell))
        return reservation.commit()


def right(blob: Blob, cell: int) -> bool:
    """Tell whether a cell is here with the bytes that belong there."""
    return blob.verified_read(cell) == content(blob.layout, cell)


def present(blob: Blob) -> set[int]:
    """Return the cells that the blob says are here."""
    return {cell for cell in range(blob.layout.cells) if blob.present(cell)}


def blob_files(root: Path) -> list[Path]:
    """Return the data and map files below a tier."""
    return sorted(path for path in root.rglob("*") if path.suffix in (".data", ".map"))


def on_disk(root: Path) -> int:
    """Return the bytes of the blocks that a tier's data and map files take."""
    return sum(path.stat().st_blocks * 512 for path in blob_files(root))


def raw_words_are_true(root: Path, layouts: dict[str, Layout]) -> list[str]:
    """Read a tier as a reader with descriptors would; return what is wrong with it."""
    wrong = []
    for path in blob_files(root):
        if path.suffix != ".map" or not path.with_suffix(".data").exists():
            continue
        layout = layouts[path.stem]
        fd, data = os.open(path, os.O_RDONLY), os.open(path.with_suffix(".data"), os.O_RDONLY)
        try:
            if os.fstat(fd).st_size < layout.header.file_size:
                continue  # half made: no reader was ever given it
            raw = os.pread(fd, 64, 0)
            if raw[:8] == bytes(8):
                continue
            cells = CellMap(fd)
            for cell in range(layout.cells):
                start, stop = layout.cell_range(cell)
                if cells.present(cell) and os.pread(data, stop - start, start) != content(
                    layout, cell
                ):
                    wrong.append(f"{path.stem} cell {cell} in {root.name}")
            cells.close()
        finally:
            os.close(fd)
            os.close(data)
    return wrong


def flip(root: Path, layout: Layout, cell: int, *, at: int = 0) -> None:
    """Change one byte of a cell on disk, behind the store's back."""
    path = next(root.rglob(f"{layout.key}.data"))
    offset = layout.cell_range(cell)[0] + at
    with path.open("r+b", buffering=0) as file:
        old = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), bytes([old[0] ^ 0xFF]), offset)
