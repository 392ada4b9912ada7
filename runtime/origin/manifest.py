"""Manifests: lists of what lies below an HTTP source, for servers that list nothing themselves.

Three forms, told apart by their first character::

    {"path": "a/0.tar", "size": 4096, "etag": "x", "digest": "md5:..."}    JSON lines
    [{"path": "a/0.tar"}, "a/1.tar"]                                        a JSON list
    a/0.tar<TAB>4096<TAB>x                                                  text, a path a line

All but the path may be left out. In text, empty lines and such that begin with ``#`` are skipped,
and the lines of ``md5sum`` and ``sha256sum`` are understood too. Paths are relative to the source,
or URLs below it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from runtime.errors import ConfigError, OriginLied
from runtime.origin import digest
from runtime.origin.base import Found
from runtime.origin.version import from_etag

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUMMED: Final = re.compile(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{32}) [ *](.+)")
_LONGEST_SIZE: Final = 18
"""Digits of a size at most: more than an exabyte is no file's."""
_WANTED: Final = (
    "is not a path with, if told, a size in bytes, an etag and a digest; write one path a line, or "
    'objects like {"path": "a.bin", "size": 3, "etag": "x"}'
)


def parse_manifest(data: bytes, name: str, *, base: str) -> list[Found]:
    """Read a manifest; size -1 and an empty version stand for what it does not tell.

    ``base`` is the source's URL with a slash at its end, and ``name`` the manifest's in messages.

    Raises:
        OriginLied: it is not such a document, or names a path twice; the message tells the entry.
    """
    found: dict[str, Found] = {}
    for number, item in _items(data, name):
        entry = _entry(item, f"entry {number} of {name}", base)
        if entry.path in found:
            raise OriginLied(
                f"entry {number} of {name} names {entry.path!r} a second time; remove one"
            )
        found[entry.path] = entry
    return list(found.values())


def _items(data: bytes, name: str) -> Iterable[tuple[int, Any]]:
    """Yield entries with their numbers: of lines in lines, of items in a list."""
    try:
        text = data.decode("utf-8-sig").strip()
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        if text.startswith("["):
            return list(enumerate(json.loads(text), 1))
        if text.startswith("{"):
            return [(number, json.loads(line)) for number, line in lines]
    except UnicodeDecodeError:
        raise OriginLied(f"{name} is not UTF-8 text; write it as such") from None
    except (ValueError, RecursionError) as error:
        raise OriginLied(f"{name} is not JSON: {error}") from error
    return [(n, _of_text(line.rstrip("\r"))) for n, line in lines if not line.startswith("#")]


def _of_text(line: str) -> dict[str, Any]:
    if summed := _SUMMED.fullmatch(line):
        algorithm = "md5" if len(summed[1]) == 32 else "sha256"
        return {"path": summed[2], "digest": f"{algorithm}:{summed[1]}"}
    path, _, rest = line.partition("\t")
    size, _, etag = rest.partition("\t")
    size = size.strip()
    # What is no number stays text, which is refused by name with the entry.
    told: int | str = int(size) if size.isdecimal() and len(size) <= _LONGEST_SIZE else size
    return {"path": path, "size": told if size else -1, "etag": etag.strip()}


def _entry(item: Any, where: str, base: str) -> Found:
    if isinstance(item, str):
        item = {"path": item}
    if not isinstance(item, dict):
        raise OriginLied(f"{where} {_WANTED}")
    path, size = item.get("path"), item.get("size", -1)
    etag, told = item.get("etag") or "", item.get("digest") or ""
    sized = type(size) is int and -1 <= size < 10**_LONGEST_SIZE
    if not (isinstance(path, str) and sized and _is_header_text(etag)):
        raise OriginLied(f"{where} {_WANTED}")
    try:
        return Found(_below(path, base), size, from_etag(etag), digest.normal(told))
    except (ConfigError, AttributeError) as error:
        raise OriginLied(f"{where}: {error}") from error


def _below(path: str, base: str) -> str:
    """Return a manifest's path as one below the source.

    Raises:
        ConfigError: it leads elsewhere.
    """
    if path.startswith(base):
        path = unquote(path.removeprefix(base))
    path = path.removeprefix("./")
    parts = path.split("/")
    if "://" in path or not all(parts) or ".." in parts or "." in parts:
        raise ConfigError(
            f"the path {path!r} does not lead to a file below the source; write it relative to "
            "the source, with neither a slash at an end nor '..'"
        )
    return path


def _is_header_text(text: object) -> bool:
    """Tell whether a value may stand in a header as it is."""
    return isinstance(text, str) and text.isascii() and text.isprintable()
