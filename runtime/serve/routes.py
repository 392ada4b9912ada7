"""The map from a request to what answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.agent.reports import report
from runtime.contract import codec, protocol
from runtime.serve.access import Access
from runtime.serve.batches import Batches
from runtime.serve.failures import sentence
from runtime.serve.message import Answer
from runtime.serve.metrics import exposition
from runtime.serve.objects import Objects
from runtime.serve.peerroutes import PeerRoutes
from runtime.serve.readers import JSON, Readers
from runtime.serve.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.agent.agent import Agent
    from runtime.serve.message import Request
    from runtime.serve.service import Counters as ServerCounters

Route = "Callable[[Request], Answer | Awaitable[Answer]]"


class Routes:
    """The agent's handler.

    ``port`` tells where it listens now, if it does; ``server`` are the server's own counters.
    ``remembered`` answers bytes that were asked before; see ``runtime.serve.remembered``.
    """

    def __init__(
        self, agent: Agent, *, port: Callable[[], int | None], server: ServerCounters
    ) -> None:
        self._agent = agent
        self._port = port
        self._server = server
        self._access = Access(agent)
        readers = Readers(agent, self._access)
        peers = PeerRoutes(agent, self._access)
        remembered = Remembered(agent)
        self.remembered = remembered.answer
        self._objects = Objects(agent, self._access, remembered)
        self._routes: dict[tuple[str, str], Callable[[Request], Answer | Awaitable[Answer]]] = {
            ("GET", "/healthz"): self._healthy,
            ("GET", "/readyz"): self._ready,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/report"): self._report,
            ("POST", protocol.BATCH): Batches(agent, self._access, self._objects).answer,
            ("GET", protocol.IDENTITY): peers.identity,
            ("GET", protocol.UNIT): peers.unit,
            ("GET", protocol.HEAD): peers.head,
            ("GET", protocol.CATALOG): peers.catalog,
            ("GET", protocol.SUMMARY): peers.summary,
            ("GET", protocol.OPEN_CATALOG): readers.open_catalog,
            ("GET", protocol.OPEN_BLOB): readers.open_blob,
            ("GET", protocol.OPEN_WHOLE): readers.open_whole,
            ("POST", protocol.WANT): readers.want,
            ("POST", protocol.SUSPECT): readers.suspect,
        }
        self._paths = {path for _, path in self._routes}

    def __call__(self, request: Request) -> Answer | Awaitable[Answer]:
        """Answer a request."""
        path = request.target.partition("?")[0]
        route = self._routes.get((request.method, path))
        if route is not None:
            return route(request)
        if path in self._paths:
            return sentence(405, f"{request.method} is not answered at {path}")
        if request.method not in ("GET", "HEAD"):
            return sentence(405, "the cache is read-only: GET and HEAD are answered here")
        return self._objects.get(request)

    def _healthy(self, _request: Request) -> Answer:
        return Answer(200, (), (b"ok\n",))

    def _ready(self, _request: Request) -> Answer:
        if self._agent.ready:
            return Answer(200, (), (b"ready\n",))
        waiting = [ref for ref, dataset in self._agent.datasets.items() if dataset.head is None]
        return sentence(503, f"waiting for the first snapshot of {', '.join(waiting)}")

    def _metrics(self, request: Request) -> Answer:
        self._access.operator(request)
        kind = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        return Answer(
            200, (kind,), (exposition(report(self._agent, port=self._port(), server=self._server)),)
        )

    def _report(self, request: Request) -> Answer:
        self._access.operator(request)
        document = report(self._agent, port=self._port(), server=self._server)
        return Answer(200, JSON, (codec.dumps(document).encode(),))
