"""Origins over HTTP: any server with ranges and etags, or at least dates."""

from __future__ import annotations

import base64
import contextlib
import html
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

import aiohttp
from fsspec.implementations.http import HTTPFileSystem
from yarl import URL

from runtime.errors import ConfigError, NoSuchPath, OriginLied, StaleVersion
from runtime.origin.base import Found, check_known, shown, title
from runtime.origin.connections import Connections
from runtime.origin.globs import selector
from runtime.origin.manifest import parse_manifest
from runtime.origin.ranges import Wanted, blocks, check_answer, gone, status_error
from runtime.origin.resume import Retries, each
from runtime.origin.version import from_headers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from typing import Self

    from runtime.contract.plan import MountPlan, NetworkClass
    from runtime.origin.base import Timeouts

_OPTIONS: Final = {"manifest", "endpoint"}
_SECRETS: Final = {"token", "username", "password"}
_PATH_SAFE: Final = "/~!$&'()*+,;=:@"


class HttpOrigin:
    """Objects below a URL.

    They are listed by a manifest (option ``manifest``: a URL relative to the source; see the module
    of that name), else by following the links of HTML indexes. Sizes and etags that the listing
    lacks are asked for one by one.
    """

    def __init__(
        self,
        mount: MountPlan,
        base: str,
        *,
        headers: dict[str, str] | None = None,
        selects: Callable[[str], bool],
        timeouts: Timeouts,
        source_address: str | None = None,
    ) -> None:
        parts = urlsplit(base)
        host = parts.netloc.rpartition("@")[2]
        self._name = title(mount)
        self._query = f"?{parts.query}" if parts.query else ""
        self._query_arguments = {"params": parse_qsl(parts.query)} if parts.query else {}
        self._base = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + "/", "", ""))
        self._manifest = mount.options.get("manifest", "")
        self._selects = selects
        self._timeouts = timeouts
        self._retries = Retries(timeouts)
        self._connections = Connections(timeouts, source_address=source_address, headers=headers)

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
            kind="HTTP",
            options=_OPTIONS,
            secrets=_SECRETS,
            login="token, or username and password",
        )
        endpoint = mount.endpoints.for_class(network_class) or mount.options.get("endpoint", "")
        return cls(
            mount,
            _moved(mount.source, endpoint),
            headers=_authorization(secret or _login_in(mount.source)),
            selects=selector(mount.include, mount.exclude),
            timeouts=timeouts,
            source_address=source_address,
        )

    async def close(self) -> None:
        """Close for good, see ``base.Origin.close``."""
        await self._connections.close()

    def _url(self, path: str) -> URL:
        return URL(self._base + quote(path, safe=_PATH_SAFE) + self._query, encoded=True)

    # -- reading ----------------------------------------------------------------------------

    def read(
        self, path: str, *, size: int, version: str, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a range of a version, see ``base.Origin.read``."""
        url, name = self._url(path), f"{path!r} of {self._name}"

        async def attempt(first: int, last: int) -> AsyncGenerator[bytes, None]:
            wanted = Wanted(name, size, version, first, last)
            async with self._connections.asked(name, "GET", url, headers=wanted.headers) as answer:
                check_answer(answer, wanted)
                async for block in blocks(self._connections, answer, wanted, self._timeouts):
                    yield block

        return self._retries.read(attempt, start, stop)

    # -- listing ----------------------------------------------------------------------------

    async def list(self) -> list[Found]:
        """Return all objects that the mount includes, see ``base.Origin.list``."""
        told = await (self._told_by_manifest() if self._manifest else self._told_by_indexes())
        found, incomplete = [], []
        for item in told:
            if not self._selects(item.path):
                continue
            if item.size < 0 or not item.version:
                incomplete.append(item)
            else:
                found.append(item)

        async def complete(item: Found) -> None:
            whole = await self._retries.call(lambda: self._ask(item))
            if whole is not None:
                found.append(whole)

        await each(incomplete, complete, limit=self._timeouts.connections)
        return sorted(found)

    async def _ask(self, item: Found) -> Found | None:
        """Ask for an object's size and version; None when it has gone meanwhile."""
        url, name = self._url(item.path), f"{item.path!r} of {self._name}"
        async with self._connections.asked(name, "HEAD", url) as answer:
            size = answer.content_length
        if answer.status in {405, 501} or (answer.status == 200 and size is None):
            headers = {"Range": "bytes=0-0"}
            async with self._connections.asked(name, "GET", url, headers=headers) as answer:
                total = answer.headers.get("Content-Range", "").rpartition("/")[2]
                size = int(total) if total.isdecimal() else answer.content_length
        if answer.status in {404, 410}:
            return None
        if answer.status not in {200, 206}:
            raise status_error(answer.status, name)
        if size is None:
            raise OriginLied(f"{name}: the origin does not tell the object's size")
        version = item.version or from_headers(answer.headers, size)
        if not version:
            raise ConfigError(
                f"{name}: the origin tells neither ETag nor Last-Modified, so that versions could "
                "not be told apart; serve one of them, or name etags in a manifest"
            )
        return Found(item.path, size, version, item.digest)

    async def _told_by_manifest(self) -> Iterable[Found]:
        base = URL(self._base, encoded=True)
        try:
            url = base.join(URL(self._manifest))
            elsewhere = url.origin() != base.origin()
        except ValueError:
            elsewhere = True
        if elsewhere:  # it would be sent the Secret
            raise ConfigError(
                f"{self._name} has an option manifest that does not lie on the source's server; "
                "write it relative to the source, like list.txt"
            )
        if self._query and not url.query_string:
            url = URL(f"{url}{self._query}", encoded=True)
        name = f"the manifest {shown(str(url))} of {self._name}"

        async def fetch() -> bytes:
            async with self._connections.asked(name, "GET", url) as answer:
                if answer.status == 200:
                    return await self._connections.body(name, answer)
            raise _of_listing(answer.status, name)

        return parse_manifest(await self._retries.call(fetch), name, base=self._base)

    async def _told_by_indexes(self) -> Iterable[Found]:
        paths: set[str] = set()
        seen: set[str] = set()
        folders = {""}

        async def follow(folder: str) -> None:
            for path in await self._retries.call(lambda: self._links(folder)):
                (deeper if path.endswith("/") else paths).add(path)

        while folders:
            seen |= folders
            deeper: set[str] = set()
            await each(sorted(folders), follow, limit=self._timeouts.connections)
            folders = deeper - seen
        return (Found(path, -1, "") for path in paths)

    async def _links(self, folder: str) -> Iterable[str]:
        """Return what an index links to below itself, as paths below the source."""
        url = self._base + quote(folder, safe=_PATH_SAFE)
        name = f"{folder!r} of {self._name}" if folder else self._name
        try:
            links = await _links_of(self._connections, url, name, self._query_arguments)
        except NoSuchPath:
            if folder:  # gone since its parent was read
                return []
            raise
        paths = set()
        for link in map(html.unescape, links):
            below = link.removeprefix(url).removeprefix("./")
            if below in {link, ""} or "?" in below or "#" in below:
                continue
            names = [unquote(name) for name in below.split("/")]
            if all(names[:-1]) and not any(name in {".", ".."} or "/" in name for name in names):
                paths.add(folder + "/".join(names))
        return paths


class _Index:
    """An answer, as far as fsspec looks at one; its body is waited for with our patience."""

    def __init__(self, connections: Connections, name: str, answer: aiohttp.ClientResponse) -> None:
        self._connections = connections
        self._name = name
        self._answer = answer
        self.status = answer.status
        self.headers = answer.headers
        self.raise_for_status = answer.raise_for_status

    async def text(self, errors: str) -> str:
        body = await self._connections.body(self._name, self._answer)
        try:
            return body.decode(self._answer.charset or "utf-8", errors)
        except LookupError:
            return body.decode("utf-8", errors)


class _Indexes:
    """A session, as far as fsspec uses one."""

    def __init__(self, connections: Connections, name: str) -> None:
        self._connections = connections
        self._name = name

    @contextlib.asynccontextmanager
    async def get(self, url: URL, **options: Any) -> AsyncGenerator[_Index, None]:
        async with self._connections.asked(self._name, "GET", url, **options) as answer:
            yield _Index(self._connections, self._name, answer)


async def _links_of(
    connections: Connections, url: str, name: str, options: dict[str, Any]
) -> list[str]:
    async def ours(**_: object) -> _Indexes:
        return _Indexes(connections, name)

    filesystem = HTTPFileSystem(
        asynchronous=True,
        encoded=True,
        simple_links=False,
        skip_instance_cache=True,
        use_listings_cache=False,
        get_client=ours,
        **options,
    )
    try:
        links: list[str] = await filesystem._ls_real(url, detail=False)  # noqa: SLF001 - the public call is for other threads
    except FileNotFoundError as error:
        raise gone(name, 404) from error
    except aiohttp.ClientResponseError as error:
        raise _of_listing(error.status, name) from None  # its text holds the whole URL
    return links


def _of_listing(status: int, name: str) -> Exception:
    error = status_error(status, name)
    if isinstance(error, StaleVersion):
        return gone(name, status)
    return error


def _is_header_text(text: object) -> bool:
    """Tell whether a value may stand in a header as it is."""
    return isinstance(text, str) and text.isascii() and text.isprintable()


def _moved(source: str, endpoint: str) -> str:
    """Return the source at another endpoint: a URL, or host and port, of the same tree."""
    if not endpoint:
        return source
    parts = urlsplit(source)
    there = urlsplit(endpoint if "://" in endpoint else f"{parts.scheme}://{endpoint}")
    path = there.path.rstrip("/") + parts.path
    return urlunsplit((there.scheme, there.netloc, path, parts.query, ""))


def _login_in(source: str) -> dict[str, str]:
    parts = urlsplit(source)
    if parts.username is None:
        return {}
    return {"username": unquote(parts.username), "password": unquote(parts.password or "")}


def _authorization(secret: Mapping[str, str]) -> dict[str, str]:
    if token := secret.get("token", "").strip():  # files of secrets often end with a newline
        if not _is_header_text(token):
            raise ConfigError(
                "the token in a mount's secret holds more than one line of ASCII text"
            )
        return {"Authorization": f"Bearer {token}"}
    if "username" in secret:
        login = f"{secret['username']}:{secret.get('password', '')}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {}
