"""One pass over a CacheRuntime: its plans, who follows them, the labels of its nodes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cache_ctl.api import kinds, reasons
from cache_ctl.api.conditions import false, unknown
from cache_ctl.api.kinds import labels_of, name_of, namespace_of, uid_of
from cache_ctl.api.v1alpha1.cacheruntime import CacheRuntime
from cache_ctl.errors import InvalidInput
from cache_ctl.kube.cluster import ApplyConflict
from cache_ctl.manifests import objects
from cache_ctl.manifests.labels import (
    FINALIZER,
    NETWORK_CLASS,
    NETWORK_DOMAIN,
    owned_by_runtime,
)
from cache_ctl.reconcile.gather import claims, gather_runtime
from cache_ctl.reconcile.loop import NEVER, Again, Gone, Key, Outcome
from cache_ctl.reconcile.parse import parse
from cache_ctl.reconcile.report import MANAGER, covers, write_status
from cache_ctl.reconcile.runtime_decision import Decision, Memory, decide

if TYPE_CHECKING:
    from cache_ctl.api.kinds import Kind, Resource
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.kube.cluster import Cluster
    from cache_ctl.reconcile.clock import Clock

_log = logging.getLogger(__name__)
_NODES_MANAGER = "cachectl/nodes"


class RuntimePass:
    """The pass, and what it remembers of nodes between passes, by the runtime's uid."""

    def __init__(self, cluster: Cluster, cache: ObjectCache, clock: Clock) -> None:
        self._cluster = cluster
        self._cache = cache
        self._clock = clock
        self._memory: dict[str, Memory] = {}

    async def __call__(self, key: Key) -> Outcome:
        """Bring the world to what the runtime's spec asks for."""
        namespace, name = key
        body = self._cache.get(kinds.CACHE_RUNTIME, name, namespace)
        if body is None:
            return Gone()
        if "deletionTimestamp" in body["metadata"]:
            return await self._clean_up(body)
        if FINALIZER not in body["metadata"].get("finalizers", ()):
            await self._cluster.set_finalizer(body, FINALIZER, present=True)
        runtime = parse(CacheRuntime, body)
        if isinstance(runtime, str):
            return await self._refuse(body, runtime)
        view = await gather_runtime(self._cluster, self._cache, runtime, body)
        now = self._clock.monotonic()
        try:
            decision = decide(view, self._memory.get(uid_of(body), Memory()), now)
        except InvalidInput as error:
            return await self._refuse(body, str(error))
        self._memory[uid_of(body)] = decision.memory
        await self._apply(body, decision)
        await write_status(
            self._cluster, body, decision.status, decision.findings, now=self._clock.wall()
        )
        return Again(max(decision.due - now, 0.0) if decision.due != NEVER else NEVER)

    async def _refuse(self, body: Resource, why: str) -> Outcome:
        """Report a spec that cannot be followed. The last plans stay in force."""
        status = {
            key: value
            for key, value in (body.get("status") or {}).items()
            if key not in ("conditions", "observedGeneration")
        }
        findings = (
            false(reasons.TOPOLOGY_BUILT, reasons.SPEC_INVALID, why),
            unknown(reasons.AGENTS_AVAILABLE, reasons.SPEC_INVALID, why),
            false(reasons.READY, reasons.SPEC_INVALID, why),
        )
        await write_status(self._cluster, body, status, findings, now=self._clock.wall())
        return Again()

    async def _apply(self, body: Resource, decision: Decision) -> None:
        """Write what differs.

        Plans come first: a node that may not peer any more is out of every plan before anything
        else happens. What nobody follows any more goes last.
        """
        for name, plan in decision.plans.items():
            await self._apply_child(
                kinds.CONFIG_MAP, objects.plan_config_map(body, name, plan), "data"
            )
        for assignment in decision.assignments:
            worker = objects.worker(body, assignment)
            await self._apply_child(kinds.CACHE_WORKER, worker, "spec")
        await self._mark_nodes(decision)
        await self._unmark_unclaimed()
        workers = {name_of(objects.worker(body, item)) for item in decision.assignments}
        await self._delete_others(kinds.CACHE_WORKER, body, workers)
        await self._delete_others(kinds.CONFIG_MAP, body, set(decision.plans))

    async def _apply_child(self, kind: Kind, wanted: Resource, content: str) -> None:
        found = self._cache.get(kind, name_of(wanted), namespace_of(wanted))
        if (
            found is None
            or found.get(content) != wanted[content]
            or not covers(found["metadata"], wanted["metadata"])
        ):
            await self._cluster.apply(wanted, manager=MANAGER)

    async def _delete_others(self, kind: Kind, body: Resource, kept: set[str]) -> None:
        wanted = owned_by_runtime(name_of(body)).items()
        for found in self._cache.list(kind, namespace=namespace_of(body)):
            if wanted <= labels_of(found).items() and name_of(found) not in kept:
                await self._cluster.delete(
                    kind, name_of(found), namespace_of(found), uid=uid_of(found)
                )

    async def _mark_nodes(self, decision: Decision) -> None:
        for mark in decision.marks:
            node = self._cache.get(kinds.NODE, mark.node)
            if node is None or uid_of(node) != mark.uid:
                continue
            wanted = objects.node_labels(
                mark.node, mark.uid, network_class=mark.network_class, domain=mark.domain
            )
            before = _marks(node)
            if before == wanted["metadata"]["labels"]:
                continue
            if not await self._label(wanted):
                continue
            old = before.get(NETWORK_CLASS)
            if old is not None and old != mark.network_class:
                await self._cluster.event(
                    node,
                    reason="NetworkClassChanged",
                    message=f"the node was {old} and is {mark.network_class}: {mark.message}",
                    warning=mark.network_class == "Basic",
                )

    async def _unmark_unclaimed(self) -> None:
        """Take our labels from nodes that no runtime serves."""
        claimed = claims(self._cache)
        for node in self._cache.list(kinds.NODE):
            if _marks(node) and not claimed.get(name_of(node)):
                bare = objects.node_labels(
                    name_of(node), uid_of(node), network_class=None, domain=None
                )
                await self._label(bare)

    async def _label(self, node: Resource) -> bool:
        try:
            await self._cluster.apply(node, manager=_NODES_MANAGER)
        except ApplyConflict:  # the node has just gone: its own event brings the next pass
            _log.info("node %s is gone, so that it gets no labels", name_of(node))
            return False
        return True

    async def _clean_up(self, body: Resource) -> Outcome:
        """Release the nodes; the garbage collector takes plans and workers by their owner."""
        await self._unmark_unclaimed()
        self._memory.pop(uid_of(body), None)
        await self._cluster.set_finalizer(body, FINALIZER, present=False)
        return Again()


def _marks(node: Resource) -> dict[str, str]:
    labels = labels_of(node)
    return {key: labels[key] for key in (NETWORK_CLASS, NETWORK_DOMAIN) if key in labels}
