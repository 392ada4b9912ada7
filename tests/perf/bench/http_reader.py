"""A plain, fast HTTP reader: the same client for our agent and for every HTTP peer.

One blocking connection, and a page-aligned buffer of 1 MiB that every piece of a body is received
into with one call (``MSG_WAITALL``): little of what it costs is Python's, so that servers differ
by what they do.
"""

from __future__ import annotations

import mmap
import socket
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

PIECE = 1 << 20
HEAD_LIMIT = 64 << 10
SECONDS = 60.0


class HttpReader:
    """Reads objects below a URL over one kept connection.

    Args:
        url: what every path is below.
        token: shown as a bearer's; nothing without.
        fields: other header fields of every request.
        source: the address to ask from; any without.

    Raises:
        OSError: of the connection, and when the server hangs up within an answer.
        RuntimeError: an answer is not what was asked for.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        fields: Mapping[str, str] | None = None,
        source: str = "",
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._place = (parts.hostname, parts.port)
        self._base = parts.path
        self._fields = f" HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        if token:
            self._fields += f"Authorization: Bearer {token}\r\n"
        for name, value in (fields or {}).items():
            self._fields += f"{name}: {value}\r\n"
        self._buffer = mmap.mmap(-1, PIECE)
        self._view = memoryview(self._buffer)
        self._socket = socket.create_connection(
            self._place, SECONDS, source_address=(source, 0) if source else None
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A timeout of Python's would make the socket non-blocking, and MSG_WAITALL with it.
        self._socket.settimeout(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
        self._view.release()
        self._buffer.close()

    def request(self, path: str, start: int = 0, stop: int = 0) -> bytes:
        """Return the bytes of a GET of an object, or of its bytes ``start`` to ``stop`` - 1."""
        wanted = f"Range: bytes={start}-{stop - 1}\r\n" if stop else ""
        return f"GET {self._base}/{quote(path)}{self._fields}{wanted}\r\n".encode()

    def question(self, target: str) -> bytes:
        """Return a GET of a target of the server, such as ``/v1/unit?key=...``, as it is given."""
        return f"GET {target}{self._fields}\r\n".encode()

    def get(self, request: bytes, wanted: bytes | None = None, *, sums_follow: bool = False) -> int:
        """Send a request of ``request`` and take its body; return the body's length.

        With ``wanted``, the body is compared with it, or as much of it as comes before the
        checksums that follow; that is not for timing.
        """
        at = 0
        for whole in self.pieces(request):
            piece = whole[: max(len(wanted) - at, 0)] if wanted and sums_follow else whole
            if wanted is not None and piece != wanted[at : at + len(piece)]:
                raise RuntimeError(f"other bytes than the origin's at {at} of {request[:80]!r}")
            at += len(piece)
        if wanted is not None and at != len(wanted):
            raise RuntimeError(f"{at} bytes instead of {len(wanted)}: {request[:80]!r}")
        return at

    def pieces(self, request: bytes) -> Iterator[memoryview]:
        """Send a request and yield its body as it comes; a piece is valid until the next."""
        self._socket.sendall(request)
        head, count = self._head()
        left = _length(head)
        while True:
            left -= count
            yield self._view[:count]
            if not left:
                return
            count = self._socket.recv_into(self._view, min(PIECE, left), socket.MSG_WAITALL)
            if not count:
                raise ConnectionError(f"the body ended {left} bytes too early")

    def post(self, path: str, body: bytes) -> memoryview:
        """Send a POST to the server's ``path``; return the answer's body, valid until the next."""
        head = f"POST {path}{self._fields}Content-Length: {len(body)}\r\n\r\n".encode()
        self._socket.sendall(head + body)
        answer, count = self._head()
        length = _length(answer)
        if length > len(self._view):
            self._grow(length, count)
        while count < length:
            got = self._socket.recv_into(self._view[count:length], 0, socket.MSG_WAITALL)
            if not got:
                raise ConnectionError(f"the body ended after {count} of {length} bytes")
            count += got
        return self._view[:length]

    def get_all(self, requests: Iterable[bytes]) -> int:
        """Send requests one after the other; return the bytes of all bodies."""
        return sum(map(self.get, requests))

    def _grow(self, size: int, held: int) -> None:
        kept = bytes(self._view[:held])
        self._view.release()
        self._buffer.close()
        self._buffer = mmap.mmap(-1, -(-size // PIECE) * PIECE)
        self._view = memoryview(self._buffer)
        self._view[:held] = kept

    def _head(self) -> tuple[bytes, int]:
        """Receive an answer's head; return it, and how much of the body is in the buffer."""
        have = 0
        while True:
            got = self._socket.recv_into(self._view[have:HEAD_LIMIT])
            if not got:
                raise ConnectionError("the server hung up instead of an answer")
            have += got
            end = self._buffer.find(b"\r\n\r\n", 0, have)
            if end >= 0:
                break
            if have == HEAD_LIMIT:
                raise RuntimeError("the head of an answer does not end")
        head = bytes(self._view[:end])
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
            raise RuntimeError(head.partition(b"\r\n")[0].decode("latin-1"))
        rest = have - end - 4
        self._buffer.move(0, end + 4, rest)
        return head, rest


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError("an answer without a Content-Length cannot be measured here")
