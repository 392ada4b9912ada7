"""Where the control socket lies, and how to reach it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOCKET: Final = "control.sock"
HIDDEN: Final = "(hidden)"
"""Stands for a value that may be a secret, wherever one is shown."""


@contextlib.contextmanager
def short_path(folder: Path, name: str) -> Iterator[str]:
    """Give a path to a socket in ``folder`` that is short, however deep the folder lies.

    A Unix socket's path has at most 107 bytes; one through an open descriptor always fits.

    Raises:
        OSError: there is no such folder.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
