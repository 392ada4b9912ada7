"""Origins in Alibaba Cloud OSS, listed and signed through ossfs and aiooss2.

Reads go out as the libraries sign them, but their answers are held to the same checks as any
other's: ossfs itself neither asks for a version nor looks at the range that comes back.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

from aiooss2.http import AioResponse, AioSession
from oss2.auth import ProviderAuthV4
from oss2.credentials import StaticCredentialsProvider
from oss2.exceptions import OssError
from ossfs import AioOSSFileSystem
from yarl import URL

from runtime.errors import ConfigError, OriginLied, OriginUnavailable
from runtime.origin import digest
from runtime.origin.base import Found, check_bucket, check_known, title
from runtime.origin.connections import Connections
from runtime.origin.globs import selector
from runtime.origin.ranges import Wanted, blocks, check_answer, endless, gone, status_error
from runtime.origin.resume import Interrupted, Retries
from runtime.origin.version import conditions, from_etag

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
    from typing import Self

    import aiohttp

    from runtime.contract.plan import MountPlan, NetworkClass
    from runtime.origin.base import Timeouts

_OPTIONS: Final = {"endpoint", "etagDigest", "region"}
_SECRETS: Final = {"key", "secret", "token"}
_PAGE: Final = 1000
_PUT_AT_ONCE: Final = "Normal"
"""The type of objects that were put in one request: their etag is their md5."""


# At DEBUG the library logs requests with their signature and token, and secrets stay out of logs.
logging.getLogger("aiooss2").setLevel(logging.WARNING)


class _Answer(AioResponse):
    """The library's answer; a body that it reads itself is waited for with our patience."""

    def __init__(self, name: str, answer: aiohttp.ClientResponse, connections: Connections) -> None:
        super().__init__(answer)
        self._name = name
        self._connections = connections

    async def read(self, amt: int | None = None) -> bytes:  # noqa: ARG002 - the library's signature; it asks for whole bodies only
        async with self.response:
            return await self._connections.body(self._name, self.response)


class _Session(AioSession):
    """The library's session over our connections, in place of its own and its total timeout."""

    closed = False
    """So that the library never opens it again; whether it is, ``Connections`` tells."""

    def __init__(self, name: str, connections: Connections) -> None:
        super().__init__()
        self._name = name
        self._connections = connections

    async def do_request(self, req: Any, timeout: int | None = None) -> AioResponse:  # noqa: ARG002, ASYNC109 - the library's signature
        answer = await self._connections.request(
            self._name,
            req.method,
            URL(req.url, encoded=True),
            data=req.data,
            params=req.params,
            headers=req.headers,
            allow_redirects=False,  # a temporary key's token would go along to another server
        )
        return _Answer(self._name, answer, self._connections)


class _Version4(ProviderAuthV4):  # type: ignore[misc] # the library has no types
    """Signatures of version 4, for which the library's own requests lack the region."""

    def __init__(self, region: str, secret: Mapping[str, str]) -> None:
        super().__init__(
            StaticCredentialsProvider(secret["key"], secret["secret"], secret.get("token"))
        )
        self._region = region

    def _sign_request(
        self,
        req: Any,
        bucket_name: str,
        key: str,
        in_additional_headers: Collection[str] | None = None,
    ) -> None:
        req.region, req.product, req.cloudbox_id = self._region, "oss", None
        with warnings.catch_warnings():
            # The library asks for the time in a way that newer Pythons warn of.
            warnings.simplefilter("ignore", DeprecationWarning)
            super()._sign_request(req, bucket_name, key, in_additional_headers)


class OssOrigin:
    """Objects below ``oss://bucket/prefix``.

    Options: ``endpoint``; ``region``, with which requests are signed by version 4 in place of 1;
    ``etagDigest: none`` where etags of simple objects are not their md5.
    Secret: ``key``, ``secret`` and, for temporary credentials, ``token``; none is anonymous.
    """

    def __init__(
        self,
        mount: MountPlan,
        filesystem: Any,
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
        self._connections = Connections(timeouts, source_address=source_address)
        filesystem._session = _Session(self._name, self._connections)  # noqa: SLF001 - the only way to give it ours
        self._filesystem = filesystem
        self._selects = selects
        self._digests = mount.options.get("etagDigest") != "none"
        self._timeouts = timeouts
        self._retries = Retries(timeouts)

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
            kind="OSS",
            options=_OPTIONS,
            secrets=_SECRETS,
            login="key, secret and token",
        )
        endpoint = mount.endpoints.for_class(network_class) or mount.options.get("endpoint", "")
        if not endpoint:
            raise ConfigError(
                f"the mount {mount.name!r} names no endpoint for {network_class} nodes; set "
                f"endpoints.{network_class.lower()} or options.endpoint"
            )
        check_bucket(mount, secret)
        login = {name: value.strip() for name, value in secret.items()}
        filesystem = AioOSSFileSystem(
            endpoint=endpoint,
            asynchronous=True,
            skip_instance_cache=True,
            use_listings_cache=False,
            **login,
        )
        if (region := mount.options.get("region")) and login.get("key"):
            filesystem._auth = _Version4(region, login)  # noqa: SLF001 - ossfs itself signs by version 1 only
        try:
            filesystem._get_bucket(urlsplit(mount.source).netloc)  # noqa: SLF001 - ossfs has no public call for it
        except FileNotFoundError:
            raise ConfigError(
                f"{title(mount)} cannot be used with the endpoint {endpoint!r}; check the bucket's "
                "name, and write the endpoint as host or host:port, with or without https://"
            ) from None
        return cls(
            mount,
            filesystem,
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
        marker = ""
        while True:
            page = await self._retries.call(lambda at=marker: self._page(at))  # type: ignore[misc] # an argument with a default
            for item in page.object_list:
                path = item.key.removeprefix(self._prefix)
                if path and not path.endswith("/") and self._selects(path):
                    found.append(self._found(path, item))
            if not page.is_truncated:
                return sorted(found)
            if page.next_marker <= marker:  # keys come in order
                raise endless(self._name)
            marker = page.next_marker

    async def _page(self, marker: str) -> Any:
        async with self._connections.held(self._name):
            with _translated(self._name, listing=True):
                bucket = self._open_bucket()
                return await bucket.list_objects(prefix=self._prefix, marker=marker, max_keys=_PAGE)

    def _found(self, path: str, item: Any) -> Found:
        etag = from_etag(item.etag)
        simple = self._digests and item.type == _PUT_AT_ONCE
        return Found(path, item.size, etag, digest.from_etag(etag) if simple else "")

    def read(
        self, path: str, *, size: int, version: str, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a range of a version, see ``base.Origin.read``."""
        name = f"{path!r} of {self._name}"

        async def attempt(first: int, last: int) -> AsyncGenerator[bytes, None]:
            wanted = Wanted(name, size, version, first, last)
            async with self._connections.held(name):
                with _translated(name):
                    result = await self._open_bucket().get_object(
                        self._prefix + path,
                        byte_range=(first, last - 1),
                        headers={"Accept-Encoding": "identity", **conditions(version)},
                    )
                answer: aiohttp.ClientResponse = result.resp.response
                async with answer:
                    check_answer(answer, wanted)
                    async for block in blocks(self._connections, answer, wanted, self._timeouts):
                        yield block

        return self._retries.read(attempt, start, stop)

    def _open_bucket(self) -> Any:
        return self._filesystem._get_bucket(self._bucket)  # noqa: SLF001 - ossfs has no public call for it


@contextlib.contextmanager
def _translated(name: str, *, listing: bool = False) -> Iterator[None]:
    """Turn what the OSS client raises into our errors."""
    try:
        yield
    except OssError as error:
        # Their text repeats headers and body of the answer, so it stays out of ours.
        if not isinstance(error.status, int) or error.status < 300:
            failed = OriginUnavailable(
                f"{name}: the origin cannot be reached: {type(error).__name__}"
            )
            raise Interrupted(failed) from None
        if listing and error.status == 404:
            raise gone(name, 404, code=error.code or "") from None
        raise status_error(error.status, name, code=error.code or "") from None
    except (RuntimeError, ValueError, ParseError) as error:  # so the library tells of odd XML
        raise OriginLied(
            f"{name}: the origin's answer is not that of an OSS bucket; check the endpoint"
        ) from error
