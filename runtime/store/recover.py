"""What a tier's folder holds when it is opened: the index is rebuilt by scanning.

Only the maps' headers and words are read, and each data file's size and blocks are looked at. What
does not belong is removed and counted: data without a map, a map without data, maps that do not
decode or fit, pairs with no cell present, foreign files.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.contract.cellmap import HEADER, KIND_OBJECT, MapHeader
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import ALIGN
from runtime.errors import ConfigError
from runtime.store import disk
from runtime.store.dormant import Row
from runtime.store.pair import TRAILER, FilePair, fingerprint, overhead, slack
from runtime.store.room import cover
from runtime.store.tier import WHOLE, Resident
from runtime.store.words import gaps, marked, presence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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


def scan(core: Core, tier: Tier, adopt: Callable[[str, str], bool]) -> Iterator[None]:
    """Show every pair of a tier to ``adopt``, and remove what it does not keep, and all else.

    One step is a pair; between steps nothing is locked and anything may happen, but that files
    are made in this tier. ``adopt(dataset, key)`` is called with the lock held, in each Dataset in
    the order of the keys, and tells whether the pair stays. It ends early if the tier is closed.

    Raises:
        OSError: the medium failed.
    """
    for namespace in _folders(core, tier, tier.path, top=True):
        for dataset in _folders(core, tier, f"{tier.path}/{namespace}"):
            name = f"{namespace}/{dataset}"
            for prefix in _folders(core, tier, f"{tier.path}/{name}"):
                yield from _scan_folder(core, tier, name, prefix, adopt)
            _prune(core, tier, f"{tier.path}/{name}")
        _prune(core, tier, f"{tier.path}/{namespace}")


def _folders(core: Core, tier: Tier, path: str, *, top: bool = False) -> Iterator[str]:
    for entry in sorted(_listing(path, gone=not top), key=lambda entry: entry.name):
        if not tier.usable:
            return
        if top and disk.is_ours(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield entry.name
        else:
            _remove_foreign(core, tier, entry.path)


def _listing(path: str, *, gone: bool) -> list[os.DirEntry[str]]:
    """Return what a folder holds; nothing if it is ``gone``, where that may be."""
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except FileNotFoundError:
        if not gone:
            raise
        return []


def _scan_folder(
    core: Core, tier: Tier, dataset: str, prefix: str, adopt: Callable[[str, str], bool]
) -> Iterator[None]:
    folder = f"{tier.path}/{dataset}/{prefix}"
    found: set[str] = set()
    for entry in _listing(folder, gone=True):
        match = _NAME.fullmatch(entry.name)
        if match is None or match[1][:2] != prefix or not entry.is_file(follow_symlinks=False):
            _remove_foreign(core, tier, entry.path)
        else:
            found.add(match[1])
    for key in sorted(found):
        with core.lock:
            if not tier.usable:
                return
            if not adopt(dataset, key):
                discard(core, tier, dataset, key)
        yield
    _prune(core, tier, folder)


def _remove_foreign(core: Core, tier: Tier, path: str) -> None:
    if tier.usable:  # without the lock: no store has files of such names, and it may be a tree
        _remove(core, path)


def _prune(core: Core, tier: Tier, path: str) -> None:
    """Remove a folder that is empty."""
    with core.lock, suppress(OSError):
        if tier.usable:
            os.rmdir(path)  # noqa: PTH106 - plain strings


def datasets(path: str) -> list[str]:
    """Return the Datasets that have a folder in a tier, none where the medium fails."""
    found: list[str] = []
    with suppress(OSError):
        for namespace in _listing(path, gone=True):
            if namespace.is_dir(follow_symlinks=False) and not disk.is_ours(namespace.name):
                inside = _listing(namespace.path, gone=True)
                found.extend(f"{namespace.name}/{one.name}" for one in inside)
    return found


def keys(path: str, dataset: str) -> Iterator[str]:
    """Yield the key of every file that a Dataset has in a tier, as far as the medium works."""
    with suppress(OSError):
        for prefix in _listing(f"{path}/{dataset}", gone=True):
            if prefix.is_dir(follow_symlinks=False):
                matches = (_NAME.fullmatch(one.name) for one in _listing(prefix.path, gone=True))
                yield from {match[1] for match in matches if match is not None}


def discard(core: Core, tier: Tier, dataset: str, key: str) -> None:
    """Remove the files of a pair that does not fit."""
    for suffix in ("data", "map"):
        _remove(core, f"{tier.path}/{dataset}/{key[:2]}/{key}.{suffix}")


def _remove(core: Core, path: str) -> None:
    if not os.path.lexists(path):
        return
    core.fault("recover.before-remove")
    disk.remove_tree(path)
    core.counters.removed_files += 1
    core.fault("recover.amid-remove")


def inspect(tier: Tier, dataset: str, key: str) -> Found | None:
    """Return what a pair of a tier holds, None if it is not there, does not fit or holds nothing.

    Raises:
        OSError: the medium failed.
    """
    base = f"{tier.path}/{dataset}/{key[:2]}/{key}"
    try:
        fd = os.open(f"{base}.map", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            raw = os.pread(fd, _FIRST_READ, 0)
            header = MapHeader.decode(raw)
            size = os.fstat(fd).st_size
            wanted = HEADER.size + 8 * header.cells
            if not _fits(header, key) or size != header.file_size + TRAILER:
                return None
            if wanted > len(raw):
                raw = disk.read_all(fd, wanted, 0)
            trailer = raw[header.file_size :][:TRAILER]
            if len(trailer) < TRAILER:
                trailer = os.pread(fd, TRAILER, header.file_size)
            layout_mark = int.from_bytes(trailer, "little")
        finally:
            os.close(fd)
        data = os.lstat(f"{base}.data")
    except ConfigError:
        return None
    except OSError as error:
        if error.errno not in _BROKEN:
            raise
        return None
    cells = presence(memoryview(raw)[HEADER.size : wanted])
    if not stat.S_ISREG(data.st_mode) or data.st_size != header.size or 1 not in cells:
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


def row_of(found: Found) -> Row | None:
    """Return what is to be known of an object while it is dormant; None for what must be mended.

    That is one whose file has more bytes than its present cells need.
    """
    header = found.header
    count = found.cells.count(1)
    missing = header.cells * header.cell_size - header.size if found.cells[-1] else 0
    charged = count * header.cell_size - missing // ALIGN * ALIGN
    if found.data_bytes > charged:
        return None
    return Row(overhead(header), charged, count * header.cell_size - missing)


def adopt_object(room: Room, tier: Tier, blob: Blob, found: Found) -> None:
    """Take in the chunks of an object."""
    pair = adopt_pair(room, tier, found)
    _place_units(room, blob, pair, found.cells, found.data_bytes)


def adopt_pack(room: Room, tier: Tier, found: Found) -> Resident:
    """Take in a pack as one piece, until its layout is known."""
    pair = adopt_pair(room, tier, found)
    resident = Resident((found.header.key, WHOLE), pair, None)
    resident.found = found.cells
    tier.place(resident)
    # What the file system noted is paid for by the slack: a full tier is no fuller after a restart.
    tier.grow(resident, max(0, found.data_bytes - slack(found.header)))
    tier.count(resident, 0, found.data_bytes)
    return resident


def adopt_pair(room: Room, tier: Tier, found: Found) -> FilePair:
    """Take in the files of a pair, without its units."""
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
