"""Questions to the agent over its Unix socket: a little HTTP/1.1, with descriptors.

Blocking, as reads are; usable from any thread and inside a running event loop. Idle connections
are kept for the next question and forgotten in a forked child. All questions may be repeated
safely, so one whose connection broke is asked again until the deadline: an agent may restart
under its readers.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.client.failures import (
    AccessRefused,
    AgentMisspoke,
    AgentTooSlow,
    AgentUnreachable,
    Failure,
    from_answer,
)
from runtime.contract import protocol

if TYPE_CHECKING:
    from runtime.client.settings import ClientSettings

_SUCCESS: Final = (200, 206)
_PARTIAL: Final = 206
_IDLE_LIMIT: Final = 16
_DESCRIPTORS: Final = 64
_RECEIVE: Final = 1 << 16
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_IMPATIENT_SECONDS: Final = 2.0
_FIRST_CONTACT_SECONDS: Final = 2.0
"""How long a socket that exists but refuses is tried before any agent was ever reached there."""


@dataclass(slots=True)
class Answer:
    """An answer. Whoever takes it owns the descriptors."""

    status: int
    headers: dict[str, str]
    body: bytes
    descriptors: list[int]


@dataclass(frozen=True, slots=True)
class Question:
    """One request. ``into`` receives the body of a 206 answer, which must fill it exactly.

    ``path`` is what an error is about. A question that is not ``patient`` is asked once only, and
    briefly: its answer would help, but is not needed.
    """

    method: str
    target: str
    body: bytes = b""
    headers: str = ""
    into: memoryview | None = None
    path: str | None = None
    patient: bool = True


class Connection(socket.socket):
    """A connection that closes when nothing refers to it: who reads last is not known before."""

    def __del__(self) -> None:
        self.close()


class AgentSocket:
    """The agent at one socket, asked with one token."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._token = settings.read_token()
        self._idle: list[Connection] = []
        self._reached = False

    def forget_connections(self) -> None:
        """Close the idle connections; in a forked child they are the parent's."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def ask(self, question: Question) -> Answer:
        """Ask, and return the answer with status 200 or 206.

        Raises:
            Failure: of the class that the agent names, or ``AgentUnreachable``, ``AgentTooSlow``,
                ``AgentMisspoke``.
        """
        connection, answer = self._converse(question, reuse=True)
        self._put_back(connection, answer)
        return answer

    def hold(self, question: Question) -> tuple[Answer, Connection]:
        """Ask on a connection of its own, and return that too: what it holds lasts as long."""
        connection, answer = self._converse(question, reuse=False)
        return answer, connection

    def _converse(self, question: Question, *, reuse: bool) -> tuple[Connection, Answer]:
        try:
            return self._succeed(question, reuse=reuse)
        except AccessRefused:
            token = self._settings.read_token()
            if token == self._token:
                raise
            self._token = token
            return self._succeed(question, reuse=reuse)

    def _succeed(self, question: Question, *, reuse: bool) -> tuple[Connection, Answer]:
        connection, answer = self._persist(question, reuse=reuse)
        if answer.status in _SUCCESS:
            return connection, answer
        self._put_back(connection, answer)
        for descriptor in answer.descriptors:
            os.close(descriptor)
        name = answer.headers.get(protocol.CODE_HEADER.lower(), "")
        sentence = answer.body.decode("utf-8", "replace").strip()
        raise from_answer(answer.status, name, sentence, question.path)

    def _put_back(self, connection: Connection, answer: Answer) -> None:
        closing = answer.headers.get("connection", "").lower() == "close"
        if closing or len(self._idle) >= _IDLE_LIMIT:
            connection.close()
        else:
            self._idle.append(connection)

    def _persist(self, question: Question, *, reuse: bool) -> tuple[Connection, Answer]:
        started = time.monotonic()
        pause = _FIRST_PAUSE
        limit = self._settings.timeout
        if not question.patient:
            limit = min(limit, _IMPATIENT_SECONDS)
        while True:
            remaining = limit - (time.monotonic() - started)
            if remaining <= 0:
                raise self._too_slow(question, limit)
            pooled = self._idle_connection() if reuse else None
            try:
                connection = pooled or self._connect(remaining)
                connection.settimeout(remaining)
                return connection, self._exchange(connection, question)
            except Failure:
                raise
            except TimeoutError as error:
                raise self._too_slow(question, limit) from error
            except (ConnectionError, FileNotFoundError, BlockingIOError) as error:
                if pooled is not None:
                    continue  # the agent closed it while it was idle: a fresh one tells more
                elapsed = time.monotonic() - started
                if not question.patient or self._is_hopeless(error, elapsed + pause):
                    raise self._unreachable(error) from error
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _is_hopeless(self, error: OSError, elapsed: float) -> bool:
        if self._reached:
            return elapsed > self._settings.timeout
        patience = min(_FIRST_CONTACT_SECONDS, self._settings.timeout)
        return isinstance(error, FileNotFoundError) or elapsed > patience

    def _idle_connection(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self, timeout: float) -> Connection:
        connection = Connection(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(self._settings.socket)
        except (TimeoutError, ConnectionError, FileNotFoundError, BlockingIOError):
            # What an agent in its restart, or with a full backlog (EAGAIN), looks like.
            connection.close()
            raise
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        self._reached = True
        return connection

    def _exchange(self, connection: Connection, question: Question) -> Answer:
        descriptors: list[int] = []
        try:
            connection.sendall(self._encode(question))
            status, headers, rest = _receive_head(connection, descriptors)
            body = _receive_body(connection, question, status, headers, rest)
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            connection.close()
            raise
        return Answer(status, headers, body, descriptors)

    def _encode(self, question: Question) -> bytes:
        authorization = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        length = f"Content-Length: {len(question.body)}\r\n" if question.method == "POST" else ""
        head = (
            f"{question.method} {question.target} HTTP/1.1\r\nHost: cachectl\r\n"
            f"{authorization}{question.headers}{length}\r\n"
        )
        return head.encode("ascii") + question.body

    def _unreachable(self, error: OSError) -> AgentUnreachable:
        reason = error.strerror or str(error)
        return AgentUnreachable(
            f"no cache agent answers at {self._settings.socket} ({reason}); start the agent on "
            "this node, mount its socket into this container, or name another one with socket= "
            "or CACHECTL_SOCKET"
        )

    def _too_slow(self, question: Question, limit: float) -> AgentTooSlow:
        return AgentTooSlow(
            f"the cache agent at {self._settings.socket} did not answer within "
            f"{limit:g} s; raise timeout= if the line to the origin is slow",
            question.path,
        )


def _receive_head(
    connection: Connection, descriptors: list[int]
) -> tuple[int, dict[str, str], bytes]:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > protocol.MAX_HEADER_BYTES:
            raise AgentMisspoke("the agent's answer has a head without an end")
        block, received, flags, _ = socket.recv_fds(
            connection, _RECEIVE, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        descriptors += received
        if flags & socket.MSG_CTRUNC:
            raise AgentMisspoke(
                "descriptors from the agent were cut off; raise this process's limit of open files"
            )
        if not block:
            raise ConnectionResetError(errno.ECONNRESET, "it closed the connection")
        data += block
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
        raise AgentMisspoke(f"the agent's answer starts with {first[:40]!r}, which is not HTTP")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers, data[end + 4 :]


def _receive_body(
    connection: Connection,
    question: Question,
    status: int,
    headers: dict[str, str],
    rest: bytes,
) -> bytes:
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise AgentMisspoke("the agent's answer does not say how long it is")
    size = int(length)
    if question.into is None or status != _PARTIAL:
        target = memoryview(bytearray(size))
    elif size == len(question.into):
        target = question.into
    else:
        raise AgentMisspoke(
            f"the agent sent {size} bytes where {len(question.into)} were asked", question.path
        )
    if len(rest) > size:
        raise AgentMisspoke("the agent sent more than its answer's length")
    target[: len(rest)] = rest
    filled = len(rest)
    while filled < size:
        count = connection.recv_into(target[filled:])
        if not count:
            raise ConnectionResetError(errno.ECONNRESET, "it closed the connection midway")
        filled += count
    return b"" if target is question.into else bytes(target)
