"""What a tier's folder holds when it is opened: the index is rebuilt by scanning.

Only the maps' headers and words are read, and each data file's size and blocks are looked at. What
does not belong is removed and counted: data without a map, a map without data, maps that do not
decode or fit, pairs with no cell present, foreign files.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.contract.cellmap import HEADER, KIND_OBJECT, MapHeader
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import ALIGN
from runtime.errors import ConfigError
from runtime.store import disk
from runtime.store.pair import TRAILER, FilePair, fingerprint, overhead, slack
from runtime.store.room import cover
from runtime.store.tier import WHOLE, Resident
from runtime.store.words import gaps, marked, presence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.contract.layout import Layout
    from runtime.store.blob import Blob
    from runtime.store.core import Core
    from runtime.store.room import Room
    from runtime.store.tier import Tier

_NAME: Final = re.compile(r"([0-9a-f]{32})\.(data|map)")
_FIRST_READ: Final = 4096
_BROKEN: Final = frozenset({errno.EIO, errno.ENOENT, errno.ELOOP, errno.EUCLEAN})
"""Errors that are a file's own; others are the whole tier's."""


@dataclass(frozen=True, slots=True)
class Found:
    """A pair that fits: ``cells`` holds 1 for each that is present, or was before a crash."""

    dataset: str
    header: MapHeader
    layout_mark: int
    cells: bytes
    data_bytes: int


def scan(core: Core, path: str) -> Iterator[Found]:
    """Yield every pair of a tier that fits, and remove everything else."""
    for namespace in _folders(core, path, top=True):
        for dataset in _folders(core, namespace.path):
            for prefix in _folders(core, dataset.path):
                yield from _scan_folder(core, f"{namespace.name}/{dataset.name}", prefix)
            with suppress(OSError):
                os.rmdir(dataset.path)  # noqa: PTH106 - plain strings
        with suppress(OSError):
            os.rmdir(namespace.path)  # noqa: PTH106 - plain strings


def _folders(core: Core, path: str, *, top: bool = False) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        listing = sorted(entries, key=lambda entry: entry.name)
    for entry in listing:
        if top and disk.is_ours(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield entry
        else:
            _remove(core, entry.path)


def _scan_folder(core: Core, dataset: str, folder: os.DirEntry[str]) -> Iterator[Found]:
    pairs: dict[str, set[str]] = {}
    with os.scandir(folder.path) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if (
                match is None
                or match[1][:2] != folder.name
                or not entry.is_file(follow_symlinks=False)
            ):
                _remove(core, entry.path)
            else:
                pairs.setdefault(match[1], set()).add(match[2])
    kept = False
    for key, suffixes in pairs.items():
        base = f"{folder.path}/{key}"
        found = _inspect(dataset, key, base) if len(suffixes) == 2 else None
        if found is not None:
            kept = True
            yield found
        else:
            for suffix in sorted(suffixes):
                _remove(core, f"{base}.{suffix}")
    if not kept:
        with suppress(OSError):
            os.rmdir(folder.path)  # noqa: PTH106 - plain strings


def _remove(core: Core, path: str) -> None:
    core.fault("recover.before-remove")
    disk.remove_tree(path)
    core.counters.removed_files += 1
    core.fault("recover.amid-remove")


def _inspect(dataset: str, key: str, base: str) -> Found | None:
    """Return what a pair holds, None if it does not fit or holds nothing."""
    try:
        fd = os.open(f"{base}.map", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            raw = os.pread(fd, _FIRST_READ, 0)
            header = MapHeader.decode(raw)
            size = os.fstat(fd).st_size
            wanted = HEADER.size + 8 * header.cells
            if not _fits(header, key) or size != header.file_size + TRAILER:
                return None
            if wanted > len(raw):
                raw = disk.read_all(fd, wanted, 0)
            layout_mark = int.from_bytes(os.pread(fd, TRAILER, header.file_size), "little")
        finally:
            os.close(fd)
        data = os.stat(f"{base}.data")  # noqa: PTH116 - plain strings, for speed
    except ConfigError:
        return None
    except OSError as error:
        if error.errno not in _BROKEN:
            raise
        return None
    cells = presence(memoryview(raw)[HEADER.size : wanted])
    if data.st_size != header.size or 1 not in cells:
        return None
    return Found(dataset, header, layout_mark, cells, disk.allocated(data))


def _fits(header: MapHeader, key: str) -> bool:
    if header.key != key or not header.cells:
        return False
    if header.kind == KIND_OBJECT:
        chunk = header.cell_size
        return (
            chunk > 0
            and chunk % ALIGN == 0
            and header == MapHeader.for_object(key, header.size, chunk)
        )
    return header == MapHeader.for_pack(key, header.size, header.cells)


def adopt_object(room: Room, tier: Tier, blob: Blob, found: Found) -> None:
    """Take in the chunks of an object."""
    pair = _adopt_pair(room, tier, found)
    _place_units(room, blob, pair, found.cells, found.data_bytes)


def adopt_pack(room: Room, tier: Tier, found: Found) -> Resident:
    """Take in a pack as one piece, until its layout is known."""
    pair = _adopt_pair(room, tier, found)
    resident = Resident((found.header.key, WHOLE), pair, None)
    resident.found = found.cells
    tier.place(resident)
    # What the file system noted is paid for by the slack: a full tier is no fuller after a restart.
    tier.grow(resident, max(0, found.data_bytes - slack(found.header)))
    tier.count(resident, 0, found.data_bytes)
    return resident


def _adopt_pair(room: Room, tier: Tier, found: Found) -> FilePair:
    pair = FilePair(room.core, tier, found.dataset, found.header)
    pair.layout_mark = found.layout_mark
    pair.distrusted = tier.suspect
    tier.charge(pair, overhead(found.header))
    return pair


def attach_pack(room: Room, blob: Blob, whole: Resident) -> None:
    """Divide a recovered pack into its units, now that its layout is known.

    A pack that was laid out differently is dropped.
    """
    pair = whole.pair
    tier = pair.tier
    if pair.header != blob.layout.header or pair.layout_mark != fingerprint(blob.layout):
        room.take(whole)
        return
    tier.displace(whole)
    tier.charge(pair, -whole.charged)
    _place_units(room, blob, pair, whole.found, whole.size)
    for resident in blob.units.values():
        if room.owned is not None:
            resident.pair.tier.set_spare(
                resident, spare=not room.owned(blob.dataset, *resident.name)
            )
    room.enforce(tier)


def _place_units(room: Room, blob: Blob, pair: FilePair, found: bytes, allocated: int) -> None:
    """Enter the units of a pair, and free the bytes of what is not present."""
    layout, tier = blob.layout, pair.tier
    blob.pairs[tier] = pair
    here = bytearray(found)
    charged = 0
    elsewhere: list[int] = []
    for unit, present in _present_units(layout, found):
        if unit in blob.units:
            elsewhere.extend(present)
            for cell in present:
                here[cell] = 0
            continue
        resident = Resident((layout.key, unit), pair, blob)
        blob.units[unit] = resident
        resident.charged = cover(layout, present)
        tier.charge(pair, resident.charged)
        tier.place(resident)
        charged += resident.charged
        if pair.distrusted:
            resident.doubted = tuple(present)
        else:
            ranges = (layout.cell_range(cell) for cell in present)
            tier.count(resident, len(present), sum(stop - start for start, stop in ranges))
    if allocated > charged or elsewhere:
        _free_absent(room, blob, pair, bytes(here), elsewhere)


def _present_units(layout: Layout, found: bytes) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield each unit that has present cells, with these."""
    if isinstance(layout, ObjectLayout):  # a chunk is a cell and a unit, and there are many
        for cell in marked(found):
            yield cell, (cell,)
        return
    for unit in range(layout.units):
        cells = layout.unit_cells(unit)
        present = [cells.start + cell for cell in marked(found[cells.start : cells.stop])]
        if present:
            yield unit, present


def _free_absent(room: Room, blob: Blob, pair: FilePair, here: bytes, elsewhere: list[int]) -> None:
    """Free what a killed fill or eviction has left, and cells that another tier has too."""
    layout = blob.layout
    room.core.fault("recover.before-punch")
    freed = True
    try:
        pair.clear(elsewhere)
        for first, last in gaps(here):
            # From the end of a present cell to the start of the next, padding included.
            start = layout.cell_range(first - 1)[1] if first else 0
            end = disk.blocks(0, layout.size)
            stop = layout.cell_range(last)[0] if last < layout.cells else end
            freed = pair.punch(start, stop) and freed
    except OSError as error:
        pair.tier.failed(error)
        freed = False
    room.core.fault("recover.after-punch")
    if not (freed and pair.residents):
        room.retire(pair, blob)
        room.release(pair)
