"""One connection of the server: requests in, answers out, in order.

The event loop calls readers and writers of the raw socket. A request that is complete and whose
handler answers at once leaves in the same wake-up, without a task. Time limits are a field that
the server's sweep compares with the clock, not a timer for each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from typing import TYPE_CHECKING, Final

from runtime.contract import protocol
from runtime.errors import NotCached
from runtime.serve.head import BadRequest, answer_head
from runtime.serve.incoming import Incoming
from runtime.serve.message import Answer, Request, Stream, length_of
from runtime.serve.outgoing import SMALL, CutShort, Outgoing, Pump, discard, release_parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.serve.service import Service

READ: Final = 64 << 10
PIPELINED: Final = 64 << 10
"""Requests read ahead while one is being answered; above this the socket is left alone."""
TURN: Final = 64
"""Pipelined requests answered in one wake-up; then other connections have their turn."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})
_PLAIN: Final = ("Content-Type", "text/plain; charset=utf-8")

_log = logging.getLogger(__name__)


class Connection:
    """A client's connection. Routes may keep it as a key, and register what ends with it."""

    __slots__ = (
        "__weakref__",
        "_alone",
        "_body_wanted",
        "_busy",
        "_callbacks",
        "_continued",
        "_drained",
        "_draining",
        "_fd",
        "_hung_up",
        "_in",
        "_last",
        "_modern",
        "_out",
        "_processing",
        "_reading",
        "_service",
        "_sock",
        "_task",
        "_writing",
        "closed",
        "deadline",
        "lasting",
        "peer",
        "peer_uid",
    )

    def __init__(
        self, sock: socket.socket, service: Service, peer: str | None, peer_uid: int | None
    ) -> None:
        self.peer = peer
        self.peer_uid = peer_uid
        self.closed = False
        self.deadline = math.inf
        self.lasting = False
        """A route holds something for this connection: it may rest without an end."""
        self._sock = sock
        self._fd = sock.fileno()
        self._service = service
        self._out = Outgoing(sock)
        self._in = Incoming(service.limits)
        self._alone = b""
        """What came last, if nothing was waiting: mostly one whole request."""
        self._continued = False
        self._busy = False
        """A request is being answered."""
        self._processing = False
        self._reading = True
        self._writing = False
        self._hung_up = False
        self._last = False
        """The connection ends after the answer under way."""
        self._draining = False
        self._body_wanted = True
        self._modern = True
        self._task: asyncio.Task[None] | None = None
        """The handler at work, or the stream being fed."""
        self._drained: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        service.connections.add(self)
        service.counters.open_connections += 1
        self._wait(service.limits.idle_seconds)
        service.loop.add_reader(self._fd, self._on_readable)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when this connection ends; at once if it has."""
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    def finish(self) -> None:
        """End after the answer under way; at once when there is none."""
        self._last = True
        if not self._busy and not self._draining:
            self.close()

    def refuse(self, status: int, sentence: str) -> None:
        """Answer without a handler, and end."""
        self._busy = self._last = self._body_wanted = True
        headers = (_PLAIN, (protocol.CODE_HEADER, "ConfigError"))
        self._send(Answer(status, headers, (f"{sentence}\n".encode(),)))

    def expire(self) -> None:
        """Act on the deadline, which has passed."""
        if self._in.partial and not self._busy and not self._draining:
            self._refuse_request(BadRequest(408, "the request did not arrive in time"))
        else:
            self.close()

    def close(self) -> None:
        """End now, whatever is under way; everything held is given back."""
        if self.closed:
            return
        self.closed = True
        service = self._service
        service.loop.remove_reader(self._fd)
        service.loop.remove_writer(self._fd)
        self._sock.close()
        service.connections.discard(self)
        service.counters.open_connections -= 1
        if self._task is not None and self._task is not _current_task():
            self._task.cancel()
        self._out.abandon()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - the other callbacks are owed their call
                _log.exception("what was to end with a connection failed")

    # Requests

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self._on_end()
            return
        if self._draining:
            return
        self._alone = b""
        if not self._busy and self._in.idle:
            answer = self._service.remembered(data)
            if answer is not None:
                self._send_remembered(*answer)
                return
            self._alone = data
        self._in.feed(data)
        if not self._busy:
            self._process()
        elif len(self._in) > PIPELINED:
            self._pause()

    def _on_end(self) -> None:
        """Act on the client's end: it hung up, or only has no more to say."""
        if self._busy and self._task is None and not self._draining:
            # It may still be reading the bytes that are leaving.
            self._hung_up = True
            self._pause()
        else:
            self.close()

    def _pause(self) -> None:
        self._reading = False
        self._service.loop.remove_reader(self._fd)

    def _unpause(self) -> None:
        self._reading = True
        self._service.loop.add_reader(self._fd, self._on_readable)

    def _rest(self) -> None:
        """Begin to wait for the next request."""
        self._wait(math.inf if self.lasting else self._service.limits.idle_seconds)

    def _wait(self, seconds: float) -> None:
        self.deadline = self._service.loop.time() + seconds

    def _process(self) -> None:
        """Answer the requests that the buffer holds whole."""
        self._processing = True
        try:
            for _ in range(TURN):
                request = self._next_request()
                if request is None:
                    return
                self._handle(request)
                if self._busy or self.closed or self._draining or not self._in:
                    return
            self._service.loop.call_soon(self._resume)
        except BadRequest as error:
            self._refuse_request(error)
        finally:
            self._processing = False

    def _resume(self) -> None:
        if not (self._busy or self.closed or self._draining):
            self._process()

    def _refuse_request(self, error: BadRequest) -> None:
        self._service.counters.bad_requests += 1
        self._in.clear()
        self.refuse(error.status, error.sentence)

    def _next_request(self) -> Request | None:
        began = self._in.partial
        found = self._in.next()
        if found is None:
            self._await_rest(began=began)
            return None
        head, body = found
        if not head.keep_alive:
            self._last = True
        self._body_wanted = head.method != "HEAD"
        self._modern = head.modern
        raw, self._alone = self._alone, b""
        if body or self._in or not (head.keep_alive and head.modern):
            raw = b""
        return Request(
            head.method, head.target, head.headers, body, self.peer, self.peer_uid, self, raw
        )

    def _await_rest(self, *, began: bool) -> None:
        """Start the request's time unless it ``began`` before; encourage a client that waits."""
        if self._in.partial and not began:
            self._continued = False
            self._wait(self._service.limits.request_seconds)
        if self._in.awaits_continue and not self._continued:
            self._continued = True
            # A client that hears nothing sends its body after a while, or has gone.
            with contextlib.suppress(OSError):
                self._sock.send(_CONTINUE)

    # Answers

    def _handle(self, request: Request) -> None:
        self._busy = True
        self._service.counters.requests += 1
        try:
            answer = self._service.handler(request)
        except Exception as error:  # noqa: BLE001 - one request's failure ends only that request
            answer = self._failed(error)
        if isinstance(answer, Answer):
            self._send(answer)
        else:
            self.deadline = math.inf
            self._task = self._service.loop.create_task(self._answer_later(answer))

    def _send_remembered(self, head: bytes, body: bytes) -> None:
        """Send a small answer that needs no handler, mostly in one call."""
        service = self._service
        service.counters.requests += 1
        try:
            if len(body) <= SMALL:
                whole = head + body
                sent = self._sock.send(whole)
            else:
                sent = self._sock.sendmsg((head, body))
                whole = b"" if sent == len(head) + len(body) else head + body
        except (BlockingIOError, InterruptedError):
            sent, whole = 0, head + body
        except OSError:
            self.close()
            return
        service.counters.bytes_sent += sent
        if sent >= len(whole):
            self._rest()
        else:
            self._busy = True
            self._out.begin(whole[sent:], (), Answer(200))
            self._flush()

    def _failed(self, error: Exception) -> Answer:
        try:
            return self._service.on_error(error)
        except Exception:  # noqa: BLE001 - the last resort
            _log.exception("an error could not be turned into an answer")
            return Answer(500)

    async def _answer_later(self, awaitable: Awaitable[Answer]) -> None:
        try:
            answer = await awaitable
        except asyncio.CancelledError:
            _discard_unseen(awaitable)
            task = asyncio.current_task()
            if self.closed or (task is not None and task.cancelling()):
                self.close()
                raise
            # Not this task was cancelled but something that it waited for.
            answer = self._failed(
                NotCached("the work behind this answer was called off; ask again")
            )
        except Exception as error:  # noqa: BLE001 - one request's failure ends only that request
            answer = self._failed(error)
        self._task = None
        if self.closed:
            discard(answer)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        try:
            head = self._head_of(answer)
        except Exception as error:  # noqa: BLE001 - as in _handle: the answer is not a usable one
            discard(answer)
            answer = self._failed(error)
            head = self._head_of(answer)
        if self._body_wanted and answer.status not in _BODILESS:
            self._out.begin(head, answer.parts, answer)
        else:
            release_parts(answer.parts)
            self._out.begin(head, (), answer)
        self._flush()

    def _head_of(self, answer: Answer) -> bytes:
        if answer.fds and self.peer is not None:
            raise ValueError("open files were to leave by TCP; they only can by a Unix socket")
        length: int | None = None
        if answer.status not in _BODILESS:
            length = length_of(answer.parts)
            if answer.head_length is not None and not self._body_wanted:
                length = answer.head_length
        connection = ""
        if self._last:
            connection = "Connection: close\r\n"
        elif not self._modern:
            connection = "Connection: keep-alive\r\n"
        return answer_head(answer.status, answer.headers, length=length, connection=connection)

    def _flush(self) -> None:
        """Send what the socket takes now, and arrange for the rest."""
        try:
            state, sent = self._out.pump()
        except NotCached as error:
            self._out.abandon()
            self._send(self._failed(error))
            return
        except CutShort as error:
            _log.warning("an answer was cut short: %s", error)
            self.close()
            return
        except OSError:
            self.close()
            return
        self._service.counters.bytes_sent += sent
        if state is Pump.BLOCKED or state is Pump.YIELDED:
            if sent or not self._writing:
                self._wait(self._service.limits.stalled_seconds)
            if not self._writing:
                self._writing = True
                self._service.loop.add_writer(self._fd, self._flush)
            return
        if self._writing:
            self._writing = False
            self._service.loop.remove_writer(self._fd)
        if state is Pump.DONE:
            self._answered()
        elif self._drained is not None:
            self._drained.set_result(None)
        else:
            self.deadline = math.inf
            self._task = self._service.loop.create_task(self._feed())

    async def _feed(self) -> None:
        """Send the stream whose turn it is, then go on with what follows it."""
        stream = self._out.stream
        assert stream is not None
        try:
            await self._send_chunks(stream)
        except Exception as error:  # noqa: BLE001 - whatever the source met, the body ends short
            _log.warning("an answer was cut short: %s", error)
            self.close()
        finally:
            self._drained = None
            await _close_chunks(stream)
        self._task = None
        if not self.closed:
            self._out.end_stream()
            self._flush()

    async def _send_chunks(self, stream: Stream) -> None:
        left = stream.length
        async for chunk in stream.chunks:
            left -= len(chunk)
            if left < 0:
                raise CutShort("a stream gave more bytes than its length")
            self._drained = self._service.loop.create_future()
            self._out.put(chunk)
            self._flush()
            if self.closed:
                return
            await self._drained
            self.deadline = math.inf
        if left:
            raise CutShort("a stream ended before its length")

    def _answered(self) -> None:
        self._busy = False
        if self._hung_up:
            self.close()
        elif self._last:
            self._linger()
        else:
            self._rest()
            if not self._reading:
                self._unpause()
            if self._in and not self._processing:
                self._service.loop.call_soon(self._resume)

    def _linger(self) -> None:
        """Say that no more comes, and read away what the client still sends.

        Closing over unread bytes would send a reset, which may destroy the answer on its way.
        """
        self._draining = True
        self._in.clear()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._wait(self._service.limits.linger_seconds)
        if not self._reading:
            self._unpause()


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _discard_unseen(awaitable: Awaitable[Answer]) -> None:
    """Give back an answer that was ready when its request was cancelled, and now goes nowhere."""
    if not isinstance(awaitable, asyncio.Future) or not awaitable.done() or awaitable.cancelled():
        return
    if awaitable.exception() is None:
        discard(awaitable.result())


async def _close_chunks(stream: Stream) -> None:
    """Close an asynchronous generator that was not read to its end."""
    close = getattr(stream.chunks, "aclose", None)
    if close is not None:
        with contextlib.suppress(Exception):
            await close()
