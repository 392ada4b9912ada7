"""Building a catalog from a listing."""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import xxhash

from runtime.catalog.packing import NOTHING_KEPT, Kept, Packing, arrange
from runtime.catalog.records import CatalogMeta, Entry
from runtime.catalog.schema import (
    APPLICATION_ID,
    FORMAT,
    INDEXES,
    PAGE_SIZE,
    SCHEMA,
    Columns,
)
from runtime.contract.units import PACK_BYTES
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from runtime.catalog.read import Catalog

__all__ = ["CatalogMeta", "Entry", "build", "snapshot_id"]

_GAP: Final = 16
"""A run of a group may step over so many files that are not in it."""


class Listed(NamedTuple):
    """A checked listing in listing order: by folder, then name.

    ``keys`` are (folder, name) of each entry; ``folders`` holds every folder's number, 0 the root.
    Folders end with a slash, but for the root, which is empty.
    """

    entries: list[Entry]
    keys: list[tuple[str, str]]
    folders: dict[str, int]


def build(
    path: Path,
    *,
    dataset: str,
    entries: Iterable[Entry],
    chunk_size: int,
    pack_below: int,
    previous: Catalog | None = None,
    created: str = "",
) -> CatalogMeta:
    """Write the catalog of a snapshot to ``path`` and return what it says of itself.

    The same entries, in any order, over the same ``previous`` give the same content. Objects that
    ``previous`` already holds in a pack stay where they are, see ``runtime.catalog.packing``. The
    file appears whole or not at all: it is written under a temporary name, synced and renamed.
    A million entries take some seconds; call it from a thread or a process of its own.

    Args:
        path: where the catalog goes; its folder exists.
        dataset: ``namespace/name``.
        entries: the listing.
        chunk_size: bytes of a chunk of a large object, and at most of a group in a pack.
        pack_below: objects below so many bytes, and not empty, lie in packs.
        previous: the catalog that this one follows.
        created: wall-clock text for people; it is not part of the snapshot's identity.

    Raises:
        ConfigError: two entries have one path, or a path cannot be a file's name.
    """
    if not 0 <= pack_below <= PACK_BYTES or chunk_size <= 0:
        raise ConfigError(
            f"packBelow is {pack_below} and chunkSize {chunk_size}; packBelow must be between 0 "
            f"and {PACK_BYTES}, chunkSize above 0"
        )
    with _without_collections():
        listed = _in_order(entries)
        packing = arrange(
            listed.entries,
            dataset=dataset,
            chunk_size=chunk_size,
            pack_below=pack_below,
            kept=NOTHING_KEPT if previous is None else _kept(listed, previous),
        )
        meta = CatalogMeta(
            dataset=dataset,
            snapshot=snapshot_id(dataset, listed.entries),
            files=len(listed.entries),
            bytes=sum(entry.size for entry in listed.entries),
            chunk_size=chunk_size,
            pack_below=pack_below,
            packs=len(packing.packs),
            created=created,
        )
        part = path.with_name(f"{path.name}.part")
        part.unlink(missing_ok=True)
        try:
            _write(part, meta, listed, packing)
            _sync(part)
            part.replace(path)
            _sync(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return meta


def snapshot_id(dataset: str, entries: Iterable[Entry]) -> str:
    """Return the id (32 hex digits) of a snapshot whose entries are in listing order."""
    digest = xxhash.xxh3_128(f"snapshot\0{dataset}\0".encode())
    for entry in entries:
        line = f"{entry.path}\0{entry.size}\0{entry.version}\0{entry.digest}\0"
        digest.update(line.encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Hold off the cycle collector: millions of new tuples make it take most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _in_order(entries: Iterable[Entry]) -> Listed:
    shared: dict[str, str] = {}
    keyed = []
    for entry in entries:
        path = entry.path
        cut = path.rfind("/") + 1
        folder = path[:cut]
        keyed.append((shared.setdefault(folder, folder), path[cut:], entry))
    keyed.sort(key=_key)
    folders = {""}
    for folder in shared:
        _check_folder(folder)
        _add_with_parents(folder, folders)
    for folder, name, entry in keyed:
        if name in {"", ".", ".."} or "\0" in name or entry.size < 0 or not _is_unicode(name):
            raise ConfigError(
                f"the listing has the path {entry.path!r} of {entry.size} bytes; a file has a name "
                "other than '', '.' and '..', in Unicode and without NUL, and a size of 0 or more; "
                "rename it or exclude it"
            )
        if not _is_unicode(entry.version):
            raise ConfigError(f"the listing has {entry.path!r} with a version not in Unicode")
        if f"{folder}{name}/" in folders:
            raise ConfigError(f"the listing has {entry.path!r} as a file and as a folder")
    keys = [(folder, name) for folder, name, _ in keyed]
    for key, following in pairwise(keys):
        if key == following:
            raise ConfigError(f"the listing has the path {''.join(key)!r} twice")
    numbers = {path: number for number, path in enumerate(sorted(folders))}
    return Listed([entry for _, _, entry in keyed], keys, numbers)


def _key(item: tuple[str, str, Entry]) -> tuple[str, str]:
    return item[:2]


def _is_unicode(text: str) -> bool:
    """Tell whether the text is free of lone surrogates, which stand for undecodable bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_folder(folder: str) -> None:
    parts = folder.split("/")[:-1]
    if any(part in {"", ".", ".."} or "\0" in part for part in parts) or not _is_unicode(folder):
        raise ConfigError(
            f"the listing has files in {folder!r}; a folder's path is made of names other than "
            "'', '.' and '..', in Unicode and without NUL; rename them or exclude them"
        )


def _above(folder: str) -> str:
    return folder[: folder.rfind("/", 0, -1) + 1]


def _add_with_parents(folder: str, folders: set[str]) -> None:
    while folder not in folders:
        folders.add(folder)
        folder = _above(folder)


def _kept(listed: Listed, previous: Catalog) -> Kept:
    """Return which entries the previous catalog holds unchanged in a pack, and its packs."""
    places: dict[int, tuple[int, int]] = {}
    held = previous.placed()
    row = next(held, None)
    for index, (key, entry) in enumerate(zip(listed.keys, listed.entries, strict=True)):
        while row is not None and row[:2] < key:
            row = next(held, None)
        if row is None:
            break
        if row[:2] == key and row[2] == entry.size and row[3] == entry.version:
            places[index] = row[4], row[5]
    return Kept(places, {pack: previous.pack_layout(pack) for pack in previous.pack_ids()})


def _write(path: Path, meta: CatalogMeta, listed: Listed, packing: Packing) -> None:
    columns = Columns.for_listing(listed.entries)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.executescript(SCHEMA)
        connection.execute("BEGIN")
        rows = [(name, str(getattr(meta, name))) for name in CatalogMeta.__dataclass_fields__]
        rows.append(("columns", columns.encode()))
        connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        connection.executemany("INSERT INTO dirs VALUES (?, ?, ?)", _folder_rows(listed.folders))
        connection.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            _file_rows(listed, packing, columns),
        )
        connection.executemany("INSERT INTO packs VALUES (?, ?, ?, ?, ?)", _pack_rows(packing))
        connection.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", _runs(listed, packing))
        connection.execute("COMMIT")
        connection.executescript(INDEXES)
    finally:
        connection.close()


def _folder_rows(folders: dict[str, int]) -> Iterator[tuple[int, str, int | None]]:
    for path, number in folders.items():
        yield number, path, folders[_above(path)] if path else None


def _file_rows(listed: Listed, packing: Packing, columns: Columns) -> Iterator[tuple[object, ...]]:
    numbers = listed.folders
    in_no_pack = None, 0, 0
    for (folder, name), entry, place in zip(
        listed.keys, listed.entries, packing.places, strict=True
    ):
        version = columns.pack_version(entry.version)
        digest = columns.pack_digest(entry.digest, version)
        head = numbers[folder], name, entry.size, version, entry.mount, digest
        yield head + (place or in_no_pack)


def _pack_rows(packing: Packing) -> Iterator[tuple[int, str, bytes, bytes, bytes]]:
    for number, pack in sorted(packing.packs.items()):
        yield number, pack.key, bytes(pack.offsets), bytes(pack.sizes), bytes(pack.groups)


def _runs(listed: Listed, packing: Packing) -> Iterator[tuple[int, int, int, str, int]]:
    """Yield (pack, unit, folder, name, length) of every stretch of files of one group."""
    open_runs: dict[tuple[int, int], tuple[int, int]] = {}
    closed: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for index, place in enumerate(packing.places):
        if place is None:
            continue
        group = place.pack, packing.packs[place.pack].unit_of(place.ordinal)
        first, last = open_runs.get(group, (index, index))
        if index - last > _GAP + 1:
            closed.append((group, (first, last)))
            first = index
        open_runs[group] = first, index
    closed += open_runs.items()
    for (pack, unit), (first, last) in sorted(closed):
        folder, name = listed.keys[first]
        yield pack, unit, listed.folders[folder], name, last - first + 1


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
