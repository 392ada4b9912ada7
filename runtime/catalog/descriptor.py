"""SQLite over a file descriptor.

SQLite opens files by name only, and resolves ``/proc/self/fd/N`` to the name behind it. That name
is gone when the file was unlinked, and means nothing in another mount namespace, which is where
most clients live. So a connection is opened on a stand-in, and the descriptor that SQLite then
holds is replaced by ours before it has read anything.

The stand-in is a file that only the calling thread could have open: its own limits under /proc.
Nothing is written, and no temporary folder is needed. SQLite opens the file at once and does not
open it again; ``nolock`` keeps it from looking for locks and ``-journal`` files beyond one probe.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from pathlib import Path

from runtime.errors import ConfigError

_DESCRIPTORS = Path("/proc/self/fd")
_MAP_BYTES = 1 << 40  # SQLite lowers it to its own limit


def connect(fd: int) -> sqlite3.Connection:
    """Return a read-only connection to the database open at ``fd``, which stays the caller's.

    The connection holds one read transaction, so that no statement asks the file whether it
    changed: it must not.

    Raises:
        ConfigError: SQLite does not open files as is needed here.
        sqlite3.DatabaseError: the file is not a database.
    """
    name = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/limits"
    connection = sqlite3.connect(
        f"file:{name}?mode=ro&nolock=1", uri=True, check_same_thread=False, isolation_level=None
    )
    try:
        os.dup2(fd, _only_descriptor_of(name), inheritable=False)
        connection.execute(f"PRAGMA mmap_size = {_MAP_BYTES}")
        connection.execute("BEGIN")
    except BaseException:
        connection.close()
        raise
    return connection


def _only_descriptor_of(name: str) -> int:
    held = []
    for link in _DESCRIPTORS.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by another thread since the listing
            if str(link.readlink()) == name:
                held.append(int(link.name))
    if len(held) != 1:
        raise ConfigError(
            f"SQLite {sqlite3.sqlite_version} holds {len(held)} descriptors for one database; "
            "catalogs need one"
        )
    return held[0]
