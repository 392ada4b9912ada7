"""Objects over HTTP: ``GET /ns/dataset/path`` with ranges and conditions, and batches."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.agent.content import Content
from runtime.contract import protocol
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import MIB, SEGMENT
from runtime.errors import CacheError, ConfigError, NoSuchPath, NotCached
from runtime.serve.failures import answer_of
from runtime.serve.message import Answer, Stream
from runtime.serve.ranges import NotSatisfiable, parse_range

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

    from runtime.agent.agent import Agent
    from runtime.catalog.records import FileRecord
    from runtime.serve.access import Access
    from runtime.serve.message import Request

AT_ONCE: Final = 4 * SEGMENT
"""Up to so many bytes that rest here are answered without a task."""
BLOCK: Final = 4 * MIB
AHEAD: Final = 3
"""Chunks fetched beyond the one being sent, when a range goes that far."""
TRIES: Final = 3
LARGEST_IN_BATCH: Final = MIB
LARGEST_BATCH: Final = 64 * MIB


def etag(version: str) -> str:
    """Return a version token as a strong entity tag."""
    return f'"{quote(version, safe="!#$%&()*+,-./:;<=>?@[]^_`{|}~ ")}"'


class Objects:
    """Answers readers that speak plain HTTP. Every byte is verified on its way out."""

    def __init__(self, agent: Agent, access: Access) -> None:
        self._agent = agent
        self._access = access

    def get(self, request: Request) -> Answer | Awaitable[Answer]:
        """Answer GET and HEAD of an object; at once where its bytes are few and rest here."""
        namespace, _, rest = request.path[1:].partition("/")
        name, _, path = rest.partition("/")
        ref = f"{namespace}/{name}"
        self._access.reader(request, ref)
        dataset = self._agent.dataset(ref)
        dataset.check_readable()
        catalog = dataset.catalog(request.query.get("snapshot", ""))
        record = catalog.find(path)
        if record is None:
            if not path or catalog.is_dir(path):
                raise NoSuchPath(f"/{ref}/{path} is a folder; ask for an object in it")
            raise NoSuchPath(f"{ref} has no object {path!r} in this snapshot")
        status, headers, start, stop = _negotiated(request, record)
        if request.method == "HEAD" and status in (200, 206):
            return Answer(status, headers, head_length=stop - start)
        if start == stop:
            return Answer(status, headers)
        content = Content.of_record(dataset, catalog, record)
        data = self._at_once(content, record, start, stop)
        if data is not None:
            return Answer(status, headers, (data,))
        return self._body(status, headers, content, record, start, stop)

    def _at_once(self, content: Content, record: FileRecord, start: int, stop: int) -> bytes | None:
        """Return bytes that lie in one cell and rest here, if they are few; verified."""
        if stop - start > AT_ONCE:
            return None
        layout = content.layout
        if isinstance(layout, ObjectLayout):
            cell = start // layout.chunk
            base, end = layout.cell_range(cell)
            if stop > end:
                return None
            start, stop = start - base, stop - base
        else:
            cell = record.ordinal
        return self._checked(content, cell, start, stop)

    def _checked(self, content: Content, cell: int, start: int, stop: int) -> bytes | None:
        """Return bytes of a cell, verified; None when it is not here, or was corrupt."""
        blob = self._agent.fetcher.blob(content)
        if not blob.present(cell):
            return None
        data = blob.verified_read(cell, start, stop)
        if data is None:
            self._agent.counters.healed_cells += 1
        else:
            blob.touch(content.layout.unit_of(cell))
        return data

    async def _body(
        self,
        status: int,
        headers: tuple[tuple[str, str], ...],
        content: Content,
        record: FileRecord,
        start: int,
        stop: int,
    ) -> Answer:
        blocks = self._blocks(content, record, start, stop)
        first = await anext(blocks)
        if len(first) == stop - start:
            data = bytes(first)
            await blocks.aclose()
            return Answer(status, headers, (data,))

        async def chunks() -> AsyncGenerator[bytes | memoryview, None]:
            yield first
            async for block in blocks:
                yield block

        return Answer(status, headers, (Stream(chunks(), stop - start),))

    async def _blocks(
        self, content: Content, record: FileRecord, start: int, stop: int
    ) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield the bytes of an object, verified, as they become available."""
        layout = content.layout
        if not isinstance(layout, ObjectLayout):
            yield await self._member(content, record.ordinal, start, stop)
            return
        while start < stop:
            cell = start // layout.chunk
            base, end = layout.cell_range(cell)
            upto = min(stop, end, start + BLOCK)
            data = await self._resting(content, cell, start - base, upto - base)
            if data is not None:
                yield data
                start = upto
                continue
            upto = min(stop, end)
            last = min(cell + AHEAD, (stop - 1) // layout.chunk)
            flights = self._agent.fetcher.flights(content, cell, [cell])
            for ahead in range(cell + 1, last + 1):
                self._agent.fetcher.fetch_in_background(content, ahead)
            for flight in flights:  # none, if the chunk has landed meanwhile
                async for view in flight.stream(start - base, upto - base, verified=True):
                    yield view
                start = upto

    async def _member(self, content: Content, cell: int, start: int, stop: int) -> bytes:
        fetcher = self._agent.fetcher
        for _ in range(TRIES):
            data = await self._resting(content, cell, start, stop)
            if data is not None:
                return data
            if await fetcher.ensure(content, [cell]):
                continue
            unit = content.layout.unit_of(cell)
            name = content.unit_name(unit)
            flight = fetcher.under_way(f"{name}:{cell}") or fetcher.under_way(name)
            if flight is not None and cell in flight.sums and flight.landing is not None:
                at = flight.place(cell)[0]
                return bytes(flight.landing.view[at + start : at + stop])
        raise NotCached("the tiers of this node change too quickly; read again")

    async def _resting(self, content: Content, cell: int, start: int, stop: int) -> bytes | None:
        """Return bytes of a cell that rests here, verified; None when it does not."""
        if stop - start <= AT_ONCE:
            return self._checked(content, cell, start, stop)
        return await asyncio.to_thread(self._checked, content, cell, start, stop)

    async def batch(self, request: Request) -> Answer:
        """Answer ``POST /batch``: small objects, one after the other, each with its status."""
        ref, snapshot, paths = _batch_of(request)
        self._access.reader(request, ref)
        dataset = self._agent.dataset(ref)
        dataset.check_readable()
        catalog = dataset.catalog(snapshot)
        records = {path: catalog.find(path) for path in paths}
        total = sum(record.size for record in records.values() if record is not None)
        if total > LARGEST_BATCH:
            raise ConfigError(f"the batch has {total} bytes; at most {LARGEST_BATCH} go in one")
        width = asyncio.Semaphore(64)

        async def one(path: str) -> tuple[int, bytes]:
            record = records[path]
            if record is None:
                return 404, f"{ref} has no object {path!r} in this snapshot".encode()
            if record.size > LARGEST_IN_BATCH:
                return 413, f"{path} has {record.size} bytes; read it on its own".encode()
            if not record.size:
                return 200, b""
            content = Content.of_record(dataset, catalog, record)
            try:
                async with width:
                    blocks = [b async for b in self._blocks(content, record, 0, record.size)]
                return 200, b"".join(blocks)
            except CacheError as error:
                told = answer_of(error)
                return told.status, str(error).encode()

        found = await asyncio.gather(*(one(path) for path in paths))
        parts: list[bytes] = []
        for status, data in found:
            parts += (protocol.BATCH_ITEM.pack(status, len(data)), data)
        return Answer(200, (("Content-Type", "application/octet-stream"),), (b"".join(parts),))


def _batch_of(request: Request) -> tuple[str, str, list[str]]:
    """Return a batch's Dataset, snapshot and paths."""
    try:
        document = json.loads(request.body)
        ref, paths = document["dataset"], document["paths"]
        snapshot = document.get("snapshot", "")
        usable = isinstance(ref, str) and isinstance(snapshot, str) and isinstance(paths, list)
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable or not all(isinstance(path, str) for path in paths):
        raise ConfigError('the body must be {"dataset": "namespace/name", "paths": [...]}')
    if len(paths) > protocol.BATCH_PATHS:
        raise ConfigError(f"{len(paths)} paths in a batch; at most {protocol.BATCH_PATHS}")
    return ref, snapshot, paths


def _negotiated(
    request: Request, record: FileRecord
) -> tuple[int, tuple[tuple[str, str], ...], int, int]:
    """Return status, headers, and which bytes to send, from the conditions and the range."""
    tag = etag(record.version)
    headers: tuple[tuple[str, str], ...] = (("ETag", tag), ("Accept-Ranges", "bytes"))
    decided = _condition(request, tag)
    if decided is not None:
        return decided, headers, 0, 0
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range", tag) != tag:
        wanted = None
    try:
        span = parse_range(wanted, record.size) if wanted is not None else None
    except NotSatisfiable:
        return 416, (*headers, ("Content-Range", f"bytes */{record.size}")), 0, 0
    kind = ("Content-Type", "application/octet-stream")
    if span is None:
        return 200, (*headers, kind), 0, record.size
    part = ("Content-Range", f"bytes {span[0]}-{span[1] - 1}/{record.size}")
    return 206, (*headers, part, kind), *span


def _condition(request: Request, tag: str) -> int | None:
    """Return the status that a conditional request ends with, None to go on."""
    required = request.headers.get("if-match")
    if required is not None and not _lists(required, tag):
        return 412
    known = request.headers.get("if-none-match")
    if known is not None and _lists(known, tag):
        return 304
    return None


def _lists(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (
        item.strip().removeprefix("W/") for item in header.split(",")
    )
