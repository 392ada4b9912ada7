"""One connection to a peer: a request, an answer's head, and its body into given memory.

The socket's reader stays registered between exchanges, so that bytes go from the kernel into the
caller's buffer without a task being woken for each piece, and an idle connection that the peer
closes is noticed at once. For large bodies SO_RCVLOWAT lets the kernel collect up to ``LOWAT``
bytes before it wakes us; a tick looks for bytes that lie below that mark, so that those of a slow
peer are neither held back nor taken for a stall.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import socket
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from runtime.errors import PeerLied, PeerUnavailable

LOWAT: Final = 512 << 10
TICK: Final = 0.01
PIECE: Final = 64 << 10
"""A tick takes bytes from this many on, so that those who are passed them on need not wait ..."""
PIECES: Final = 4
"""... times the bodies that arrive at once, up to this, and ticks are as much rarer: each is slower
then, and who receives several has other bytes to pass on meanwhile."""
PATIENCE: Final = 0.05
"""Fewer bytes are taken when this many seconds have passed without any."""
BUDGET: Final = 4 << 20
"""Bytes taken in one wake-up; then others have their turn."""
HEAD_BYTES: Final = 16 << 10

_END: Final = b"\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})
_STATUS: Final = re.compile(r"HTTP/1\.1 ([2-5]\d\d)(?: .*)?")

Progress = Callable[[int], None]


class ConnectionLost(PeerUnavailable):
    """The connection ended during an exchange; ``untouched``: before a byte of the answer."""

    def __init__(self, sentence: str, *, untouched: bool) -> None:
        super().__init__(sentence)
        self.untouched = untouched


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer's head: status, headers by lower-case name, length of the body."""

    status: int
    headers: dict[str, str]
    length: int


class PeerConnection:
    """An open connection. One exchange at a time: ``ask``, then ``receive`` the whole body.

    ``name`` stands for the peer in messages. After an error or a cancellation the caller closes.
    """

    _receiving: ClassVar[int] = 0
    """Bodies that this process receives now."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.closed = False
        self._sock = sock
        self._fd = sock.fileno()
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._head: bytearray | None = None
        """An answer's beginning, while it is awaited."""
        self._early = b""
        """Bytes of the body that came with its head."""
        self._left = 0
        """Bytes of the body that are not asked for yet."""
        self._keep = True
        """The peer does not end the connection after this answer."""
        self._sound = True
        """No exchange has failed or is half done."""
        self._view: memoryview | None = None
        self._filled = 0
        self._progress: Progress | None = None
        self._last_byte = 0.0
        self._lowat = 1
        self._ticker: asyncio.TimerHandle | None = None
        self._reading = False
        self._resume()

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return self._sound and not self.closed and self._left == 0

    async def ask(self, request: bytes, *, deadline: float) -> Reply:
        """Send a request; return the answer's head, by ``deadline`` of the loop's clock.

        Raises:
            ConnectionLost: the peer hung up.
            PeerUnavailable: no head came in time.
            PeerLied: what came is not an answer of a known length.
        """
        self._check_open(untouched=True)
        self._sound = False
        self._head = bytearray()
        try:
            sent = self._sock.send(request)
        except OSError as error:
            raise ConnectionLost(self._lost(error), untouched=True) from error
        if sent != len(request):
            raise PeerUnavailable(f"peer {self._name} does not take a request")
        timer = self._loop.call_at(deadline, self._give_up, "did not answer in time")
        try:
            await self._woken()
        finally:
            timer.cancel()
        head, _, self._early = bytes(self._head).partition(_END)
        self._head = None
        reply = _parse(head, self._name)
        self._left = reply.length
        if len(self._early) > self._left:
            raise PeerLied(f"peer {self._name} sent more bytes than its answer has")
        self._keep = self._sound = reply.headers.get("connection", "").lower() != "close"
        return reply

    async def receive(
        self, view: memoryview, *, stall: float, progress: Progress | None = None
    ) -> None:
        """Fill ``view`` with the next bytes of the body; ``progress`` learns how many are there.

        Raises:
            ConnectionLost: the body ended before.
            PeerUnavailable: no byte came for ``stall`` seconds.
        """
        if len(view) > self._left:
            raise PeerLied(f"peer {self._name} announced a shorter answer than is expected")
        early, self._early = self._early[: len(view)], self._early[len(view) :]
        view[: len(early)] = early
        self._left -= len(view)
        self._filled = len(early)
        if early and progress is not None:
            progress(self._filled)
        if self._filled == len(view):
            return
        self._sound = False
        self._check_open(untouched=False)
        self._last_byte = self._loop.time()
        self._view, self._progress = view, progress
        PeerConnection._receiving += 1
        self._tick_later(stall)
        try:
            self._fill(view)
            if self._filled < len(view):
                await self._woken()
        finally:
            PeerConnection._receiving -= 1
            if self._ticker is not None:
                self._ticker.cancel()
            self._view = self._progress = None
            self._resume()
        self._sound = self._keep

    def close(self) -> None:
        """End the connection; an exchange under way fails."""
        self._fail(ConnectionLost(f"the connection to {self._name} was closed", untouched=False))

    async def _woken(self) -> None:
        self._waiter = self._loop.create_future()
        self._resume()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _resume(self) -> None:
        if not self._reading and not self.closed:
            self._reading = True
            self._loop.add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        try:
            if self._view is not None:
                self._fill(self._view)
            elif self._head is not None and self._waiter is not None:
                self._read_head(self._head)
            elif self._left or self._head is not None:
                # More came, and where it goes is not said yet.
                self._loop.remove_reader(self._fd)
                self._reading = False
            else:
                # Idle: an end is an end, and a byte would belong to no answer.
                self.close()
        except Exception as error:  # noqa: BLE001 - it belongs to the exchange that waits
            self._fail(error)

    def _read_head(self, head: bytearray) -> None:
        try:
            data = self._sock.recv(HEAD_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise ConnectionLost(self._lost(error), untouched=not head) from error
        if not data:
            raise ConnectionLost(self._lost(None), untouched=not head)
        start = max(0, len(head) - len(_END))
        head += data
        if head.find(_END, start) >= 0:
            self._wake()
        elif len(head) > HEAD_BYTES:
            raise PeerLied(f"peer {self._name} sent an endless head")

    def _fill(self, view: memoryview) -> None:
        before = self._filled
        while self._filled < len(view) and self._filled - before < BUDGET:
            try:
                got = self._sock.recv_into(view[self._filled :])
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                raise ConnectionLost(self._lost(error), untouched=False) from error
            if not got:
                raise ConnectionLost(self._lost(None), untouched=False)
            self._filled += got
        got = self._filled - before
        if got:
            self._last_byte = self._loop.time()
            if self._progress is not None:
                self._progress(self._filled)
        left = len(view) - self._filled
        self._set_lowat(max(1, min(LOWAT, left)))
        if not left:
            self._wake()

    def _tick(self, stall: float, filled_before: int) -> None:
        """Take the bytes that lie below the kernel's mark; give up on a peer that sends none."""
        view = self._view
        if view is None or self.closed:
            return
        quiet = self._loop.time() - self._last_byte
        piece = PIECE * self._share()
        if self._filled == filled_before and (quiet >= PATIENCE or self._waiting() >= piece):
            self._on_readable()
        if self._loop.time() - self._last_byte >= stall:
            self._give_up(f"sent no byte for {stall:g} s")
        elif self._view is not None and not self.closed:
            self._tick_later(stall)

    @classmethod
    def _share(cls) -> int:
        return min(cls._receiving, PIECES)

    def _tick_later(self, stall: float) -> None:
        self._ticker = self._loop.call_later(TICK * self._share(), self._tick, stall, self._filled)

    def _waiting(self) -> int:
        """Return how many bytes the kernel holds."""
        return int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)

    def _set_lowat(self, size: int) -> None:
        if size != self._lowat and not self.closed:
            self._lowat = size
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _give_up(self, why: str) -> None:
        self._fail(PeerUnavailable(f"peer {self._name} {why}"))

    def _fail(self, error: Exception) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._fd)
            self._sock.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def _check_open(self, *, untouched: bool) -> None:
        if self.closed:
            raise ConnectionLost(self._lost(None), untouched=untouched)

    def _lost(self, error: OSError | None) -> str:
        why = "it hung up" if error is None else (error.strerror or str(error))
        return f"the connection to peer {self._name} was lost: {why}"


def _parse(head: bytes, name: str) -> Reply:
    first, *lines = head.decode("latin-1").split("\r\n")
    status = _STATUS.fullmatch(first)
    headers: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        key = key.lower()
        if not colon or key in headers:
            raise PeerLied(f"peer {name} sent a malformed head")
        headers[key] = value.strip(" \t")
    if status is None:
        raise PeerLied(f"peer {name} sent no answer of HTTP/1.1")
    code = int(status[1])
    if code in _BODILESS:
        return Reply(code, headers, 0)
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 19):
        raise PeerLied(f"peer {name} sent an answer without its length")
    return Reply(code, headers, int(length))
