"""A slow path to one agent: a proxy that hands on handshakes at once and lets units drip."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

from runtime.contract import protocol
from tests.support.lab import Node

_UNIT = f"GET {protocol.UNIT}?".encode()
_STEP = 0.1


class DripProxy:
    """Stands at ``address``, any port, before ``target``, for the one ``reader`` that is led to it.

    Answers to askings for units pass at ``rate`` bytes per second, everything else at once. The
    far side sees the reader's own address, as it would without the proxy.
    """

    def __init__(self, address: str, *, target: Node, reader: Node, rate: int = 10_000) -> None:
        self.address = address
        self.port = 0
        self.units = 0
        self._target = target
        self._reader = reader
        self._rate = rate
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.create_task(self._relay(reader, writer)))

        server = await asyncio.start_server(accept, self.address, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, onward = await asyncio.open_connection(
            self._target.address, self._target.port, local_addr=(self._reader.address, 0)
        )
        drips = False

        async def ask() -> None:
            nonlocal drips
            while data := await near.read(1 << 16):
                drips = data.startswith(_UNIT)
                self.units += drips
                onward.write(data)
                await onward.drain()

        async def answer() -> None:
            while data := await far.read(int(self._rate * _STEP) if drips else 1 << 16):
                back.write(data)
                await back.drain()
                if drips:
                    await asyncio.sleep(_STEP)

        ways = [asyncio.ensure_future(ask()), asyncio.ensure_future(answer())]
        try:
            with contextlib.suppress(OSError):
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (onward, back):
                end.transport.abort()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
