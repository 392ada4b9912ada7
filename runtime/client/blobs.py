"""A blob as this process sees it: descriptors and cell maps a tier, and questions about it.

A tier's files are closed when nothing refers to them any more, so a reader in the middle of a read
keeps them by holding the ``TierFiles``; nothing is closed under a reader.
"""

from __future__ import annotations

import json
import os
import resource
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.client.agent_socket import Question
from runtime.client.failures import AgentMisspoke
from runtime.contract import protocol
from runtime.contract.cellmap import CellMap
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runtime.client.agent_socket import AgentSocket, Answer
    from runtime.contract.cellmap import MapHeader

MAX_CELLS_A_QUESTION: Final = 1024
ROUNDS: Final = 3
"""How often absent or failing cells are asked for before the bytes are read through the agent."""


class TierFiles:
    """A blob's bytes and map in one tier. ``identity`` tells a file from one made anew."""

    __slots__ = (
        "_close",
        "chunk",
        "descriptor",
        "identity",
        "per_cell",
        "segments",
        "sums",
        "words",
    )

    def __init__(self, descriptor: int, cells: CellMap, identity: tuple[int, int]) -> None:
        self.descriptor = descriptor
        self.words = cells.words
        self.sums = cells.sums
        self.segments = cells.segments
        self.identity = identity
        self._close = os.close  # still there when the interpreter ends

    def __del__(self) -> None:
        self._close(self.descriptor)


class Blob:
    """One blob of a Dataset. ``tiers`` is replaced as a whole, never changed in place.

    ``header`` is what its maps must say. ``subject`` is how questions name it: by the path of a
    large object, or by the key of a pack.
    """

    __slots__ = ("_agent", "_dataset", "_lock", "header", "path", "recent", "subject", "tiers")

    def __init__(
        self, agent: AgentSocket, dataset: str, header: MapHeader, *, path: str | None = None
    ) -> None:
        self._agent = agent
        self._dataset = dataset
        self._lock = threading.Lock()
        self.header = header
        self.path = path
        self.subject = f"pack={header.key}" if path is None else f"path={quote(path, safe='/')}"
        self.tiers: tuple[TierFiles, ...] = ()
        self.recent = True

    def refresh(self, snapshot: str) -> None:
        """Fetch the descriptors that there are now; files already held are kept as they are.

        Raises:
            Failure: see ``AgentSocket.ask``.
        """
        answer = self._agent.ask(
            Question("GET", self._target(protocol.OPEN_BLOB, snapshot), path=self.path)
        )
        known = {tier.identity: tier for tier in self.tiers}
        pairs = self._pairs(answer)
        tiers = []
        try:
            while pairs:
                tiers.append(self._adopt(*pairs[0], known))
                del pairs[0]
        finally:
            for pair in pairs:
                for descriptor in pair:
                    os.close(descriptor)
        self.tiers = tuple(tiers)

    def _pairs(self, answer: Answer) -> list[tuple[int, int]]:
        received = answer.descriptors
        body = read_json(answer.body)
        tiers = body.get("tiers")
        if (
            body.get("key") == self.header.key
            and isinstance(tiers, list)
            and len(received) == 2 * len(tiers)
        ):
            return list(zip(received[::2], received[1::2], strict=True))
        for descriptor in received:
            os.close(descriptor)
        raise AgentMisspoke(
            f"the agent passed descriptors of blob {body.get('key')!r} where {self.header.key} was "
            "asked",
            self.path,
        )

    def _adopt(self, data: int, cells: int, known: dict[tuple[int, int], TierFiles]) -> TierFiles:
        # On an exception both descriptors are still the caller's to close.
        status = os.fstat(cells)
        identity = (status.st_dev, status.st_ino)
        tier = known.get(identity)
        if tier is None:
            tier = TierFiles(data, self._opened(cells), identity)
        else:
            os.close(data)
        os.close(cells)
        return tier

    def _opened(self, cells: int) -> CellMap:
        try:
            opened = CellMap(cells)
        except (ConfigError, OSError) as error:
            raise AgentMisspoke(f"a map of {self.subject}: {error}", self.path) from error
        # The key says what the bytes are, the rest of the header where they lie.
        if opened.header != self.header:
            raise AgentMisspoke(
                f"the agent's map of {self.subject} has another layout than the catalog", self.path
            )
        return opened

    def whole(self, snapshot: str) -> tuple[int, CellMap]:
        """Return a descriptor, now the caller's, whose bytes stay while it is open, and their map.

        Raises:
            BytesUnavailable: no one tier of this node has all of the blob.
            StoreFull: the agent lends no more.
            Failure: see ``AgentSocket.ask``.
        """
        target = self._target(protocol.OPEN_WHOLE, snapshot)
        pairs = self._pairs(self._agent.ask(Question("GET", target, path=self.path)))
        data, cells = pairs.pop()
        try:
            return data, self._opened(cells)
        except BaseException:
            os.close(data)
            raise
        finally:
            os.close(cells)

    def want(
        self, snapshot: str, cells: Sequence[int], *, ahead: int = 0, patient: bool = True
    ) -> bool:
        """Ask the agent to fetch these cells; return False when its store does not admit them.

        ``ahead`` further chunks are fetched in the background. Afterwards ``tiers`` holds the
        files in which the cells are, if any is new.

        Raises:
            Failure: see ``AgentSocket.ask``.
        """
        for start in range(0, len(cells), MAX_CELLS_A_QUESTION):
            some = cells[start : start + MAX_CELLS_A_QUESTION]
            target = self._target(protocol.WANT, snapshot, some, ahead)
            answer = self._agent.ask(Question("POST", target, path=self.path, patient=patient))
            if read_json(answer.body).get("present") is not True:
                return False
        if not all(self.holder(cell) for cell in cells):
            with self._lock:
                if not all(self.holder(cell) for cell in cells):
                    self.refresh(snapshot)
        return True

    def holder(self, cell: int) -> TierFiles | None:
        """Return the tier in which the cell is present now."""
        for tier in self.tiers:
            if tier.words[cell] & 1:
                return tier
        return None

    def suspect(self, snapshot: str, cells: Sequence[int]) -> None:
        """Tell the agent that these cells do not match their checksums.

        Raises:
            Failure: see ``AgentSocket.ask``.
        """
        self._agent.ask(
            Question("POST", self._target(protocol.SUSPECT, snapshot, cells), path=self.path)
        )

    def _target(
        self, endpoint: str, snapshot: str, cells: Iterable[int] = (), ahead: int = 0
    ) -> str:
        target = f"{endpoint}?dataset={self._dataset}&snapshot={snapshot}&{self.subject}"
        listed = ",".join(map(str, cells))
        if listed:
            target += f"&cells={listed}"
        return f"{target}&ahead={ahead}" if ahead else target

    def forget_locks(self) -> None:
        """Replace the lock; in a forked child a thread that is not there may hold it."""
        self._lock = threading.Lock()


class BlobShelf:
    """The blobs whose descriptors are kept, by key; the ones not used lately go first.

    The limit is an eighth of the process's limit of open files, as a blob takes two a tier. A
    blob that goes while a file is open on it lives on with that file.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is None:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            limit = 4096 if soft == resource.RLIM_INFINITY else max(16, min(4096, soft // 8))
        self._limit = limit
        self._blobs: dict[str, Blob] = {}
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], Blob]) -> Blob:
        """Return the blob of this key, made by ``make`` when it is not kept."""
        blob = self._blobs.get(key)
        if blob is None:
            made = make()
            with self._lock:
                blob = self._blobs.setdefault(key, made)
                if len(self._blobs) > self._limit:
                    self._release_one()
        blob.recent = True
        return blob

    def _release_one(self) -> None:
        # The clock algorithm: one pass clears the marks, so the second finds a blob.
        for _ in range(2):
            for key, blob in self._blobs.items():
                if not blob.recent:
                    del self._blobs[key]
                    return
                blob.recent = False

    def forget_locks(self) -> None:
        """Replace the locks; in a forked child a thread that is not there may hold them."""
        self._lock = threading.Lock()
        for blob in self._blobs.values():
            blob.forget_locks()


def read_json(body: bytes) -> dict[str, object]:
    """Return the JSON object of an answer.

    Raises:
        AgentMisspoke: it is something else.
    """
    try:
        value = json.loads(body)
    except ValueError as error:
        raise AgentMisspoke("the agent's answer is not JSON") from error
    if not isinstance(value, dict):
        raise AgentMisspoke("the agent's answer is not a JSON object")
    return value
