"""The tables of a catalog file, and how compact columns are read back.

``dirs`` are numbered from 0, the root, in the order of their paths with a trailing slash, so that
a folder and all below it are one range of numbers. ``files`` are ordered by folder, then name:
that order is called the table order. A pack's members are found through ``runs``: stretches of
``files`` in table order, one a group when it was laid out at once.

A version that is hexadecimal in one case is kept as bytes, half as long; ``meta.columns`` tells
which case. A digest is NULL, the integer 1 for "md5, and the version is it", the bytes of an md5
or a sha256, or its text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from runtime.catalog.records import Entry

APPLICATION_ID: Final = 0x43434154
"""``CCAT`` at byte 68 of the file."""
FORMAT: Final = 2
PAGE_SIZE: Final = 4096

SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE dirs (id INTEGER PRIMARY KEY, path TEXT NOT NULL, parent INTEGER);
CREATE TABLE files (
    dir INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, version NOT NULL,
    mount INTEGER NOT NULL, digest, pack INTEGER, ordinal INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (dir, name)
) WITHOUT ROWID;
CREATE TABLE packs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, offsets BLOB NOT NULL, sizes BLOB NOT NULL,
    groups BLOB NOT NULL
);
CREATE TABLE runs (
    pack INTEGER NOT NULL, unit INTEGER NOT NULL, dir INTEGER NOT NULL, name TEXT NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (pack, unit, dir, name)
) WITHOUT ROWID;
"""

INDEXES: Final = """
CREATE UNIQUE INDEX dirs_by_path ON dirs (path);
CREATE INDEX dirs_by_parent ON dirs (parent);
CREATE UNIQUE INDEX packs_by_key ON packs (key);
"""

_MD5_BYTES: Final = 16
_SHA256_BYTES: Final = 32
SAME_AS_VERSION: Final = 1


class Columns:
    """How versions and digests of one catalog are written, and the SQL that reads them back.

    ``upper`` is the case of hexadecimal versions. ``plain`` names the columns, ``version`` and
    ``digest``, that have but one form, so that no row needs to be asked for its own: versions all
    in hexadecimal, digests all absent.
    """

    def __init__(self, *, upper: bool, plain: frozenset[str] = frozenset()) -> None:
        self.upper = upper
        self.plain = plain
        text = "hex(version)" if upper else "lower(hex(version))"
        self.version_sql = text
        if "version" not in plain:
            self.version_sql = f"CASE typeof(version) WHEN 'blob' THEN {text} ELSE version END"
        digest = "''"
        if "digest" not in plain:
            digest = (
                "CASE typeof(digest) WHEN 'null' THEN '' "
                "WHEN 'integer' THEN 'md5:' || lower(hex(version)) "
                f"WHEN 'blob' THEN CASE length(digest) WHEN {_MD5_BYTES} THEN 'md5:' "
                "ELSE 'sha256:' END || lower(hex(digest)) ELSE digest END"
            )
        self.record_sql = f"size, {self.version_sql}, mount, {digest}, pack, ordinal, offset"

    @classmethod
    def for_listing(cls, listed: Sequence[Entry]) -> Self:
        """Return the columns that suit a listing."""
        sample = [entry.version for entry in listed[:: max(1, len(listed) // 64)]]
        upper = sum(map(str.isupper, sample)) > sum(map(str.islower, sample))
        trial = cls(upper=upper)
        plain = set()
        if all(isinstance(trial.pack_version(entry.version), bytes) for entry in listed):
            plain.add("version")
        if not any(entry.digest for entry in listed):
            plain.add("digest")
        return cls(upper=upper, plain=frozenset(plain))

    def encode(self) -> str:
        """Return the text of this choice, for ``meta.columns``."""
        return " ".join(["upper" if self.upper else "lower", *sorted(self.plain)])

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read ``meta.columns``."""
        case, *plain = text.split()
        return cls(upper=case == "upper", plain=frozenset(plain))

    def pack_version(self, version: str) -> str | bytes:
        """Return the version as it is stored."""
        packed = _unhex(version)
        if packed is None or (packed.hex().upper() if self.upper else packed.hex()) != version:
            return version
        return packed

    def pack_digest(self, digest: str, version: str | bytes) -> int | bytes | str | None:
        """Return the digest as it is stored, beside its stored version."""
        if not digest:
            return None
        algorithm, _, text = digest.partition(":")
        packed = _unhex(text)
        wanted = {"md5": _MD5_BYTES, "sha256": _SHA256_BYTES}.get(algorithm)
        if packed is None or len(packed) != wanted or packed.hex() != text:
            return digest
        return SAME_AS_VERSION if algorithm == "md5" and packed == version else packed


def _unhex(text: str) -> bytes | None:
    if len(text) < _MD5_BYTES:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
