"""An agent's state of any size, made without fetching: a catalog, and a store that holds all of it.

Every object is zeros, in sparse files whose maps hold the true checksums, so that agent and client
find a store like any other and verify what they read.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.catalog.build import build
from runtime.catalog.read import Catalog
from runtime.catalog.records import CatalogMeta, Entry
from runtime.catalog.shelf import Head, Shelf
from runtime.contract.cellmap import PRESENT
from runtime.contract.layout import Layout, ObjectLayout
from runtime.contract.plan import TierPlan
from runtime.contract.units import DEFAULT_CHUNK, DEFAULT_PACK_BELOW, SEGMENT, checksum
from runtime.store.pair import TRAILER, fingerprint
from runtime.store.store import Store
from tests.perf.bench.agents import DATASET
from tests.support.lab import Node

BOOT = Path("/proc/sys/kernel/random/boot_id")
WORD = 1 << 1 | PRESENT
FOLDER = 1000


def equal_files(count: int, size: int) -> Iterator[Entry]:
    """Yield files of one size, a thousand in each folder."""
    for number in range(count):
        yield Entry(path_of(number), size, f"v{number}")


def path_of(number: int) -> str:
    """Return the path of one of ``equal_files``."""
    return f"train/{number // FOLDER:04}/{number:07}.bin"


def give_catalog(node: Node, entries: Iterable[Entry]) -> Path:
    """Let a node that has not started follow a snapshot of these entries; return its catalog."""
    shelf = Shelf(node.folder / "state", DATASET)
    draft = node.folder / "draft.sqlite"
    meta: CatalogMeta = build(
        draft,
        dataset=DATASET,
        entries=entries,
        chunk_size=DEFAULT_CHUNK,
        pack_below=DEFAULT_PACK_BELOW,
    )
    shelf.install(draft, Head(1, meta.snapshot, taken="simulated"))
    return shelf.folder / f"{meta.snapshot}.sqlite"


def fill(tier: Path, catalog: Path) -> None:
    """Make the folder of a tier that holds everything in a catalog."""
    plan = TierPlan("SSD", str(tier), 1 << 50)
    Store.open([plan], boot_id=BOOT.read_text().strip()).close()
    with Catalog(catalog) as opened:
        tails: dict[tuple[int, int], bytes] = {}
        for layout in _layouts(opened):
            if isinstance(layout, ObjectLayout):
                shape = layout.size, layout.chunk
                tail = tails.get(shape)
                if tail is None:
                    tail = tails[shape] = _tail(layout)
            else:
                tail = _tail(layout)
            _write(f"{tier}/{DATASET}/{layout.key[:2]}", layout, tail)


def _layouts(catalog: Catalog) -> Iterator[Layout]:
    for pack in catalog.pack_ids():
        yield catalog.pack_layout(pack)
    for record in catalog.walk():
        if record.pack is None and record.size:
            yield catalog.layout(record)


def _write(folder: str, layout: Layout, tail: bytes) -> None:
    base = f"{folder}/{layout.key}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        fd = os.open(f"{base}.map", flags, 0o600)
    except FileNotFoundError:
        Path(folder).mkdir(parents=True, exist_ok=True)
        fd = os.open(f"{base}.map", flags, 0o600)
    os.write(fd, layout.header.encode() + tail)
    os.close(fd)
    fd = os.open(f"{base}.data", flags, 0o600)
    os.ftruncate(fd, layout.size)
    os.close(fd)


def _tail(layout: Layout) -> bytes:
    """Return what follows a map's header where every cell is present and all zeros."""
    sums: dict[int, int] = {}

    def sum_of(size: int) -> int:
        if size not in sums:
            sums[size] = checksum(bytes(size))
        return sums[size]

    sizes = [stop - start for start, stop in map(layout.cell_range, range(layout.cells))]
    words = array("Q", [WORD]) * layout.cells
    whole = array("Q", map(sum_of, sizes))
    segments = array("Q")
    for size in sizes if layout.header.segments_per_cell else ():
        per_cell = layout.header.segments_per_cell
        full, rest = divmod(size, SEGMENT)
        found = [sum_of(SEGMENT)] * full + ([sum_of(rest)] if rest else [])
        segments.extend(found + [0] * (per_cell - len(found)))
    mark = fingerprint(layout).to_bytes(TRAILER, "little")
    return words.tobytes() + whole.tobytes() + segments.tobytes() + mark
