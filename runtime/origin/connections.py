"""Connections to an HTTP origin: bounded, patient with readers, and never opened again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp

from runtime.errors import OriginLied, OriginUnavailable
from runtime.origin.gate import Gate
from runtime.origin.resume import Interrupted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from yarl import URL

    from runtime.origin.base import Timeouts

_READ_BUFFER = 1 << 18  # several times what one receive brings; a block stays below base.BLOCK


class Connections:
    """Kept-alive connections, opened when first used; bodies come over as they were sent.

    ``request`` and ``receive`` each wait for the origin at most ``timeouts.stall_seconds``, and
    ``held`` bounds the connections. The client library's own limits would not do: its ``sock_read``
    may start again at the end of a body, and then fails whoever uses that connection next; a limit
    on a request counts the wait for its pool.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        source_address: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._timeouts = timeouts
        self._source_address = source_address
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._gate = Gate(timeouts.connections)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; every wait ends at once, every later call raises."""
        self._gate.close()
        if self._session is not None:
            await self._session.close()

    def held(self, name: str) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold one connection's place, see ``Gate.held``; requests are made within only."""
        return self._gate.held(name)

    async def request(
        self, name: str, method: str, url: URL, **options: Any
    ) -> aiohttp.ClientResponse:
        """Return the answer when its headers are there; the caller releases it.

        Raises:
            OriginUnavailable: they take too long, or this is closed.
            OriginError, Interrupted: as ``translated`` says.
        """
        async with self._waiting(name):
            return await self._opened().request(method, url, **options)

    async def receive(self, name: str, answer: aiohttp.ClientResponse) -> bytes:
        """Return the next bytes of an answer's body, none at its end. Raises as ``request``."""
        async with self._waiting(name):
            return await answer.content.readany()

    async def body(self, name: str, answer: aiohttp.ClientResponse) -> bytes:
        """Return all of a body that is not an object's. Raises as ``request``."""
        parts = []
        while part := await self.receive(name, answer):
            parts.append(part)
        return b"".join(parts)

    @contextlib.asynccontextmanager
    async def asked(
        self, name: str, method: str, url: URL, **options: Any
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Hold a connection and an answer during the block. Raises as ``request``."""
        async with (
            self.held(name),
            await self.request(name, method, url, **options) as answer,
        ):
            yield answer

    @contextlib.asynccontextmanager
    async def _waiting(self, name: str) -> AsyncGenerator[None, None]:
        with translated(name):
            async with self._gate.waiting(name, self._timeouts.stall_seconds):
                yield

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    local_addr=(self._source_address, 0) if self._source_address else None,
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._timeouts.connect_seconds
                ),
                auto_decompress=False,
                read_bufsize=_READ_BUFFER,
                headers=self._headers,
            )
        return self._session


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what the HTTP client raises into our errors."""
    try:
        yield
    except TimeoutError as error:  # aiohttp's own are of this kind, too
        raise OriginUnavailable(f"{name}: the origin does not answer in time") from error
    except aiohttp.ClientPayloadError as error:
        lied = OriginLied(f"{name}: the origin's answer ends before it is complete")
        raise Interrupted(lied) from error
    except aiohttp.ClientResponseError as error:
        raise OriginLied(f"{name}: the origin's answer is not HTTP: {error.message}") from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise OriginLied(f"{name}: the origin redirects to no usable URL") from error
    except (aiohttp.ClientError, OSError) as error:
        # Connection errors name host and cause, never the query.
        gone = OriginUnavailable(f"{name}: the origin cannot be reached: {error}")
        raise Interrupted(gone) from error
