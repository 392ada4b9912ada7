"""One real agent process per CacheWorker: the part of a DaemonSet, on one machine."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from cache_ctl.api import kinds
from cache_ctl.kube.cluster import ClusterError
from cache_ctl.local.agent_files import log_file, settings_file, write_agent_files
from cache_ctl.local.agent_process import AgentProcess, Restarts
from cache_ctl.local.assignments import AgentSpec, agents, plan_texts, reader_tokens
from cache_ctl.local.files import PRIVATE_MODE, replace
from cache_ctl.local.reports import follow, status_of
from cache_ctl.reconcile.report import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from cache_ctl.api.kinds import Kind, Resource
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.kube.cluster import Cluster
    from cache_ctl.local.state_dir import StateDir
    from runtime.contract.report import NodeReport

_log = logging.getLogger(__name__)
_MANAGER: Final = "cachectl-agent"
_WATCHED: Final = (
    kinds.CACHE_RUNTIME,
    kinds.CACHE_WORKER,
    kinds.CONFIG_MAP,
    kinds.DATASET,
    kinds.NAMESPACE,
    kinds.SECRET,
)
RETRY_SECONDS: Final = 1.0
COUNTERS_SECONDS: Final = 60.0
"""How old the counters in a status may grow: asking for a report is itself counted there."""


@dataclass(slots=True)
class _Running:
    """A node's agent and the task that asks it for reports."""

    spec: AgentSpec
    process: AgentProcess
    follower: asyncio.Task[None]
    written: float = 0.0
    """When its status was written last, by the loop's clock."""

    async def stop(self) -> None:
        """End both."""
        self.follower.cancel()
        await asyncio.gather(self.follower, return_exceptions=True)
        await self.process.stop()


class Supervisor:
    """Runs the agents that the cluster's CacheWorkers ask for, while entered.

    Args:
        cluster: where the agents' reports are written, as the status of their CacheWorkers.
        cache: what the cluster holds.
        layout: the state directory, locked.
        command: the agent's command; ``--settings FILE`` is added.
        log_level: the agents' own.
        restarts: how fast an agent that died is started again.
    """

    def __init__(
        self,
        cluster: Cluster,
        cache: ObjectCache,
        layout: StateDir,
        *,
        command: Sequence[str],
        log_level: str = "INFO",
        restarts: Restarts | None = None,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._layout = layout
        self._command = tuple(command)
        self._log_level = log_level
        self._restarts = restarts or Restarts()
        self._wake = asyncio.Event()
        self._running: dict[str, _Running] = {}
        self._plans: dict[Path, str] = {}
        self._reports: dict[str, NodeReport] = {}
        self._listeners: list[Callable[[], object]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def reports(self) -> Mapping[str, NodeReport]:
        """The latest report of each agent that answers, by node name."""
        return dict(self._reports)

    @property
    def processes(self) -> Mapping[str, AgentProcess]:
        """The agents' processes, by node name."""
        return {node: running.process for node, running in self._running.items()}

    def subscribe(self, listener: Callable[[], object]) -> None:
        """Call the listener after every report."""
        self._listeners.append(listener)

    async def __aenter__(self) -> Self:
        self._cache.subscribe(self._changed)
        self._task = asyncio.create_task(self._run(), name="supervisor")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(running.stop() for running in self._running.values()))
        self._running.clear()
        self._reports.clear()

    def _changed(self, kind: Kind, before: Resource | None, after: Resource | None) -> None:
        if kind not in _WATCHED:
            return
        if (
            kind.ours
            and before
            and after
            and before.get("spec") == after.get("spec")
            and _leaves(before) == _leaves(after)
        ):
            return  # a status: of agents our own reports, else the passes'
        self._wake.set()

    async def _run(self) -> None:
        await self._cache.heard_of(_WATCHED)
        while True:
            self._wake.clear()
            try:
                await self._sync()
            except Exception as error:  # noqa: BLE001  an error ends a pass, never the loop
                _log.warning("cannot bring the agents up to date: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await self._wake.wait()

    async def _sync(self) -> None:
        """Bring files and processes to what the cluster asks for, what is read before who reads.

        Agents that stay notice by themselves what is new in their files.
        """
        found = agents(self._cache, self._layout, log_level=self._log_level)
        wanted = {node: spec for node, spec in found.items() if spec is not None}
        leaving = [
            node
            for node, running in self._running.items()
            if node not in found or (node in wanted and _needs_restart(running.spec, wanted[node]))
        ]
        texts = plan_texts(self._cache, self._layout)
        for file, text in texts.items():
            if self._plans.get(file) != text:
                replace(file, text.encode())
        self._plans = texts
        self._write_tokens()
        await asyncio.gather(*(self._stop(node) for node in leaving))
        for node, spec in wanted.items():
            running = self._running.get(node)
            if running is None or running.spec != spec:
                write_agent_files(spec)
            if running is not None:
                running.spec = spec
        for old in self._layout.plans.glob("*.json"):
            if old not in texts:
                old.unlink()
        for node in sorted(wanted.keys() - self._running.keys()):
            self._start(node, wanted[node])

    def _write_tokens(self) -> None:
        """Bring the folder to one token for each Dataset, and nothing else."""
        tokens = reader_tokens(self._cache, self._layout)
        for file, token in tokens.items():
            replace(file, token.encode(), mode=PRIVATE_MODE)
        for old in self._layout.tokens.iterdir():
            if old not in tokens:
                old.unlink()

    def _start(self, node: str, spec: AgentSpec) -> None:
        socket = Path(spec.settings.socket)
        process = AgentProcess(
            node,
            (*self._command, "--settings", str(settings_file(spec))),
            log=log_file(spec),
            socket=socket,
            restarts=self._restarts,
        )

        async def heard(report: NodeReport | None) -> None:
            await self._heard(node, spec.worker, report, process.last_words)

        follower = asyncio.create_task(follow(socket, heard), name=f"reports of {node}")
        self._running[node] = _Running(spec, process, follower)

    async def _stop(self, node: str) -> None:
        await self._running[node].stop()
        del self._running[node]
        self._reports.pop(node, None)

    async def _heard(
        self, node: str, worker: tuple[str, str], report: NodeReport | None, last_words: str
    ) -> None:
        namespace, name = worker
        if report is None:
            self._reports.pop(node, None)
        else:
            self._reports[node] = report
        body = self._cache.get(kinds.CACHE_WORKER, name, namespace)
        if body is not None:
            await self._write_status(node, body, report, last_words)
        for listener in self._listeners:
            listener()

    async def _write_status(
        self, node: str, body: Resource, report: NodeReport | None, last_words: str
    ) -> None:
        """Write what is new. Of an agent that does not answer, what it said before is kept."""
        before: dict[str, Any] = body.get("status") or {}
        silent = {**before, "ready": False, "message": last_words}
        status = status_of(report) if report is not None else silent
        running, now = self._running[node], asyncio.get_running_loop().time()
        fresh = now - running.written < COUNTERS_SECONDS
        if status == before or (fresh and _uncounted(status) == _uncounted(before)):
            return
        running.written = now
        try:
            await self._cluster.apply_status(identity(body) | {"status": status}, manager=_MANAGER)
        except ClusterError as error:  # it has just gone, or another one took its name
            _log.info("report of %s not written: %s", body["metadata"]["name"], error)


def _uncounted(status: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in status.items() if key != "counters"}


def _leaves(body: Resource) -> bool:
    return "deletionTimestamp" in body["metadata"]


def _needs_restart(old: AgentSpec, new: AgentSpec) -> bool:
    """Tell whether an agent must start anew: what it reads once at its start is different."""
    return (old.settings, old.worker) != (new.settings, new.worker)
