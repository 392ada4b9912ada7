"""An answer on its way out of one socket.

Nothing here waits: ``pump`` sends until the socket takes no more, and says why it stopped. Small
parts are gathered into one send; file spans above ``SMALL`` leave by sendfile. A part's
``release`` is called once, when its last byte was handed to the kernel or when the answer is
abandoned.
"""

from __future__ import annotations

import enum
import logging
import mmap
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from runtime.errors import NotCached
from runtime.serve.descriptors import close_all, send_with_fds
from runtime.serve.message import FileSpan, Part, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runtime.serve.message import Answer

SMALL: Final = 16 << 10
"""A part up to this is read and sent with its neighbours: one system call beats two."""
GATHER: Final = 128 << 10
"""Small parts are gathered until they reach this."""
SLICE: Final = 1 << 20
"""One sendfile call hands over this much at most."""
BUDGET: Final = 4 << 20
"""One wake-up of one connection hands over this much at most; then others have their turn."""

_scratch: Final = memoryview(mmap.mmap(-1, GATHER + SMALL))

_log = logging.getLogger(__name__)


class Pump(enum.Enum):
    """Why ``pump`` stopped."""

    DONE = enum.auto()
    BLOCKED = enum.auto()
    YIELDED = enum.auto()
    STREAM = enum.auto()


class CutShort(Exception):
    """The answer cannot be completed after its first bytes have left."""


def release(callback: Callable[[], None] | None) -> None:
    """Call a part's release; its failure is logged and ends nothing."""
    if callback is not None:
        try:
            callback()
        except Exception:  # noqa: BLE001 - the answer itself is fine
            _log.exception("releasing a part of an answer failed")


def discard(answer: Answer) -> None:
    """Give back everything an answer holds, unsent."""
    release_parts(answer.parts)
    if answer.close_fds:
        close_all(answer.fds)


def release_parts(parts: Iterable[Part]) -> None:
    """Give back parts that will not leave."""
    for part in parts:
        if isinstance(part, (FileSpan, Stream)):
            release(part.release)


class Outgoing:
    """What is still to leave by ``sock``; empty between answers."""

    __slots__ = ("_block", "_close_fds", "_fds", "_parts", "_sock", "_span_sent", "started")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parts: deque[Part] = deque()
        self._block: memoryview | None = None
        self._span_sent = 0
        self._fds: tuple[int, ...] = ()
        self._close_fds = False
        self.started = False
        """Whether a byte of this answer has left; until then another may take its place."""

    def begin(self, head: bytes, parts: Iterable[Part], answer: Answer) -> None:
        """Take an answer over: its head, those of its parts that are to leave, its descriptors."""
        self._parts.append(head)
        self._parts.extend(parts)
        self._fds = answer.fds
        self._close_fds = answer.close_fds
        self._span_sent = 0
        self.started = False

    @property
    def stream(self) -> Stream | None:
        """The stream whose turn it is."""
        part = self._parts[0] if self._parts and self._block is None else None
        return part if isinstance(part, Stream) else None

    def put(self, chunk: bytes | memoryview) -> None:
        """Set the next chunk of the stream whose turn it is; the last one must have left."""
        assert self._block is None
        self._block = memoryview(chunk)

    def end_stream(self) -> None:
        """Go on to the part after the stream."""
        part = self._parts.popleft()
        assert isinstance(part, Stream)
        release(part.release)

    def pump(self) -> tuple[Pump, int]:
        """Send; return why it stopped, and the bytes that left.

        Raises:
            NotCached: a file of the answer cannot be read in full and ``started`` is False.
            CutShort: the same, after the first bytes have left.
            OSError: the connection is broken.
        """
        total = 0
        while True:
            if self._block is not None:
                sent = self._send_rest(self._block)
            elif not self._parts:
                return Pump.DONE, total
            else:
                part = self._parts[0]
                if isinstance(part, Stream):
                    return Pump.STREAM, total
                if isinstance(part, FileSpan):
                    sent = self._gather() if part.length <= SMALL else self._send_span(part)
                elif len(part) <= SMALL:
                    sent = self._gather()
                else:
                    self._block = memoryview(part)
                    self._parts.popleft()
                    continue
            if sent < 0:
                return Pump.BLOCKED, total
            total += sent
            if total >= BUDGET:
                return Pump.YIELDED, total

    def abandon(self) -> None:
        """Give back everything that has not left."""
        parts, self._parts = self._parts, deque()
        self._block = None
        release_parts(parts)
        self._drop_fds()

    def _gather(self) -> int:
        """Send the next small parts together; return how many bytes left, -1 for none.

        They are laid out in one buffer that all connections share, as it is used within this
        call only: it stays in the processor's cache, and nothing is allocated.
        """
        size = 0
        parts = self._parts
        while parts and size < GATHER:
            part = parts[0]
            if isinstance(part, FileSpan):
                length = part.length
                if length > SMALL:
                    break
                self._read(part, _scratch[size : size + length])
                parts.popleft()
                if part.release is not None:
                    release(part.release)
            elif isinstance(part, Stream):
                break
            else:
                length = len(part)
                if length > SMALL:
                    break
                _scratch[size : size + length] = part
                parts.popleft()
            size += length
        sent = self._send_block(_scratch[:size]) if size else 0
        if sent < size:
            # Whoever sends next overwrites the buffer.
            self._block = memoryview(bytes(_scratch[max(sent, 0) : size]))
        return sent

    def _read(self, span: FileSpan, into: memoryview) -> None:
        try:
            got = os.preadv(span.fd, (into,), span.offset)
        except OSError as error:
            raise self._broken(f"a cached file cannot be read: {error.strerror}") from error
        if got != span.length:
            raise self._broken("a cached file is shorter than the answer that it belongs to")

    def _broken(self, sentence: str) -> Exception:
        return CutShort(sentence) if self.started else NotCached(sentence)

    def _send_block(self, block: memoryview) -> int:
        flags = 0
        if self._parts and not isinstance(self._parts[0], Stream):
            flags = socket.MSG_MORE
        try:
            if self._fds:
                sent = send_with_fds(self._sock, block, self._fds, flags=flags)
                self._drop_fds()
            else:
                sent = self._sock.send(block, flags)
        except (BlockingIOError, InterruptedError):
            return -1
        self.started = True
        return sent

    def _send_rest(self, block: memoryview) -> int:
        sent = self._send_block(block)
        if sent >= len(block):
            self._block = None
        elif sent > 0:
            self._block = block[sent:]
        return sent

    def _send_span(self, span: FileSpan) -> int:
        done = self._span_sent
        try:
            sent = os.sendfile(
                self._sock.fileno(), span.fd, span.offset + done, min(span.length - done, SLICE)
            )
        except (BlockingIOError, InterruptedError):
            return -1
        if sent == 0:
            raise CutShort("a cached file is shorter than the answer that it belongs to")
        self._span_sent = done + sent
        if self._span_sent == span.length:
            self._span_sent = 0
            self._parts.popleft()
            release(span.release)
        return sent

    def _drop_fds(self) -> None:
        if self._close_fds:
            close_all(self._fds)
        self._fds = ()
