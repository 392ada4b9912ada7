"""The demo's origin: real files with etags and ranges, over shaped lines, counted."""

import asyncio
import json
import os
import subprocess
import sys
import time

import aiohttp
import pytest

from cache_ctl.demo.origin_server import Line
from cache_ctl.errors import InvalidInput

DATA = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("origin")
    root = folder / "root"
    root.mkdir()
    (folder / "outside.txt").write_text("secret")
    ready = folder / "ready"
    command = [sys.executable, "-m", "cache_ctl.demo.origin_server", "--root", str(root)]
    command += ["--ready-file", str(ready), "--manifest", "--shape", "127.0.9.0/24=80Mbit"]
    reader, writer = os.pipe()
    child = subprocess.Popen([*command, "--ready-fd", str(writer)], pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader) as told:
        port = told.readline().strip()
    assert ready.read_text().strip() == port
    yield root, f"http://127.0.0.1:{port}"
    child.terminate()
    assert child.wait(10) == 0


@pytest.fixture
def root(server):
    place = server[0] / "d"
    place.mkdir(exist_ok=True)
    (place / "a b.bin").write_bytes(DATA)
    return server[0]


@pytest.fixture
async def ask(server, root):
    async with aiohttp.ClientSession(server[1]) as session:

        async def ask(path, method="GET", **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.request(method, path, headers=headers) as answer:
                return answer.status, answer.headers, await answer.read()

        yield ask


@pytest.mark.parametrize(
    ("text", "status", "span"),
    [
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=5-99", 206, (5, 100)),
        ("bytes=-10", 206, (len(DATA) - 10, len(DATA))),
        (f"bytes={len(DATA) - 1}-{1 << 40}", 206, (len(DATA) - 1, len(DATA))),
        ("bytes=100-", 206, (100, len(DATA))),
        (f"bytes={len(DATA)}-", 416, None),
        ("bytes=9-5", 416, None),
        ("bytes=-", 416, None),
    ],
)
async def test_answers_ranges(ask, text, status, span):
    told, headers, body = await ask("/d/a%20b.bin", Range=text)
    assert told == status
    if span:
        start, stop = span
        assert body == DATA[start:stop]
        assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    else:
        assert headers["Content-Range"] == f"bytes */{len(DATA)}"


async def test_conditions_follow_the_etag(ask, root):
    status, headers, body = await ask("/d/a%20b.bin")
    etag = headers["ETag"]
    assert (status, body) == (200, DATA)
    assert (await ask("/d/a%20b.bin", If_Match=etag))[0] == 200
    assert (await ask("/d/a%20b.bin", If_Match='"x"'))[0] == 412
    assert (await ask("/d/a%20b.bin", If_None_Match=etag))[0] == 304
    since = headers["Last-Modified"]
    assert (await ask("/d/a%20b.bin", If_Unmodified_Since=since))[0] == 200
    os.utime(root / "d" / "a b.bin", (time.time() + 5, time.time() + 5))
    assert (await ask("/d/a%20b.bin", If_Match=etag))[0] == 412
    assert (await ask("/d/a%20b.bin", If_Unmodified_Since=since))[0] == 412


async def test_head_tells_the_same_without_a_body(ask):
    _, headers, _ = await ask("/d/a%20b.bin")
    status, told, body = await ask("/d/a%20b.bin", "HEAD")
    assert (status, body, told["ETag"]) == (200, b"", headers["ETag"])
    assert told["Content-Length"] == str(len(DATA))


async def test_folders_answer_an_index_of_links(ask):
    assert b'<a href="d/">' in (await ask("/"))[2]
    assert b'<a href="a%20b.bin">' in (await ask("/d"))[2]


async def test_the_manifest_lists_all_files(ask):
    _, headers, _ = await ask("/d/a%20b.bin")
    lines = (await ask("/manifest.jsonl"))[2].splitlines()
    item = {"path": "d/a b.bin", "size": len(DATA), "etag": headers["ETag"]}
    assert list(map(json.loads, lines)) == [item]


@pytest.mark.parametrize(
    "path", ["/nowhere", "/..%2Foutside.txt", "/d/..%2F..%2Foutside.txt", "/%00", "/%2Fetc/passwd"]
)
async def test_nothing_outside_the_folder_is_served(ask, path):
    assert (await ask(path))[0] == 404


async def test_counts_what_each_client_was_sent_and_shapes_its_line(server, root):
    async def fetch(address):
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with (
            aiohttp.ClientSession(server[1], connector=connector) as session,
            session.get("/d/a%20b.bin") as answer,
        ):
            assert await answer.read() == DATA

    began = time.monotonic()
    await asyncio.gather(fetch("127.0.9.1"), fetch("127.0.9.2"))
    # 2 MiB over 10 MB/s that both share, less the burst.
    assert time.monotonic() - began > 0.17
    async with aiohttp.ClientSession(server[1]) as session, session.get("/_stats") as answer:
        clients = (await answer.json())["clients"]
    for address in ("127.0.9.1", "127.0.9.2"):
        assert clients[address] == {"requests": 1, "bytes": len(DATA)}


@pytest.mark.parametrize("text", ["", "127.0.0.1", "x=200Mbit", "127.0.9.0/24=fast"])
def test_a_line_needs_a_network_and_a_rate(text):
    with pytest.raises(InvalidInput, match="--shape"):
        Line.parse(text)
