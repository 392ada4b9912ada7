"""Holding an HTTP answer to a range request against what was asked."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import (
    NoSuchPath,
    OriginError,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    StaleVersion,
)
from runtime.origin.resume import Interrupted, Stalled
from runtime.origin.version import conditions, matches

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import aiohttp

    from runtime.origin.base import Timeouts
    from runtime.origin.connections import Connections

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_RETRIED_STATUS = frozenset({408, 425, 429})
_CODE = re.compile(r"[A-Za-z]{1,60}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A range of one version of one object; ``name`` is the object's, for messages."""

    name: str
    size: int
    version: str
    start: int
    stop: int

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that ask for it."""
        return {"Range": f"bytes={self.start}-{self.stop - 1}", **conditions(self.version)}


_REFUSED = "check the Secret that the mount's secretRef names, and what it may read"
_REMEDIES = {
    "InvalidAccessKeyId": "it does not know the access key; check the Secret's key",
    "SignatureDoesNotMatch": "the Secret's key and secret do not belong together; correct them",
    "InvalidSecurityToken": "the Secret's token is not valid; renew key, secret and token",
    "SecurityTokenExpired": "the Secret's token has expired; renew key, secret and token",
    "ExpiredToken": "the Secret's token has expired; renew key, secret and token",
    "InvalidToken": "the Secret's token is not valid; renew key, secret and token",
    "RequestTimeTooSkewed": "this node's clock is wrong; set it",
    "AccessDenied": "the key may not list or read there; grant it that, or use another Secret",
}


def status_error(
    status: int, name: str, *, code: str = ""
) -> OriginError | StaleVersion | Interrupted:
    """Return what an answer's error status means for a read of one version.

    ``code`` is the word for it that object stores put into the answer's body, if there is one.
    """
    answer = _told(status, code)
    remedy = _REMEDIES.get(code)
    if status in {401, 403}:
        return OriginRefused(f"{name}: the origin answers {answer}; {remedy or _REFUSED}")
    if status in {404, 410, 412, 416}:
        return StaleVersion(
            f"{name}: the origin no longer has the version of the snapshot (it answers {answer})"
        )
    if status >= 500 or status in _RETRIED_STATUS:
        return Interrupted(
            OriginUnavailable(f"{name}: the origin answers {answer}; it is asked again later")
        )
    return OriginUnavailable(
        f"{name}: the origin answers {answer}; {remedy or 'check the source and its endpoint'}"
    )


def gone(name: str, status: int, *, code: str = "") -> NoSuchPath:
    """Return what it means that a listing's source is answered with 404 or the like."""
    return NoSuchPath(
        f"{name} does not exist at the origin: it answers {_told(status, code)}; check the mount's "
        "source"
    )


def endless(name: str) -> OriginLied:
    """Return what to raise for a listing of which each page says that another follows."""
    return OriginLied(
        f"{name}: the origin says that its listing goes on, and not from where; check that the "
        "endpoint is an object store's"
    )


def _told(status: int, code: str) -> str:
    # What is no plain word may be anything, a secret too.
    return f"{status} {code}" if _CODE.fullmatch(code) else f"{status}"


def check_answer(answer: aiohttp.ClientResponse, wanted: Wanted) -> None:
    """Hold an answer's status and headers against what was asked.

    Raises:
        OriginError, StaleVersion, Interrupted: the body must not be read.
    """
    if answer.status not in {200, 206}:
        raise status_error(answer.status, wanted.name)
    headers, length = answer.headers, wanted.stop - wanted.start
    encoding = headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise OriginLied(f"{wanted.name}: the origin encodes its answer as {encoding!r}, unasked")
    total, told = wanted.size, headers.get("Content-Range", "")
    whole = wanted.start == 0 and wanted.stop == wanted.size
    if answer.status == 206:
        match = _CONTENT_RANGE.fullmatch(told)
        if match is None:
            raise OriginLied(f"{wanted.name}: the origin's 206 has the Content-Range {told!r}")
        first, last, total = map(int, match.groups())
        right = (first, last + 1) == (wanted.start, wanted.stop)
    else:
        right = whole
        total = wanted.size if answer.content_length is None else answer.content_length
    if not matches(wanted.version, headers, total) or total != wanted.size:
        raise _another_version(headers, wanted)
    if not right and answer.status == 200:
        raise OriginLied(
            f"{wanted.name}: the origin ignores ranges and sends the whole file (it answers 200); "
            "serve the files with a server that knows ranges, as nginx and Apache do"
        )
    if not right:
        raise OriginLied(
            f"{wanted.name}: the origin answers {answer.status} with the range {told!r} to a "
            f"question for the bytes {wanted.start}-{wanted.stop - 1}"
        )
    if answer.content_length not in {None, length}:
        raise OriginLied(
            f"{wanted.name}: the origin announces {answer.content_length} bytes for a range of "
            f"{length}"
        )


def _another_version(headers: Mapping[str, str], wanted: Wanted) -> StaleVersion | OriginLied:
    if not headers.get("ETag") and not headers.get("Last-Modified"):
        return OriginLied(f"{wanted.name}: the origin's answer does not tell its version")
    return StaleVersion(
        f"{wanted.name}: the object changed at the origin since the snapshot was taken"
    )


async def blocks(
    connections: Connections, answer: aiohttp.ClientResponse, wanted: Wanted, timeouts: Timeouts
) -> AsyncGenerator[bytes, None]:
    """Yield a checked answer's body, exactly as long as was asked.

    Raises:
        Stalled: it comes too slowly. OriginLied: it is longer. Interrupted: shorter.
    """
    left = wanted.stop - wanted.start
    waited, received = 0.0, 0
    while True:
        began = time.monotonic()
        block = await connections.receive(wanted.name, answer)
        waited += time.monotonic() - began
        if not block:
            break
        left -= len(block)
        if left < 0:
            raise OriginLied(f"{wanted.name}: the origin's answer is longer than its range")
        received += len(block)
        if waited >= timeouts.window_seconds:
            if received < timeouts.floor_bytes_per_second * waited:
                connections.distrust()
                raise Stalled(
                    OriginUnavailable(
                        f"{wanted.name}: the origin sent {received} bytes in {waited:.0f} s; "
                        "check the connection between this node and its endpoint"
                    )
                )
            waited, received = 0.0, 0
        yield block
    if left:
        raise Interrupted(OriginLied(f"{wanted.name}: the origin's answer is {left} bytes short"))
