"""Requests and answers as the routes see them.

An answer's body is a tuple of parts that leave in order: bytes, spans of files, and streams of
bytes that are still arriving. Its length is always known before the first byte leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote_to_bytes

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from runtime.serve.connection import Connection  # noqa: TC004 - the two know each other


@dataclass(slots=True, eq=False)
class Request:
    """One request, with its whole body.

    ``target`` is the path and query as they came, undecoded, always beginning with a slash.
    Header names are lower-case; values of a repeated header are joined by ``", "``.
    ``raw`` are the bytes of a bodiless request that came alone and leaves its HTTP/1.1 connection
    open: equal bytes ask the same. It is empty for others.
    ``peer`` is the caller's IP address, None on a Unix socket; ``peer_uid`` is the calling
    process's user there (SO_PEERCRED), None on TCP.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    peer: str | None
    peer_uid: int | None
    connection: Connection
    raw: bytes = b""
    _query: dict[str, str] | None = None

    @property
    def path(self) -> str:
        """The path, percent-decoded.

        Raises:
            ConfigError: it is not UTF-8.
        """
        return _decoded(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded; ``+`` stands for a space, as forms have it.

        Raises:
            ConfigError: a parameter is given twice, or is not UTF-8.
        """
        if self._query is None:
            self._query = _parameters(self.target.partition("?")[2])
        return self._query


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{text!r} is not percent-encoded UTF-8") from error


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in text.split("&"):
        if not item:
            continue
        name, _, value = item.replace("+", " ").partition("=")
        name = _decoded(name)
        if name in found:
            raise ConfigError(f"the query's parameter {name!r} is given twice; give it once")
        found[name] = _decoded(value)
    return found


@dataclass(slots=True, eq=False)
class FileSpan:
    """``length`` bytes of an open file from ``offset``; they leave without passing through Python.

    ``release`` is called exactly once: when the bytes were handed to the kernel, or when the
    connection ends before. The descriptor must stay open until then. A file that turns out
    shorter aborts the answer.
    """

    fd: int
    offset: int
    length: int
    release: Callable[[], None] | None = None


@dataclass(slots=True, eq=False)
class Stream:
    """``length`` bytes that are still arriving.

    The next chunk is asked for once the last was handed to the kernel, so a chunk's buffer may be
    used again. An exception in ``chunks``, or a total other than ``length``, aborts the connection
    with a short body; nothing is ever padded. ``release`` is called exactly once.
    """

    chunks: AsyncIterator[bytes | memoryview]
    length: int
    release: Callable[[], None] | None = None


Part: TypeAlias = bytes | memoryview | FileSpan | Stream
"""A memoryview part is one of bytes (format ``B``, contiguous)."""


@dataclass(slots=True, eq=False)
class Answer:
    """What a handler gives back. Content-Length and Connection are the server's to add.

    ``fds`` ride as SCM_RIGHTS on the first bytes (Unix sockets only); the server closes them
    afterwards, in every ending, when ``close_fds`` is set. ``head_length`` is the Content-Length
    of an answer to HEAD whose route did not open the body.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    parts: tuple[Part, ...] = ()
    fds: tuple[int, ...] = ()
    close_fds: bool = False
    head_length: int | None = None


Handler: TypeAlias = Callable[[Request], Answer | Awaitable[Answer]]
"""Answers at once where it can; an awaitable is run as a task, which is cancelled when the client
hangs up."""


def length_of(parts: tuple[Part, ...]) -> int:
    """Return the bytes of a body."""
    total = 0
    for part in parts:
        total += len(part) if isinstance(part, (bytes, memoryview)) else part.length
    return total
