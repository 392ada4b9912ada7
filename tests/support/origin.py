"""An origin that misbehaves on request, as a process of its own.

``POST /_fault`` with ``{"kind": ..., "times": n, ...}`` makes the next ``n`` answers for files
wrong; ``kind`` empty ends it. The kinds are the methods of ``FaultyOrigin`` by that name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from cache_ctl.demo.origin_server import OriginServer, parse_options, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FAULT = "/_fault"
HEADS = "/_heads"
REPOSITORY = Path(__file__).parents[2]


class FaultyOrigin(OriginServer):
    """The demo's origin, with a fault that can be switched on."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fault: dict[str, Any] = {}
        self.heads: list[dict[str, str]] = []

    def application(self) -> web.Application:
        app = super().application()
        app.router.add_post(FAULT, self._set_fault)
        return app

    async def _set_fault(self, request: web.Request) -> web.Response:
        self._fault = await request.json()
        return web.Response()

    async def _heads(self, _: web.Request) -> web.Response:
        heads, self.heads = self.heads, []
        return web.json_response(heads)

    def _kind(self) -> str:
        return self._fault.get("kind", "") if self._fault.get("times", 0) > 0 else ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == HEADS:
            return await self._heads(request)
        self.heads.append({"method": request.method, "path": request.path, **request.headers})
        kind = self._kind()
        if kind in {"status", "refuse", "stall"}:
            self._fault["times"] -= 1
        if kind == "status":
            return web.Response(status=self._fault["status"])
        if kind == "refuse":
            request.transport.abort()
            return web.Response()
        if kind == "stall":
            await asyncio.sleep(self._fault["seconds"])
        try:
            return await super().answer(request)
        except ConnectionError:  # the client hung up, as it may
            return web.Response()

    def describe(self, request: web.Request, status: os.stat_result) -> dict[str, str]:
        headers = super().describe(request, status)
        kind = self._kind()
        if kind == "etag" and request.method == "GET":
            headers["ETag"] = '"another"'
        if kind == "weak":
            headers["ETag"] = f"W/{headers['ETag']}"
        if kind in {"dated", "anonymous"}:
            del headers["ETag"]
        if kind == "anonymous":
            del headers["Last-Modified"]
        return headers

    async def send(  # noqa: C901, PLR0912 - one branch a fault, read as a list
        self, request: web.Request, response: web.StreamResponse, fd: int, span: tuple[int, int]
    ) -> None:
        kind, (start, stop) = self._kind(), span
        size = os.fstat(fd).st_size
        if kind:
            self._fault["times"] -= 1
        body = os.pread(fd, stop - start, start)
        match kind:
            case "shifted":  # the range before the one asked for, and saying so
                response.headers["Content-Range"] = f"bytes {start - 1}-{stop - 2}/{size}"
            case "total":
                response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size + 1}"
            case "no-range":
                del response.headers["Content-Range"]
            case "whole":  # ranges ignored
                response.set_status(200)
                del response.headers["Content-Range"]
                body = os.pread(fd, size, 0)
                response.content_length = size
            case "encoded":
                response.headers["Content-Encoding"] = "gzip"
            case "announced-short":
                response.content_length = len(body) // 2
                body = body[: len(body) // 2]
            case "chunked-short" | "chunked-long":
                response.content_length = None
                response.enable_chunked_encoding()
                body = body[:-1] if kind == "chunked-short" else body + b"x"
            case "flip":
                body = bytes([body[0] ^ 1]) + body[1:]
        await response.prepare(request)
        if kind == "cut":
            await response.write(body[: len(body) // 2])
            request.transport.close()  # what was written goes out first
            return
        if kind == "change":  # the next request finds another version
            await response.write(body[: len(body) // 2])
            path = self._root / request.match_info["path"]
            path.write_bytes(bytes(size))
            request.transport.close()
            return
        if kind == "drip":
            for index in range(len(body)):
                await response.write(body[index : index + 1])
                await asyncio.sleep(self._fault["seconds"])
        elif kind == "pause":
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(self._fault["seconds"])
        elif kind:
            await response.write(body)
        else:
            async for block in self.pieces(request, fd, span):
                await response.write(block)
        await response.write_eof()


class OriginProcess:
    """A running origin over the folder ``root``."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.url = url

    def fault(self, kind: str = "", *, times: int = 1 << 30, **more: Any) -> None:
        """Make the next ``times`` answers wrong; no kind: make them right again."""
        data = json.dumps({"kind": kind, "times": times, **more}).encode()
        urllib.request.urlopen(self.url + FAULT, data=data).close()

    def heads(self) -> list[dict[str, str]]:
        """Return method, path and headers of every request since the last call."""
        return self._json(HEADS)

    def sent(self) -> dict[str, dict[str, int]]:
        """Return requests and bytes by client address."""
        return self._json("/_stats")["clients"]

    def _json(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running_origin(
    root: Path, *options: str, host: str = "127.0.0.1", prefix: Sequence[str] = ()
) -> Iterator[OriginProcess]:
    """Run a faulty origin over ``root`` for the time of the block; ``prefix`` leads its command."""
    reader, writer = os.pipe()
    command = [*prefix, sys.executable, "-m", "tests.support.origin", "--root", str(root)]
    child = subprocess.Popen(
        [*command, "--host", host, "--ready-fd", str(writer), *options],
        pass_fds=[writer],
        cwd=REPOSITORY,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            port = ready.readline().strip()
        assert port, f"the origin ended with {child.wait()}"
        yield OriginProcess(root, f"http://{host}:{port}")
    finally:
        child.terminate()
        child.wait(10)


if __name__ == "__main__":
    asked = parse_options()
    faulty = FaultyOrigin(asked.root, lines=asked.lines, manifest=asked.manifest)
    asyncio.run(serve(faulty, asked))
