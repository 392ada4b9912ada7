"""Plans, assignments and node labels as objects to apply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cache_ctl.api import kinds
from cache_ctl.domain.naming import dns_name
from cache_ctl.manifests.labels import (
    NETWORK_CLASS,
    NETWORK_DOMAIN,
    owned_by_runtime,
    worker_name,
)
from runtime.contract import codec
from runtime.contract.plan import Mode, NetworkClass, Plan, Role

if TYPE_CHECKING:
    from cache_ctl.api.kinds import Resource

PLAN_KEY: Final = "plan.json"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which plan the agent of a node follows, as what, and why."""

    node: str
    uid: str
    address: str
    port: int
    plan: str
    network_class: NetworkClass
    domain: str | None
    mode: Mode
    role: Role
    reason: str
    message: str


def owner_reference(runtime: Resource) -> Resource:
    """Return the reference by which a child of this object is deleted with it."""
    return {
        "apiVersion": runtime["apiVersion"],
        "kind": runtime["kind"],
        "name": kinds.name_of(runtime),
        "uid": kinds.uid_of(runtime),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def plan_config_map(runtime: Resource, name: str, plan: Plan) -> Resource:
    """Return the ConfigMap that carries a plan; it is named like the plan."""
    return {
        "apiVersion": kinds.CONFIG_MAP.api_version,
        "kind": kinds.CONFIG_MAP.name,
        "metadata": _child(runtime, name),
        "data": {PLAN_KEY: codec.dumps(plan)},
    }


def plan_of(config_map: Resource) -> Plan:
    """Return the plan in a ConfigMap.

    Raises:
        ConfigError: there is none in it, or it cannot be read.
    """
    data = config_map.get("data") or {}
    return codec.loads(Plan, str(data.get(PLAN_KEY, "")))


def worker(runtime: Resource, assignment: Assignment) -> Resource:
    """Return the CacheWorker that tells an agent which plan to follow."""
    spec = {
        "node": assignment.node,
        "nodeUid": assignment.uid,
        "address": assignment.address,
        "port": assignment.port,
        "runtimeRef": {"name": kinds.name_of(runtime)},
        "plan": assignment.plan,
        "networkClass": assignment.network_class,
        "domain": assignment.domain,
        "mode": assignment.mode,
        "role": assignment.role,
        "reason": assignment.reason,
        "message": assignment.message,
    }
    return {
        "apiVersion": kinds.CACHE_WORKER.api_version,
        "kind": kinds.CACHE_WORKER.name,
        "metadata": _child(runtime, worker_name(kinds.name_of(runtime), assignment.node)),
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def node_labels(
    node: str, uid: str, *, network_class: NetworkClass | None, domain: str | None
) -> Resource:
    """Return the Node with the labels that we own on it; without a class, with none."""
    labels = {} if network_class is None else {NETWORK_CLASS: str(network_class)}
    if network_class is not None and domain is not None:
        labels[NETWORK_DOMAIN] = dns_name(domain)
    return {
        "apiVersion": kinds.NODE.api_version,
        "kind": kinds.NODE.name,
        "metadata": {"name": node, "uid": uid, "labels": labels},
    }


def _child(runtime: Resource, name: str) -> Resource:
    return {
        "name": name,
        "namespace": kinds.namespace_of(runtime),
        "labels": owned_by_runtime(kinds.name_of(runtime)),
        "ownerReferences": [owner_reference(runtime)],
    }
