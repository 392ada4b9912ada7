"""Classify every node of a cluster: the first rule that matches decides, later ones only restrict.

Pure. After each node has been placed by itself, three things are looked at for all nodes together:
addresses used twice in a domain, domains claimed by nodes of two classes, and domains whose nodes
stand behind different gateways.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from cache_ctl.domain import ack, openyurt, overrides, platforms, reasons
from cache_ctl.domain.domains import Classification, place, restrict_class
from cache_ctl.domain.evidence import Evidence, Finding
from cache_ctl.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cache_ctl.domain.facts import ClusterFacts, NodeFacts

P = TypeVar("P")
Rule = tuple[str, "Callable[[NodeFacts, Evidence], Finding | None]"]

RULES: tuple[Rule, ...] = (
    ("operator's override", overrides.class_override),
    ("ACK cloud node", ack.cloud_node),
    ("ACK edge node", ack.edge_node),
    ("OpenYurt", openyurt.openyurt_node),
    ("other edge platforms", platforms.edge_node),
    ("SuperEdge cloud node", platforms.superedge_cloud_node),
    ("nodes without a marker", platforms.unmarked_node),
)
"""In the order in which they are asked. The last one always answers."""


def classify(
    cluster: ClusterFacts, *, allow_connected_islands: bool = False
) -> tuple[Classification, ...]:
    """Return the classification of every node, sorted by node name.

    Unknown is Basic, with a reason. The same facts in any order give the same answer.
    """
    evidence = Evidence(cluster)
    placed = []
    for node in sorted(cluster.nodes, key=lambda node: node.name):
        finding = restrict_class(node, evidence, _first_finding(node, evidence))
        placed.append(place(node, evidence, finding, islands=allow_connected_islands))
    return _split_gateways(_split_classes(_drop_duplicate_addresses(placed, cluster.nodes)))


def _first_finding(node: NodeFacts, evidence: Evidence) -> Finding:
    for _, rule in RULES:
        finding = rule(node, evidence)
        if finding is not None:
            return finding
    raise AssertionError("the last rule answers for every node")


def _drop_duplicate_addresses(
    placed: list[Classification], nodes: Iterable[NodeFacts]
) -> list[Classification]:
    """Take the domain from nodes whose address another member of the domain has as well.

    A node that was replaced leaves its object behind for a while: the one that is ready, if there
    is exactly one, keeps its place. Across domains addresses may repeat: nothing dials across.
    """
    facts = {node.name: node for node in nodes}
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in placed:
        if item.domain is not None:
            shared[item.domain, facts[item.node].internal_ip].append(item.node)
    lost: dict[str, str] = {}
    for (_, address), names in shared.items():
        ready = [name for name in names if facts[name].ready]
        if len(names) > 1:
            kept = ready[0] if len(ready) == 1 else None
            lost |= {name: address for name in names if name != kept}
    return [
        item.without_peers(
            reasons.DUPLICATE_ADDRESS,
            f"another node of its domain has the address {lost[item.node]} as well",
        )
        if item.node in lost
        else item
        for item in placed
    ]


def _split_classes(placed: list[Classification]) -> list[Classification]:
    """Give nodes of two classes in one domain, which only overrides can cause, their own ones.

    The class with the most nodes keeps the name, so that one wrong annotation moves one node.
    """
    counts = Counter((item.domain, item.network_class) for item in placed if item.domain)
    keepers = _keepers(counts)
    return [
        replace(
            item,
            domain=f"{item.domain}@{item.network_class.lower()}",
            message=f"{item.message}; its domain {item.domain} holds nodes of another class",
        )
        if item.domain and keepers[item.domain] != item.network_class
        else item
        for item in placed
    ]


def _split_gateways(placed: list[Classification]) -> tuple[Classification, ...]:
    """Split domains whose nodes stand behind different Raven gateways.

    Where only some nodes carry a gateway's label and it is the same one, there is no split: the
    label is optional evidence. The largest group keeps the domain's name.
    """
    counts = Counter((item.domain, item.gateway) for item in placed if item.domain)
    gateways: dict[str, set[str]] = defaultdict(set)
    for domain, gateway in counts:
        if gateway:
            gateways[domain].add(gateway)
    keepers = _keepers(counts)
    return tuple(
        replace(
            item,
            domain=f"{item.domain}/{item.gateway or 'no-gateway'}",
            evidence=(*item.evidence, f"Raven gateway {item.gateway or 'none'}"),
            message=f"{item.message}; its domain is split by Raven gateways",
        )
        if item.domain and len(gateways[item.domain]) > 1 and keepers[item.domain] != item.gateway
        else item
        for item in placed
    )


def _keepers(counts: Counter[tuple[str, P]]) -> dict[str, P]:
    """Return for each domain the part with the most nodes; of equal ones the first by name."""
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], str(entry[0][1])))
    keepers: dict[str, P] = {}
    for (domain, part), _ in ordered:
        keepers.setdefault(domain, part)
    return keepers


@dataclass(frozen=True, slots=True)
class Considered:
    """One rule as it looks at one node. ``fired`` is true of the one that decided."""

    rule: str
    fired: bool
    finding: Finding | None


@dataclass(frozen=True, slots=True)
class NodeExplanation:
    """Why a node is classified as it is: the answer, and every rule that was asked."""

    classification: Classification
    considered: tuple[Considered, ...]


def explain_node(
    cluster: ClusterFacts, name: str, *, allow_connected_islands: bool = False
) -> NodeExplanation:
    """Classify the cluster and tell of one node what every rule says of it.

    Raises:
        UnknownName: there is no such node.
    """
    node = next((node for node in cluster.nodes if node.name == name), None)
    if node is None:
        raise UnknownName(f"there is no Node named {name}; {_known(cluster)}")
    answers = classify(cluster, allow_connected_islands=allow_connected_islands)
    evidence = Evidence(cluster)
    considered = []
    decided = False
    for rule_name, rule in RULES:
        finding = rule(node, evidence)
        fired = finding is not None and not decided
        considered.append(Considered(rule_name, fired, finding))
        decided = decided or fired
    classification = next(item for item in answers if item.node == name)
    return NodeExplanation(classification, tuple(considered))


def _known(cluster: ClusterFacts) -> str:
    names = sorted(node.name for node in cluster.nodes)
    if not names:
        return "there are no Nodes at all"
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"there are {shown}"
