"""Names: what fsspec asks of a snapshot's listing. Nothing here reads a file's bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path
from xxhash import xxh3_64_intdigest

from runtime.client.failures import Failure, NotListable, PathIsDirectory, PathMissing
from runtime.client.files import describe
from runtime.errors import NoSuchPath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runtime.catalog.read import FileRecord
    from runtime.client.snapshots import DatasetView, Session, Snapshot

PREFIX: Final = "cachectl://"


class SnapshotNames(AbstractFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """The naming half of the file system, over the session that a subclass sets.

    Stripped paths are ``namespace/dataset/path`` without slashes at the ends.
    """

    _session: Session

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text: str = path if type(path) is str else stringify_path(path)
        if text.startswith(PREFIX):
            text = text[len(PREFIX) :]
        elif text.startswith("cachectl::"):
            text = text[len("cachectl::") :]
        return text.strip("/")

    def _dataset(self, path: str) -> tuple[DatasetView, Snapshot, str]:
        """Return the Dataset of a stripped path, its snapshot, and the path inside it.

        Raises:
            NotListable: the path is above a Dataset.
        """
        cut = path.find("/") + 1
        if not cut:
            raise NotListable(
                f"{PREFIX}{path} cannot be listed, as a reader's token is for one Dataset; name "
                "the Dataset as cachectl://namespace/dataset",
                path,
            )
        cut = path.find("/", cut)
        view = self._session.view(path if cut < 0 else path[:cut])
        return view, view.current(), "" if cut < 0 else path[cut + 1 :]

    def _file(self, path: str) -> tuple[DatasetView, Snapshot, FileRecord]:
        """Return the record of a file, by its stripped path.

        Raises:
            PathMissing, PathIsDirectory: it is no file.
        """
        view, snapshot, inside = self._dataset(path)
        record = snapshot.catalog.find(inside)
        if record is None:
            raise _no_file(path, snapshot, inside)
        return view, snapshot, record

    def info(self, path: Any, **_: Any) -> dict[str, Any]:
        """Return ``{"name", "size", "type", "version"}``; directories have no version."""
        path = self._strip_protocol(path)
        if "/" not in path:
            return {"name": path, "size": 0, "type": "directory"}
        _view, snapshot, inside = self._dataset(path)
        record = snapshot.catalog.find(inside) if inside else None
        if record is not None:
            return describe(path, record.size, record.version)
        if snapshot.catalog.is_dir(inside):
            return {"name": path, "size": 0, "type": "directory"}
        raise _no_file(path, snapshot, inside)

    def exists(self, path: Any, **_: Any) -> bool:
        """Tell whether the snapshot has the path. Other failures are raised, not taken for no."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    lexists = exists

    def isfile(self, path: Any) -> bool:
        """Tell whether the snapshot has a file of this name."""
        try:
            return bool(self.info(path)["type"] == "file")
        except FileNotFoundError:
            return False

    def isdir(self, path: Any) -> bool:
        """Tell whether the snapshot has files below this path."""
        try:
            return bool(self.info(path)["type"] == "directory")
        except FileNotFoundError:
            return False

    def ls(self, path: Any, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Return what is in a directory, sorted by name; a file lists itself."""
        path = self._strip_protocol(path)
        _view, snapshot, inside = self._dataset(path)
        entries: list[dict[str, Any]] = []
        try:
            for name, is_dir, record in snapshot.catalog.list_dir(inside):
                full = f"{path}/{name}"
                if is_dir or record is None:
                    entries.append({"name": full, "size": 0, "type": "directory"})
                else:
                    entries.append(describe(full, record.size, record.version))
        except NoSuchPath:
            entries.append(self.info(path))
        return entries if detail else [entry["name"] for entry in entries]

    def walk(
        self,
        path: Any,
        maxdepth: int | None = None,
        topdown: bool = True,  # noqa: FBT001, FBT002 - fsspec's signature
        on_error: Any = "omit",
        **options: Any,
    ) -> Iterator[Any]:
        """Yield ``(directory, its directories, its files)`` for all below, as ``os.walk`` does.

        ``on_error="omit"`` passes over what does not exist; an agent that does not answer or
        refuses is an error all the same, and never looks like an empty Dataset.
        """
        if on_error == "omit":
            on_error = _raise_unless_missing
        yield from super().walk(
            path, maxdepth=maxdepth, topdown=topdown, on_error=on_error, **options
        )

    def find(
        self,
        path: Any,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        detail: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        **options: Any,
    ) -> Any:
        """Return all files below a path, sorted; with ``detail`` a dict of their ``info``."""
        path = self._strip_protocol(path)
        _view, snapshot, inside = self._dataset(path)
        if maxdepth is not None:
            return super().find(
                path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **options
            )
        root = path[: len(path) - len(inside)].rstrip("/") + "/"
        records = snapshot.catalog.walk(inside)
        if not detail and not withdirs:
            return [root + record.path for record in records]
        found = {
            root + record.path: describe(root + record.path, record.size, record.version)
            for record in records
        }
        if withdirs and path not in found and (found or not inside):
            for name in _folders_of(found, path):
                found[name] = {"name": name, "size": 0, "type": "directory"}
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    def du(
        self,
        path: Any,
        total: bool = True,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        **options: Any,
    ) -> Any:
        """Return the bytes below a path, or a dict of each file's with ``total=False``."""
        entries = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **options)
        sizes = {name: entry["size"] for name, entry in entries.items()}
        return sum(sizes.values()) if total else sizes

    def ukey(self, path: Any) -> str:
        """Return the file's version token: it changes exactly when the version changes."""
        return self._file(self._strip_protocol(path))[2].version

    def checksum(self, path: Any) -> int:
        """Return a number that changes when the file's version changes."""
        return xxh3_64_intdigest(self.ukey(path).encode())

    def created(self, path: Any) -> NoReturn:
        """Raise: see ``modified``."""
        self.modified(path)

    def modified(self, path: Any) -> NoReturn:
        """Raise: a snapshot keeps versions, which say more than times; see ``ukey``."""
        raise NotImplementedError(
            f"{self._strip_protocol(path)} has a version but no time in its snapshot; compare "
            "ukey(path) to see whether a file changed"
        )


def _no_file(path: str, snapshot: Snapshot, inside: str) -> Failure:
    if snapshot.catalog.is_dir(inside):
        return PathIsDirectory(f"{path} is a directory, not a file", path)
    return PathMissing(f"{path} is not in the Dataset's current snapshot", path)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _folders_of(files: Iterable[str], root: str) -> set[str]:
    """Return the directories from ``root`` down that hold these files."""
    folders = {root}
    for name in files:
        folder = name.rpartition("/")[0]
        while len(folder) > len(root) and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders
