"""Digests that an origin or a manifest tells in advance, as ``algorithm:hex``."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from runtime.errors import ConfigError, OriginLied

_HEX_DIGITS: Final = {"md5": 32, "sha256": 64}
_MD5 = re.compile(r"[0-9a-fA-F]{32}")


def normal(digest: str) -> str:
    """Return a digest in its one spelling, lower case; empty stays empty.

    Raises:
        ConfigError: it is neither an md5 nor a sha256.
    """
    if not digest:
        return ""
    algorithm, _, text = digest.lower().partition(":")
    if len(text) != _HEX_DIGITS.get(algorithm) or not set(text) <= set("0123456789abcdef"):
        raise ConfigError(f"the digest {digest!r} is not md5: or sha256: and its hex digits")
    return f"{algorithm}:{text}"


def from_etag(etag: str) -> str:
    """Return the digest that an S3 or OSS etag is, or an empty string.

    Only objects uploaded in one part, and not under some kinds of encryption, have one; the
    driver must know that its store works so.
    """
    return f"md5:{etag.lower()}" if _MD5.fullmatch(etag) else ""


def check(digest: str, data: bytes | bytearray | memoryview, *, name: str = "the object") -> None:
    """Hold a whole object's bytes against its digest; an empty digest says nothing.

    Raises:
        OriginLied: they differ.
        ConfigError: the digest is of an unknown kind.
    """
    if not digest:
        return
    algorithm, _, text = normal(digest).partition(":")
    found = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
    if found != text:
        raise OriginLied(f"{name} has the {algorithm} {found}, but was announced with {text}")
