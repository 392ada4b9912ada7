"""Heads: a request's from bytes to a value, strictly, and an answer's to bytes.

Source: RFC 9110 and RFC 9112. What those let a server tolerate and attackers live on (folded
lines, a space before the colon, bare line feeds, two lengths) is refused, so that no proxy in
front can read a request differently from us.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

END: Final = b"\r\n\r\n"

_TEXT: Final = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
"""What may stand in a line; all else must be a line's end."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST"})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION: Final = re.compile(r"HTTP/\d\.\d")
_MAX_LENGTH_DIGITS: Final = 18
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
_SINGLE: Final = frozenset({"host", "authorization"})
_KNOWN: Final = {
    spelling: name
    for name in (
        "accept",
        "accept-encoding",
        "authorization",
        "cachectl-expect-node",
        "cachectl-from",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "if-match",
        "if-none-match",
        "range",
        "user-agent",
    )
    for spelling in (name, name.title())
}
"""The usual spellings of usual names: a look-up is quicker than checking and lowering."""


class BadRequest(Exception):
    """The request cannot be answered; ``status`` and a sentence say why. The connection ends."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(slots=True, eq=False)
class Head:
    """A request's line and headers, with what they mean for the connection."""

    method: str
    target: str
    headers: Mapping[str, str]
    length: int
    keep_alive: bool
    modern: bool
    """HTTP/1.1, where connections stay open unless said otherwise."""
    block: bytes
    """The headers as they came."""


def parse_head(head: bytes, known: Head | None = None) -> Head:
    """Read a head, given without the empty line that ends it.

    ``known`` is the head before it on the same connection: clients mostly send the same headers
    again, and equal bytes need no second reading.

    Raises:
        BadRequest: 400, or 501 for a transfer coding, or 505 for another version of HTTP.
    """
    line, _, block = head.partition(b"\r\n")
    method, target, modern = _request_line(line.decode("latin-1"))
    if known is not None and known.block == block and known.modern is modern:
        return Head(method, target, known.headers, known.length, known.keep_alive, modern, block)
    headers = _headers(block)
    if modern and "host" not in headers:
        raise BadRequest(400, "the request has no Host header; HTTP/1.1 asks for one")
    keep_alive = modern
    if "connection" in headers:
        options = headers["connection"].lower()
        keep_alive = "close" not in options if modern else "keep-alive" in options
    return Head(method, target, headers, _body_length(headers), keep_alive, modern, block)


def check_beginning(part: bytes) -> None:
    """Refuse early what cannot become a head: other protocols and bare line feeds.

    Raises:
        BadRequest: 400.
    """
    part = part.removesuffix(b"\r")
    breaks = part.translate(None, _TEXT)
    if (part and not part[:1].isalpha()) or breaks != b"\r\n" * part.count(b"\r\n"):
        raise BadRequest(400, "this is not the beginning of an HTTP request")


def _request_line(line: str) -> tuple[str, str, bool]:
    if not (line.isascii() and line.isprintable()):
        raise BadRequest(400, "the request line contains a character that must be encoded")
    words = line.split(" ")
    if len(words) != 3:
        raise BadRequest(400, "the request line must be: method, target, HTTP/1.1")
    method, target, version = words
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        if _VERSION.fullmatch(version):
            raise BadRequest(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise BadRequest(400, "the request line must end with HTTP/1.1")
    if target[:1] != "/":
        if target[:7].lower() != "http://":
            raise BadRequest(400, "the request's target must be a path")
        # A client that takes us for a proxy names the host in the target; Host says the same.
        target = "/" + target[7:].partition("/")[2]
    if method not in _METHODS and not _TOKEN.fullmatch(method):
        raise BadRequest(400, "the request's method is not a word")
    return method, target, version == "HTTP/1.1"


def _headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    if not block:
        return headers
    lines = block.decode("latin-1").split("\r\n")
    if block.translate(None, _TEXT) != b"\r\n" * (len(lines) - 1):
        raise BadRequest(400, "a header contains a control character or a bare line end")
    for line in lines:
        spelling, colon, value = line.partition(":")
        name = _KNOWN.get(spelling)
        if name is None:
            if not _TOKEN.fullmatch(spelling):
                raise BadRequest(400, "a header's name is not a word, or is followed by a space")
            name = spelling.lower()
        if not colon:
            raise BadRequest(400, f"the header {name} has no colon")
        value = value.strip(" \t")
        if name in headers:
            if name in _SINGLE or (name == "content-length" and value != headers[name]):
                raise BadRequest(400, f"the header {name} is given twice")
            if name != "content-length":
                value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest(501, "transfer codings are not read here; send a Content-Length")
    text = headers.get("content-length")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(400, "Content-Length is not a number")
    if len(text) > _MAX_LENGTH_DIGITS:
        raise BadRequest(413, "the request's body is larger than any that is read here")
    return int(text)


def answer_head(
    status: int, headers: tuple[tuple[str, str], ...], *, length: int | None, connection: str
) -> bytes:
    """Return an answer's head with its empty line.

    ``length`` is left out for the statuses that have no body; ``connection`` is a whole header
    line or empty.

    Raises:
        ValueError: a header contains a line's end, or is not Latin-1.
    """
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    lines = "\r\n".join(map(": ".join, headers))
    if lines:
        if lines.count("\n") != len(headers) - 1 or lines.count("\r") != len(headers) - 1:
            raise ValueError("a header of an answer contains a line's end")
        lines += "\r\n"
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"{first}{lines}{size}{connection}\r\n".encode("latin-1")
