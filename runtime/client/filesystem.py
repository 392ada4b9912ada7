"""fsspec's file system for ``cachectl://namespace/dataset/path``.

Synchronous: it needs no event loop and may be called inside one, where it blocks as local files
do. One instance may be shared between threads; it pickles, and goes on working in a forked child.
"""

from __future__ import annotations

import mmap
import os
import secrets
import threading
import weakref
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import isfilelike

from runtime.client.failures import BytesUnavailable, Failure, PathMissing
from runtime.client.files import MemberFile, ObjectFile, refuse_to_write
from runtime.client.members import read_member, read_members
from runtime.client.names import SnapshotNames
from runtime.client.objects import ObjectReader
from runtime.client.settings import DEFAULT_TIMEOUT, ClientSettings, Environment
from runtime.client.snapshots import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.catalog.read import FileRecord
    from runtime.client.snapshots import DatasetView, Snapshot

_COPY_BUFFER: Final = 4 << 20
_READING: Final = (["b", "r"], ["r"], ["r", "t"])
"""The letters of the modes that read."""

_sessions: weakref.WeakValueDictionary[ClientSettings, Session] = weakref.WeakValueDictionary()
_sessions_lock = threading.Lock()


def _session(settings: ClientSettings) -> Session:
    with _sessions_lock:
        session = _sessions.get(settings)
        if session is None:
            session = _sessions[settings] = Session(settings)
        return session


def _restart_sessions() -> None:
    global _sessions_lock  # noqa: PLW0603 - a thread of the parent may hold the old one
    _sessions_lock = threading.Lock()
    for session in list(_sessions.values()):
        session.restart_after_fork()


os.register_at_fork(after_in_child=_restart_sessions)


class CacheFileSystem(SnapshotNames):
    """Files of Datasets, through the cache agent on this node. Read-only.

    Args:
        socket: the agent's Unix socket; ``CACHECTL_SOCKET``, then the default place, without it.
        token: a reader's token for one Dataset; ``CACHECTL_TOKEN``, then the file that
            ``CACHECTL_TOKEN_FILE`` names, without it.
        token_file: a file that holds the token, read again when the agent refuses it.
        verify: ``FirstRead``, ``EveryRead`` or ``OnFill``.
        timeout: seconds that one question to the agent may take.

    Raises:
        Failure: every error is one, and also the ``OSError`` that fits; see ``failures``.
    """

    protocol = "cachectl"
    async_impl = False
    _environment = Environment()
    _extra_tokenize_attributes = ("_environment",)

    def __init__(
        self,
        *,
        socket: str | None = None,
        token: str | None = None,
        token_file: str | None = None,
        verify: str = "FirstRead",
        timeout: float = DEFAULT_TIMEOUT,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._settings = ClientSettings.resolve(
            socket=socket, token=token, token_file=token_file, verify=verify, timeout=timeout
        )
        self._session = _session(self._settings)
        self._check_members = self._settings.verify != "OnFill"

    def __repr__(self) -> str:
        return f"CacheFileSystem(socket={self._settings.socket!r})"

    __str__ = __repr__

    @property
    def fsid(self) -> str:
        """The agent that answers, by its socket."""
        return f"cachectl_{self._settings.socket}"

    def open(
        self,
        path: Any,
        mode: str = "rb",
        block_size: Any = None,
        cache_options: Any = None,
        compression: str | None = None,
        **options: Any,
    ) -> Any:
        """Open a file: buffered, seekable, and of one version until it is closed."""
        if mode == "rb" and compression is None:
            return self._open(path)
        if sorted(mode) not in _READING:
            if not set("wax+").isdisjoint(mode):
                refuse_to_write(f"open(mode={mode!r})")
            raise ValueError(f"mode is {mode!r}; it must be rb, or r or rt for text")
        mode = "rb" if "b" in mode else "rt"
        return super().open(path, mode, block_size, cache_options, compression, **options)

    def _open(self, path: Any, mode: str = "rb", **_: Any) -> MemberFile | ObjectFile:
        if mode != "rb":
            refuse_to_write(f"open(mode={mode!r})")
        path = self._strip_protocol(path)
        view, snapshot, record = self._file(path)
        if record.pack is None and record.size:
            return ObjectFile(self, path, self._reader(view, snapshot, record))
        try:
            data = (
                read_member(view, snapshot, record, check=self._check_members)
                if record.size
                else b""
            )
        except BytesUnavailable:
            if not view.renew(snapshot):
                raise
            return self._open(path)
        return MemberFile(self, path, record.version, data)

    def _reader(self, view: DatasetView, snapshot: Snapshot, record: FileRecord) -> ObjectReader:
        return ObjectReader(view, snapshot, record, self._settings.verify)

    def cat_file(
        self, path: Any, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return a file's bytes from ``start`` to ``end``; negative ones count from the end."""
        path = self._strip_protocol(path)
        view, snapshot, record = self._file(path)
        first, stop, _step = slice(start, end).indices(record.size)
        if first >= stop:
            return b""
        try:
            if record.pack is None:
                return self._reader(view, snapshot, record).read(first, stop)
            data = read_member(view, snapshot, record, check=self._check_members)
        except BytesUnavailable:
            if not view.renew(snapshot):
                raise
            return self.cat_file(path, start, end)
        return data if stop - first == record.size else data[first:stop]

    def cat(
        self,
        path: Any,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        on_error: str = "raise",
        **options: Any,
    ) -> Any:
        """Return a file's bytes, or a dict of many files' bytes for a list or a pattern.

        Small files that are not cached yet are asked for together. A name that the snapshot has
        is never taken for a pattern.
        """
        if options:
            return super().cat(path, recursive=recursive, on_error=on_error, **options)
        if recursive:
            names = self.expand_path(path, recursive=True)
            found = self._cat_files(name for name in names if not self.isdir(name))
        elif isinstance(path, (list, tuple, set)):
            found = self._cat_files([self._strip_protocol(one) for one in path])
            for name, data in tuple(found.items()):
                if isinstance(data, PathMissing) and has_magic(name):
                    matches = self.glob(name)
                    if matches:
                        del found[name]
                        found.update(self._cat_files(matches))
        else:
            name = self._strip_protocol(path)
            if not has_magic(name) or self.exists(name):
                return self.cat_file(name)
            found = self._cat_files(self.expand_path(name))
        failures = [data for data in found.values() if isinstance(data, Failure)]
        if failures and on_error == "raise":
            raise failures[0]
        if failures and on_error == "omit":
            return {name: data for name, data in found.items() if isinstance(data, bytes)}
        return found

    def _cat_files(self, paths: Iterable[str]) -> dict[str, bytes | Failure]:
        """Return the bytes of each stripped path, or why it has none."""
        found: dict[str, bytes | Failure] = {}
        by_dataset: dict[str, list[str]] = {}
        for path in paths:
            # Kept in the order asked; the bytes come below.
            found[path] = b""
            by_dataset.setdefault(path[: path.find("/", path.find("/") + 1)], []).append(path)
        for names in by_dataset.values():
            self._cat_dataset(names, found)
        return found

    def _cat_dataset(self, paths: Sequence[str], found: dict[str, bytes | Failure]) -> None:
        small_paths, small = [], []
        try:
            view, snapshot, _ = self._dataset(paths[0])
        except Failure as failure:
            found.update(dict.fromkeys(paths, failure.with_traceback(None)))
            return
        find = snapshot.catalog.find
        cut = len(view.dataset) + 1
        for path in paths:
            record = find(path[cut:])
            if record is not None and record.pack is not None:
                small_paths.append(path)
                small.append(record)
            elif record is None or record.size:
                try:
                    found[path] = self.cat_file(path)
                except Failure as failure:
                    found[path] = failure.with_traceback(None)
        check = self._check_members
        members = read_members(view, snapshot, small, check=check)
        lost = any(isinstance(data, BytesUnavailable) for data in members)
        if lost and view.renew(snapshot):
            self._cat_dataset(small_paths, found)
        else:
            found.update(zip(small_paths, members, strict=True))

    def cat_ranges(
        self,
        paths: list[Any],
        starts: int | list[int | None] | None,
        ends: int | list[int | None] | None,
        max_gap: int | None = None,  # noqa: ARG002 - ranges are near; joining them gains nothing
        on_error: str = "return",
        **_: Any,
    ) -> list[bytes | Exception]:
        """Return a range of each path, as ``cat_file`` does; a file named twice is opened once."""
        if not isinstance(paths, list):
            raise TypeError(f"paths is {type(paths).__name__}; it must be a list")
        first = starts if isinstance(starts, list) else [starts] * len(paths)
        last = ends if isinstance(ends, list) else [ends] * len(paths)
        if not len(paths) == len(first) == len(last):
            raise ValueError(
                f"there are {len(paths)} paths, {len(first)} starts and {len(last)} ends; they "
                "must be as many"
            )
        readers: dict[str, ObjectReader] = {}
        results: list[bytes | Exception] = []
        for path, start, end in zip(paths, first, last, strict=True):
            try:
                results.append(self._cat_range(self._strip_protocol(path), start, end, readers))
            except Failure as failure:
                if on_error != "return":
                    raise
                results.append(failure.with_traceback(None))
        return results

    def _cat_range(
        self, path: str, start: int | None, end: int | None, readers: dict[str, ObjectReader]
    ) -> bytes:
        reader = readers.get(path)
        if reader is None:
            view, snapshot, record = self._file(path)
            if record.pack is not None or not record.size:
                return self.cat_file(path, start, end)
            reader = readers[path] = self._reader(view, snapshot, record)
        first, stop, _ = slice(start, end).indices(reader.record.size)
        return reader.read(first, stop) if first < stop else b""

    def get_file(
        self,
        rpath: Any,
        lpath: Any = None,
        callback: Any = DEFAULT_CALLBACK,
        outfile: Any = None,
        **_: Any,
    ) -> None:
        """Copy a file to a local path or into an open file.

        A local path has the whole file or is as it was before: the copy is renamed into place.
        """
        path = self._strip_protocol(rpath)
        target = lpath if outfile is None and isfilelike(lpath) else outfile
        if target is not None:
            self._copy(path, target, callback)
            return
        if self.isdir(path):
            Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        local = Path(lpath)
        local.parent.mkdir(parents=True, exist_ok=True)
        part = local.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with part.open("xb") as file:
                self._copy(path, file, callback)
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def _copy(self, path: str, target: Any, callback: Any) -> None:
        with self._open(path) as source:
            callback.set_size(source.size)
            # A mapping starts on a page, where copies out of the page cache are fastest.
            view = memoryview(mmap.mmap(-1, max(min(source.size, _COPY_BUFFER), 1)))
            while count := source.readinto(view):
                target.write(view[:count])
                callback.relative_update(count)

    # -- what an fsspec file system may also be asked -----------------------------------------

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """Return what rebuilds this file system; without the token if passwords are left out."""
        document: dict[str, Any] = super().to_dict(include_password=include_password)
        if not include_password:
            document.pop("token", None)
        return document

    def _read_only(self, *_: Any, **__: Any) -> NoReturn:
        refuse_to_write("this call")

    mkdir = makedirs = makedir = mkdirs = rmdir = touch = _read_only
    rm = rm_file = _rm = delete = mv = move = rename = cp_file = cp = copy = _read_only
    put = put_file = upload = pipe = pipe_file = write_text = write_bytes = _read_only
