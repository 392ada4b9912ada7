"""The graph of agents in each domain: a union of k/2 rings, so that churn stays small.

A domain says who may talk, its graph says who does. Every ring is an ordering of all members by a
hash of their uid, one of them by zone first; neighbours in a ring are neighbours in the graph. A
member that joins or leaves changes three edges a ring, so at most 1.5 k of them. There are two
steps at which the shape itself changes: between k + 1 members, where every one is everyone's
neighbour, and k + 2, where rings begin (up to k(k+1)/2 + k edges); and, with the default degree,
above 200 members, where one ring is added (n edges).

Source: Law and Siu, "Distributed construction of random expander networks", 2003: the union of d
random Hamilton cycles is an expander with high probability, of diameter O(log n).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import networkx as nx
import xxhash

from cache_ctl.domain import reasons
from cache_ctl.errors import InvalidDegree, InvariantBroken
from runtime.contract.plan import NetworkClass

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from cache_ctl.domain.domains import Classification
    from cache_ctl.domain.facts import NodeFacts

DEGREE = 6
LARGE_DEGREE = 8
LARGE_DOMAIN = 200
"""Above this many members the larger degree is the default."""


@dataclass(frozen=True, slots=True)
class DomainMember:
    """A node in a domain."""

    name: str
    uid: str
    address: str
    zone: str


@dataclass(frozen=True)
class Domain:
    """Nodes that may peer with each other, two or more, sorted by name, and the graph they use.

    No rings means that everyone is everyone's neighbour.
    """

    name: str
    network_class: NetworkClass
    members: tuple[DomainMember, ...]
    degree: int
    rings: tuple[tuple[int, ...], ...]

    @cached_property
    def graph(self) -> nx.Graph[int]:
        """The graph over indexes into ``members``."""
        graph: nx.Graph[int] = nx.Graph()
        graph.add_nodes_from(range(len(self.members)))
        if not self.rings:
            graph.add_edges_from(combinations(range(len(self.members)), 2))
        for ring in self.rings:
            nx.add_cycle(graph, ring)
        return graph

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """The pairs of neighbours by name, each pair and the whole sorted."""
        names = [member.name for member in self.members]
        # Members are sorted by name, so the order of indexes is that of names.
        pairs = sorted((a, b) if a < b else (b, a) for a, b in self.graph.edges)
        return tuple((names[a], names[b]) for a, b in pairs)


@dataclass(frozen=True, slots=True)
class LocalOnly:
    """A node that caches for itself."""

    node: str
    uid: str
    network_class: NetworkClass
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Every node of a set: in a domain, or LocalOnly with a reason. Sorted by name."""

    domains: tuple[Domain, ...]
    local_only: tuple[LocalOnly, ...]


def degree_for(members: int, wanted: int | None) -> int:
    """Return the degree of a graph of ``members``; ``wanted`` None chooses by size.

    Raises:
        InvalidDegree: the degree is odd, or below two: rings give two neighbours each.
    """
    if wanted is None:
        return DEGREE if members <= LARGE_DOMAIN else LARGE_DEGREE
    if wanted < 2 or wanted % 2:
        raise InvalidDegree(
            f"topology.degree is {wanted}; it must be an even number of at least 2, as every ring "
            "of the graph gives a member two neighbours"
        )
    return wanted


def rings_of(members: Sequence[DomainMember], degree: int) -> tuple[tuple[int, ...], ...]:
    """Return ``degree / 2`` orderings of the members' indexes; none for a complete graph."""
    if len(members) <= degree + 1:
        return ()
    rings = []
    for ring in range(degree // 2):
        keys = [(xxhash.xxh3_64_intdigest(m.uid.encode(), seed=ring), m.uid) for m in members]
        if ring == 0:
            zones = [member.zone for member in members]
            order = sorted(range(len(members)), key=lambda i: (zones[i], keys[i]))
        else:
            order = sorted(range(len(members)), key=keys.__getitem__)
        rings.append(tuple(order))
    return tuple(rings)


def build_topology(
    classifications: Iterable[Classification],
    nodes: Iterable[NodeFacts],
    *,
    degree: int | None = None,
    owners: Container[str] | None = None,
) -> Topology:
    """Return the domains of the classified nodes and the nodes that are left alone.

    ``owners`` are uids of agents that keep a share; a domain without one has nobody to ask. Left
    out, every node is one.

    Raises:
        InvalidDegree: the degree is odd, or below two.
        InvariantBroken: a domain has nodes of two classes.
    """
    degree_for(0, degree)
    facts = {node.uid: node for node in nodes}
    grouped: dict[str, list[Classification]] = defaultdict(list)
    local = []
    for item in sorted(classifications, key=lambda item: item.node):
        if item.domain is None:
            local.append(_alone(item, item.reason, item.message))
        else:
            grouped[item.domain].append(item)
    domains = []
    for name in sorted(grouped):
        items = grouped[name]
        if len(items) == 1:
            message = f"the node is the only one in the domain {name}, so there is nobody to ask"
            local.append(_alone(items[0], reasons.SINGLE_MEMBER, message))
        elif owners is not None and not any(item.uid in owners for item in items):
            message = f"no agent of the domain {name} has the role cache"
            local += [_alone(item, reasons.NO_CACHE_MEMBER, message) for item in items]
        else:
            domains.append(_domain(name, items, facts, degree))
    return Topology(tuple(domains), tuple(sorted(local, key=lambda item: item.node)))


def _alone(item: Classification, reason: str, message: str) -> LocalOnly:
    return LocalOnly(item.node, item.uid, item.network_class, reason, message)


def _domain(
    name: str,
    items: Sequence[Classification],
    facts: Mapping[str, NodeFacts],
    wanted: int | None,
) -> Domain:
    network_class = items[0].network_class
    if any(item.network_class != network_class for item in items):
        raise InvariantBroken(f"the domain {name} has nodes of more than one network class")
    members = tuple(
        DomainMember(item.node, item.uid, facts[item.uid].internal_ip, facts[item.uid].zone)
        for item in items
    )
    degree = degree_for(len(members), wanted)
    return Domain(name, network_class, members, degree, rings_of(members, degree))


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What networkx finds in a domain's graph."""

    members: int
    edges: int
    min_degree: int
    max_degree: int


def graph_facts(domain: Domain) -> GraphFacts:
    """Analyse a domain's graph."""
    graph = domain.graph
    degrees = [degree for _, degree in graph.degree]
    return GraphFacts(
        members=graph.number_of_nodes(),
        edges=graph.number_of_edges(),
        min_degree=min(degrees),
        max_degree=max(degrees),
    )


def check(topology: Topology, classifications: Iterable[Classification]) -> None:
    """Refuse a topology that links what may not be linked.

    Raises:
        InvariantBroken: a node is in two places or in none, a member's classification does not
            put it into this domain, or a domain's graph is in parts.
    """
    allowed = {item.uid: (item.network_class, item.domain) for item in classifications}
    placed = [item.uid for item in topology.local_only]
    for domain in topology.domains:
        for member in domain.members:
            placed.append(member.uid)
            if allowed.get(member.uid) != (domain.network_class, domain.name):
                raise InvariantBroken(
                    f"the node {member.name} may not be in the domain {domain.name}"
                )
        if not nx.is_connected(domain.graph):
            raise InvariantBroken(f"the graph of the domain {domain.name} is in parts")
    if sorted(placed) != sorted(allowed):
        raise InvariantBroken("a node is in two places of the topology, or in none")
