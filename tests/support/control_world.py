"""The passes over an in-memory cluster and a clock turned by hand; no agents."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from cache_ctl.api import kinds
from cache_ctl.api.kinds import Kind, kind_of
from cache_ctl.kube.cache import ObjectCache
from cache_ctl.kube.feed import feed
from cache_ctl.kube.memory import MemoryCluster
from cache_ctl.manifests.objects import plan_of
from cache_ctl.reconcile.passes import Passes
from cache_ctl.reconcile.report import identity
from tests.support.objects import SPACE
from tests.support.turned_clock import TurnedClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.contract.plan import Plan


class ControlWorld:
    """What a test does to a cluster, and what it sees of it."""

    def __init__(self, cluster: MemoryCluster | None = None) -> None:
        self.clock = TurnedClock()
        self.cluster = cluster or MemoryCluster(now=self.clock.wall)
        self.cache = ObjectCache()

    async def apply(self, *bodies: dict[str, Any]) -> None:
        """Apply objects as their owner would, and let the passes run."""
        for body in bodies:
            kind = kind_of(body)
            assert kind is not None
            made = await self.cluster.apply(body, manager="owner")
            if "status" in body and not kind.ours:
                await self.cluster.apply_status(
                    {**identity(made), "status": body["status"]}, manager="owner"
                )
        await self.run()

    async def delete(self, kind: Kind, name: str, namespace: str = "") -> None:
        await self.cluster.delete(kind, name, namespace)
        await self.run()

    async def run(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        await self.clock.advance(seconds)

    async def get(self, kind: Kind, name: str, namespace: str = SPACE) -> dict[str, Any]:
        body = await self.cluster.get(kind, name, namespace if kind.namespaced else "")
        assert body is not None, f"there is no {kind} {name}"
        return body

    async def status(self, kind: Kind, name: str, namespace: str = SPACE) -> dict[str, Any]:
        found: dict[str, Any] = (await self.get(kind, name, namespace)).get("status", {})
        return found

    async def condition(
        self, kind: Kind, name: str, type_: str, namespace: str = SPACE
    ) -> tuple[str, str]:
        """Return status and reason of a condition."""
        status = await self.status(kind, name, namespace)
        return next(
            (item["status"], item["reason"])
            for item in status["conditions"]
            if item["type"] == type_
        )

    async def plans(self) -> dict[str, Plan]:
        return {
            body["metadata"]["name"]: plan_of(body)
            for body in await self.cluster.list(kinds.CONFIG_MAP)
        }

    async def members(self) -> dict[str, list[str]]:
        """Return the names of the members of each plan."""
        return {
            name: [member.name for member in plan.members]
            for name, plan in (await self.plans()).items()
        }

    async def workers(self) -> dict[str, dict[str, Any]]:
        """Return what each node's agent is told, by node."""
        return {
            body["spec"]["node"]: body["spec"]
            for body in await self.cluster.list(kinds.CACHE_WORKER)
        }

    async def report(self, node: str, *, ready: bool = True, **status: Any) -> None:
        """Write a report as a node's agent would."""
        bodies = await self.cluster.list(kinds.CACHE_WORKER)
        body = next(body for body in bodies if body["spec"]["node"] == node)
        plans = await self.plans()
        followed = plans[body["spec"]["plan"]]
        full = {"ready": ready, "planGeneration": followed.generation, **status}
        await self.cluster.apply_status({**identity(body), "status": full}, manager="agent")

    async def reasons(self) -> list[str]:
        """Return the reasons of all Events, in order."""
        events = await self.cluster.list(kinds.EVENT)
        return [f"{item['involvedObject']['kind']}:{item['reason']}" for item in events]


@contextlib.asynccontextmanager
async def control_world(cluster: MemoryCluster | None = None) -> AsyncIterator[ControlWorld]:
    """Run the passes for the length of a block."""
    world = ControlWorld(cluster)
    passes = Passes(world.cluster, world.cache, clock=world.clock, jitter=lambda: 0.5)
    async with passes:
        feeds = [
            asyncio.create_task(feed(world.cluster, world.cache, kind)) for kind in kinds.KINDS
        ]
        try:
            yield world
        finally:
            for task in feeds:
                task.cancel()
            await asyncio.gather(*feeds, return_exceptions=True)
