"""The snapshot of a Dataset that is current, and what keeps it alive.

A snapshot is its catalog and a **pin**: the connection on which the catalog was asked for, silent
afterwards. The agent keeps the snapshot's objects while that connection lives. Every file open on
the snapshot refers to it, so the pin closes with the last of them; a forked child inherits the
connection, and the kernel ends it when the last process has closed it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.catalog.read import Catalog
from runtime.client.agent_socket import AgentSocket, Connection, Question
from runtime.client.blobs import Blob, BlobShelf, read_json
from runtime.client.failures import AccessRefused, AgentMisspoke, Failure, PolicyRefused
from runtime.contract import protocol
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from runtime.client.settings import ClientSettings
    from runtime.contract.cellmap import MapHeader
    from runtime.contract.layout import ObjectLayout

_LOOK_SECONDS: Final = 1.0
"""How often a pin is looked at, and how soon a failed change of snapshots is tried again."""

_unused: deque[Catalog] = deque()
"""Catalogs to close. A finalizer may run inside a catalog's own call, whose lock is not
re-entrant, so it only puts them here; the next change of snapshots closes them."""


class Snapshot:
    """One listing of a Dataset. Immutable but for its pin; closed when nothing refers to it."""

    __slots__ = ("_packs", "_pin", "catalog", "name")

    def __init__(self, name: str, catalog: Catalog, pin: Connection) -> None:
        self.name = name
        self.catalog = catalog
        self._pin = pin
        self._packs: dict[int, MapHeader] = {}

    def __del__(self) -> None:
        self._pin.close()
        _unused.append(self.catalog)

    def pack(self, pack: int) -> MapHeader:
        """Return what the map of a pack must say."""
        header = self._packs.get(pack)
        if header is None:
            header = self._packs[pack] = self.catalog.pack_layout(pack).header
        return header

    def is_pinned(self) -> bool:
        """Tell whether the agent still holds its end of the pin: it goes when the agent goes."""
        try:
            return bool(self._pin.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def pin_again(self, pin: Connection) -> None:
        """Take the pin of an agent that has restarted."""
        self._pin, lost = pin, self._pin
        lost.close()


class DatasetView:
    """A Dataset in this process: its current snapshot, and the blobs that are open.

    ``quoted`` is its name as it goes into a request.
    """

    def __init__(self, agent: AgentSocket, shelf: BlobShelf, dataset: str) -> None:
        self._shelf = shelf
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._renew_at = 0.0
        self._change_failed = False
        self._sequence = -1
        self._head = memoryview(bytes(protocol.DATASET_HEAD.size)).cast("Q")
        self._snapshot: Snapshot | None = None
        self.agent = agent
        self.dataset = dataset
        self.quoted = quote(dataset, safe="/")

    def current(self) -> Snapshot:
        """Return the current snapshot: a newer one as soon as the agent has published it.

        While no agent answers, the last one known stays current.

        Raises:
            Failure: there is none yet and the agent gives none, or it refuses this client.
        """
        snapshot = self._snapshot
        if (
            snapshot is not None
            and self._head[0] == self._sequence
            and time.monotonic() < self._look_at
        ):
            return snapshot
        with self._lock:
            return self._look()

    def renew(self, snapshot: Snapshot) -> bool:
        """Ask for the catalog again, as the agent cannot give bytes of this snapshot.

        Return whether another snapshot is current now: a Dataset that was removed and made anew
        has other snapshots, and its head file is another. Asks at most once a second.

        Raises:
            Failure: the agent refuses this client.
        """
        with self._lock:
            now = time.monotonic()
            if self._snapshot is snapshot and now >= self._renew_at:
                self._renew_at = now + _LOOK_SECONDS
                self._sequence, self._change_failed = -1, False
                self._look()
            return self._snapshot is not snapshot

    def _look(self) -> Snapshot:
        now = time.monotonic()
        held = self._snapshot
        if held is not None:
            is_same = self._head[0] == self._sequence
            if now < self._look_at and (is_same or self._change_failed):
                return held
            if is_same and held.is_pinned():
                self._look_at = now + _LOOK_SECONDS
                return held
        try:
            held = self._snapshot = self._open(held)
            self._change_failed = False
        except (AccessRefused, PolicyRefused):
            raise
        except Failure:
            if held is None:
                raise
            self._change_failed = True
        self._look_at = time.monotonic() + _LOOK_SECONDS
        return held

    def _open(self, held: Snapshot | None) -> Snapshot:
        target = f"{protocol.OPEN_CATALOG}?dataset={self.quoted}"
        question = Question("GET", target, path=self.dataset, patient=held is None)
        answer, pin = self.agent.hold(question)
        try:
            pin.setblocking(False)  # noqa: FBT003 - the standard library's signature
            body = read_json(answer.body)
            name, sequence = body.get("snapshot"), body.get("sequence")
            if (
                len(answer.descriptors) != 2
                or not isinstance(name, str)
                or not isinstance(sequence, int)
            ):
                raise AgentMisspoke(
                    "the agent's answer holds no catalog with its head file", self.dataset
                )
            catalog_fd, head_fd = answer.descriptors
            if held is not None and held.name == name and _same_file(catalog_fd, held.catalog):
                snapshot = held
                snapshot.pin_again(pin)
            else:
                snapshot = Snapshot(name, self._checked(Catalog(catalog_fd), name), pin)
            self._head = memoryview(mmap.mmap(head_fd, 0, access=mmap.ACCESS_READ)).cast("Q")
            self._sequence = sequence
        except (ConfigError, ValueError, OSError) as error:
            pin.close()
            if isinstance(error, Failure):
                raise
            raise AgentMisspoke(f"the catalog of {self.dataset}: {error}", self.dataset) from error
        finally:
            for descriptor in answer.descriptors:
                os.close(descriptor)
        with contextlib.suppress(IndexError):
            while True:
                _unused.popleft().close()
        return snapshot

    def _checked(self, catalog: Catalog, name: str) -> Catalog:
        meta = catalog.meta
        if (meta.dataset, meta.snapshot) == (self.dataset, name):
            return catalog
        catalog.close()
        raise AgentMisspoke(
            f"the agent passed the catalog of {meta.dataset} at {meta.snapshot} where "
            f"{self.dataset} at {name} was asked",
            self.dataset,
        )

    def pack(self, snapshot: Snapshot, pack: int) -> Blob:
        """Return a pack of the snapshot."""
        header = snapshot.pack(pack)
        return self._shelf.get(header.key, lambda: Blob(self.agent, self.quoted, header))

    def object(self, layout: ObjectLayout, path: str) -> Blob:
        """Return the blob of a large object."""
        header = layout.header
        return self._shelf.get(layout.key, lambda: Blob(self.agent, self.quoted, header, path=path))

    def forget_locks(self) -> None:
        """Replace the lock; in a forked child a thread that is not there may hold it."""
        self._lock = threading.Lock()


def _same_file(descriptor: int, catalog: Catalog) -> bool:
    return os.path.sameopenfile(descriptor, catalog.fileno())


class Session:
    """All that file systems with equal settings share in one process."""

    def __init__(self, settings: ClientSettings) -> None:
        self._shelf = BlobShelf()
        self._views: dict[str, DatasetView] = {}
        self.settings = settings
        self.agent = AgentSocket(settings)

    def view(self, dataset: str) -> DatasetView:
        """Return the view of the Dataset ``ns/name``."""
        view = self._views.get(dataset)
        if view is None:
            view = self._views.setdefault(dataset, DatasetView(self.agent, self._shelf, dataset))
        return view

    def restart_after_fork(self) -> None:
        """Drop what belongs to the parent: connections, and locks that its threads held."""
        self.agent.forget_connections()
        self._shelf.forget_locks()
        for view in self._views.values():
            view.forget_locks()
