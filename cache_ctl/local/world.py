"""A whole cluster on one machine: objects in memory, the passes, and real agent processes.

::

    async with LocalWorld(state_dir) as world:
        await world.apply(load_files(paths).required())
        await world.until(
            lambda w: w.is_true(CACHE_PREWARM, "warm", "default", condition="Complete"),
            seconds=30, what="the prewarm to complete",
        )
        world.socket("node-a"), world.token_file("default/images")

Whatever happens inside the block, no agent is left when it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Literal

from cache_ctl.api.conditions import find
from cache_ctl.api.kinds import (
    CACHE_WORKER,
    EVENT,
    KINDS,
    NODE,
    Kind,
    Resource,
    kind_of,
    name_of,
    namespace_of,
    title_of,
    uid_of,
)
from cache_ctl.errors import ControlError, InvalidInput
from cache_ctl.kube.cache import ObjectCache
from cache_ctl.kube.feed import feed
from cache_ctl.kube.memory import MemoryCluster
from cache_ctl.local.addresses import reachable_here
from cache_ctl.local.identity import stable_uid
from cache_ctl.local.record import keep_record, recorded_plans
from cache_ctl.local.state_dir import StateDir
from cache_ctl.local.supervisor import Supervisor
from cache_ctl.reconcile.clock import SystemClock
from cache_ctl.reconcile.passes import Passes
from cache_ctl.reconcile.report import MANAGER as PLAN_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from cache_ctl.local.agent_process import AgentProcess
    from cache_ctl.reconcile.clock import Clock
    from runtime.contract.report import NodeReport

MANAGER = "cachectl-user"
"""The field manager of what people apply."""
Applied = Literal["created", "configured", "unchanged"]
"""What became of an object that was applied."""
_NOT_FOR_PEOPLE = (CACHE_WORKER, EVENT)
AGENT = (sys.executable, "-m", "runtime")


class NotInTime(ControlError):
    """What was waited for did not happen within the time given."""


class LocalWorld:
    """The cluster, the passes and the agents of one state directory.

    Attributes:
        cluster: the in-memory cluster; write through it as any client would.
        objects: what the cluster holds, readable without awaiting; a few milliseconds behind it.
        state_dir: the folder given.

    Raises:
        ControlError: on entering, when another process uses the same state directory.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        agent_command: Sequence[str] = AGENT,
        clock: Clock | None = None,
        log_level: str = "INFO",
    ) -> None:
        self.state_dir = state_dir
        self.cluster = MemoryCluster(uid_for=stable_uid)
        self.objects = ObjectCache()
        self._layout = StateDir(state_dir)
        self._passes = Passes(self.cluster, self.objects, clock=clock or SystemClock())
        self._supervisor = Supervisor(
            self.cluster,
            self.objects,
            self._layout,
            command=agent_command,
            log_level=log_level,
        )
        self._changed = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._layout.locked())
            for plan in recorded_plans(self._layout):
                await self.cluster.apply(plan, manager=PLAN_MANAGER)
            self.objects.subscribe(lambda *_: self._changed.set())
            self._supervisor.subscribe(self._changed.set)
            await stack.enter_async_context(self._supervisor)
            await stack.enter_async_context(self._passes)
            stack.push_async_callback(self._stop_tasks)
            self._tasks = [
                asyncio.create_task(feed(self.cluster, self.objects, kind), name=f"feed {kind}")
                for kind in KINDS
            ]
            self._tasks.append(
                asyncio.create_task(keep_record(self.objects, self._layout), name="record")
            )
            for task in self._tasks:
                task.add_done_callback(self._task_ended)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """Tell who waits: without a task of ours nothing awaited would ever come."""
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self._changed.set()

    async def apply(self, objects: Iterable[Resource]) -> None:
        """Apply objects one after the other, as ``apply_one`` does."""
        for body in objects:
            await self.apply_one(body)

    async def apply_one(self, body: Resource) -> Applied:
        """Apply an object as ``kubectl apply`` would; of another kind than ours the status too.

        What another server gave it (uid, versions, owners) is left out, so that objects may come
        from ``kubectl get -o yaml``; a Node's address that is another machine's is replaced.

        Raises:
            InvalidInput: the object is of no kind that is known here, or of one that the
                controller writes.
            ClusterError: the cluster refuses it.
        """
        kind = kind_of(body)
        if kind is None:
            raise InvalidInput(f"{title_of(body)} is of a kind that is not known here")
        if kind in _NOT_FOR_PEOPLE:
            raise InvalidInput(
                f"{title_of(body)} is refused, as {kind} objects are written by the controller; "
                "remove it from what you apply"
            )
        if kind is NODE:
            nodes = await self.cluster.list(NODE)
            body = reachable_here(body, nodes, scope=str(self._layout.root))
        before = await self.cluster.get(kind, name_of(body), namespace_of(body))
        after = await self.cluster.apply(_as_written(body), manager=MANAGER)
        if body.get("status") and not kind.ours:
            after = await self.cluster.apply_status(
                {**after, "status": body["status"]}, manager=MANAGER
            )
        if before is None:
            return "created"
        return "unchanged" if _version(after) == _version(before) else "configured"

    async def delete(self, kind: Kind, name: str, namespace: str = "") -> None:
        """Delete an object; it is fine when there is none."""
        await self.cluster.delete(kind, name, namespace)

    async def delete_wholly(
        self, kind: Kind, name: str, namespace: str = "", *, seconds: float
    ) -> bool:
        """Delete an object and wait until its finalizers have let it go; False: there is none.

        Raises:
            NotInTime: it is still there after ``seconds``.
        """
        body = await self.cluster.get(kind, name, namespace)
        if body is None or not await self.cluster.delete(kind, name, namespace):
            return False

        def gone(world: LocalWorld) -> bool:
            found = world.objects.get(kind, name, namespace)
            return found is None or uid_of(found) != uid_of(body)

        await self.until(gone, seconds=seconds, what=f"{title_of(body)} to be gone")
        return True

    def is_true(self, kind: Kind, name: str, namespace: str = "", *, condition: str) -> bool:
        """Tell whether an object's status has this condition as True, for its present spec."""
        body = self.objects.get(kind, name, namespace)
        found = find(body, condition) if body is not None else None
        return found is not None and found.status == "True"

    @property
    def reports(self) -> Mapping[str, NodeReport]:
        """The latest report of each agent that answers, by node name."""
        return self._supervisor.reports

    @property
    def processes(self) -> Mapping[str, AgentProcess]:
        """The agents' processes, by node name."""
        return self._supervisor.processes

    def socket(self, node: str) -> Path:
        """Return the Unix socket of a node's agent, for readers on that node."""
        return self._layout.socket(node)

    def token_file(self, dataset: str) -> Path:
        """Return the file of the token that reads the Dataset ``namespace/name`` on every node.

        It is there as long as a runtime serves the Dataset.
        """
        return self._layout.token(dataset)

    async def until(
        self,
        condition: Callable[[LocalWorld], bool],
        *,
        seconds: float | None,
        what: str,
    ) -> None:
        """Wait until the condition holds; it is asked after every change. None: without end.

        Raises:
            NotInTime: it did not hold within ``seconds``; the sentence says ``what`` was awaited.
        """
        try:
            async with asyncio.timeout(seconds):
                while not condition(self):
                    if self._failure is not None:
                        raise self._failure
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise NotInTime(f"waited {seconds or 0:g} s for {what}, in vain") from None

    def nodes(self) -> list[str]:
        """Return the names of all nodes, sorted."""
        return sorted(body["metadata"]["name"] for body in self.objects.list(NODE))


def _version(body: Resource) -> str:
    return str(body["metadata"].get("resourceVersion", ""))


def _as_written(body: Resource) -> Resource:
    """Return an object with the metadata that a person writes."""
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: value for key, value in body["metadata"].items() if key in kept}
    return {**body, "metadata": metadata}
