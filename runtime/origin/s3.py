"""Origins in S3 and what speaks like it, listed and signed through s3fs and aiobotocore.

Every read names the version it wants (If-Match) and its answer is held to the same checks as any
other's: s3fs itself asks for no version. The requests go over our own connections, so that their
patience, their source address and their end are those of all drivers over HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import s3fs
from aiobotocore.awsrequest import AioAWSResponse
from botocore.exceptions import BotoCoreError, ClientError
from yarl import URL

from runtime.errors import ConfigError, OriginUnavailable
from runtime.origin import digest
from runtime.origin.base import Found, check_bucket, check_known, title
from runtime.origin.connections import Connections
from runtime.origin.globs import selector
from runtime.origin.ranges import Wanted, blocks, check_answer, endless, gone, status_error
from runtime.origin.resume import Interrupted, Retries
from runtime.origin.version import conditions, from_etag

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
    from typing import Self

    import aiohttp

    from runtime.contract.plan import MountPlan, NetworkClass
    from runtime.origin.base import Timeouts

_OPTIONS: Final = {"addressing", "endpoint", "endpoint_url", "etagDigest", "region"}
_SECRETS: Final = {"key", "secret", "token"}
_ADDRESSING: Final = {"auto", "path", "virtual"}
_REGION: Final = "us-east-1"
"""What stores other than Amazon's take for a region, as a rule."""

# At DEBUG the libraries log requests with their signature and token.
for _name in ("aiobotocore", "botocore", "s3fs"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Session:
    """The library's HTTP session over our connections, in place of its own and its timeouts."""

    _sessions: Final[dict[str, Any]] = {}
    """So that s3fs takes it for an open one; whether it is, ``Connections`` tells."""

    def __init__(self, name: str, connections: Connections) -> None:
        self._name = name
        self._connections = connections

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connections.close()

    async def send(self, request: Any) -> AioAWSResponse:
        """Answer a request that the library has signed."""
        headers = {
            key: value.decode() if isinstance(value, bytes) else str(value)
            for key, value in request.headers.items()
        }
        answer = await self._connections.request(
            self._name,
            request.method,
            URL(request.url, encoded=True),
            data=request.body or None,
            headers=headers,
            skip_auto_headers=("Content-Type",),  # it would not be among those that are signed
            allow_redirects=False,  # the library signs anew for where it is sent to
        )
        told = {key.lower(): value for key, value in answer.headers.items()}
        response = AioAWSResponse(str(answer.url), answer.status, told, answer)
        if answer.status >= 300 or not request.stream_output:
            async with answer:
                response._content = await self._connections.body(self._name, answer)  # noqa: SLF001 - what its own session does by reading
        return response


class S3Origin:
    """Objects below ``s3://bucket/prefix``.

    Options: ``endpoint_url`` (or ``endpoint``), ``region``, ``addressing`` (``path``, ``virtual``
    or ``auto``), and ``etagDigest: md5`` where etags of objects put at once are their md5, which
    those under a key of KMS are not.
    Secret: ``key``, ``secret`` and, for temporary credentials, ``token``; none is anonymous.
    """

    def __init__(
        self,
        mount: MountPlan,
        endpoint: str,
        secret: Mapping[str, str],
        *,
        selects: Callable[[str], bool],
        timeouts: Timeouts,
        source_address: str | None = None,
    ) -> None:
        parts = urlsplit(mount.source)
        self._name = title(mount)
        self._bucket = parts.netloc
        prefix = parts.path.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._digests = mount.options.get("etagDigest") == "md5"
        self._selects = selects
        self._timeouts = timeouts
        self._retries = Retries(timeouts)
        self._connections = Connections(timeouts, source_address=source_address)
        self._opening = asyncio.Lock()
        self._filesystem = s3fs.S3FileSystem(
            anon=not secret.get("key"),
            endpoint_url=endpoint or None,
            client_kwargs={"region_name": mount.options.get("region", _REGION)},
            config_kwargs={
                "http_session_cls": lambda **_: _Session(self._name, self._connections),
                "retries": {"total_max_attempts": 1},  # ours resume, and know the version
                "response_checksum_validation": "when_required",
                "s3": {"addressing_style": mount.options.get("addressing", "auto")},
            },
            asynchronous=True,
            skip_instance_cache=True,
            use_listings_cache=False,
            **{name: value.strip() for name, value in secret.items()},
        )

    @classmethod
    def open(
        cls,
        mount: MountPlan,
        network_class: NetworkClass,
        secret: Mapping[str, str],
        *,
        timeouts: Timeouts,
        source_address: str | None,
    ) -> Self:
        """Return the origin of a mount, see ``base.open_origin``."""
        check_known(
            mount,
            secret,
            kind="S3",
            options=_OPTIONS,
            secrets=_SECRETS,
            login="key, secret and token",
        )
        check_bucket(mount, secret)
        options = mount.options
        if (addressing := options.get("addressing", "auto")) not in _ADDRESSING:
            raise ConfigError(
                f"the mount {mount.name!r} has the option addressing {addressing!r}; it must be "
                "path, virtual or auto"
            )
        return cls(
            mount,
            _url(
                mount.endpoints.for_class(network_class)
                or options.get("endpoint_url", "")
                or options.get("endpoint", ""),
                mount,
            ),
            secret,
            selects=selector(mount.include, mount.exclude),
            timeouts=timeouts,
            source_address=source_address,
        )

    async def close(self) -> None:
        """Close for good, see ``base.Origin.close``."""
        await self._connections.close()

    async def list(self) -> list[Found]:
        """Return all objects that the mount includes, see ``base.Origin.list``."""
        found: list[Found] = []
        following: dict[str, str] = {}
        while True:
            page = await self._retries.call(lambda at=following: self._page(at))  # type: ignore[misc] # an argument with a default
            for item in page.get("Contents", ()):
                path = item["Key"].removeprefix(self._prefix)
                if path and not path.endswith("/") and self._selects(path):
                    found.append(self._found(path, item))
            if not page.get("IsTruncated"):
                return sorted(found)
            mark = {"ContinuationToken": page.get("NextContinuationToken", "")}
            if mark in ({"ContinuationToken": ""}, following):
                raise endless(self._name)
            following = mark

    async def _page(self, following: Mapping[str, str]) -> Any:
        async with self._connections.held(self._name):
            with _translated(self._name, listing=True):
                client = await self._client()
                return await client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix, **following
                )

    def _found(self, path: str, item: Mapping[str, Any]) -> Found:
        etag = from_etag(item["ETag"])
        return Found(path, item["Size"], etag, digest.from_etag(etag) if self._digests else "")

    def read(
        self, path: str, *, size: int, version: str, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a range of a version, see ``base.Origin.read``."""
        name = f"{path!r} of {self._name}"

        async def attempt(first: int, last: int) -> AsyncGenerator[bytes, None]:
            wanted = Wanted(name, size, version, first, last)
            async with self._connections.held(name):
                with _translated(name):
                    client = await self._client()
                    result = await client.get_object(
                        Bucket=self._bucket,
                        Key=self._prefix + path,
                        Range=f"bytes={first}-{last - 1}",
                        **{k.replace("-", ""): v for k, v in conditions(version).items()},
                    )
                body = result["Body"]
                # The library's releases before 3 wrap the answer in another way.
                answer: aiohttp.ClientResponse = getattr(body, "raw_stream", body)
                async with answer:
                    check_answer(answer, wanted)
                    async for block in blocks(self._connections, answer, wanted, self._timeouts):
                        yield block

        return self._retries.read(attempt, start, stop)

    async def _client(self) -> Any:
        async with self._opening:
            return await self._filesystem.set_session()


def _url(endpoint: str, mount: MountPlan) -> str:
    """Return an endpoint as the URL that the library wants; none is Amazon's own."""
    if not endpoint:
        return ""
    url = endpoint if "://" in endpoint else f"https://{endpoint}"
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise ConfigError(
            f"{title(mount)} has the endpoint {endpoint!r}; write it as host or host:port, or as "
            "http:// or https:// and these"
        )
    return url


@contextlib.contextmanager
def _translated(name: str, *, listing: bool = False) -> Iterator[None]:
    """Turn what the S3 client raises into our errors."""
    try:
        yield
    except ClientError as error:
        # Its text repeats the answer's message, so it stays out of ours.
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if listing and status == 404:
            raise gone(name, 404, code=code) from None
        raise status_error(status, name, code=code) from None
    except (BotoCoreError, ValueError) as error:
        failed = OriginUnavailable(
            f"{name}: the origin cannot be asked ({type(error).__name__}); check the bucket's "
            "name, the region and the endpoint"
        )
        raise Interrupted(failed) from None
