"""What the client asks over the Unix socket: descriptors, and cells that are not there yet."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Final

from runtime.errors import AccessDenied, ConfigError
from runtime.serve.message import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.agent.agent import Agent
    from runtime.agent.content import Content
    from runtime.agent.dataset import Dataset
    from runtime.serve.access import Access
    from runtime.serve.connection import Connection
    from runtime.serve.message import Request

CELLS: Final = 1024
"""Cells in one question at most."""
AHEAD: Final = 16
"""Chunks fetched ahead at most."""
JSON: Final = (("Content-Type", "application/json"),)


class Readers:
    """Answers the clients of this node."""

    def __init__(self, agent: Agent, access: Access) -> None:
        self._agent = agent
        self._access = access

    def open_catalog(self, request: Request) -> Answer:
        """Pass the catalog and the head file; hold the snapshot for this connection."""
        ref = self._dataset(request)
        dataset = self._agent.dataset(ref)
        dataset.check_readable()
        count = dataset.published
        catalog = dataset.catalog()
        snapshot = catalog.meta.snapshot
        # Each client gets an offset of its own; the file may be unlinked.
        own = os.open(f"/proc/self/fd/{catalog.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fds = duplicates([own, dataset.shelf.head_fd()])
        finally:
            os.close(own)
        self._hold(request.connection, dataset, snapshot)
        body = {"dataset": ref, "snapshot": snapshot, "sequence": count}
        return Answer(200, JSON, (json.dumps(body).encode(),), fds=fds, close_fds=True)

    def _hold(self, connection: Connection, dataset: Dataset, snapshot: str) -> None:
        """Keep a snapshot until this connection ends; it may rest as long as its client likes."""
        connection.lasting = True
        dataset.hold(snapshot)
        connection.on_close(lambda: self._end_hold(dataset, snapshot))

    def _end_hold(self, dataset: Dataset, snapshot: str) -> None:
        dataset.release(snapshot)
        # A Dataset that was removed, and perhaps made anew, has nothing left to free.
        is_served = self._agent.datasets.get(dataset.ref) is dataset
        if is_served and snapshot not in dataset.live_snapshots():
            self._agent.forget_old(dataset)

    def open_blob(self, request: Request) -> Answer:
        """Pass the descriptors of a blob's files, two a tier."""
        content = self._content(request)
        with self._agent.fetcher.blob(content).files() as files:
            fds = duplicates(fd for file in files for fd in (file.data_fd, file.map_fd))
        body = {"key": content.layout.key, "tiers": [file.tier for file in files]}
        return Answer(200, JSON, (json.dumps(body).encode(),), fds=fds, close_fds=True)

    def open_whole(self, request: Request) -> Answer:
        """Pass descriptors of an object that is wholly in one tier, which stays so while mapped."""
        content = self._content(request)
        files = self._agent.fetcher.blob(content).lend()
        body = {"key": content.layout.key, "tiers": [files.tier]}
        fds = (files.data_fd, files.map_fd)
        return Answer(200, JSON, (json.dumps(body).encode(),), fds=fds, close_fds=True)

    async def want(self, request: Request) -> Answer:
        """Answer when the cells asked for are there, or cannot be kept."""
        content = self._content(request)
        cells = self._cells(request, content)
        self._fetch_ahead(request, content, max(cells))
        present = await self._agent.fetcher.ensure(content, cells)
        with self._agent.fetcher.blob(content).files() as files:
            body = {"present": present, "tiers": [file.tier for file in files]}
        return Answer(200, JSON, (json.dumps(body).encode(),))

    def _fetch_ahead(self, request: Request, content: Content, last: int) -> None:
        ahead = number(request, "ahead", default=0)
        unit = content.layout.unit_of(last)
        for further in range(unit + 1, min(unit + 1 + min(ahead, AHEAD), content.layout.units)):
            self._agent.fetcher.fetch_in_background(content, further)

    async def suspect(self, request: Request) -> Answer:
        """Verify cells that a reader found corrupt; take away those that are."""
        content = self._content(request)
        blob = self._agent.fetcher.blob(content)
        bad = 0
        for cell in self._cells(request, content):
            if blob.present(cell) and not await asyncio.to_thread(blob.verify, cell):
                bad += 1
        self._agent.counters.healed_cells += bad
        return Answer(200, JSON, (json.dumps({"corrupt": bad}).encode(),))

    def _dataset(self, request: Request) -> str:
        if request.peer is not None:
            raise AccessDenied("descriptors pass over the agent's Unix socket only")
        ref = request.query.get("dataset", "")
        self._access.reader(request, ref)
        return ref

    def _content(self, request: Request) -> Content:
        ref = self._dataset(request)
        self._agent.dataset(ref).check_readable()
        query = request.query
        path, pack = query.get("path", ""), query.get("pack", "")
        if bool(path) == bool(pack):
            raise ConfigError("name either a path or a pack in the query")
        return self._agent.content(ref, query.get("snapshot", ""), path=path, key=pack)

    @staticmethod
    def _cells(request: Request, content: Content) -> list[int]:
        text = request.query.get("cells", "")
        try:
            cells = sorted({int(part) for part in text.split(",")})
        except ValueError as error:
            raise ConfigError(f"cells is {text[:40]!r}; it must be numbers with commas") from error
        if len(cells) > CELLS or cells[0] < 0 or cells[-1] >= content.layout.cells:
            raise ConfigError(
                f"cells must be at most {CELLS} numbers from 0 to {content.layout.cells - 1}"
            )
        return cells


def number(request: Request, name: str, *, default: int) -> int:
    """Return a parameter of the query that is a number.

    Raises:
        ConfigError: it is something else.
    """
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f"{name} is {text[:40]!r}; it must be a number")
    return int(text)


def duplicates(fds: Iterable[int]) -> tuple[int, ...]:
    """Return duplicates of descriptors, all of them or none.

    Raises:
        OSError: one cannot be had; those made so far are closed.
    """
    made: list[int] = []
    try:
        for fd in fds:
            made.append(os.dup(fd))  # noqa: PERF401 - those made so far must be known
    except BaseException:
        for fd in made:
            os.close(fd)
        raise
    return tuple(made)
