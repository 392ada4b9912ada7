"""The graph of domains, and where each domain fetches from: Dijkstra over a few vertices.

Vertices are the origin and the distributed domains. Costs are per byte and relative:

=====================  =====  ======================================================
cloud to origin            1  inside one cloud, through the internal endpoint
dedicated to cloud       100  over the line, which bills what leaves the cloud
dedicated to origin      110  over the same line, and the origin bills the request
island to origin         110  over the public internet
=====================  =====  ======================================================

A dedicated pool reaches the cloud's nodes only where the runtime peers them and addresses do not
conflict. Two dedicated pools, two cloud regions, and anything basic have no edge between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx as nx

from cache_ctl.domain.domains import CLOUD, POOL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

    from cache_ctl.domain.facts import LinkRule
    from cache_ctl.domain.topology import Domain

ORIGIN = "origin"
CLOUD_TO_ORIGIN = 1.0
DEDICATED_TO_CLOUD = 100.0
EDGE_TO_ORIGIN = 110.0


@dataclass(frozen=True, slots=True)
class Link:
    """An edge between two domains, or a domain and the origin. Bandwidth 0 is unknown."""

    a: str
    b: str
    cost: float
    bandwidth: int


@dataclass(frozen=True, slots=True)
class Route:
    """The cheapest way of a domain's bytes: ``path`` begins with it and ends at the origin."""

    domain: str
    path: tuple[str, ...]
    cost: float


def links_between(
    domains: Sequence[Domain],
    rules: Sequence[LinkRule] = (),
    peering: Literal["None", "Cloud"] = "None",
) -> tuple[Link, ...]:
    """Return the edges that may carry data, sorted.

    ``rules`` set cost and bandwidth; of several that fit an edge the most exact one counts, then
    the first. The line of a dedicated pool is one: a rule for its way to the cloud also describes
    its way to the origin, and the other way round.
    """
    clouds = [domain for domain in domains if domain.network_class == "Cloud"]
    links = []
    for domain in domains:
        is_cloud = domain.network_class == "Cloud"
        links.append(_link(domain, None, CLOUD_TO_ORIGIN if is_cloud else EDGE_TO_ORIGIN, rules))
        if peering == "Cloud" and domain.network_class == "Dedicated" and domain.cloud_link:
            used = {member.address for member in domain.members}
            links += [
                _link(domain, cloud, DEDICATED_TO_CLOUD, rules)
                for cloud in clouds
                if cloud.cloud_link and used.isdisjoint(m.address for m in cloud.members)
            ]
    return tuple(sorted(links, key=lambda link: (link.a, link.b)))


def domain_graph(links: Iterable[Link]) -> nx.Graph[str]:
    """Return the graph of domains; edges carry ``cost`` and ``bandwidth``."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_node(ORIGIN)
    for link in links:
        graph.add_edge(link.a, link.b, cost=link.cost, bandwidth=link.bandwidth)
    return graph


def routes(links: Iterable[Link]) -> tuple[Route, ...]:
    """Return every domain's cheapest way to the origin, sorted by domain.

    Of equally cheap ways the one over fewer domains counts, then the first by name.
    """
    graph = domain_graph(links)
    distances: dict[str, float] = nx.single_source_dijkstra_path_length(
        graph, ORIGIN, weight="cost"
    )
    hops: dict[str, tuple[int, tuple[str, ...]]] = {ORIGIN: (0, (ORIGIN,))}
    for name in sorted(distances, key=lambda name: (distances[name], name)):
        if name == ORIGIN:
            continue
        nearer = [
            hops[near]
            for near in graph.neighbors(name)
            if near in hops and _equal(distances[near] + graph[name][near]["cost"], distances[name])
        ]
        count, path = min(nearer)
        hops[name] = (count + 1, (name, *path))
    return tuple(
        Route(name, hops[name][1], distances[name]) for name in sorted(distances) if name != ORIGIN
    )


def line_bandwidth(domain: str, rules: Sequence[LinkRule]) -> int:
    """Return the bandwidth of a domain's line in bytes per second, 0 when no rule tells it."""
    rule = _rule_for(_names(domain, is_cloud=False), {ORIGIN}, rules, "bandwidth")
    return 0 if rule is None else rule.bandwidth


def unused_rules(domains: Sequence[Domain], rules: Sequence[LinkRule]) -> tuple[LinkRule, ...]:
    """Return the rules that name no domain there is: most likely a misspelling."""
    known = {ORIGIN, CLOUD}
    for domain in domains:
        known |= _names(domain.name, is_cloud=domain.network_class == "Cloud")
    return tuple(rule for rule in rules if not {rule.source, rule.target} <= known)


def line_name(domain: str) -> str:
    """Return the line of a domain: the parts of a pool that gateways split share the pool's."""
    return domain.partition("/")[0] if domain.startswith(POOL_PREFIX) else domain


def _link(domain: Domain, cloud: Domain | None, cost: float, rules: Sequence[LinkRule]) -> Link:
    here = _names(domain.name, is_cloud=domain.network_class == "Cloud")
    there = {ORIGIN} if cloud is None else _names(cloud.name, is_cloud=True)
    priced = _rule_for(here, there, rules, "cost")
    sized = _rule_for(here, there, rules, "bandwidth")
    if priced is not None and priced.cost is not None:
        cost = priced.cost
    bandwidth = 0 if sized is None else sized.bandwidth
    return Link(domain.name, ORIGIN if cloud is None else cloud.name, cost, bandwidth)


def _names(domain: str, *, is_cloud: bool) -> set[str]:
    """Return the names by which rules may call a domain."""
    line = line_name(domain)
    names = {domain, line, line.removeprefix(POOL_PREFIX)}
    return names | {CLOUD} if is_cloud else names


def _rule_for(
    here: set[str],
    there: set[str],
    rules: Sequence[LinkRule],
    wanted: Literal["cost", "bandwidth"],
) -> LinkRule | None:
    """Return the rule that sets what is wanted for the edge.

    A rule that names both ends goes before one that names this end of the same line.
    """
    line = there | {ORIGIN, CLOUD}
    if CLOUD in here:
        line = there
    exact, near = None, None
    for rule in rules:
        if not getattr(rule, wanted) and not (wanted == "cost" and rule.cost is not None):
            continue
        ends = ((rule.source, rule.target), (rule.target, rule.source))
        if any(a in here and b in there for a, b in ends):
            exact = exact or rule
        elif wanted == "bandwidth" and any(a in here and b in line for a, b in ends):
            near = near or rule
    return exact or near


def _equal(left: float, right: float) -> bool:
    return abs(left - right) <= 1e-9 * max(1.0, abs(left), abs(right))
