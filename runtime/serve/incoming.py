"""Requests out of a stream of bytes, however the bytes were cut on their way. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.serve.head import END, BadRequest, Head, check_beginning, parse_head

if TYPE_CHECKING:
    from runtime.serve.service import Limits


class Incoming:
    """What has arrived on one connection and is not yet part of a whole request."""

    __slots__ = ("_buffer", "_head", "_known", "_limits", "_skipped", "partial")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer: bytes | bytearray = b""
        self._head: Head | None = None
        """The head of a request whose body is still arriving."""
        self._known: Head | None = None
        self._skipped = False
        self.partial = False
        """Whether a request has begun and is not whole, as of the last ``next``."""

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is here."""
        return not self._buffer and self._head is None

    def feed(self, data: bytes) -> None:
        """Add bytes as they came."""
        if not self._buffer:
            self._buffer = data
            return
        if not isinstance(self._buffer, bytearray):
            self._buffer = bytearray(self._buffer)
        self._buffer += data

    def clear(self) -> None:
        """Forget everything; the connection will read no further request."""
        self._buffer = b""
        self._head = None
        self.partial = False

    @property
    def awaits_continue(self) -> bool:
        """Whether the client holds its body back until it is told to go on (RFC 9110, 10.1.1)."""
        head = self._head
        return (
            head is not None
            and not self._buffer
            and head.modern
            and head.headers.get("expect", "").lower() == "100-continue"
        )

    def next(self) -> tuple[Head, bytes] | None:
        """Take the next whole request, with its body; None when it has yet to arrive.

        Raises:
            BadRequest: what arrived cannot become a request that is answered here.
        """
        head = self._head or self._next_head()
        if head is None:
            return None
        size = head.length
        buffer = self._buffer
        if len(buffer) < size:
            self._head = head
            self.partial = True
            return None
        self._head = None
        self.partial = False
        if len(buffer) == size:
            self._buffer = b""
            return head, bytes(buffer)
        self._buffer = buffer[size:]
        return head, bytes(buffer[:size])

    def _next_head(self) -> Head | None:
        limits = self._limits
        buffer = self._buffer
        if buffer[:2] == b"\r\n" and not self._skipped:
            # One empty line before a request is forgiven (RFC 9112, 2.2).
            self._skipped = True
            buffer = self._buffer = buffer[2:]
        end = buffer.find(END, 0, limits.head_bytes)
        if end < 0:
            if len(buffer) >= limits.head_bytes:
                if buffer.find(b"\r\n", 0, limits.target_bytes) < 0:
                    raise BadRequest(414, f"the target is above {limits.target_bytes} bytes")
                raise BadRequest(431, f"the head is above {limits.head_bytes} bytes")
            check_beginning(bytes(buffer))
            self.partial = len(buffer) > 0
            return None
        head = self._known = parse_head(bytes(buffer[:end]), self._known)
        if len(head.target) > limits.target_bytes:
            raise BadRequest(414, f"the target is above {limits.target_bytes} bytes")
        if head.length > limits.body_bytes:
            raise BadRequest(413, f"the body is above {limits.body_bytes} bytes")
        self._skipped = False
        self._buffer = buffer[end + len(END) :]
        return head
