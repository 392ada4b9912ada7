"""System calls that Python lacks, and the mark that makes a folder a tier."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.contract.units import ALIGN
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

MARK: Final = "tier.json"
_MARK_DRAFT: Final = "tier.json.new"
_NOT_OURS: Final = frozenset({"lost+found"})
FORMAT: Final = 1

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def blocks(start: int, stop: int) -> int:
    """Return the bytes of the 4 KiB blocks that ``start`` to ``stop`` of a file touch."""
    return -(-stop // ALIGN) * ALIGN - start // ALIGN * ALIGN


def allocated(status: os.stat_result) -> int:
    """Return the bytes that a file takes on its medium, in 4 KiB blocks."""
    return blocks(0, status.st_blocks * 512)


def punch(fd: int, start: int, stop: int) -> bool:
    """Free the blocks between two offsets of a file, which reads as zeros there afterwards.

    The file keeps its size, so readers that have it mapped are not killed. Returns False where
    the file system cannot do it.

    Raises:
        OSError: the medium failed.
    """
    while _libc.fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, start, stop - start):
        code = ctypes.get_errno()
        if code in (errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def write_all(fd: int, data: memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``.

    Raises:
        OSError: the medium is full or failed.
    """
    while data:
        done = os.pwrite(fd, data, offset)
        data = data[done:]
        offset += done


def read_all(fd: int, size: int, offset: int) -> bytes:
    """Read up to ``size`` bytes; fewer only at the end of the file.

    Raises:
        OSError: the medium failed.
    """
    data = os.pread(fd, size, offset)
    while len(data) < size:
        more = os.pread(fd, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def sync_filesystem(fd: int) -> None:
    """Wait until everything written to the file system of this descriptor rests on its medium."""
    if _libc.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def unlink_quietly(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.unlink(path)  # noqa: PTH108 - plain strings: this runs once a file at start-up
    except FileNotFoundError:
        return


def remove_tree(path: str) -> None:
    """Remove whatever is at ``path``, not following links."""
    if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114 - as above
        unlink_quietly(path)
    else:
        shutil.rmtree(path)


@dataclass(frozen=True, slots=True)
class Mark:
    """What ``tier.json`` says.

    ``boot_id`` is the machine's boot that wrote here last, ``clean`` that the store was closed and
    its bytes reached the medium, ``suspect`` that cells from before a machine crash may be left
    that nobody has verified.
    """

    boot_id: str
    clean: bool = False
    suspect: bool = False

    def suspect_in(self, boot_id: str) -> bool:
        """Tell whether bytes here must be verified before they are used in this boot."""
        return self.suspect or (self.boot_id != boot_id and not self.clean)


def read_mark(folder: str) -> Mark | None:
    """Return the tier's mark; None for a folder that is new.

    Raises:
        ConfigError: the folder holds something else, or another version's tier.
        OSError: it cannot be read.
    """
    path = f"{folder}/{MARK}"
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            document = json.load(file)
        found = int(document["format"])
        mark = Mark(str(document["bootId"]), bool(document["clean"]), bool(document["suspect"]))
    except FileNotFoundError:
        if set(os.listdir(folder)) - _NOT_OURS - {_MARK_DRAFT}:  # noqa: PTH208 - as above
            raise ConfigError(
                f"the tier path {folder} is not empty and was not made by this store; "
                "give the tier an empty folder of its own"
            ) from None
        return None
    except (ValueError, KeyError, TypeError):
        # The mark is replaced whole, so a broken one is the work of the medium.
        return Mark(boot_id="", suspect=True)
    if found != FORMAT:
        raise ConfigError(
            f"the tier at {folder} has format {found}, this version reads {FORMAT}; "
            "empty the folder or go back to the version that wrote it"
        )
    return mark


def write_mark(
    folder: str, mark: Mark, fault: Callable[[str], None], *, durable: bool = True
) -> None:
    """Replace the tier's mark, whole or not at all.

    ``durable`` waits until it rests on the medium: needed when it takes back a clean end, or gives
    one. Losing any other mark leaves one that trusts no more than it.

    Raises:
        OSError: the medium is full or failed.
    """
    document = {
        "format": FORMAT,
        "bootId": mark.boot_id,
        "clean": mark.clean,
        "suspect": mark.suspect,
    }
    draft = f"{folder}/{_MARK_DRAFT}"
    with open(draft, "w", encoding="utf-8") as file:  # noqa: PTH123 - as above
        json.dump(document, file)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    fault("mark.before-rename")
    os.replace(draft, f"{folder}/{MARK}")  # noqa: PTH105 - as above
    if durable:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def is_ours(name: str) -> bool:
    """Tell whether a name at the top of a tier is one that recovery must leave alone."""
    return name in _NOT_OURS or name in (MARK, _MARK_DRAFT)


def lock_folder(folder: str) -> int:
    """Return a descriptor of the folder that holds an exclusive lock until it is closed.

    Raises:
        ConfigError: another store uses the folder.
        OSError: it cannot be opened.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ConfigError(
            f"the tier path {folder} is in use by another agent; give each agent its own folder"
        ) from None
    except OSError:
        os.close(fd)
        raise
    return fd
