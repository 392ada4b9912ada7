"""What each node's agent is to be, from the objects in the cluster, and what readers show it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cache_ctl.api import kinds
from cache_ctl.api.kinds import labels_of, name_of, namespace_of
from cache_ctl.api.v1alpha1.cacheworker import CacheWorker
from cache_ctl.manifests.labels import RUNTIME
from cache_ctl.manifests.objects import PLAN_KEY, plan_of
from cache_ctl.reconcile.gather import datasets_of, live_runtimes
from cache_ctl.reconcile.parse import parse
from runtime.contract.token import Keys, reader_token
from runtime.errors import ConfigError
from runtime.settings import AgentSettings

if TYPE_CHECKING:
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.local.state_dir import StateDir
    from runtime.contract.plan import Plan


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One node's agent. When its settings are other ones, it has to start anew.

    ``plan`` is the file of the plan to follow; an agent turns to another one, and to its keys,
    while it runs. ``secrets`` are keys and values by the secret's folder.
    """

    worker: tuple[str, str]
    settings: AgentSettings
    keys: Keys
    plan: Path
    secrets: Mapping[str, Mapping[str, bytes]] = field(repr=False)


def plan_texts(cache: ObjectCache, layout: StateDir) -> dict[Path, str]:
    """Return the plans in the cluster as JSON text, by the file that they belong in."""
    return {
        layout.plan(namespace_of(body), name_of(body)): str(
            (body.get("data") or {}).get(PLAN_KEY, "")
        )
        for body in cache.list(kinds.CONFIG_MAP)
        if RUNTIME in labels_of(body)
    }


def reader_tokens(cache: ObjectCache, layout: StateDir) -> dict[Path, str]:
    """Return a token for each Dataset that a runtime serves, by the file that it belongs in.

    A reader's key is the same on all nodes of a runtime, so that one token does for all of them.
    """
    return {
        layout.token(dataset.ref): reader_token(
            Keys.derive(layout.master_key(runtime.ref), domain=None), dataset.ref
        )
        for runtime in live_runtimes(cache)
        for dataset in datasets_of(cache, runtime)
    }


def agents(cache: ObjectCache, layout: StateDir, *, log_level: str) -> dict[str, AgentSpec | None]:
    """Return the agents that are to run, by node name.

    None stands for one whose plan is not there now: it goes on as it is, or waits to begin.
    """
    found: dict[str, AgentSpec | None] = {}
    for body in cache.list(kinds.CACHE_WORKER):
        worker = parse(CacheWorker, body)
        if isinstance(worker, str):
            continue
        plan_body = cache.get(kinds.CONFIG_MAP, worker.spec.plan, worker.metadata.namespace)
        try:
            plan = plan_of(plan_body or {})
        except ConfigError:
            found[worker.spec.node] = None
            continue
        found[worker.spec.node] = _agent(worker, plan, cache, layout, log_level=log_level)
    return found


def _agent(
    worker: CacheWorker, plan: Plan, cache: ObjectCache, layout: StateDir, *, log_level: str
) -> AgentSpec:
    spec = worker.spec
    folder = layout.node(spec.node)
    return AgentSpec(
        worker=(worker.metadata.namespace, worker.metadata.name),
        settings=AgentSettings(
            node=spec.node,
            uid=spec.node_uid,
            address=spec.address,
            state_dir=str(folder),
            plan_file=str(folder / "follow.json"),
            keys_file=str(folder / "keys.json"),
            port=spec.port,
            socket=str(layout.socket(spec.node)),
            secrets_dir=str(folder / "secrets"),
            tier_subfolder=spec.node,
            log_level=log_level,
        ),
        keys=Keys.derive(layout.master_key(plan.runtime), plan.domain),
        plan=layout.plan(worker.metadata.namespace, spec.plan),
        secrets=_secrets(plan, cache),
    )


def _secrets(plan: Plan, cache: ObjectCache) -> dict[str, dict[str, bytes]]:
    """Return the Secrets that a plan's mounts name, and no other."""
    found = {}
    for dataset in plan.datasets:
        for mount in dataset.mounts:
            name = mount.secret.removeprefix(f"{dataset.namespace}.")
            body = cache.get(kinds.SECRET, name, dataset.namespace) if mount.secret else None
            if body is not None:
                data = body.get("data") or {}
                found[mount.secret] = {key: _decoded(value) for key, value in data.items()}
    return found


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""
