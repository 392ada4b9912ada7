"""Connections to an HTTP origin: bounded, patient with readers, and never opened again."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import aiohttp

from runtime.errors import OriginLied, OriginUnavailable
from runtime.origin.gate import Gate
from runtime.origin.resume import Interrupted, Stalled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from yarl import URL

    from runtime.origin.base import Timeouts

_KEPT_SECONDS = 15.0
"""How long an idle connection is kept for the next request."""
_READ_BUFFER = 1 << 18  # several times what one receive brings; a block stays below base.BLOCK


class Connections:
    """Kept-alive connections, opened when first used; bodies come over as they were sent.

    ``request`` and ``receive`` each wait for the origin at most ``timeouts.stall_seconds``, and
    ``held`` bounds the connections. The client library's own limits would not do: its ``sock_read``
    may start again at the end of a body, and then fails whoever uses that connection next; a limit
    on a request counts the wait for its pool.

    A connection on which the origin fell silent may not be the only one: something on the way may
    have forgotten all that were idle. So until those have been dropped, every request gets a
    connection of its own.
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
        self._kept: aiohttp.ClientSession | None = None
        self._single: aiohttp.ClientSession | None = None
        self._distrusted_until = 0.0

    async def close(self) -> None:
        """Close all connections; every wait ends at once, every later call raises."""
        self._gate.close()
        for session in (self._kept, self._single):
            if session is not None:
                await session.close()

    def held(self, name: str) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold one connection's place, see ``Gate.held``; requests are made within only."""
        return self._gate.held(name)

    async def request(
        self, name: str, method: str, url: URL, **options: Any
    ) -> aiohttp.ClientResponse:
        """Return the answer when its headers are there; the caller releases it.

        Raises:
            Stalled: they take too long. OriginUnavailable: this is closed.
            OriginError, Interrupted: as ``translated`` says.
        """
        async with self._waiting(name):
            return await self._session().request(method, url, **options)

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
        seconds = self._timeouts.stall_seconds
        try:
            with translated(name, seconds=seconds):
                async with self._gate.waiting(name, seconds):
                    yield
        except Stalled:
            self.distrust()
            raise

    def distrust(self) -> None:
        """Use none of the connections that are idle now, since one of them failed silently."""
        self._distrusted_until = time.monotonic() + _KEPT_SECONDS

    def _session(self) -> aiohttp.ClientSession:
        if time.monotonic() < self._distrusted_until:
            self._single = self._single or self._opened(force_close=True)
            return self._single
        self._kept = self._kept or self._opened(keepalive_timeout=_KEPT_SECONDS)
        return self._kept

    def _opened(self, **options: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                socket_factory=self._socket,
                **options,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect_seconds),
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            headers=self._headers,
        )

    def _socket(self, target: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = target
        made = socket.socket(family, kind, protocol)
        try:
            if self._source_address and may_leave(self._source_address, str(address[0])):
                made.bind((self._source_address, 0))
        except BaseException:
            made.close()
            raise
        return made


def may_leave(source: str, target: str) -> bool:
    """Tell whether a connection to ``target`` can leave from the address ``source``.

    Addresses of two families have no way, and the kernel lets nothing out of the machine that
    comes from a loopback address, as nodes of a local cluster have one.
    """
    here, there = ip_address(source), ip_address(target.partition("%")[0])
    return here.version == there.version and (there.is_loopback or not here.is_loopback)


@contextlib.contextmanager
def translated(name: str, *, seconds: float) -> Iterator[None]:
    """Turn what the HTTP client raises into our errors; ``seconds`` is how long was waited."""
    try:
        yield
    except TimeoutError as error:  # aiohttp's own are of this kind, too
        late = OriginUnavailable(
            f"{name}: the origin does not answer in time ({seconds:g} s); check that this node "
            "can reach its endpoint"
        )
        raise Stalled(late) from error
    except aiohttp.ClientPayloadError as error:
        lied = OriginLied(f"{name}: the origin's answer ends before it is complete")
        raise Interrupted(lied) from error
    except aiohttp.ClientResponseError as error:
        raise OriginLied(f"{name}: the origin's answer is not HTTP: {error.message}") from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise OriginLied(f"{name}: the origin redirects to no usable URL") from error
    except (aiohttp.ClientError, OSError) as error:
        # Connection errors name host and cause, never the query.
        gone = OriginUnavailable(
            f"{name}: the origin cannot be reached: {_cause(error)}; check the endpoint for this "
            "node's network class, and that it is up"
        )
        raise Interrupted(gone) from error


def _cause(error: Exception) -> str:
    """Return what happened in the system's words, with the address it happened at."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error) or type(error).__name__
    failed = error.os_error
    # A resolver's numbers are negative, and have words of their own.
    number = failed.errno or 0
    what = os.strerror(number) if number > 0 else failed.strerror or failed
    return f"{error.host}:{error.port}: {what}"
