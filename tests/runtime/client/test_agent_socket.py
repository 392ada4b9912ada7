"""Questions over the socket, and answers that no agent should give."""

import contextlib
import errno
import os
import pickle
import socket
import threading
import time
from pathlib import Path

import pytest

from runtime.client.agent_socket import AgentSocket, Question
from runtime.client.failures import (
    AgentMisspoke,
    AgentTooSlow,
    AgentUnreachable,
    BytesUnavailable,
    Failure,
    PathMissing,
    StaleFile,
)
from runtime.client.settings import ClientSettings

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Answering:
    """A socket that answers each request with the next of the given bytes, then hangs up."""

    def __init__(self, path, answers, *, fds=()):
        self.requests = []
        self._answers = list(answers)
        self._fds = fds
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while self._answers:
            connection, _ = self._listener.accept()
            with connection, contextlib.suppress(OSError):
                while self._answers:
                    request = connection.recv(65_536)
                    if not request:
                        break
                    self.requests.append(request)
                    answer = self._answers.pop(0)
                    if answer is None:
                        break
                    socket.send_fds(connection, [answer], self._fds)
                    if answer is not GOOD:
                        break
        self._listener.close()

    def join(self):
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "agent.sock"


def agent_at(place, timeout=5.0):
    return AgentSocket(ClientSettings.resolve(socket=str(place), token="t", timeout=timeout))


def test_a_question_carries_the_token_and_its_headers(place):
    server = Answering(place, [GOOD, GOOD])
    agent = agent_at(place)
    agent.ask(Question("GET", "/a?b=c", headers="Range: bytes=0-1\r\n"))
    agent.ask(Question("POST", "/d", b"body"))
    server.join()
    assert server.requests == [
        (
            b"GET /a?b=c HTTP/1.1\r\nHost: cachectl\r\nAuthorization: Bearer t\r\n"
            b"Range: bytes=0-1\r\n\r\n"
        ),
        (
            b"POST /d HTTP/1.1\r\nHost: cachectl\r\nAuthorization: Bearer t\r\n"
            b"Content-Length: 4\r\n\r\nbody"
        ),
    ]


def test_an_idle_connection_that_was_closed_is_replaced(place):
    server = Answering(place, [GOOD, None, GOOD])
    agent = agent_at(place)
    agent.ask(Question("GET", "/1"))
    assert agent.ask(Question("GET", "/2")).body == b"{}"
    server.join()
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000,
    ],
)
def test_an_answer_that_is_no_http_is_refused(place, answer):
    server = Answering(place, [answer])
    with pytest.raises(AgentMisspoke):
        agent_at(place).ask(Question("GET", "/"))
    server.join()


def test_an_answer_that_breaks_off_is_asked_for_again(place):
    server = Answering(place, [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", GOOD])
    assert agent_at(place).ask(Question("GET", "/")).body == b"{}"
    server.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 X\r\nContent-Length: 4\r\nCachectl-Error: NotCached\r\n\r\nwhy?",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_descriptors_of_a_failed_answer_are_closed(place, answer):
    read, write = os.pipe()
    before = len(list(Path("/proc/self/fd").iterdir()))
    server = Answering(place, [answer], fds=(read, write))
    with pytest.raises((BytesUnavailable, AgentMisspoke)):
        agent_at(place).ask(Question("GET", "/"))
    server.join()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    ("status", "name", "kind", "code"),
    [
        (404, "NoSuchPath", PathMissing, errno.ENOENT),
        (409, "StaleVersion", StaleFile, errno.ESTALE),
        (409, "", StaleFile, errno.ESTALE),
        (503, "SomethingNew", BytesUnavailable, errno.EIO),
        (500, "", AgentMisspoke, errno.EPROTO),
    ],
)
def test_an_error_answer_becomes_the_failure_it_names(place, status, name, kind, code):
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: 3\r\nCachectl-Error: {name}\r\n\r\nwhy"
    server = Answering(place, [answer.encode()])
    with pytest.raises(kind, match="why") as failure:
        agent_at(place).ask(Question("GET", "/", path="p"))
    server.join()
    again = pickle.loads(pickle.dumps(failure.value))
    for one in (failure.value, again):
        assert (type(one), one.errno, one.filename, str(one)) == (kind, code, "p", "why")


def test_no_agent_is_said_at_once(place):
    started = time.monotonic()
    with pytest.raises(AgentUnreachable, match=f"no cache agent answers at {place} .*socket="):
        agent_at(place, timeout=60).ask(Question("GET", "/"))
    assert time.monotonic() - started < 1


def test_a_path_that_is_too_long_is_said_too():
    with pytest.raises(AgentUnreachable, match="path too long"):
        agent_at("/" + "x" * 200).ask(Question("GET", "/"))


def test_an_agent_that_says_nothing_is_too_slow(place):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.2 s") as slow:
            agent_at(place, timeout=0.2).ask(Question("GET", "/"))
        assert isinstance(slow.value, AgentTooSlow)
        assert isinstance(slow.value, Failure)


def test_an_impatient_question_is_asked_once(place):
    server = Answering(place, [GOOD])
    agent = agent_at(place, timeout=30)
    agent.ask(Question("GET", "/"))
    server.join()
    started = time.monotonic()
    with pytest.raises(AgentUnreachable):
        agent.ask(Question("GET", "/", patient=False))
    assert time.monotonic() - started < 5
