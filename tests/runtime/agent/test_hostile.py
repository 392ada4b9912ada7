"""Clients that mean no good, at an agent's port and at its Unix socket, while others read."""

from __future__ import annotations

import random
import socket
import time
from contextlib import ExitStack

import pytest

from runtime.contract import protocol
from runtime.contract.units import MIB

PATH = "train/a.bin"
TARGET = b"GET /team/images/train/a.bin HTTP/1.1\r\n"


@pytest.fixture(name="data")
def _data(origin):
    data = random.Random(51).randbytes(2 * MIB)
    (origin.folder / "a.bin").write_bytes(data)
    return data


@pytest.fixture(name="node")
def _node(lab, origin, data):
    node = lab.add("n0")
    lab.add("n1")
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    return node


def knock(node, door: str) -> socket.socket:
    """Connect to one of the two doors of an agent."""
    if door == "port":
        return socket.create_connection((node.address, node.port), timeout=20)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(node.socket)
    return client


def told(client: socket.socket) -> bytes:
    """Return all that the agent says until it hangs up."""
    said = b""
    while block := client.recv(1 << 16):
        said += block
    return said


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


HEADER = b"X-Long: " + b"x" * protocol.MAX_HEADER_BYTES + b"\r\n"
HUGE = b"POST /batch HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("door", ["port", "socket"])
def test_what_is_too_large_or_no_request_is_refused_before_it_is_read(lab, node, data, door):
    cases = {
        TARGET + HEADER: 431,
        b"GET /" + b"x" * protocol.MAX_HEADER_BYTES: 414,
        HUGE % (protocol.MAX_BODY_BYTES + 1): 413,
        HUGE % 10**30: 413,
        b"NONSENSE\r\n\r\n": 400,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc": 400,
        TARGET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n": 400,
        TARGET + b"Content-Length: -1\r\n\r\n": 400,
        TARGET + b"Bad Header\r\n\r\n": 400,
        b"POST /batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n": 501,
    }
    for request, expected in cases.items():
        with knock(node, door) as client:
            client.sendall(request)
            said = told(client)
        assert status(said) == expected, (request[:60], said)
        assert b"Traceback" not in said

    assert lab.read(node, PATH) == data
    assert lab.report(node).counters["server_bad_requests"] == len(cases)


def test_who_drips_a_request_is_cut_off_while_others_read(lab, node, data):
    """A head at either door, and a body, of which one byte a second arrives."""
    with ExitStack() as stack:
        dripping = {
            "port": stack.enter_context(knock(node, "port")),
            "socket": stack.enter_context(knock(node, "socket")),
            "body": stack.enter_context(knock(node, "socket")),
        }
        dripping["body"].sendall(HUGE % 1000)
        for client in dripping.values():
            client.settimeout(0.3)
        started = time.monotonic()
        ended: dict[str, float] = {}
        while len(ended) < len(dripping):
            for name in dripping.keys() - ended.keys():
                client = dripping[name]
                at = round(time.monotonic() - started)
                client.sendall(TARGET[at : at + 1])
                try:
                    said = told(client)
                except TimeoutError:
                    assert at < 2 * protocol.HEAD_SECONDS, f"{name} is still being listened to"
                    continue
                ended[name] = time.monotonic() - started
                assert status(said) == 408, said
            assert lab.read(node, PATH) == data

    assert all(protocol.HEAD_SECONDS - 1 < at < protocol.HEAD_SECONDS + 4 for at in ended.values())


def test_many_idle_connections_keep_nobody_from_reading(lab, node, data):
    with ExitStack() as stack:
        for number in range(400):
            stack.enter_context(knock(node, ("port", "socket")[number % 2]))

        assert lab.read(node, PATH) == data
        lab.until(lambda: lab.count("server_open_connections", node) >= 400)
    lab.until(lambda: lab.count("server_open_connections", node) < 50, what="the idle ones ending")
