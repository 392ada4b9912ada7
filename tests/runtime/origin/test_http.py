"""Reading over HTTP: exactly the bytes of the version asked for, or a clear error."""

import asyncio
import contextlib
import os
import random
import socket
import time

import pytest

from runtime.contract.plan import Endpoints, MountPlan
from runtime.errors import (
    ConfigError,
    NoSuchPath,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    StaleVersion,
)
from runtime.origin.base import Found, Timeouts, open_origin
from runtime.origin.connections import may_leave

QUICK = Timeouts(
    connect_seconds=1,
    stall_seconds=0.5,
    window_seconds=0.6,
    backoff_seconds=0.01,
)
DATA = random.Random(7).randbytes(300_000)


@contextlib.asynccontextmanager
async def opened(url, *, timeouts=QUICK, secret=(), network_class="Cloud", address=None, **mount):
    plan = MountPlan("train", url, **mount)
    origin = open_origin(
        plan, network_class, dict(secret), timeouts=timeouts, source_address=address
    )
    try:
        yield origin
    finally:
        await origin.close()


async def read(origin, found, start=0, stop=None):
    """Return all bytes of a range and the sizes of their blocks."""
    stop = found.size if stop is None else stop
    blocks = []
    iterator = origin.read(
        found.path, size=found.size, version=found.version, start=start, stop=stop
    )
    async with contextlib.aclosing(iterator) as answer:
        async for block in answer:
            blocks.append(bytes(block))
            assert len(block) <= 1 << 20
    return b"".join(blocks)


@pytest.fixture
def file(origin):
    (origin.root / "a.bin").write_bytes(DATA)
    return origin


@pytest.fixture
async def found(file):
    async with opened(file.url) as client:
        [found] = await client.list()
    file.heads()
    return found


class TestListing:
    async def test_follows_indexes_and_asks_each_file_for_its_size_and_etag(self, origin):
        tree = {"b.txt": b"bee", "a/x y%&.txt": b"ex", "a/deep/ü.txt": b"", "z#1?.bin": b"zed"}
        for path, data in tree.items():
            place = origin.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        async with opened(origin.url) as client:
            listed = await client.list()
            assert [(f.path, f.size) for f in listed] == sorted(
                (path, len(data)) for path, data in tree.items()
            )
            assert all(f.version and '"' not in f.version and not f.digest for f in listed)
            for item in listed:
                assert await read(client, item) == tree[item.path]

    async def test_of_an_empty_folder_is_empty(self, origin):
        async with opened(origin.url) as client:
            assert await client.list() == []

    async def test_of_a_manifest_asks_for_nothing_that_it_tells(self, file):
        async with opened(file.url, options={"manifest": "manifest.jsonl"}) as client:
            [item] = await client.list()
            assert [head["method"] for head in file.heads()] == ["GET"]
            assert await read(client, item) == DATA

    async def test_of_a_manifest_with_gaps_asks_for_these_only(self, file):
        (file.root / "b.bin").write_bytes(b"b")
        text = '[{"path": "a.bin", "digest": "md5:%s"}, {"path": "gone"}]' % ("A" * 32)
        (file.root / "list.json").write_text(text)
        async with opened(file.url, options={"manifest": "list.json"}) as client:
            [item] = await client.list()
        assert (item.path, item.size, item.digest) == ("a.bin", len(DATA), "md5:" + "a" * 32)
        assert item.version

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("{", "is not JSON"),
            ('[{"size": 1}]', "entry 1"),
            ('{"path": "a", "size": "1"}', "entry 1"),
            ('{"path": "a", "etag": "x\\n"}', "entry 1"),
            ('{"path": "a"}\n{"path": "b", "digest": "crc:1"}', "entry 2.*'crc:1'"),
        ],
    )
    async def test_refuses_a_manifest_that_makes_no_sense(self, origin, text, sentence):
        (origin.root / "list.json").write_text(text)
        async with opened(origin.url, options={"manifest": "list.json"}) as client:
            with pytest.raises(OriginLied, match=sentence):
                await client.list()

    async def test_includes_and_excludes_by_globs(self, origin):
        for path in ("a.jpg", "b.txt", "d/c.jpg", "d/tmp/e.jpg"):
            (origin.root / path).parent.mkdir(parents=True, exist_ok=True)
            (origin.root / path).touch()
        mount = {"include": ("**/*.jpg",), "exclude": ("**/tmp/**",)}
        async with opened(origin.url, **mount) as client:
            assert [item.path for item in await client.list()] == ["a.jpg", "d/c.jpg"]

    async def test_of_a_missing_source_names_it(self, origin):
        async with opened(f"{origin.url}/nowhere?sig=hush") as client:
            with pytest.raises(NoSuchPath, match="/nowhere") as caught:
                await client.list()
        assert "hush" not in str(caught.value)

    async def test_sends_the_query_of_the_source_with_every_request(self, file):
        async with opened(f"{file.url}/?sig=a%2Fb") as client:
            [item] = await client.list()
            assert item.path == "a.bin"
            assert await read(client, item) == DATA

    @pytest.mark.parametrize(("status", "error"), [(403, OriginRefused), (503, OriginUnavailable)])
    async def test_tells_why_it_failed(self, origin, status, error):
        origin.fault("status", status=status)
        async with opened(origin.url) as client:
            with pytest.raises(error, match=str(status)):
                await client.list()

    async def test_survives_a_hiccup(self, file):
        file.fault("status", times=2, status=503)
        async with opened(file.url) as client:
            assert len(await client.list()) == 1

    async def test_refuses_files_without_any_version(self, file):
        file.fault("anonymous")
        async with opened(file.url) as client:
            with pytest.raises(ConfigError, match="neither ETag nor Last-Modified"):
                await client.list()


class TestReading:
    @pytest.mark.parametrize(
        ("start", "stop"), [(0, 300_000), (0, 1), (299_999, 300_000), (1000, 200_000)]
    )
    async def test_yields_exactly_the_range(self, file, found, start, stop):
        async with opened(file.url) as client:
            assert await read(client, found, start, stop) == DATA[start:stop]

    async def test_names_the_version_and_wants_no_encoding(self, file, found):
        async with opened(file.url) as client:
            await read(client, found, 5, 10)
        [head] = file.heads()
        assert head["Range"] == "bytes=5-9"
        assert head["If-Match"] == f'"{found.version}"'
        assert head["Accept-Encoding"] == "identity"

    async def test_many_at_once_share_the_connections(self, file, found):
        async with opened(file.url) as client:
            spans = [(n * 1000, n * 1000 + 5000) for n in range(200)]
            results = await asyncio.gather(*(read(client, found, *span) for span in spans))
        assert results == [DATA[start:stop] for start, stop in spans]

    async def test_connects_from_the_address_given(self, file, found):
        async with opened(file.url, address="127.0.0.77") as client:
            await read(client, found, 0, 1000)
        assert file.sent()["127.0.0.77"] == {"requests": 1, "bytes": 1000}

    async def test_uses_the_endpoint_of_the_network_class(self, file, found):
        host = file.url.removeprefix("http://")
        mount = {"endpoints": Endpoints(basic=host), "options": {"endpoint": "127.0.0.1:1"}}
        async with opened("http://nowhere.invalid", network_class="Basic", **mount) as client:
            assert await read(client, found, 0, 10) == DATA[:10]

    @pytest.mark.parametrize(
        ("secret", "header"),
        [
            ({"token": "t0p\n"}, "Bearer t0p"),
            ({"username": "me", "password": "hush"}, "Basic bWU6aHVzaA=="),
        ],
    )
    async def test_sends_the_secret_as_authorization(self, file, found, secret, header):
        async with opened(file.url, secret=secret) as client:
            await read(client, found, 0, 1)
        assert file.heads()[0]["Authorization"] == header

    async def test_takes_a_login_from_the_source_and_never_shows_it(self, file, found):
        async with opened(file.url.replace("//", "//me:hush@")) as client:
            await read(client, found, 0, 1)
            assert file.heads()[0]["Authorization"] == "Basic bWU6aHVzaA=="
            file.fault("status", status=403)
            with pytest.raises(OriginRefused) as caught:
                await read(client, found, 0, 1)
        assert "hush" not in str(caught.value)

    async def test_works_with_weak_etags_and_with_dates(self, file):
        for age, kind in ((5000, "weak"), (9000, "dated")):
            file.fault(kind)
            async with opened(file.url) as client:
                [item] = await client.list()
                assert '"' in item.version
                assert await read(client, item, 3, 1000) == DATA[3:1000]
            os.utime(file.root / "a.bin", (time.time() - age, time.time() - age))
            async with opened(file.url) as client:
                with pytest.raises(StaleVersion):
                    await read(client, item, 3, 1000)


class TestLies:
    @pytest.mark.parametrize(
        "kind",
        [
            "shifted",
            "total",
            "no-range",
            "whole",
            "encoded",
            "announced-short",
            "chunked-short",
            "chunked-long",
        ],
    )
    async def test_never_pass_for_the_range(self, file, found, kind):
        file.fault(kind)
        async with opened(file.url) as client:
            with pytest.raises((OriginLied, StaleVersion)) as caught:
                await read(client, found, 1000, 200_000)
        assert "a.bin" in str(caught.value)

    async def test_without_any_version_in_the_answer_are_no_answer(self, file, found):
        file.fault("anonymous")
        async with opened(file.url) as client:
            with pytest.raises((OriginLied, StaleVersion)):
                await read(client, found)

    async def test_a_changed_etag_is_a_stale_version(self, file, found):
        file.fault("etag")
        async with opened(file.url) as client:
            with pytest.raises(StaleVersion):
                await read(client, found)

    async def test_a_changed_file_is_a_stale_version(self, file, found):
        (file.root / "a.bin").write_bytes(DATA[::-1])
        async with opened(file.url) as client:
            with pytest.raises(StaleVersion, match="412"):
                await read(client, found)

    async def test_a_removed_file_is_a_stale_version(self, file, found):
        (file.root / "a.bin").unlink()
        async with opened(file.url) as client:
            with pytest.raises(StaleVersion, match="404"):
                await read(client, found)

    async def test_a_file_that_changes_between_two_tries_is_never_mixed(self, file, found):
        file.fault("change", times=1)
        async with opened(file.url) as client:
            with pytest.raises(StaleVersion):
                await read(client, found)


class TestInterruptions:
    async def test_are_resumed_from_the_last_good_byte(self, file, found):
        file.fault("cut", times=2)
        async with opened(file.url) as client:
            assert await read(client, found) == DATA
        ranges = [head["Range"] for head in file.heads()]
        assert ranges == ["bytes=0-299999", "bytes=150000-299999", "bytes=225000-299999"]

    async def test_end_after_three_tries(self, file, found):
        file.fault("cut")
        async with opened(file.url) as client:
            with pytest.raises(OriginLied, match="ends before it is complete"):
                await read(client, found)
        assert len(file.heads()) == 3

    async def test_by_server_errors_are_tried_again(self, file, found):
        file.fault("status", times=2, status=500)
        async with opened(file.url) as client:
            assert await read(client, found) == DATA

    async def test_by_lost_connections_are_tried_again(self, file, found):
        file.fault("refuse", times=2)
        async with opened(file.url) as client:
            assert await read(client, found) == DATA

    @pytest.mark.parametrize(
        ("status", "error", "requests"),
        [
            (401, OriginRefused, 1),
            (403, OriginRefused, 1),
            (400, OriginUnavailable, 1),
            (503, OriginUnavailable, 3),
        ],
    )
    async def test_by_a_status_end_as_it_means(self, file, found, status, error, requests):
        file.fault("status", status=status)
        async with opened(file.url) as client:
            with pytest.raises(error, match=str(status)):
                await read(client, found)
        assert len(file.heads()) == requests

    async def test_nobody_listening_fails_fast(self):
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        async with opened(f"http://127.0.0.1:{port}/x?sig=hush") as client:
            with pytest.raises(OriginUnavailable, match="cannot be reached") as caught:
                await read(client, Found("a", 5, "v"))
        assert "hush" not in str(caught.value)


class TestSlowness:
    @pytest.mark.parametrize("kind", ["stall", "pause"])
    async def test_an_origin_that_stalls_is_given_up(self, file, found, kind):
        file.fault(kind, seconds=5)
        async with opened(file.url) as client:
            with pytest.raises(OriginUnavailable, match="in time"):
                await read(client, found)

    async def test_a_drip_is_given_up(self, file, found):
        file.fault("drip", seconds=0.05)
        async with opened(file.url) as client:
            with pytest.raises(OriginUnavailable, match=r"sent \d+ bytes in"):
                await read(client, found)

    async def test_a_reader_that_takes_its_time_is_not_the_origins_fault(self, origin):
        data = random.Random(8).randbytes(8 << 20)
        (origin.root / "big").write_bytes(data)
        async with opened(origin.url) as client:
            [item] = await client.list()
            got = []
            iterator = client.read(
                "big", size=item.size, version=item.version, start=0, stop=item.size
            )
            async with contextlib.aclosing(iterator) as answer:
                async for block in answer:
                    if len(got) < 3:
                        await asyncio.sleep(0.7)
                    got.append(block)
        assert b"".join(got) == data

    async def test_a_read_that_is_left_early_frees_its_connection(self, file, found):
        async with opened(file.url, timeouts=Timeouts(connections=1)) as client:
            iterator = client.read(
                found.path, size=found.size, version=found.version, start=0, stop=found.size
            )
            async with contextlib.aclosing(iterator) as answer:
                await anext(answer)
            async with asyncio.timeout(5):
                assert await read(client, found, 0, 10) == DATA[:10]


@pytest.mark.parametrize(
    ("mount", "secret", "sentence"),
    [
        ({"options": {"colour": "red"}}, {}, "option 'colour'"),
        ({}, {"passphrase": "hush"}, "key 'passphrase'"),
        ({}, {"token": "hush\nhush"}, "token"),
        ({"include": ("[z-a]",)}, {}, "glob"),
    ],
)
async def test_what_cannot_be_used_is_refused_by_name(mount, secret, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        open_origin(MountPlan("train", "http://h/", **mount), "Cloud", secret)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "target", "may"),
    [
        ("127.0.0.77", "127.0.0.1", True),
        ("127.0.0.77", "192.0.2.1", False),
        ("10.0.0.7", "192.0.2.1", True),
        ("10.0.0.7", "127.0.0.1", True),
        ("10.0.0.7", "2001:db8::1", False),
        ("fd00::7", "fe80::1%eth0", True),
    ],
)
def test_a_connection_leaves_from_an_address_that_has_a_way(source, target, may):
    assert may_leave(source, target) is may
