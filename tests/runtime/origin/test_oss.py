"""The OSS driver against a server that speaks OSS, and checks every signature."""

import asyncio
import contextlib
import hashlib
import logging
import random

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
from tests.support.oss_server import REGION, Key, OssServer, Refused, serve

DATA = random.Random(9).randbytes(200_000)
QUICK = Timeouts(backoff_seconds=0.01, stall_seconds=1)
SECRET = {"key": "me", "secret": "hush", "token": "temporary"}


class Bucket(OssServer):
    """The bucket of these tests, with faults to switch on.

    ``status`` answers everything, ``elsewhere`` sends all to another address, ``failures`` so many
    fail, ``shift`` lies of ranges. ``stall`` lets
    the next ``stalls`` answers wait for ever: before their "head" or their "body".
    """

    def __init__(self, root):
        super().__init__(root, {"me": Key("hush", token="temporary")})
        self.status = None
        self.elsewhere = ""
        self.failures = 0
        self.shift = 0
        self.stall = ""
        self.stalls = 1 << 30
        self.stalled = asyncio.Semaphore(0)
        self.folder = root / "bucket"
        self.folder.mkdir()

    def put(self, key, data):
        place = self.folder / key
        if key.endswith("/"):
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    async def answer(self, request):
        if self.failures:
            self.failures -= 1
            return self.error(Refused(503, "ServiceUnavailable"))
        if self.stall and self.stalls:
            self.stalls -= 1
            self.heads.append({**request.headers})
            if self.stall == "body":
                await web.StreamResponse(status=403).prepare(request)
            self.stalled.release()
            await asyncio.Event().wait()
        if self.status:
            return self.error(Refused(*self.status))
        if self.elsewhere:
            return web.Response(status=302, headers={"Location": self.elsewhere + request.path})
        return await super().answer(request)

    def span(self, first, last):
        return first + self.shift, last + self.shift


@pytest.fixture
async def bucket(tmp_path):
    bucket = Bucket(tmp_path)
    runner, [endpoint] = await serve(bucket, ["127.0.0.1"])
    bucket.endpoint = f"http://{endpoint}"
    yield bucket
    await runner.cleanup()


@contextlib.asynccontextmanager
async def opened(bucket, *, secret=SECRET, timeouts=QUICK, **mount):
    mount = {"endpoints": Endpoints(cloud=bucket.endpoint), **mount}
    plan = MountPlan("train", "oss://bucket/imagenet/train/", **mount)
    origin = open_origin(plan, "Cloud", secret, timeouts=timeouts, source_address="127.0.0.1")
    try:
        yield origin
    finally:
        await origin.close()


async def read(origin, found, start=0, stop=None):
    stop = found.size if stop is None else stop
    blocks = origin.read(found.path, size=found.size, version=found.version, start=start, stop=stop)
    return b"".join([block async for block in blocks])


async def test_lists_what_lies_below_the_prefix_page_by_page(bucket):
    bucket.page = 2
    for name in ("a.jpg", "d/b.jpg", "d/c & e.txt", "folder/"):
        bucket.put(f"imagenet/train/{name}", name.encode())
    bucket.put("imagenet/train-extra/x.jpg", b"no")
    bucket.put("imagenet/train/z.multipart", b"big")
    async with opened(bucket) as origin:
        listed = await origin.list()
    assert [item.path for item in listed] == ["a.jpg", "d/b.jpg", "d/c & e.txt", "z.multipart"]
    assert listed[0].version == hashlib.md5(b"a.jpg").hexdigest().upper()
    assert listed[0].digest == f"md5:{hashlib.md5(b'a.jpg').hexdigest()}"
    assert listed[3].digest == ""
    assert len(bucket.heads) == 3


@pytest.mark.parametrize(
    ("answer", "sentence", "asked"),
    [
        ("<NextMarker>imagenet/train/a</NextMarker>", "not from where", 2),
        ("<NextMarker></NextMarker>", "not from where", 1),
        ("<NextMarker>{asked}</NextMarker>", "not from where", 2),
        ("", "not that of an OSS bucket", 1),
        ("<br>Please log in", "not that of an OSS bucket", 1),
    ],
)
async def test_a_listing_without_an_end_or_sense_is_given_up(
    bucket, monkeypatch, answer, sentence, asked
):
    text = f"<ListBucketResult><IsTruncated>true</IsTruncated>{answer}</ListBucketResult>"

    def listing(_):
        mark = "ab"[len(bucket.heads) % 2]
        return web.Response(text=text.replace("{asked}", mark))

    monkeypatch.setattr(bucket, "listing", listing)
    async with opened(bucket) as origin:
        with pytest.raises(OriginLied, match=sentence):
            await origin.list()
    assert len(bucket.heads) == asked


async def test_tells_no_digests_where_etags_are_none(bucket):
    bucket.put("imagenet/train/a.jpg", b"x")
    options = {"etagDigest": "none"}
    async with opened(bucket, options=options) as origin:
        assert [item.digest for item in await origin.list()] == [""]


async def test_reads_ranges_of_the_version_signed(bucket):
    bucket.put("imagenet/train/d/ü 1.bin", DATA)
    async with opened(bucket) as origin:
        [item] = await origin.list()
        assert await read(origin, item) == DATA
        assert await read(origin, item, 17, 100_000) == DATA[17:100_000]
    head = bucket.heads[-1]
    assert head["path"] == "/bucket/imagenet/train/d/ü 1.bin"
    assert head["Range"] == "bytes=17-99999"
    assert head["Authorization"].startswith("OSS me:")
    assert head["x-oss-security-token"] == "temporary"
    assert "hush" not in str(bucket.heads)


async def test_logs_nothing_secret(bucket, caplog):
    caplog.set_level(logging.DEBUG)
    bucket.put("imagenet/train/a.bin", DATA)
    async with opened(bucket) as origin:
        [item] = await origin.list()
        await read(origin, item, 0, 5)
    assert "hush" not in caplog.text
    assert "temporary" not in caplog.text


async def test_reads_anonymously_without_a_secret(bucket):
    bucket.public = True
    bucket.put("imagenet/train/a.bin", DATA)
    async with opened(bucket, secret={}) as origin:
        [item] = await origin.list()
        assert await read(origin, item, 0, 5) == DATA[:5]
    assert "Authorization" not in bucket.heads[-1]


async def test_an_object_that_was_replaced_or_removed_is_stale(bucket):
    bucket.put("imagenet/train/a.bin", DATA)
    async with opened(bucket) as origin:
        [item] = await origin.list()
        bucket.put("imagenet/train/a.bin", DATA[::-1])
        with pytest.raises(StaleVersion, match="412 PreconditionFailed"):
            await read(origin, item)
        (bucket.folder / "imagenet/train/a.bin").unlink()
        with pytest.raises(StaleVersion, match="404 NoSuchKey"):
            await read(origin, item)


async def test_a_temporary_token_is_shown_to_no_other_server(bucket, tmp_path_factory):
    bucket.put("imagenet/train/a.bin", DATA)
    other = OssServer(tmp_path_factory.mktemp("other"), {}, public=True)
    runner, [address] = await serve(other, ["127.0.0.1"])
    async with opened(bucket) as origin:
        [item] = await origin.list()
        bucket.elsewhere = f"http://{address}"
        with pytest.raises(OriginUnavailable, match="302"):
            await read(origin, item)
        with pytest.raises(OriginUnavailable, match="302"):
            await origin.list()
    await runner.cleanup()
    assert other.heads == []


async def test_another_range_is_a_lie(bucket):
    bucket.put("imagenet/train/a.bin", DATA)
    async with opened(bucket) as origin:
        [item] = await origin.list()
        bucket.shift = 1
        with pytest.raises(OriginLied, match=r"a\.bin"):
            await read(origin, item, 0, 100)


async def test_a_hiccup_is_survived(bucket):
    bucket.put("imagenet/train/a.bin", DATA)
    bucket.failures = 2
    async with opened(bucket) as origin:
        [item] = await origin.list()
        bucket.failures = 2
        assert await read(origin, item) == DATA


@pytest.mark.parametrize("token", ["", "temporary"])
@pytest.mark.parametrize(("version", "options"), [("1", {}), ("4", {"region": REGION})])
async def test_signs_by_both_versions_with_and_without_a_token(bucket, version, options, token):
    bucket.versions = {version}
    bucket.keys = {"me": Key("hush", token)}
    for name in ("a.bin", "ü +&%.bin"):
        bucket.put(f"imagenet/train/{name}", DATA)
    bucket.page = 1
    secret = {"key": "me\n", "secret": "hush\n"} | ({"token": token} if token else {})
    async with opened(bucket, secret=secret, options=options) as origin:
        listed = await origin.list()
        assert [item.path for item in listed] == ["a.bin", "ü +&%.bin"]
        for item in listed:
            assert await read(origin, item, 5, 70) == DATA[5:70]


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        ({"key": "you", "secret": "hush"}, "403 InvalidAccessKeyId; .*the Secret's key"),
        ({"key": "me", "secret": "hash", "token": "temporary"}, "403 SignatureDoesNotMatch; "),
        ({"key": "me", "secret": "hush", "token": "old"}, "403 InvalidSecurityToken; .*token"),
        ({}, "403 AccessDenied; the key may not"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"region": REGION}])
async def test_a_wrong_key_is_refused_and_the_sentence_says_what_to_mend(
    bucket, secret, sentence, options
):
    bucket.put("imagenet/train/a.bin", DATA)
    async with opened(bucket, options=options) as origin:
        [item] = await origin.list()
    async with opened(bucket, secret=secret, options=options) as origin:
        for work in (origin.list(), read(origin, item)):
            with pytest.raises(OriginRefused, match=f"'train'.*{sentence}") as caught:
                await work
            for value in secret.values():
                assert value not in str(caught.value).split()


async def test_a_code_that_is_no_plain_word_is_not_repeated(bucket):
    bucket.status = 403, "hush hush"
    async with opened(bucket) as origin:
        with pytest.raises(OriginRefused) as caught:
            await origin.list()
    assert "hush" not in str(caught.value)


async def test_an_endpoint_that_is_none_is_refused_when_it_is_opened(bucket):
    with pytest.raises(ConfigError, match=r"the endpoint 'a b'.*host:port"):
        async with opened(bucket, endpoints=Endpoints(cloud="a b")):
            pass


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ((403, "AccessDenied"), OriginRefused),
        ((503, "ServiceUnavailable"), OriginUnavailable),
        ((404, "NoSuchBucket"), NoSuchPath),
    ],
)
async def test_a_listing_that_fails_tells_why_without_the_secret(bucket, status, error):
    bucket.status = status
    async with opened(bucket) as origin:
        with pytest.raises(error, match="oss://bucket/imagenet/train") as caught:
            await origin.list()
    assert "hush" not in str(caught.value)


async def test_nobody_listening_is_unavailable(bucket):
    async with opened(bucket, endpoints=Endpoints(cloud="127.0.0.1:1")) as origin:
        with pytest.raises(OriginUnavailable):
            await origin.list()


@pytest.mark.parametrize("stall", ["head", "body"])
async def test_an_origin_that_stalls_once_is_asked_again(bucket, stall):
    bucket.put("imagenet/train/a.bin", DATA)
    async with opened(bucket, timeouts=Timeouts(stall_seconds=0.5)) as origin:
        [item] = await origin.list()
        bucket.stall, bucket.stalls = stall, 1
        assert await read(origin, item) == DATA
        bucket.stalls = 1
        assert await origin.list() == [item]


@pytest.mark.parametrize("stall", ["head", "body"])
async def test_an_origin_that_stalls_is_given_up(bucket, stall):
    bucket.put("imagenet/train/a.bin", DATA)
    async with opened(bucket, timeouts=Timeouts(stall_seconds=0.3)) as origin:
        [item] = await origin.list()
        bucket.stall = stall
        async with asyncio.timeout(15):
            with pytest.raises(OriginUnavailable, match="in time"):
                await origin.list()
            with pytest.raises(OriginUnavailable, match="in time"):
                await read(origin, item)


async def test_slow_readers_and_the_wait_for_a_connection_are_not_the_origins_fault(bucket):
    data = random.Random(5).randbytes(1 << 20)
    bucket.put("imagenet/train/a.bin", data)
    timeouts = Timeouts(stall_seconds=0.2, connections=2, tries=1)
    async with opened(bucket, timeouts=timeouts) as origin:
        [item] = await origin.list()

        async def slowly():
            got = []
            blocks = origin.read(
                "a.bin", size=item.size, version=item.version, start=0, stop=item.size
            )
            async with contextlib.aclosing(blocks) as answer:
                async for block in answer:
                    await asyncio.sleep(0 if got else 0.3)
                    got.append(block)
            return b"".join(got)

        assert await asyncio.gather(*(slowly() for _ in range(6))) == [data] * 6


@pytest.mark.parametrize("stall", ["head", "body"])
async def test_a_closed_origin_ends_what_is_under_way_and_asks_nothing_more(bucket, stall):
    bucket.put("imagenet/train/a.bin", DATA)
    async with opened(bucket, timeouts=Timeouts(backoff_seconds=0.01)) as origin:
        [item] = await origin.list()
        bucket.stall = stall
        tasks = [asyncio.create_task(work) for work in (origin.list(), read(origin, item))]
        async with asyncio.timeout(5):
            await bucket.stalled.acquire()
            await bucket.stalled.acquire()
    async with asyncio.timeout(5):
        for work in (*tasks, origin.list(), read(origin, item)):
            with pytest.raises(OriginUnavailable, match="this origin was closed"):
                await work
    assert len(bucket.heads) == 3


@pytest.mark.parametrize("source", ["oss://me:hush@bucket/x", "oss:///x"])
def test_a_source_with_keys_or_without_a_bucket_is_refused(source):
    plan = MountPlan("train", source, options={"endpoint": "http://127.0.0.1:1"})
    with pytest.raises(ConfigError, match=r"put them into a Secret|without a bucket") as caught:
        open_origin(plan, "Cloud", {})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("mount", "secret", "sentence"),
    [
        ({"endpoints": Endpoints(basic="x")}, {}, "no endpoint for Cloud"),
        ({"options": {"colour": "red"}}, {}, "option 'colour'"),
        ({}, {"passphrase": "hush"}, "key 'passphrase'"),
        ({}, {"secret": "hush"}, "only one of key and secret"),
    ],
)
async def test_what_cannot_be_used_is_refused_by_name(bucket, mount, secret, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        async with opened(bucket, secret=secret, **mount):
            pass
    assert "hush" not in str(caught.value)
