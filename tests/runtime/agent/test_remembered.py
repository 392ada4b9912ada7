"""Requests that come again in the same bytes: quick answers, and never one that is out of date."""

from __future__ import annotations

import random
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.contract.units import MIB
from tests.support.lab import Lab

SMALL = "a/small.bin"
LARGE = "large.bin"


class Raw:
    """One kept connection that sends bytes as they are given."""

    def __init__(self, node) -> None:
        self._socket = socket.create_connection((node.address, node.port), timeout=20)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers, self._file.read(int(headers["content-length"]))

    def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.send(data)
        return self.answer()

    def ended(self) -> bool:
        return self._file.read() == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture(name="files")
def _files(origin):
    source = random.Random(5)
    files = {SMALL: source.randbytes(4096), LARGE: source.randbytes(5 * MIB)}
    (origin.folder / "a").mkdir()
    for name, data in files.items():
        (origin.folder / name).write_bytes(data)
    return files


@pytest.fixture(name="node")
def _node(lab: Lab, origin, files):
    node = lab.add("n0")
    lab.add("n1")
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.start(trust=False)
    lab.until_ready()
    return node


@pytest.fixture(name="raw")
def _raw(node):
    raw = Raw(node)
    yield raw
    raw.close()


def request(lab, path, *extra, token=""):
    lines = [
        f"GET /team/images/train/{path} HTTP/1.1",
        "Host: cache",
        f"Authorization: Bearer {token or lab.token()}",
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def test_the_same_bytes_get_the_same_answer(lab, raw, files):
    first = raw.ask(request(lab, SMALL))
    assert first[0] == 200
    assert first[2] == files[SMALL]
    for _ in range(3):
        assert raw.ask(request(lab, SMALL)) == first
    part = request(lab, LARGE, "Range: bytes=4190000-4194303")
    for _ in range(3):
        status, headers, body = raw.ask(part)
        assert (status, body) == (206, files[LARGE][4190000:4194304])
        assert headers["content-range"] == f"bytes 4190000-4194303/{5 * MIB}"


def test_it_may_come_in_pieces_or_with_others(lab, raw, files):
    whole = request(lab, SMALL)
    assert raw.ask(whole)[2] == files[SMALL]
    head, rest = whole[:20], whole[20:]
    for _ in range(2):
        raw.send(head)
        raw.send(rest)
        assert raw.answer()[2] == files[SMALL]
    raw.send(whole * 3)
    for _ in range(3):
        assert raw.answer()[2] == files[SMALL]
    # What came first of a request is no request by itself, however often it has come.
    raw.send(head)
    raw.send(rest + whole)
    assert [raw.answer()[2] for _ in range(2)] == [files[SMALL]] * 2


def test_a_connection_that_is_to_end_ends(lab, node, files):
    for extra in ("Connection: close", "Connection: close"):
        raw = Raw(node)
        status, headers, body = raw.ask(request(lab, SMALL, extra))
        assert (status, headers["connection"], body) == (200, "close", files[SMALL])
        assert raw.ended()
        raw.close()


def test_another_key_refuses_what_was_allowed(lab, node, raw, origin, files):
    ask = request(lab, SMALL)
    for _ in range(2):
        assert raw.ask(ask)[0] == 200
    lab.master = b"another master key, 32 bytes long"
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.until(lambda: raw.ask(ask)[0] == 401, what="the new keys")
    assert raw.ask(request(lab, SMALL))[2] == files[SMALL]


def test_a_new_version_is_seen_and_no_old_byte_after_it(lab, node, raw, origin, files):
    ask = request(lab, SMALL)
    old = [raw.ask(ask) for _ in range(2)][1]
    changed = bytes(reversed(files[SMALL]))
    origin.replace(SMALL, changed)
    dataset = replace(lab.dataset(origin.source), snapshot_request="again")
    lab.plan("cloud", datasets=(dataset,))

    answers = []
    lab.until(lambda: answers.append(raw.ask(ask)) or answers[-1] != old, what="the new version")
    status, headers, body = answers[-1]
    assert (status, body) == (200, changed)
    assert headers["etag"] != old[1]["etag"]
    assert raw.ask(ask)[2] == changed


def test_bytes_are_verified_each_time(lab, node, raw, files):
    ask = request(lab, SMALL)
    for _ in range(2):
        assert raw.ask(ask)[2] == files[SMALL]
    for path in Path(lab.folder / "tiers").rglob("*.data"):
        data = path.read_bytes()
        at = data.find(files[SMALL])
        if at >= 0:
            with path.open("r+b") as file:
                file.seek(at + 100)
                file.write(bytes([data[at + 100] ^ 1]))
    assert raw.ask(ask)[2] == files[SMALL]
    assert lab.count("healed_cells", node) == 1


def test_a_dataset_that_has_left_is_gone(lab, node, raw, origin, files):
    ask = request(lab, SMALL)
    for _ in range(2):
        assert raw.ask(ask)[0] == 200
    lab.plan("cloud", datasets=())
    lab.until(lambda: raw.ask(ask)[0] == 404, what="the plan without the Dataset")


def test_tokens_of_others_are_refused_each_time(lab, raw):
    ask = request(lab, SMALL, token=lab.token("team/other"))
    assert [raw.ask(ask)[0] for _ in range(3)] == [403] * 3
