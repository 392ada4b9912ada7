"""Reading a catalog: names to sizes, versions and places.

One connection per process behind one lock: SQLite calls are short, and the interpreter's lock lets
them hardly overlap anyway. The lock is held while the process forks, as SQLite's own mutexes must
be free in the child; the child then opens a connection of its own.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from array import array
from functools import partial
from heapq import heapify, heappop
from typing import TYPE_CHECKING, Final

from runtime.catalog.descriptor import connect
from runtime.catalog.records import CatalogMeta, Entry, FileRecord, Listing
from runtime.catalog.schema import APPLICATION_ID, FORMAT, Columns
from runtime.contract.layout import Layout, ObjectLayout, PackLayout
from runtime.contract.units import chunk_size_for, object_key
from runtime.errors import CacheError, ConfigError, NoSuchPath, NotCached

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any, Self

__all__ = ["Catalog", "CatalogMeta", "Entry", "FileRecord", "Listing"]

_BATCH: Final = 512
_MAX_FOLDERS: Final = 1 << 17
_LAST_FOLDER: Final = 1 << 62
_MAX_RECENT: Final = 1 << 14
"""Records kept for the next time; about 400 bytes each."""

_record = partial(tuple.__new__, FileRecord)
"""``FileRecord._make`` without a Python function in between, which counts over a million."""

_lock = threading.Lock()


os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


class Catalog:
    """An open catalog; safe to share between threads and over a fork.

    ``source`` is a path, or a descriptor that stays the caller's. The file may be unlinked
    meanwhile, but must never change.

    Raises:
        ConfigError: the file is missing, is not a catalog of this format, or is damaged. Every
            method may raise it, when damage shows only there.
        NotCached: from every method, once it was closed.
    """

    def __init__(self, source: Path | int) -> None:
        self._name = f"descriptor {source}" if isinstance(source, int) else str(source)
        try:
            self._fd = os.dup(source) if isinstance(source, int) else os.open(source, os.O_RDONLY)
        except OSError as error:
            raise ConfigError(f"the catalog {self._name} cannot be opened: {error}") from error
        self._close_fd = weakref.finalize(self, os.close, self._fd)
        self._connection: sqlite3.Connection | None = None
        self._pid = -1
        self._folders: dict[str, int] = {}
        self._layouts: dict[int, PackLayout] = {}
        self._recent: dict[str, FileRecord] = {}
        try:
            self.meta = self._read_meta()
        except BaseException:
            self.close()
            raise

    def _read_meta(self) -> CatalogMeta:
        found = self._rows("PRAGMA application_id"), self._rows("PRAGMA user_version")
        if found != ([(APPLICATION_ID,)], [(FORMAT,)]):
            raise ConfigError(f"{self._name} is not a catalog of format {FORMAT}")
        values = dict(self._rows("SELECT key, value FROM meta"))
        try:
            columns = Columns.decode(values["columns"])
            meta = CatalogMeta(
                dataset=values["dataset"],
                snapshot=values["snapshot"],
                files=int(values["files"]),
                bytes=int(values["bytes"]),
                chunk_size=int(values["chunk_size"]),
                pack_below=int(values["pack_below"]),
                packs=int(values["packs"]),
                created=values["created"],
            )
        except (KeyError, ValueError) as error:
            raise self._damaged(error) from error
        record = columns.record_sql
        self._version_sql = columns.version_sql
        self._find_sql = f"SELECT {record} FROM files WHERE dir = ? AND name = ?"  # noqa: S608 - our own column names
        self._scan_sql = f"SELECT path || name, {record} FROM dirs CROSS JOIN files ON dir = id "  # noqa: S608 - our own column names
        return meta

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor of the file, for passing it on; it stays this object's."""
        return self._fd

    def close(self) -> None:
        """Close the file; the object is unusable afterwards."""
        with _lock:
            connection, self._connection = self._connection, None
            self._pid = -1
            if connection is not None:
                connection.close()
            self._close_fd()
            self._fd = -1
            self._recent.clear()

    # -- one path ---------------------------------------------------------------------------

    def find(self, path: str) -> FileRecord | None:
        """Return the record of a file, or None when the snapshot has no such file."""
        recent = self._recent.get(path)
        if recent is not None:
            return recent
        above, slash, name = path.rpartition("/")
        folder = self._folders.get(above)
        if folder is None:
            folder = self._folder(above)
        if folder is None or (slash and not above):
            return None
        try:
            with _lock:
                if self._pid != os.getpid():
                    self._reconnect()
                row = self._execute(self._find_sql, (folder, name)).fetchone()
        except UnicodeEncodeError:  # not a name that a catalog can hold
            return None
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error
        if row is None:
            return None
        if len(self._recent) >= _MAX_RECENT:
            self._recent.clear()
        record = self._recent[path] = _record((path, *row))
        return record

    def find_many(self, paths: Iterable[str]) -> list[FileRecord | None]:
        """Return the record, or None, of each path in the order asked."""
        return [self.find(path) for path in paths]

    def is_dir(self, path: str) -> bool:
        """Tell whether the snapshot has files below this folder; the root always is one."""
        return self._folder(path) is not None

    def list_dir(self, path: str) -> list[Listing]:
        """Return the names in a folder, sorted.

        Raises:
            NoSuchPath: there is no such folder.
        """
        prefix = f"{path}/" if path else ""
        folder = self._folder(path)
        if folder is None:
            raise NoSuchPath(f"{self.meta.dataset} has no folder {path!r}")
        below = self._rows("SELECT path FROM dirs WHERE parent = ?", folder)
        names = [Listing(child[len(prefix) : -1], True, None) for (child,) in below]  # noqa: FBT003 - the field is named in the tuple
        files = self._rows(f"{self._scan_sql} WHERE id = ?", folder)
        cut = len(prefix)
        names += [Listing(row[0][cut:], False, _record(row)) for row in files]  # noqa: FBT003 - as above
        names.sort(key=lambda listing: listing.name)
        return names

    # -- many paths -------------------------------------------------------------------------

    def walk(self, prefix: str = "") -> Iterator[FileRecord]:
        """Yield every file at or below ``prefix``, sorted by path.

        ``prefix`` is a file, a folder, or empty for all; nothing is yielded when it is neither.
        """
        if prefix and (record := self.find(prefix)) is not None:
            yield record
            return
        first, last = self._span(prefix)
        folders = self._rows(
            "SELECT id, path FROM dirs WHERE id BETWEEN ? AND ? ORDER BY id", first, last
        )
        yield from self._walk(folders)

    def _walk(self, folders: Sequence[tuple[int, str]]) -> Iterator[FileRecord]:
        # Table order is path order, except that a folder's own files lie among its subfolders:
        # these wait in a heap until the walk has come to their place.
        waiting: list[FileRecord] = []
        at, end = 0, len(folders)
        while at < end:
            folder, path = folders[at]
            while waiting and waiting[0].path < path:
                yield heappop(waiting)
            if at + 1 < end and folders[at + 1][1].startswith(path):
                waiting += self._scan(folder, folder)
                heapify(waiting)
                at += 1
                continue
            stop = at + 1
            while stop < end and not (stop + 1 < end and _holds(folders[stop], folders[stop + 1])):
                if waiting and waiting[0].path < folders[stop][1]:
                    break
                stop += 1
            yield from self._scan(folder, folders[stop - 1][0])
            at = stop
        waiting.sort()
        yield from waiting

    def _scan(self, first: int, last: int) -> Iterator[FileRecord]:
        """Yield the files of a range of folders in table order."""
        query = f"{self._scan_sql} WHERE id BETWEEN ? AND ? ORDER BY id, name"
        return map(_record, self._stream(query, first, last))

    def placed(self) -> Iterator[tuple[str, str, int, str, int, int]]:
        """Yield (folder, name, size, version, pack, ordinal) of all members, in table order."""
        query = (
            f"SELECT path, name, size, {self._version_sql}, pack, ordinal FROM dirs "  # noqa: S608 - our own column names
            "CROSS JOIN files ON dir = id WHERE pack IS NOT NULL ORDER BY id, name"
        )
        return self._stream(query)

    # -- blobs ------------------------------------------------------------------------------

    def members(self, pack: int, unit: int) -> list[FileRecord | None]:
        """Return the files in a group of a pack in layout order, None for those no longer there."""
        cells = self.pack_layout(pack).unit_cells(unit)
        found: list[FileRecord | None] = [None] * len(cells)
        runs = self._rows(
            "SELECT dir, name, length FROM runs WHERE pack = ? AND unit = ?", pack, unit
        )
        after = "id >= ?1 AND (dir > ?1 OR name >= ?2)"
        query = f"{self._scan_sql} WHERE {after} ORDER BY id, name LIMIT ?3"
        for run in runs:
            for record in map(_record, self._rows(query, *run)):
                if record.pack == pack and record.ordinal in cells:
                    found[record.ordinal - cells.start] = record
        return found

    def pack_ids(self) -> list[int]:
        """Return the numbers of all packs."""
        return [pack for (pack,) in self._rows("SELECT id FROM packs ORDER BY id")]

    def pack_layout(self, pack: int) -> PackLayout:
        """Return the layout of a pack.

        Raises:
            ConfigError: the catalog has no such pack.
        """
        layout = self._layouts.get(pack)
        if layout is None:
            rows = self._rows("SELECT key, offsets, sizes, groups FROM packs WHERE id = ?", pack)
            if not rows:
                raise ConfigError(f"the catalog {self._name} has no pack {pack}")
            key, *columns = rows[0]
            arrays = array("Q"), array("I"), array("I")
            for numbers, column in zip(arrays, columns, strict=True):
                numbers.frombytes(column)
            layout = PackLayout(key, *arrays)
            self._layouts[pack] = layout
        return layout

    def pack_by_key(self, key: str) -> int | None:
        """Return the number of the pack with this blob key."""
        rows = self._rows("SELECT id FROM packs WHERE key = ?", key)
        return rows[0][0] if rows else None

    def layout(self, record: FileRecord) -> Layout:
        """Return the layout of the blob that holds a file."""
        if record.pack is not None:
            return self.pack_layout(record.pack)
        chunk = chunk_size_for(record.size, self.meta.chunk_size)
        dataset = self.meta.dataset
        key = object_key(dataset, record.path, record.size, record.version, chunk)
        return ObjectLayout(key, record.size, chunk)

    def blob_keys(self) -> set[str]:
        """Return the keys of all blobs of this snapshot."""
        keys = {key for (key,) in self._rows("SELECT key FROM packs")}
        query = (
            f"SELECT path || name, size, {self._version_sql} FROM dirs "  # noqa: S608 - our own column names
            "CROSS JOIN files ON dir = id WHERE pack IS NULL AND size > 0"
        )
        dataset = self.meta.dataset
        base = self.meta.chunk_size
        keys.update(
            object_key(dataset, path, size, version, chunk_size_for(size, base))
            for path, size, version in self._stream(query)
        )
        return keys

    # -- statements -------------------------------------------------------------------------

    def _folder(self, path: str) -> int | None:
        found = self._folders.get(path)
        if found is None:
            try:
                rows = self._rows("SELECT id FROM dirs WHERE path = ?", f"{path}/" if path else "")
            except UnicodeEncodeError:
                return None
            if not rows:
                return None
            if len(self._folders) >= _MAX_FOLDERS:
                self._folders.clear()
            found = self._folders[path] = rows[0][0]
        return found

    def _span(self, path: str) -> tuple[int, int]:
        """Return the first and last number of the folders at and below ``path``."""
        first = self._folder(path)
        if first is None:
            return 0, -1
        if not path:
            return first, _LAST_FOLDER
        beyond = path + chr(ord("/") + 1)
        rows = self._rows(
            "SELECT max(id) FROM dirs WHERE path >= ? AND path < ?", f"{path}/", beyond
        )
        return first, rows[0][0]

    def _rows(self, query: str, *values: Any) -> list[Any]:
        try:
            with _lock:
                return self._connected().execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _stream(self, query: str, *values: Any) -> Iterator[Any]:
        cursor = None
        pid = os.getpid()
        while True:
            try:
                with _lock:
                    if cursor is None:
                        cursor = self._connected().execute(query, values)
                    elif pid != os.getpid():
                        raise ConfigError("a walk that began before a fork cannot go on after it")
                    rows = cursor.fetchmany(_BATCH)
            except sqlite3.DatabaseError as error:
                raise self._damaged(error) from error
            if not rows:
                return
            yield from rows

    def _connected(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            self._reconnect()
        if self._connection is None:
            raise self._closed()
        return self._connection

    def _reconnect(self) -> None:
        if self._fd < 0:
            raise self._closed()
        if self._connection is not None:  # the parent's; closing it here touches only our copy
            self._connection.close()
        self._connection = connect(self._fd)
        self._execute = self._connection.execute
        self._pid = os.getpid()

    def _closed(self) -> NotCached:
        # A reader without a hold, by HTTP, may be in the middle when a new snapshot comes.
        return NotCached(f"the catalog {self._name} is closed; read again from the one after it")

    def _damaged(self, error: Exception) -> CacheError:
        if self._fd < 0:
            return self._closed()
        return ConfigError(
            f"the catalog {self._name} is not a catalog or is damaged ({error}); remove it, and "
            "the agent makes or fetches a new one"
        )


def _holds(folder: tuple[int, str], following: tuple[int, str]) -> bool:
    return following[1].startswith(folder[1])
