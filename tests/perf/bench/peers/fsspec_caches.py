"""fsspec's own caches over HTTP: what a user has without installing anything.

They run in the reader's process and verify nothing. Tuned as their documentation says for data
that does not change: no question to the origin about a cached file, no expiry, no reload of the
notes that they keep.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import fsspec

CHUNK = 4 << 20
SETTINGS: dict[str, Any] = {"check_files": False, "expiry_time": None, "cache_check": False}


def filecache(folder: Path, **options: Any) -> Any:
    """Copy whole files into ``folder`` and keep notes of them there."""
    return _made("filecache", folder, SETTINGS | options)


def simplecache(folder: Path, **options: Any) -> Any:
    """Copy whole files into ``folder``, without notes."""
    return _made("simplecache", folder, options)


def blockcache(folder: Path, **options: Any) -> Any:
    """Copy the blocks of files that are read into sparse files in ``folder``."""
    return _made("blockcache", folder, SETTINGS | {"block_size": CHUNK} | options)


def _made(name: str, folder: Path, options: dict[str, Any]) -> Any:
    return fsspec.filesystem(
        name,
        target_protocol="http",
        cache_storage=str(folder),
        skip_instance_cache=True,
        **options,
    )


def versions() -> dict[str, str]:
    """Return what these caches are made of."""
    return {name: version(name) for name in ("fsspec", "aiohttp")}
