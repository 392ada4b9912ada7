"""What the client asks over the Unix socket: descriptors, and cells that are not there yet."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Final

from runtime.errors import AccessDenied, ConfigError
from runtime.serve.message import Answer

if TYPE_CHECKING:
    from runtime.agent.agent import Agent
    from runtime.agent.content import Content
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
        meta = dataset.catalog().meta
        head = dataset.head
        assert head is not None
        self._hold(request.connection, ref, meta.snapshot)
        catalog = os.open(dataset.shelf.path(meta.snapshot), os.O_RDONLY | os.O_CLOEXEC)
        fds = (catalog, os.dup(dataset.shelf.head_fd()))
        body = {"dataset": ref, "snapshot": meta.snapshot, "sequence": head.sequence}
        return Answer(200, JSON, (json.dumps(body).encode(),), fds=fds, close_fds=True)

    def _hold(self, connection: Connection, ref: str, snapshot: str) -> None:
        """Keep a snapshot until this connection ends; it may rest as long as its client likes."""
        connection.lasting = True
        self._agent.dataset(ref).hold(snapshot)
        connection.on_close(lambda: self._end_hold(ref, snapshot))

    def _end_hold(self, ref: str, snapshot: str) -> None:
        dataset = self._agent.datasets.get(ref)
        if dataset is None:
            return
        dataset.release(snapshot)
        if snapshot not in dataset.live_snapshots():
            self._agent.forget_old(dataset)

    def open_blob(self, request: Request) -> Answer:
        """Pass the descriptors of a blob's files, two a tier."""
        content = self._content(request)
        with self._agent.fetcher.blob(content).files() as files:
            fds = tuple(os.dup(fd) for file in files for fd in (file.data_fd, file.map_fd))
        body = {"key": content.layout.key, "tiers": [file.tier for file in files]}
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
        ahead = _number(request, "ahead", default=0)
        unit = content.layout.unit_of(last)
        for further in range(unit + 1, min(unit + 1 + min(ahead, AHEAD), content.layout.units)):
            if self._agent.fetcher.missing(content, further):
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
        return self._agent.content(ref, query.get("snapshot", ""), path=path, pack=pack)

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


def _number(request: Request, name: str, *, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f"{name} is {text[:40]!r}; it must be a number")
    return int(text)
