"""The S3 driver against moto's server, which checks signatures."""

import asyncio
import contextlib
import hashlib
import logging
import random
import subprocess
import sys

import pytest
from aiohttp import web

from runtime.contract.plan import Endpoints, MountPlan
from runtime.errors import (
    ConfigError,
    NoSuchPath,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    StaleVersion,
)
from runtime.origin.base import Timeouts, open_origin
from tests.support.s3_server import LISTINGS, PAGE, running_s3

DATA = random.Random(9).randbytes(2_500_000)
QUICK = Timeouts(backoff_seconds=0.01)


@pytest.fixture(scope="module")
def s3():
    with running_s3("bucket") as s3:
        yield s3


@pytest.fixture
def prefix(s3, request):
    """A prefix of its own for each test."""
    name = hashlib.md5(request.node.name.encode()).hexdigest()
    s3.put(f"{name}/a.bin", DATA)
    return name


@contextlib.asynccontextmanager
async def opened(s3, prefix, *, secret=None, timeouts=QUICK, network_class="Cloud", **mount):
    mount = {"endpoints": Endpoints(cloud=s3.url), **mount}
    plan = MountPlan("train", f"s3://bucket/{prefix}", **mount)
    login = {"key": s3.key, "secret": s3.secret} if secret is None else secret
    origin = open_origin(plan, network_class, login, timeouts=timeouts, source_address="127.0.0.1")
    try:
        yield origin
    finally:
        await origin.close()


async def read(origin, found, start=0, stop=None):
    stop = found.size if stop is None else stop
    blocks = origin.read(found.path, size=found.size, version=found.version, start=start, stop=stop)
    return b"".join([block async for block in blocks])


async def test_lists_what_lies_below_the_prefix_and_reads_its_ranges(s3, prefix):
    s3.put(f"{prefix}/d/ü +&1.txt", b"text")
    s3.put(f"{prefix}/folder/", b"")
    s3.put(f"{prefix}-extra/x.txt", b"no")
    async with opened(s3, prefix, include=("**/*.bin", "**/*.txt")) as origin:
        listed = await origin.list()
        assert [(item.path, item.size) for item in listed] == [
            ("a.bin", len(DATA)),
            ("d/ü +&1.txt", 4),
        ]
        assert listed[0].version == hashlib.md5(DATA).hexdigest()
        assert listed[0].digest == ""
        assert await read(origin, listed[0]) == DATA
        assert await read(origin, listed[0], 17, 1_100_000) == DATA[17:1_100_000]
        assert await read(origin, listed[1]) == b"text"


async def test_listings_have_pages(s3, prefix):
    for number in range(2 * PAGE):
        s3.put(f"{prefix}/many/{number}", b"")
    s3.counts()
    async with opened(s3, prefix) as origin:
        assert len(await origin.list()) == 2 * PAGE + 1
    assert s3.counts()[LISTINGS] == 3


async def test_tells_digests_where_etags_are_some(s3, prefix):
    async with opened(s3, prefix, options={"etagDigest": "md5"}) as origin:
        [item] = await origin.list()
    assert item.digest == f"md5:{hashlib.md5(DATA).hexdigest()}"


async def test_many_reads_at_once_are_each_right(s3, prefix):
    spans = [(number * 1000, number * 1000 + 5000) for number in range(60)]
    async with opened(s3, prefix, timeouts=Timeouts(connections=4)) as origin:
        [item] = await origin.list()
        results = await asyncio.gather(*(read(origin, item, *span) for span in spans))
    assert results == [DATA[start:stop] for start, stop in spans]


async def test_an_object_that_was_replaced_is_stale(s3, prefix):
    async with opened(s3, prefix) as origin:
        [item] = await origin.list()
        s3.put(f"{prefix}/a.bin", DATA[::-1])
        with pytest.raises(StaleVersion, match=r"'a\.bin' of the mount 'train'.*412"):
            await read(origin, item, 5, 10)


async def test_the_endpoint_is_that_of_the_network_class(s3, prefix):
    endpoints = Endpoints(cloud="127.0.0.1:1", basic=s3.other_url)
    s3.reads()
    async with opened(s3, prefix, network_class="Basic", endpoints=endpoints) as origin:
        [item] = await origin.list()
        assert await read(origin, item, 0, 5) == DATA[:5]
    assert s3.reads() == {s3.other_url: 1}


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        ({"key": "AKIAIOSFODNN7EXAMPLE", "secret": "hush"}, "403 InvalidAccessKeyId; .*key"),
        ({"secret": "hush"}, "403 SignatureDoesNotMatch; .*correct them"),
        (None, "403 AccessDenied; the key may not"),
    ],
)
async def test_a_wrong_key_is_refused_and_the_sentence_says_what_to_mend(
    s3, prefix, secret, sentence
):
    async with opened(s3, prefix) as origin:
        [item] = await origin.list()
    login = {} if secret is None else {"key": s3.key} | secret
    async with opened(s3, prefix, secret=login) as origin:
        for work in (origin.list(), read(origin, item)):
            with pytest.raises(OriginRefused, match=sentence) as caught:
                await work
            assert "hush" not in str(caught.value)


async def test_a_public_bucket_is_read_without_a_secret():
    with running_s3("bucket", anyone=True) as s3:
        s3.put("x/a.bin", DATA)
        async with opened(s3, "x", secret={}) as origin:
            [item] = await origin.list()
            assert await read(origin, item) == DATA


async def test_a_missing_bucket_is_named(s3):
    plan = MountPlan("train", "s3://nowhere/x", endpoints=Endpoints(cloud=s3.url))
    origin = open_origin(plan, "Cloud", {"key": s3.key, "secret": s3.secret})
    with pytest.raises(NoSuchPath, match=r"s3://nowhere/x.*404 NoSuchBucket"):
        await origin.list()
    await origin.close()


async def test_nobody_listening_is_unavailable_and_names_the_address(s3):
    async with opened(s3, "x", endpoints=Endpoints(cloud="http://127.0.0.1:1")) as origin:
        with pytest.raises(OriginUnavailable, match=r"cannot be reached.*127\.0\.0\.1:1"):
            await origin.list()


async def test_a_silent_store_is_given_up_and_a_closed_origin_asks_nothing(s3, prefix):
    waits, ended = asyncio.Event(), asyncio.Semaphore(0)
    asked = 0

    async def silent(reader, writer):
        nonlocal asked
        asked += 1
        await waits.wait()
        writer.close()
        await writer.wait_closed()
        ended.release()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoints = Endpoints(cloud=f"http://127.0.0.1:{port}")
    patience = Timeouts(stall_seconds=0.3, backoff_seconds=0.01)
    async with opened(s3, prefix, endpoints=endpoints, timeouts=patience) as origin:
        with pytest.raises(OriginUnavailable, match="in time"):
            await origin.list()
        assert asked == 2
    with pytest.raises(OriginUnavailable, match="this origin was closed"):
        await origin.list()
    assert asked == 2
    waits.set()
    for _ in range(2):
        await ended.acquire()
    server.close()


@pytest.mark.parametrize("mark", ["", "<NextContinuationToken>x</NextContinuationToken>"])
async def test_a_listing_without_an_end_is_given_up(s3, mark):
    asked = 0

    async def answer(_):
        nonlocal asked
        asked += 1
        return web.Response(
            text=f"<ListBucketResult><IsTruncated>true</IsTruncated>{mark}</ListBucketResult>"
        )

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoints = Endpoints(cloud=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with opened(s3, "x", endpoints=endpoints) as origin:
        with pytest.raises(OriginLied, match="not from where"):
            await origin.list()
    await runner.cleanup()
    assert asked == (2 if mark else 1)


async def test_logs_nothing_secret(s3, prefix, caplog):
    caplog.set_level(logging.DEBUG)
    async with opened(s3, prefix) as origin:
        [item] = await origin.list()
        await read(origin, item, 0, 5)
    assert s3.secret not in caplog.text
    assert "Signature=" not in caplog.text


@pytest.mark.parametrize("source", ["s3://me:hush@bucket/x", "s3:///x"])
def test_a_source_with_keys_or_without_a_bucket_is_refused(source):
    plan = MountPlan("train", source, options={"endpoint": "http://127.0.0.1:1"})
    with pytest.raises(ConfigError, match=r"put them into a Secret|without a bucket") as caught:
        open_origin(plan, "Cloud", {})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("mount", "secret", "sentence"),
    [
        ({"options": {"colour": "red"}}, {}, "option 'colour'"),
        ({"options": {"addressing": "odd"}}, {}, "path, virtual or auto"),
        ({"endpoints": Endpoints(cloud="ftp://x")}, {}, "endpoint 'ftp://x'.*host:port"),
        ({}, {"passphrase": "hush"}, "key 'passphrase'"),
        ({}, {"secret": "hush"}, "only one of key and secret"),
    ],
)
async def test_what_cannot_be_used_is_refused_by_name(s3, mount, secret, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        async with opened(s3, "x", secret=secret, **mount):
            pass
    assert "hush" not in str(caught.value)


def test_a_missing_library_is_named():
    code = """
import sys
sys.modules["s3fs"] = None
from runtime.contract.plan import MountPlan
from runtime.origin.base import open_origin
open_origin(MountPlan("train", "s3://b/p"), "Cloud", {})
"""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1].endswith(
        "ConfigError: the mount 'train' (s3://b/p) needs the package s3fs, which this agent's "
        "Python lacks (s3fs); install s3fs there"
    )
