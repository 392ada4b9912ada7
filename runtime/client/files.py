"""File objects: a small object held in memory, and a large one read as it is used."""

from __future__ import annotations

import io
from operator import index
from typing import TYPE_CHECKING, Any, Final, NoReturn

from runtime.client.failures import PositionWrong, ReadOnly, StaleFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.client.objects import ObjectReader

_DIRECT: Final = 32 << 10
"""Reads from this size on go straight to their destination, smaller ones through the buffer."""
_SMALLEST_WINDOW: Final = 8 << 10
_LARGEST_WINDOW: Final = 256 << 10


def refuse_to_write(what: str) -> NoReturn:
    """Raise the error of every call that writes."""
    raise ReadOnly(
        f"{what} would write, and cachectl:// is read-only: write to the Dataset's origin, and "
        "the next snapshot brings it here"
    )


class MemberFile(io.BytesIO):
    """A small file, open for reading: its verified bytes, all read when it was opened.

    A pickle of it carries the bytes.
    """

    mode = "rb"

    def __init__(self, filesystem: Any, path: str, version: str, data: bytes) -> None:
        super().__init__(data)
        self.fs = filesystem
        self.path = path
        self.version = version
        self.size = len(data)

    def __repr__(self) -> str:
        return f"<cachectl file {self.path!r}, {self.size} bytes>"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        contents = (self.fs, self.path, self.version, self.getvalue())
        return _revive_member, (*contents, self.tell())

    @property
    def full_name(self) -> str:
        """The path with its protocol."""
        return f"cachectl://{self.path}"

    def info(self) -> dict[str, Any]:
        """Return what ``ls`` says of the file, for the version that is open."""
        return describe(self.path, self.size, self.version)

    def mmap(self) -> memoryview:
        """Return a read-only view of all bytes; of this file's own copy, as a small one has."""
        return memoryview(self.getvalue())

    def writable(self) -> bool:
        """Return False."""
        return False

    def write(self, *_: Any) -> NoReturn:
        """Raise ``ReadOnly``."""
        refuse_to_write("write()")

    writelines = truncate = write


def _revive_member(
    filesystem: Any, path: str, version: str, data: bytes, position: int
) -> MemberFile:
    file = MemberFile(filesystem, path, version, data)
    file.seek(position)
    return file


def describe(path: str, size: int, version: str) -> dict[str, Any]:
    """Return fsspec's description of a file."""
    return {"name": path, "size": size, "type": "file", "version": version}


class ObjectFile(io.BufferedIOBase):
    """A large file, open for reading: one version of it, whatever the origin does meanwhile.

    Large reads go straight to their destination; small ones through a buffer that grows while
    they follow each other. A pickle of it carries path, version and position, and opens the file
    anew: it is stale when another version has become current.
    """

    mode = "rb"

    def __init__(self, filesystem: Any, path: str, reader: ObjectReader) -> None:
        self.fs = filesystem
        self.path = path
        self.size = reader.record.size
        self.version = reader.record.version
        self._reader: ObjectReader | None = reader
        self._position = 0
        # One attribute, so that another thread never sees bytes beside the wrong start.
        self._buffer: tuple[int, bytes] = (0, b"")
        self._window = _SMALLEST_WINDOW

    def __repr__(self) -> str:
        return f"<cachectl file {self.path!r}, {self.size} bytes>"

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[..., ObjectFile], tuple[Any, ...]]:
        return _revive_object, (self.fs, self.path, self.version, self.tell())

    @property
    def full_name(self) -> str:
        """The path with its protocol."""
        return f"cachectl://{self.path}"

    def info(self) -> dict[str, Any]:
        """Return what ``ls`` says of the file, for the version that is open."""
        return describe(self.path, self.size, self.version)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Let go of the version; the agent may drop it when nobody else reads it."""
        self._reader = None
        self._buffer = (0, b"")
        super().close()

    def _open_reader(self) -> ObjectReader:
        if self._reader is None:
            raise ValueError("I/O operation on closed file")
        return self._reader

    def tell(self) -> int:
        """Return the position."""
        self._open_reader()
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset from the start (0), the position (1) or the end (2)."""
        offset = index(offset)
        if whence == 1:
            offset += self._position
        elif whence == 2:
            offset += self.size
        elif whence:
            raise ValueError(f"whence is {whence}; it must be 0, 1 or 2")
        if offset < 0:
            raise PositionWrong(
                f"the position would be {offset}, before the file's start", self.path
            )
        if self._reader is None:
            raise ValueError("I/O operation on closed file")
        self._position = offset
        return offset

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes, fewer only at the end of the file; all that follow for -1.

        Raises:
            Failure: they cannot be had now; the position is unchanged.
        """
        start = self._position
        stop = self.size if size is None or size < 0 else min(start + size, self.size)
        if stop - start >= _DIRECT:
            data = self._open_reader().read(start, stop)
        else:
            data = self._read_buffered(start, stop)
        self._position = max(start, stop)
        return data

    def _read_buffered(self, start: int, stop: int) -> bytes:
        reader = self._open_reader()
        if start >= stop:
            return b""
        left, data = self._buffer
        if left <= start and stop <= left + len(data):
            return data[start - left : stop - left]
        is_next = left <= start <= left + len(data) and data
        self._window = min(self._window * 2, _LARGEST_WINDOW) if is_next else _SMALLEST_WINDOW
        end = min(max(stop, start + self._window), self.size)
        data = reader.read(start, end)
        self._buffer = (start, data)
        return data[: stop - start]

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, what a single read brings for -1."""
        return self.read(_DIRECT if size < 0 else size)

    def peek(self, _: int = 0, /) -> bytes:
        """Return bytes that follow without moving: those in the buffer, at least one if any."""
        start = self._position
        self._read_buffered(start, min(start + 1, self.size))
        left, data = self._buffer
        return data[max(start - left, 0) :] if start < self.size else b""

    def readinto(self, buffer: Any, /) -> int:
        """Fill a writable buffer; return how many bytes, fewer only at the end of the file."""
        view = memoryview(buffer).cast("B")
        start = self._position
        size = min(len(view), max(self.size - start, 0))
        if size >= _DIRECT:
            self._open_reader().fill(view[:size], start)
        else:
            view[:size] = self._read_buffered(start, start + size)
        self._position = start + size
        return size

    readinto1 = readinto

    def mmap(self) -> memoryview:
        """Return a read-only view of all bytes of this version, mapped from the node's store.

        The object is brought to this node as a whole, and stays there as long as the view, one
        made of it, or this file is in use; it may outlive the file. The bytes are verified here
        unless ``verify`` is ``OnFill``.

        Raises:
            Failure: they cannot be had now, or not all of them in one place; they can be read.
        """
        return self._open_reader().map()

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the bytes up to and with the next newline, at most ``size``."""
        pieces = []
        limit = self.size if size is None or size < 0 else size
        while limit:
            ready = self.peek()[:limit]
            if not ready:
                break
            cut = ready.find(b"\n") + 1
            piece = ready[:cut] if cut else ready
            pieces.append(piece)
            self._position += len(piece)
            limit -= len(piece)
            if cut:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, _: Any, /) -> NoReturn:
        """Raise ``ReadOnly``."""
        refuse_to_write("write()")

    def truncate(self, _: Any = None, /) -> NoReturn:
        """Raise ``ReadOnly``."""
        refuse_to_write("truncate()")


def _revive_object(filesystem: Any, path: str, version: str, position: int) -> ObjectFile:
    file: ObjectFile = filesystem.open(path)
    if file.version != version:
        raise StaleFile(
            f"{path} has another version now than when it was pickled; open it again", path
        )
    file.seek(position)
    return file
