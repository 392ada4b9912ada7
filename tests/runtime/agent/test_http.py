"""Plain HTTP, as curl speaks it, on the Unix socket and on a member's port."""

from __future__ import annotations

import http.client
import random
import socket
from pathlib import Path

import pytest

from runtime.contract.units import MIB
from tests.support.lab import Lab

PATH = "/team/images/train/a.bin"


@pytest.fixture(name="data")
def _data(origin):
    data = random.Random(31).randbytes(5 * MIB)
    (origin.folder / "a.bin").write_bytes(data)
    (origin.folder / "sub dir").mkdir()
    (origin.folder / "sub dir" / "süß%.txt").write_bytes(b"small")
    (origin.folder / "empty").write_bytes(b"")
    return data


@pytest.fixture(name="node")
def _node(lab: Lab, origin, data):
    node = lab.add("n0")
    lab.add("n1")
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    return node


@pytest.mark.parametrize(
    ("header", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=100-1000000", 206, slice(100, 1000001)),
        ("bytes=4194300-4194310", 206, slice(4194300, 4194311)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=5242870-9999999", 206, slice(5242870, None)),
        ("bytes=1-0", 200, slice(None)),
        ("chunks=1-2", 200, slice(None)),
    ],
)
def test_ranges(lab, node, data, header, status, part):
    for _ in range(2):  # cold, then warm
        got = lab.ask(node, "GET", PATH, range=header)

        assert got[0] == status
        assert got[2] == data[part]
    if status == 206:
        start = range(len(data))[part][0]
        stop = range(len(data))[part][-1]
        assert got[1]["content-range"] == f"bytes {start}-{stop}/{len(data)}"


def test_a_range_outside_says_how_long_the_object_is(lab, node, data):
    status, headers, body = lab.ask(node, "GET", PATH, range=f"bytes={len(data)}-")

    assert (status, headers["content-range"]) == (416, f"bytes */{len(data)}")
    assert body == b"train/a.bin has %d bytes; ask for a range that begins in them\n" % len(data)


def test_conditions(lab, node, data):
    _, headers, body = lab.ask(node, "HEAD", PATH)
    tag = headers["etag"]

    assert body == b""
    assert headers["content-length"] == str(len(data))
    assert lab.ask(node, "GET", PATH, if_none_match=tag)[0] == 304
    assert lab.ask(node, "GET", PATH, if_none_match='"other"')[0] == 200
    assert lab.ask(node, "GET", PATH, if_match=f'"a,b", {tag}')[0] == 200
    assert lab.ask(node, "GET", PATH, if_match=f"W/{tag}")[0] == 412
    assert lab.ask(node, "GET", PATH, if_none_match=f'"a,b", W/{tag}')[0] == 304
    status, headers, body = lab.ask(node, "GET", PATH, if_match='"other"')
    assert (status, headers["cachectl-error"]) == (412, "StaleVersion")
    assert body.startswith(b"train/a.bin has another version")
    status, headers, _ = lab.ask(node, "HEAD", PATH, range="bytes=0-1")
    assert (status, headers["content-length"]) == (200, str(len(data)))
    assert lab.ask(node, "GET", PATH, range="bytes=0-1", if_range=tag)[0] == 206
    assert lab.ask(node, "GET", PATH, range="bytes=0-1", if_range='"other"')[0] == 200


def test_names_are_percent_encoded_and_empty_objects_are_empty(lab, node):
    path = "/team/images/train/sub%20dir/s%C3%BC%C3%9F%25.txt"

    assert lab.ask(node, "GET", path)[2] == b"small"
    assert lab.ask(node, "GET", "/team/images/train/empty")[::2] == (200, b"")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/team/images/train/none", 404),
        ("GET", "/team/images/train", 404),
        ("GET", "/team/other/x", 404),
        ("GET", "/", 404),
        ("PUT", PATH, 405),
        ("POST", "/report", 405),
        ("GET", "/team/images/train/a.bin?snapshot=nonsense", 503),
        ("GET", "/v1/open/blob?dataset=team/images", 400),
        ("GET", "/v1/open/blob?dataset=team/images&path=train/none", 404),
        ("POST", "/v1/want?dataset=team/images&path=train/a.bin&cells=9", 400),
        ("POST", "/v1/want?dataset=team/images&path=train/a.bin&cells=x", 400),
        ("POST", "/v1/suspect?dataset=team/images&path=train/empty&cells=0", 400),
        ("GET", "/v1/unit?dataset=team/images&path=train/a.bin&index=0&as=owner", 403),
        ("GET", "/v1/summary", 403),
        ("GET", "/v1/identity?nonce=0", 400),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_sentence(lab, node, method, target, status):
    got, _, body = lab.ask(node, method, target)

    assert got == status, body
    assert body.strip()
    assert b"Traceback" not in body
    assert len(body) < 300


def test_a_batch_gives_each_object_its_own_status(lab, node, data):
    items = lab.batch(node, ["train/empty", "train/none", "train/sub dir/süß%.txt", "train/a.bin"])

    assert [status for status, _ in items] == [200, 404, 200, 413]
    assert items[2][1] == b"small"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        pytest.param(b"[" * 100_000, id="nested"),
        b'{"dataset": 1, "paths": []}',
        b'{"paths": ["a"]}',
        rb'{"dataset": "team/\ud800", "paths": []}',
        rb'{"dataset": "team/images", "snapshot": "\ud800", "paths": ["a"]}',
    ],
)
def test_a_batch_that_is_none_is_refused(lab, node, body):
    assert lab.ask(node, "POST", "/batch", body=body)[0] == 400


def test_a_member_s_port_answers_readers_with_a_token_and_nobody_without(lab, node, data):
    connection = http.client.HTTPConnection(node.address, node.port, timeout=20)
    statuses = []
    for headers in ({}, {"Authorization": f"Bearer {lab.token()}"}):
        connection.request("GET", PATH, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        statuses.append(answer.status)
    connection.request("GET", "/report", headers={"Authorization": f"Bearer {lab.token()}"})
    report = connection.getresponse()
    report.read()
    connection.close()

    assert statuses == [401, 200]
    assert body == data
    assert report.status == 403


def test_metrics_are_prometheus_text(lab, node, data):
    lab.ask(node, "GET", PATH)

    status, headers, body = lab.ask(node, "GET", "/metrics")

    lines = body.decode().splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert int(samples["cachectl_plan_generation"]) == 1
    total = int(samples["cachectl_origin_bytes_total"]) + int(samples["cachectl_peer_bytes_total"])
    assert total >= len(data)
    assert any(name.startswith("cachectl_tier_used_bytes{") for name in samples)


def resident(node) -> int:
    """Return the bytes of memory that an agent has."""
    pages = (Path("/proc") / str(node.process.pid) / "statm").read_text().split()[1]
    return int(pages) * 4096


def test_readers_that_take_nothing_cost_little_memory(lab, node, data):
    lab.read(node, "train/a.bin")
    before = resident(node)
    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    sockets = []
    for _ in range(100):
        reader = socket.socket(socket.AF_UNIX)
        reader.connect(node.socket)
        reader.sendall(request)
        assert reader.recv(15) == b"HTTP/1.1 200 OK"
        sockets.append(reader)
    grown = resident(node) - before
    for reader in sockets:
        reader.close()

    assert grown < 100 * MIB, "each has much more than a block"
