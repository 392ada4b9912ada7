"""Files that are replaced whole: whoever reads one sees the old text or the new one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SHARED_MODE: Final = 0o644
PRIVATE_MODE: Final = 0o600


def replace(path: Path, data: bytes, *, mode: int = SHARED_MODE) -> bool:
    """Bring a file to these bytes; False when it has them already, and is then not touched."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def link(path: Path, target: Path) -> None:
    """Make a symbolic link to a file, or turn it to another one in one step."""
    with contextlib.suppress(OSError):
        if path.readlink() == target:
            return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
