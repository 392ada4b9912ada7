"""The demo's own processes: the origin, and one reader a node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Self

import aiohttp

from cache_ctl.demo.figures import Tally
from cache_ctl.demo.stage import LINES, ORIGIN_ADDRESS, DemoCannotRun
from cache_ctl.local import tether
from runtime.contract import codec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from cache_ctl.demo.reader import Job

START_SECONDS = 20.0
STOP_SECONDS = 3.0


@contextlib.asynccontextmanager
async def process(
    command: Sequence[str], *, log: Path, talks: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python module for the time of the block; nothing of it is left afterwards.

    It ends with this process too, however that ends. Its standard error goes to ``log``, and one
    that ``talks`` has pipes for input and output. It has a session of its own, so that Ctrl-C
    reaches the demo alone, which then ends its processes in order.
    """
    stream = asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL
    with log.open("wb") as stderr:
        child = await asyncio.create_subprocess_exec(
            *tether.command((sys.executable, "-m", *command)),
            stdin=stream,
            stdout=stream,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await child.wait()
            except TimeoutError:
                child.kill()
                await child.wait()


def last_words(log: Path) -> str:
    """Return the last line of a process's log, for a sentence about its end."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no message"


class Origin:
    """The origin's process, seen from outside."""

    def __init__(self, port: int) -> None:
        self._url = f"http://{ORIGIN_ADDRESS}:{port}"

    async def sent(self) -> dict[str, int]:
        """Return the bytes of files that it sent, by client address."""
        async with aiohttp.ClientSession() as session, session.get(f"{self._url}/_stats") as answer:
            stats = await answer.json()
        return {address: client["bytes"] for address, client in stats["clients"].items()}


@contextlib.asynccontextmanager
async def running_origin(root: Path, port: int, *, folder: Path) -> AsyncIterator[Origin]:
    """Serve ``root`` at the origin's address, with the lines shaped.

    Raises:
        DemoCannotRun: the process ends before it serves, or takes too long.
    """
    ready, log = folder / "origin.ready", folder / "origin.log"
    shapes = [word for network, rate in LINES.items() for word in ("--shape", f"{network}={rate}")]
    command = ["cache_ctl.demo.origin_server", "--root", str(root), "--host", ORIGIN_ADDRESS]
    command += ["--port", str(port), "--ready-file", str(ready), *shapes]
    async with process(command, log=log) as child:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not ready.exists():
                    if child.returncode is not None:
                        raise DemoCannotRun(f"the origin ended at once: {last_words(log)}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise DemoCannotRun(f"the origin does not start; see {log}") from None
        yield Origin(port)


class Reader:
    """One node's reader: it waits for ``start`` and tells how far it is in ``tallies``."""

    def __init__(self, node: str, child: asyncio.subprocess.Process, log: Path) -> None:
        self.node = node
        self._child = child
        self._log = log
        self._by_epoch: dict[int, Tally] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, node: str, job: Job, *, folder: Path) -> AsyncIterator[Self]:
        """Start a reader for the time of the block."""
        folder.mkdir(exist_ok=True)
        place, log = folder / f"{node}.json", folder / f"{node}.log"
        place.write_text(codec.dumps(job))
        command = ["cache_ctl.demo.reader", str(place)]
        async with process(command, log=log, talks=True) as child:
            yield cls(node, child, log)

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """What has been read so far, by epoch."""
        return tuple(self._by_epoch[epoch] for epoch in sorted(self._by_epoch))

    async def ready(self) -> None:
        """Wait until the reader could start.

        Raises:
            DemoCannotRun: it ended instead.
        """
        assert self._child.stdout is not None
        if not await self._child.stdout.readline():
            raise DemoCannotRun(f"the reader on {self.node} ended: {last_words(self._log)}")

    async def read(self) -> None:
        """Let the reader read all its epochs, and follow it to the end.

        Raises:
            DemoCannotRun: it ended with an error.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(b"start\n")
        await self._child.stdin.drain()
        async for line in self._child.stdout:
            tally = codec.from_json(Tally, json.loads(line))
            self._by_epoch[tally.epoch] = tally
        if await self._child.wait() != 0:
            raise DemoCannotRun(f"the reader on {self.node} failed: {last_words(self._log)}")
