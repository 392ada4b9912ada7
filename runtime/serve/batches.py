"""``POST /batch``: many small objects in one answer.

What rests here is read at once into the answer's own buffer, one turn of the store's lock for
each stretch; only what does not is fetched, and only then are tasks made.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from runtime.agent.content import Content
from runtime.contract import protocol
from runtime.contract.units import MIB
from runtime.errors import CacheError, ConfigError
from runtime.serve.failures import answer_of
from runtime.serve.message import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.agent.agent import Agent
    from runtime.agent.dataset import Dataset
    from runtime.catalog.read import Catalog
    from runtime.catalog.records import FileRecord
    from runtime.serve.access import Access
    from runtime.serve.message import Request
    from runtime.serve.objects import Objects

LARGEST_OBJECT: Final = MIB
LARGEST_BATCH: Final = 64 * MIB
STRETCH: Final = MIB
"""Bytes read before other connections have their turn."""
WIDTH: Final = 64
"""Objects fetched at once."""
OK: Final = 200

_HEAD: Final = protocol.BATCH_ITEM.size
_KIND: Final = (("Content-Type", "application/octet-stream"),)


class Batches:
    """Answers readers that ask for many small objects at once."""

    def __init__(self, agent: Agent, access: Access, objects: Objects) -> None:
        self._agent = agent
        self._access = access
        self._objects = objects

    async def answer(self, request: Request) -> Answer:
        """Answer a batch: the objects one after the other in the order asked, with their status."""
        ref, snapshot, paths = _parsed(request)
        self._access.reader(request, ref)
        dataset = self._agent.dataset(ref)
        dataset.check_readable()
        catalog = dataset.catalog(snapshot)
        records = catalog.find_many(paths)
        total = sum(record.size for record in records if record is not None)
        if total > LARGEST_BATCH:
            raise ConfigError(f"the batch has {total} bytes; at most {LARGEST_BATCH} go in one")
        body, items = _laid_out(records)
        lacking = await self._rest(dataset, catalog, records, items)
        refusals = {
            index: (404, f"{ref} has no object {path!r} in this snapshot".encode())
            for index, path in enumerate(paths)
            if records[index] is None
        }
        refusals |= await self._fetch(dataset, catalog, records, items, lacking)
        if not refusals:
            return Answer(200, _KIND, (memoryview(body),))
        return Answer(200, _KIND, (b"".join(_with_refusals(items, refusals)),))

    async def _rest(
        self,
        dataset: Dataset,
        catalog: Catalog,
        records: Sequence[FileRecord | None],
        items: Sequence[memoryview],
    ) -> list[int]:
        """Read the members of packs that rest here; return the indexes of all other objects."""
        packs: dict[int, list[int]] = {}
        lacking: list[int] = []
        for index, record in enumerate(records):
            if record is None or not record.size:
                continue
            if record.pack is None or record.size > LARGEST_OBJECT:
                lacking.append(index)
            else:
                packs.setdefault(record.pack, []).append(index)
        passed = 0
        for pack, members in packs.items():
            content = Content(dataset, catalog, catalog.pack_layout(pack), pack=pack)
            blob = self._agent.fetcher.blob(content)
            for stretch in _stretches(members, items):
                if passed:
                    await asyncio.sleep(0)
                passed += 1
                wanted = [(records[index].ordinal, items[index]) for index in stretch]  # type: ignore[union-attr]  # those of packs are records
                lacking += [stretch[place] for place in blob.collect(wanted)]
        return lacking

    async def _fetch(
        self,
        dataset: Dataset,
        catalog: Catalog,
        records: Sequence[FileRecord | None],
        items: Sequence[memoryview],
        lacking: Sequence[int],
    ) -> dict[int, tuple[int, bytes]]:
        """Have the other objects read or fetched; return status and sentence of those refused."""
        width = asyncio.Semaphore(WIDTH)
        refused: dict[int, tuple[int, bytes]] = {}

        async def one(index: int) -> None:
            record = records[index]
            assert record is not None
            if record.size > LARGEST_OBJECT:
                text = f"{record.path} has {record.size} bytes; read it on its own"
                refused[index] = 413, text.encode()
                return
            content = Content.of_record(dataset, catalog, record)
            try:
                async with width:
                    at = 0
                    async for block in self._objects.blocks(content, record, 0, record.size):
                        items[index][at : at + len(block)] = block
                        at += len(block)
            except CacheError as error:
                refused[index] = answer_of(error).status, str(error).encode()

        await asyncio.gather(*map(one, lacking))
        return refused


def _laid_out(records: Sequence[FileRecord | None]) -> tuple[bytearray, list[memoryview]]:
    """Return the buffer of an answer in which all is well, and each object's place in it.

    The heads are in it; an object that is not there, or too large, takes no bytes.
    """
    sizes = [
        record.size if record is not None and record.size <= LARGEST_OBJECT else 0
        for record in records
    ]
    body = bytearray(sum(sizes) + _HEAD * len(sizes))
    view = memoryview(body)
    items = []
    at = 0
    pack = protocol.BATCH_ITEM.pack_into
    for size in sizes:
        pack(body, at, OK, size)
        at += _HEAD
        items.append(view[at : at + size])
        at += size
    return body, items


def _stretches(members: Sequence[int], items: Sequence[memoryview]) -> Iterator[list[int]]:
    """Divide the members of a pack into stretches of about ``STRETCH`` bytes."""
    stretch: list[int] = []
    size = 0
    for index in members:
        stretch.append(index)
        size += len(items[index])
        if size >= STRETCH:
            yield stretch
            stretch, size = [], 0
    if stretch:
        yield stretch


def _with_refusals(
    items: Sequence[memoryview], refusals: dict[int, tuple[int, bytes]]
) -> Iterator[bytes | memoryview]:
    for index, item in enumerate(items):
        status, data = refusals.get(index, (OK, item))
        yield protocol.BATCH_ITEM.pack(status, len(data))
        yield data


def _parsed(request: Request) -> tuple[str, str, list[str]]:
    """Return a batch's Dataset, snapshot and paths."""
    try:
        document = json.loads(request.body)
        ref, paths = document["dataset"], document["paths"]
        snapshot = document.get("snapshot", "")
        usable = isinstance(ref, str) and isinstance(snapshot, str) and isinstance(paths, list)
        # JSON may name half a character, which no name has and no answer can repeat.
        usable = usable and f"{ref}{snapshot}".isprintable()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        usable = False
    if not usable or not all(isinstance(path, str) for path in paths):
        raise ConfigError('the body must be {"dataset": "namespace/name", "paths": [...]}')
    if len(paths) > protocol.BATCH_PATHS:
        raise ConfigError(f"{len(paths)} paths in a batch; at most {protocol.BATCH_PATHS}")
    return ref, snapshot, paths
