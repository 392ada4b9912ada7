"""An origin: serves the files of a folder over HTTP, with etags, ranges and a shaped line.

``GET|HEAD /<path>`` answers files, with ``Range``, ``If-Match``, ``If-None-Match`` and
``If-Unmodified-Since``; folders answer an HTML index. ``/manifest.jsonl`` lists all files when
that is asked for. ``/_stats`` tells as JSON what each client address was sent::

    {"clients": {"127.0.2.1": {"requests": 12, "bytes": 4194304}}}

``requests`` counts answers to GET that carry bytes of files, ``bytes`` those bytes as they went
out. Each ``--shape network=rate`` is one line: all clients in the network share its rate.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import ipaddress
import json
import os
import re
import signal
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from cache_ctl.domain.quantity import parse_rate
from cache_ctl.errors import InvalidInput, InvalidQuantity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

STATS: Final = "/_stats"
MANIFEST: Final = "manifest.jsonl"

_PIECE: Final = 256 << 10
_SHAPED_PIECE: Final = 32 << 10  # small, so that the clients of a line take turns
_BURST_SECONDS: Final = 0.02
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class Sent:
    """What one client address was sent."""

    requests: int = 0
    bytes: int = 0


class Line:
    """A token bucket that all clients of one network draw from, first come, first served."""

    def __init__(self, network: Network, bytes_per_second: int) -> None:
        self.network = network
        self._rate = bytes_per_second
        self._free_at = 0.0

    async def take(self, amount: int) -> None:
        """Wait until the line has carried ``amount`` bytes more."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now - _BURST_SECONDS) + amount / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)

    @classmethod
    def parse(cls, text: str) -> Line:
        """Read ``network=rate``, such as ``127.0.2.0/24=200Mbit``.

        Raises:
            InvalidInput: it is something else.
        """
        network, _, rate = text.partition("=")
        try:
            return cls(ipaddress.ip_network(network), parse_rate(rate, "--shape"))
        except (ValueError, InvalidQuantity) as error:
            raise InvalidInput(
                f"--shape is {text!r} ({error}); write it like 127.0.2.0/24=200Mbit"
            ) from error


class OriginServer:
    """Serves the files below ``root``; files may change and come and go meanwhile."""

    def __init__(self, root: Path, *, lines: Sequence[Line] = (), manifest: bool = False) -> None:
        self._root = root.resolve()
        self._lines = tuple(lines)
        self._manifest = manifest
        self.sent: defaultdict[str, Sent] = defaultdict(Sent)

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application()
        app.router.add_get(STATS, self._stats)
        app.router.add_get("/{path:.*}", self.answer)
        return app

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"clients": {address: asdict(sent) for address, sent in self.sent.items()}}
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer for a file or a folder."""
        path = request.match_info["path"]
        if "\0" in path:
            raise web.HTTPNotFound
        place = (self._root / path).resolve()
        if not place.is_relative_to(self._root):
            raise web.HTTPNotFound
        if self._manifest and path == MANIFEST:
            return web.Response(text=self._listed(), content_type="application/jsonl")
        if place.is_dir():
            if path and not path.endswith("/"):
                raise web.HTTPMovedPermanently(f"/{quote(path)}/")
            return web.Response(text=_index(place), content_type="text/html")
        try:
            file = place.open("rb")
        except OSError as error:
            raise web.HTTPNotFound from error
        with file:
            return await self._answer_file(request, file.fileno())

    async def _answer_file(self, request: web.Request, fd: int) -> web.StreamResponse:
        status = os.fstat(fd)
        headers = self.describe(request, status)
        _check_conditions(request, headers, status.st_mtime)
        start, stop = _range_of(request, status.st_size)
        response = web.StreamResponse(headers=headers)
        if "Range" in request.headers:
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{status.st_size}"
        response.content_length = stop - start
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        client = self.sent[request.remote or ""]
        client.requests += 1
        await self.send(request, response, fd, (start, stop))
        return response

    def describe(self, request: web.Request, status: os.stat_result) -> dict[str, str]:  # noqa: ARG002 - for servers that misbehave on request
        """Return the headers that identify a file's bytes."""
        return {
            "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }

    async def send(
        self, request: web.Request, response: web.StreamResponse, fd: int, span: tuple[int, int]
    ) -> None:
        """Send the head, then the file's bytes ``span[0]`` to ``span[1]``."""
        await response.prepare(request)
        async for block in self.pieces(request, fd, span):
            await response.write(block)
        await response.write_eof()

    async def pieces(
        self, request: web.Request, fd: int, span: tuple[int, int]
    ) -> AsyncIterator[bytes]:
        """Yield the file's bytes as the client's line carries them, and count them."""
        start, stop = span
        address = request.remote or ""
        line = self._line_of(address)
        client = self.sent[address]
        while start < stop:
            most = _SHAPED_PIECE if line else _PIECE
            block = os.pread(fd, min(most, stop - start), start)
            if not block:  # the file shrank; the client sees a short body
                return
            if line is not None:
                await line.take(len(block))
            start += len(block)
            yield block
            client.bytes += len(block)

    def _line_of(self, address: str) -> Line | None:
        try:
            client = ipaddress.ip_address(address)
        except ValueError:
            return None
        return next((line for line in self._lines if client in line.network), None)

    def _listed(self) -> str:
        return "".join(f"{json.dumps(item)}\n" for item in self._items())

    def _items(self) -> Iterator[dict[str, object]]:
        for place in sorted(self._root.rglob("*")):
            if place.is_file():
                status = place.stat()
                etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
                path = place.relative_to(self._root).as_posix()
                yield {"path": path, "size": status.st_size, "etag": etag}


def _index(folder: Path) -> str:
    names = sorted(item.name + "/" * item.is_dir() for item in folder.iterdir())
    links = "".join(f'<li><a href="{quote(n)}">{html.escape(n)}</a></li>\n' for n in names)
    return f"<!DOCTYPE html>\n<title>Index</title>\n<ul>\n{links}</ul>\n"


def _check_conditions(request: web.Request, headers: dict[str, str], modified: float) -> None:
    """Follow RFC 9110, section 13.2.2, as far as a read-only origin needs it."""
    etag = headers.get("ETag", "")
    if wanted := request.headers.get("If-Match"):
        if wanted != "*" and etag not in _etags(wanted):
            raise web.HTTPPreconditionFailed
    elif since := request.headers.get("If-Unmodified-Since"):
        try:
            if int(modified) > parsedate_to_datetime(since).timestamp():
                raise web.HTTPPreconditionFailed
        except ValueError:  # not a date: the condition is to be ignored
            pass
    held = request.headers.get("If-None-Match", "")
    if held == "*" or (etag and etag in _etags(held)):
        raise web.HTTPNotModified(headers={"ETag": etag})


def _etags(text: str) -> set[str]:
    return {item.strip() for item in text.split(",")}


def _range_of(request: web.Request, size: int) -> tuple[int, int]:
    text = request.headers.get("Range")
    if text is None:
        return 0, size
    match = _RANGE.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise _no_such_range(size)
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    if start >= stop:
        raise _no_such_range(size)
    return start, stop


def _no_such_range(size: int) -> web.HTTPRequestRangeNotSatisfiable:
    return web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})


async def serve(server: OriginServer, options: argparse.Namespace) -> None:
    """Serve until the process is told to end; say so when connections are accepted."""
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port)
        await site.start()
        _tell_ready(runner.addresses[0][1], options)
        end = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, end.set)
        await end.wait()
    finally:
        await runner.cleanup()


def _tell_ready(port: int, options: argparse.Namespace) -> None:
    line = f"{port}\n"
    if options.ready_file is not None:
        part = options.ready_file.with_name(f"{options.ready_file.name}.part")
        part.write_text(line)
        part.replace(options.ready_file)
    if options.ready_fd is not None:
        os.write(options.ready_fd, line.encode())


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m cache_ctl.demo.origin_server", description="Serve a folder as an origin."
    )
    parser.add_argument("--root", type=Path, required=True, help="the folder with the files")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--ready-fd", type=int, help="descriptor that the port is written to")
    parser.add_argument("--ready-file", type=Path, help="file that the port is written to")
    parser.add_argument("--manifest", action="store_true", help=f"serve /{MANIFEST}")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NETWORK=RATE",
        help="a line, as 10.1.0.0/16=200Mbit",
    )
    options = parser.parse_args(arguments)
    if not options.root.is_dir():
        parser.error(f"--root is {str(options.root)!r}, which is no folder")
    try:
        options.lines = [Line.parse(text) for text in options.shape]
    except InvalidInput as error:
        parser.error(str(error))
    return options


def main() -> None:
    """Run the server."""
    options = parse_options()
    server = OriginServer(options.root, lines=options.lines, manifest=options.manifest)
    asyncio.run(serve(server, options))


if __name__ == "__main__":
    main()
