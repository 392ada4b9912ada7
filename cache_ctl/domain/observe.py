"""From Kubernetes objects as plain dicts to facts: the only place that knows their shapes.

Objects of kinds that decide nothing are passed over. A field of the wrong type is an error that
names the object, the field and the value: guessing would classify by accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from cache_ctl.domain.facts import (
    POOL_GROUPS,
    ClusterFacts,
    KindState,
    LinkRule,
    NodeFacts,
    PoolFacts,
    PoolKind,
    Requirement,
    Rule,
    TopologyOptions,
    TopologyRules,
)
from cache_ctl.domain.overrides import CLASSES
from cache_ctl.domain.quantity import parse_rate
from cache_ctl.errors import InvalidInput

GROUP = "cachectl.dev"
Object = Mapping[str, Any]


def group_of(raw: Object) -> str:
    """Return the API group of an object, empty for the core group."""
    version = str(raw.get("apiVersion", ""))
    return version.rpartition("/")[0]


def cluster_facts(
    objects: Iterable[Object], kinds: Mapping[PoolKind, KindState] | None = None
) -> ClusterFacts:
    """Return the facts in a cluster's objects.

    ``kinds`` tells which pool kinds the API server serves; left out, those that occur.

    Raises:
        InvalidInput: a field has the wrong type, or two Nodes have one name or one uid.
    """
    nodes: dict[str, NodeFacts] = {}
    names: dict[str, str] = {}
    pools: list[PoolFacts] = []
    rules = TopologyRules()
    for raw in objects:
        kind, group = str(raw.get("kind", "")), group_of(raw)
        if kind == "Node" and group == "":
            node = node_facts(raw)
            if nodes.setdefault(node.name, node) != node:
                raise InvalidInput(f"two different Nodes are named {node.name}; remove one of them")
            other = names.setdefault(node.uid, node.name)
            if other != node.name:
                raise InvalidInput(
                    f"the Nodes {other} and {node.name} have one uid, {node.uid}; correct one"
                )
        elif POOL_GROUPS.get(cast("PoolKind", kind)) == group:
            pools.append(pool_facts(raw))
        elif kind == "NetworkTopology" and group == GROUP:
            rules = topology_rules(raw)
    found: dict[PoolKind, KindState] = {pool.kind: "Served" for pool in pools}
    return ClusterFacts(
        tuple(nodes.values()), tuple(pools), rules, found if kinds is None else kinds
    )


def node_facts(raw: Object) -> NodeFacts:
    """Return the facts of a Node. One without a uid, as in a file, takes its name for it."""
    name = _name(raw)
    where = f"Node {name}"
    metadata = _mapping(raw, "metadata", where)
    status = _mapping(raw, "status", where)
    addresses = [item for item in _list(status, "addresses", where) if isinstance(item, Mapping)]
    conditions = [item for item in _list(status, "conditions", where) if isinstance(item, Mapping)]
    ready = next((item.get("status") for item in conditions if item.get("type") == "Ready"), "True")
    return NodeFacts(
        name=name,
        uid=str(metadata.get("uid") or name),
        labels=_strings(metadata, "labels", where),
        annotations=_strings(metadata, "annotations", where),
        internal_ip=next(
            (str(a.get("address", "")) for a in addresses if a.get("type") == "InternalIP"), ""
        ),
        ready=ready == "True",
    )


def pool_facts(raw: Object) -> PoolFacts:
    """Return the facts of a NodePool, NodeGroup, NodeUnit, Community or Gateway."""
    name = _name(raw)
    kind = cast("PoolKind", raw["kind"])
    where = f"{kind} {name}"
    spec, status = _mapping(raw, "spec", where), _mapping(raw, "status", where)
    match kind:
        case "NodeGroup":
            members = _names(spec, "nodes", where)
            selector = _strings(spec, "matchLabels", where)
        case "NodeUnit":
            members = _names(spec, "nodes", where)
            chosen = _mapping(spec, "selector", where)
            selector = _strings(chosen, "matchLabels", where)
        case "Community":
            members, selector = _names(spec, "members", where), {}
        case "Gateway":
            listed = [n for n in _list(status, "nodes", where) if isinstance(n, Mapping)]
            members, selector = frozenset(str(node.get("nodeName", "")) for node in listed), {}
        case "NodePool":
            members, selector = frozenset(), {}
    return PoolFacts(
        kind=kind,
        name=name,
        annotations=_strings(_mapping(raw, "metadata", where), "annotations", where),
        type=str(spec.get("type") or ""),
        interconnected=spec.get("interConnectivity") is True,
        members=members - {""},
        selector=selector,
    )


def topology_rules(raw: Object) -> TopologyRules:
    """Return the operator's rules in a NetworkTopology.

    Raises:
        InvalidInput: a class, a selector's operator, a cost or a bandwidth cannot be read.
    """
    where = f"NetworkTopology {_name(raw)}"
    spec = _mapping(raw, "spec", where)
    unlabeled: Any = spec.get("unlabeledNodes") or "Basic"
    if unlabeled not in ("Basic", "Cloud"):
        raise InvalidInput(
            f"{where}: spec.unlabeledNodes is {unlabeled!r}; it must be Basic or Cloud"
        )
    return TopologyRules(
        rules=tuple(
            _rule(item, f"{where}: spec.rules[{index}]")
            for index, item in enumerate(_list(spec, "rules", where))
        ),
        unlabeled_nodes=unlabeled,
        links=tuple(
            _link(item, f"{where}: spec.links[{index}]")
            for index, item in enumerate(_list(spec, "links", where))
        ),
    )


def topology_options(raw: Object) -> TopologyOptions:
    """Return the topology section of a CacheRuntime."""
    metadata = raw.get("metadata") or {}
    where = f"CacheRuntime {metadata.get('namespace', 'default')}/{_name(raw)}"
    section = _mapping(_mapping(raw, "spec", where), "topology", where)
    degree = section.get("degree")
    if degree is not None and (isinstance(degree, bool) or not isinstance(degree, int)):
        raise InvalidInput(
            f"{where}: spec.topology.degree is {degree!r}; it must be a whole number"
        )
    peering: Any = section.get("dedicatedPeering") or "None"
    if peering != "None":
        raise InvalidInput(
            f"{where}: spec.topology.dedicatedPeering is {peering!r}, which is not offered yet; "
            "use None"
        )
    islands = section.get("allowConnectedIslands", False)
    if not isinstance(islands, bool):
        raise InvalidInput(
            f"{where}: spec.topology.allowConnectedIslands is {islands!r}; it must be true or false"
        )
    return TopologyOptions(degree, islands)


def _rule(raw: Any, where: str) -> Rule:
    if not isinstance(raw, Mapping):
        raise InvalidInput(f"{where} is {raw!r}; it must be an object")
    selector = _mapping(raw, "nodeSelector", where)
    structured = {"matchLabels", "matchExpressions"} & set(selector)
    labels = _strings(selector, "matchLabels", where) if structured else dict(selector)
    chosen = str(raw.get("networkClass") or "")
    if chosen and chosen.lower() not in CLASSES:
        raise InvalidInput(
            f"{where}.networkClass is {chosen!r}; it must be Cloud, Dedicated or Basic"
        )
    return Rule(
        labels={str(key): str(value) for key, value in labels.items()},
        expressions=tuple(
            _requirement(item, f"{where}.nodeSelector.matchExpressions[{index}]")
            for index, item in enumerate(_list(selector, "matchExpressions", where))
        ),
        network_class=chosen,
        domain=str(raw.get("domain") or ""),
    )


def _requirement(raw: Any, where: str) -> Requirement:
    operator = raw.get("operator") if isinstance(raw, Mapping) else None
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist") or not raw.get("key"):
        raise InvalidInput(
            f"{where} is {raw!r}; it needs a key and an operator In, NotIn, Exists or DoesNotExist"
        )
    return Requirement(str(raw["key"]), operator, _names(raw, "values", where))


def _link(raw: Any, where: str) -> LinkRule:
    if not isinstance(raw, Mapping) or not raw.get("from") or not raw.get("to"):
        raise InvalidInput(f"{where} is {raw!r}; it needs from and to")
    cost = raw.get("cost")
    if cost is not None and (
        isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost < 1e9
    ):
        raise InvalidInput(f"{where}.cost is {cost!r}; it must be a number from 0 to 1e9")
    bandwidth = raw.get("bandwidth")
    return LinkRule(
        source=str(raw["from"]),
        target=str(raw["to"]),
        bandwidth=0 if bandwidth is None else parse_rate(bandwidth, f"{where}.bandwidth"),
        cost=None if cost is None else float(cost),
    )


def _name(raw: Object) -> str:
    metadata = raw.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"a {raw.get('kind', 'document')} has no metadata.name; give it one")
    return name


def _mapping(raw: Object, key: str, where: str) -> Object:
    value = raw.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where}: {key} is {value!r}; it must be an object")
    return value


def _list(raw: Object, key: str, where: str) -> list[Any]:
    value = raw.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"{where}: {key} is {value!r}; it must be a list")
    return value


def _names(raw: Object, key: str, where: str) -> frozenset[str]:
    return frozenset(str(item) for item in _list(raw, key, where))


def _strings(raw: Object, key: str, where: str) -> dict[str, str]:
    values = _mapping(raw, key, where)
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInput(
                f'{where}: {key}["{name}"] is {value!r}; it must be a string, so put it in quotes'
            )
    return dict(values)
