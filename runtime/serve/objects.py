"""Objects over HTTP: ``GET /ns/dataset/path`` with ranges and conditions."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.agent.content import Content
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import SEGMENT
from runtime.errors import NoSuchPath, NotCached, StaleVersion
from runtime.serve.failures import sentence
from runtime.serve.message import Answer, Stream
from runtime.serve.ranges import NotSatisfiable, parse_range

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

    from runtime.agent.agent import Agent
    from runtime.catalog.records import FileRecord
    from runtime.serve.access import Access
    from runtime.serve.message import Request
    from runtime.serve.remembered import Remembered

AT_ONCE: Final = 4 * SEGMENT
"""Up to so many bytes that rest here are answered without a task."""
BLOCK: Final = AT_ONCE
"""What is read at once of a long range. It stays in the core's cache until it is sent, and no
thread is asked: measured, 4 MiB in a thread cost 1.5 times the processor time. A reader that takes
nothing holds no more than this."""
AHEAD: Final = 3
"""Chunks fetched beyond the one being sent, when a range goes that far."""
TRIES: Final = 3
_TAGS: Final = re.compile(r'(W/)?("[^"]*")')
"""Entity tags in a condition: the mark of a weak one, and the tag."""


def etag(version: str) -> str:
    """Return a version token as a strong entity tag."""
    return f'"{quote(version, safe="!#$%&()*+,-./:;<=>?@[]^_`{|}~ ")}"'


class Objects:
    """Answers readers that speak plain HTTP. Every byte is verified on its way out."""

    def __init__(self, agent: Agent, access: Access, remembered: Remembered) -> None:
        self._agent = agent
        self._access = access
        self._remembered = remembered

    def get(self, request: Request) -> Answer | Awaitable[Answer]:
        """Answer GET and HEAD of an object; at once where its bytes are few and rest here."""
        namespace, _, rest = request.path[1:].partition("/")
        name, _, path = rest.partition("/")
        ref = f"{namespace}/{name}"
        has_token = self._access.reader(request, ref)
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
        if status in (412, 416):
            return _refused(status, headers, path, record.size)
        if start == stop:
            return Answer(status, headers)
        content = Content.of_record(dataset, catalog, record)
        cell = _cell_of(content, record, start, stop)
        if cell is not None:
            blob = self._agent.fetcher.blob(content)
            base = cell * content.layout.chunk if isinstance(content.layout, ObjectLayout) else 0
            span = blob.span(cell, start - base, stop - base)
            data = blob.glance(span) or self._checked(content, cell, span.start, span.stop)
            if data is not None:
                if has_token:
                    self._remembered.note(request, status, headers, dataset, blob, span)
                return Answer(status, headers, (data,))
        return self._body(status, headers, content, record, start, stop)

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
        blocks = self.blocks(content, record, start, stop)
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

    async def blocks(
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
            upto = min(stop, end, start // SEGMENT * SEGMENT + BLOCK)
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


def _cell_of(content: Content, record: FileRecord, start: int, stop: int) -> int | None:
    """Return the cell that holds a range; None when it is long, or lies in several."""
    if stop - start > AT_ONCE:
        return None
    layout = content.layout
    if not isinstance(layout, ObjectLayout):
        return record.ordinal
    cell = start // layout.chunk
    return cell if stop <= layout.cell_range(cell)[1] else None


def _negotiated(
    request: Request, record: FileRecord
) -> tuple[int, tuple[tuple[str, str], ...], int, int]:
    """Return status, headers, and which bytes to send, from the conditions and the range."""
    tag = etag(record.version)
    headers: tuple[tuple[str, str], ...] = (("ETag", tag), ("Accept-Ranges", "bytes"))
    decided = _condition(request, tag)
    if decided is not None:
        return decided, headers, 0, 0
    # A range is defined for GET alone, and HEAD tells of the whole.
    wanted = request.headers.get("range") if request.method == "GET" else None
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
    if required is not None and required != "*" and ("", tag) not in _TAGS.findall(required):
        return 412
    known = request.headers.get("if-none-match")
    if known is not None and (known == "*" or tag in (item[1] for item in _TAGS.findall(known))):
        return 304
    return None


def _refused(status: int, headers: tuple[tuple[str, str], ...], path: str, size: int) -> Answer:
    """Return the answer to a condition that is not met, or to a range outside the object."""
    if status == 412:
        text = f"{path} has another version than those in If-Match; ETag says which"
        answer = sentence(status, text, StaleVersion.__name__)
    else:
        answer = sentence(status, f"{path} has {size} bytes; ask for a range that begins in them")
    answer.headers += headers
    return answer
