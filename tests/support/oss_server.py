"""A server that speaks as much of OSS as listing and reading need, and checks who asks.

Every folder below ``root`` is a bucket, every file an object put at once, and an empty folder the
object ``folder/`` that consoles make. Requests are signed with version 1 or 4, by a fixed key or by
a temporary one with its token; a signature is worked out here from the request as it came, by the
published rules and not with the client's library. Buckets are addressed by path.

As a process it listens on several addresses, as the public and the internal endpoint of one store::

    with running_oss(root, keys={"id": Key("secret")}) as oss:
        oss.endpoints, oss.counts()
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from aiohttp import web

REPOSITORY = Path(__file__).parents[2]
COUNTS = "/_counts"
KEYS = "/_keys"
REGION = "cn-hangzhou"
SKEW = timedelta(minutes=15)
PAGE = 100
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_V1 = re.compile(r"OSS ([^:]+):(\S+)")
_V4 = re.compile(
    r"OSS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/oss/aliyun_v4_request, ?"
    r"(?:AdditionalHeaders=([^,]*), ?)?Signature=([0-9a-f]{64})"
)
_SUBRESOURCES = {"acl", "location", "versionId", "continuation-token", "security-token"}


@dataclass(frozen=True, slots=True)
class Key:
    """What an access key is good for; a temporary one is with its token only."""

    secret: str
    token: str = ""


class Refused(Exception):
    """An answer that is an error, as OSS words it."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class OssServer:
    """Buckets in a folder. ``counts`` tells requests and bytes by the endpoint they came to."""

    def __init__(self, root: Path, keys: Mapping[str, Key], *, public: bool = False) -> None:
        self.root = root
        self.keys = dict(keys)
        self.public = public
        self.versions = {"1", "4"}
        self.page = PAGE
        self.heads: list[dict[str, str]] = []
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._etags: dict[tuple[int, int, int], str] = {}

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get(COUNTS, self._tell)
        app.router.add_post(KEYS, self._set_keys)
        app.router.add_get("/{bucket}/{key:.*}", self.answer)
        return app

    async def _tell(self, _: web.Request) -> web.Response:
        counts, self.counts = self.counts, defaultdict(Counter)
        return web.json_response(counts)

    async def _set_keys(self, request: web.Request) -> web.Response:
        self.keys = {name: Key(**key) for name, key in (await request.json()).items()}
        return web.Response()

    # -- answers ----------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host, port = request.transport.get_extra_info("sockname")[:2]
        count = self.counts[f"{host}:{port}"]
        self.heads.append({**request.headers, "path": request.path})
        key = request.match_info["key"]
        count["reads" if key and request.method == "GET" else "others"] += 1
        try:
            self._authorize(request)
            response = self.object(request, key) if key else self.listing(request)
        except Refused as error:
            count[error.code] += 1
            return self.error(error)
        if key and isinstance(response.body, bytes):
            count["bytes"] += len(response.body)
        return response

    @staticmethod
    def error(error: Refused) -> web.Response:
        """Answer as OSS does; some of its errors repeat what was to be signed."""
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Error>'
            f"<Code>{error.code}</Code><Message>{escape(error.message or error.code)}</Message>"
            "<RequestId>5C3D9175B6FC201293AD4890</RequestId></Error>"
        )
        return web.Response(status=error.status, text=text, content_type="application/xml")

    def kind(self, key: str) -> str:
        """Return an object's type; those of another than Normal have no md5 for an etag."""
        return "Multipart" if key.endswith(".multipart") else "Normal"

    def etag(self, key: str, place: Path) -> str:
        status = place.stat()
        mark = (status.st_ino, status.st_mtime_ns, status.st_size)
        if mark not in self._etags:
            self._etags[mark] = hashlib.md5(place.read_bytes()).hexdigest().upper()
        return self._etags[mark] + ("-2" if self.kind(key) == "Multipart" else "")

    def listing(self, request: web.Request) -> web.Response:
        bucket = self._bucket(request)
        asked = request.query
        second = asked.get("list-type") == "2"
        after = asked.get("continuation-token" if second else "marker", "")
        most = min(self.page, int(asked.get("max-keys", "100")))
        keys = sorted(
            key
            for place in bucket.rglob("*")
            if (key := _key_of(place, bucket))
            and key.startswith(asked.get("prefix", ""))
            and key > after
        )
        more, keys = len(keys) > most, keys[:most]
        coded = asked.get("encoding-type") == "url"
        shown = (lambda key: quote(key, safe="")) if coded else escape
        items = "".join(self._item(bucket, key, shown(key)) for key in keys)
        name = "NextContinuationToken" if second else "NextMarker"
        following = f"<{name}>{shown(keys[-1])}</{name}>" if more else ""
        coding = "<EncodingType>url</EncodingType>" if coded else ""
        return web.Response(
            text='<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>'
            f"<Name>{bucket.name}</Name>{coding}<MaxKeys>{most}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{items}</ListBucketResult>",
            content_type="application/xml",
        )

    def _item(self, bucket: Path, key: str, shown: str) -> str:
        place = bucket / key
        etag = self.etag(key, place) if place.is_file() else hashlib.md5().hexdigest().upper()
        size = place.stat().st_size if place.is_file() else 0
        changed = datetime.fromtimestamp(int(place.stat().st_mtime), UTC)
        return (
            f"<Contents><Key>{shown}</Key><LastModified>{changed:%Y-%m-%dT%H:%M:%S}.000Z"
            f'</LastModified><ETag>"{etag}"</ETag><Type>{self.kind(key)}</Type><Size>{size}</Size>'
            "<StorageClass>Standard</StorageClass></Contents>"
        )

    def object(self, request: web.Request, key: str) -> web.Response:
        place = self._bucket(request) / key
        if not place.is_file():
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        data, etag = place.read_bytes(), f'"{self.etag(key, place)}"'
        changed = formatdate(place.stat().st_mtime, usegmt=True)
        if request.headers.get("If-Match", etag) not in {etag, "*"}:
            raise Refused(412, "PreconditionFailed")
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        headers = {
            "ETag": etag,
            "Last-Modified": changed,
            "Accept-Ranges": "bytes",
            "x-oss-object-type": self.kind(key),
        }
        match = _RANGE.fullmatch(request.headers.get("Range", ""))
        if match is None:
            return web.Response(body=data, headers=headers)
        first = int(match[1])
        last = min(int(match[2] or len(data)), len(data) - 1)
        if first > last:
            raise Refused(416, "InvalidRange")
        first, last = self.span(first, last)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return web.Response(status=206, body=data[first : last + 1], headers=headers)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the range to answer with; a server that lies gives another."""
        return first, last

    def _bucket(self, request: web.Request) -> Path:
        place = self.root / request.match_info["bucket"]
        if not place.is_dir():
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
        return place

    # -- who asks ---------------------------------------------------------------------------

    def _authorize(self, request: web.Request) -> None:
        told = request.headers.get("Authorization", "")
        if not told:
            if self.public:
                return
            raise Refused(403, "AccessDenied", "Anonymous access is forbidden for this operation.")
        first, fourth = _V1.fullmatch(told), _V4.fullmatch(told)
        name = first[1] if first else fourth[1] if fourth else ""
        if ("1" if first else "4") not in self.versions:
            raise Refused(400, "InvalidArgument", "This signature version is not supported.")
        key = self.keys.get(name)
        if key is None:
            raise Refused(
                403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist."
            )
        if request.headers.get("x-oss-security-token", "") != key.token:
            raise Refused(403, "InvalidSecurityToken", "The security token is not valid.")
        if fourth and fourth[3] != REGION:
            raise Refused(400, "InvalidArgument", "The region of the credential is wrong.")
        self._check_date(request)
        wanted = signature_1(request, key) if first else signature_4(request, key, fourth)
        if not hmac.compare_digest(wanted, first[2] if first else fourth[5]):
            raise Refused(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
            )

    @staticmethod
    def _check_date(request: web.Request) -> None:
        stamp = request.headers.get("x-oss-date")
        told = (
            datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if stamp
            else parsedate_to_datetime(request.headers["Date"])
        )
        if abs(datetime.now(UTC) - told) > SKEW:
            raise Refused(403, "RequestTimeTooSkewed")


def _key_of(place: Path, bucket: Path) -> str:
    key = place.relative_to(bucket).as_posix()
    if place.is_dir():
        return "" if any(place.iterdir()) else f"{key}/"
    return key


def signature_1(request: web.Request, key: Key) -> str:
    """Return what version 1 signs this request with."""
    headers = request.headers
    ours = sorted((k.lower(), v) for k, v in headers.items() if k.lower().startswith("x-oss-"))
    chosen = sorted((k, v) for k, v in request.query.items() if k in _SUBRESOURCES)
    resource = f"/{request.match_info['bucket']}/{request.match_info['key']}"
    if chosen:
        resource += "?" + "&".join(f"{k}={v}" if v else k for k, v in chosen)
    lines = [
        request.method,
        headers.get("Content-MD5", ""),
        headers.get("Content-Type", ""),
        headers.get("Date", ""),
        "".join(f"{k}:{v}\n" for k, v in ours) + resource,
    ]
    digest = hmac.new(key.secret.encode(), "\n".join(lines).encode(), hashlib.sha1).digest()
    return b64encode(digest).decode()


def signature_4(request: web.Request, key: Key, told: re.Match[str]) -> str:
    """Return what version 4 signs this request with."""
    _, date, region, more, _ = told.groups()
    additional = sorted(filter(None, (more or "").split(";")))
    signed = {"content-type", "content-md5", *additional}
    headers = sorted(
        (k.lower(), v.strip())
        for k, v in request.headers.items()
        if k.lower() in signed or k.lower().startswith("x-oss-")
    )
    place = f"/{request.match_info['bucket']}/{request.match_info['key']}"
    query = sorted(
        (quote(k, safe="-_.~"), quote(v, safe="-_.~"))
        for k, v in parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)
    )
    canonical = "\n".join(
        [
            request.method,
            quote(place, safe="/-_.~"),
            "&".join(f"{k}={v}" if v else k for k, v in query),
            "".join(f"{k}:{v}\n" for k, v in headers),
            ";".join(additional),
            request.headers["x-oss-content-sha256"],
        ]
    )
    lines = [
        "OSS4-HMAC-SHA256",
        request.headers["x-oss-date"],
        f"{date}/{region}/oss/aliyun_v4_request",
        hashlib.sha256(canonical.encode()).hexdigest(),
    ]
    made = f"aliyun_v4{key.secret}".encode()
    for part in (date, region, "oss", "aliyun_v4_request"):
        made = hmac.new(made, part.encode(), hashlib.sha256).digest()
    return hmac.new(made, "\n".join(lines).encode(), hashlib.sha256).hexdigest()


class OssProcess:
    """A running server; ``endpoints`` are its addresses, in the order they were asked for."""

    def __init__(self, root: Path, endpoints: list[str]) -> None:
        self.root = root
        self.endpoints = endpoints

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what came to each endpoint since the last call: reads, bytes, error codes."""
        with urllib.request.urlopen(f"http://{self.endpoints[0]}{COUNTS}") as answer:
            return json.load(answer)

    def set_keys(self, keys: Mapping[str, Key]) -> None:
        data = json.dumps({name: asdict(key) for name, key in keys.items()}).encode()
        urllib.request.urlopen(f"http://{self.endpoints[0]}{KEYS}", data=data).close()


@contextlib.contextmanager
def running_oss(
    root: Path, keys: Mapping[str, Key], *, hosts: tuple[str, ...] = ("127.0.0.1", "127.0.0.1")
) -> Iterator[OssProcess]:
    """Run a server over ``root`` for the time of the block, with one endpoint for each host."""
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.oss_server", str(root), str(writer), *hosts],
        pass_fds=[writer],
        cwd=REPOSITORY,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            endpoints = ready.readline().split()
        assert endpoints, f"the server ended with {child.wait()}"
        process = OssProcess(root, endpoints)
        process.set_keys(keys)  # over the wire: a command line is no place for secrets
        yield process
    finally:
        child.terminate()
        child.wait(10)


async def serve(server: OssServer, hosts: list[str]) -> tuple[web.AppRunner, list[str]]:
    """Listen on a free port of every host."""
    runner = web.AppRunner(server.application(), shutdown_timeout=0.1)
    await runner.setup()
    for host in hosts:
        await web.TCPSite(runner, host, 0).start()
    return runner, [f"{host}:{port}" for host, port in runner.addresses]


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("ready_fd", type=int)
    parser.add_argument("hosts", nargs="+")
    asked: Any = parser.parse_args()
    runner, addresses = await serve(OssServer(asked.root, {}), asked.hosts)
    with os.fdopen(asked.ready_fd, "w") as ready:
        print(*addresses, file=ready)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main())
