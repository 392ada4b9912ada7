"""The graph of domains, and where each domain fetches from: Dijkstra over a few vertices.

Vertices are the origin and the distributed domains. Costs are per byte and relative:

===================  =====  ====================================================
cloud to origin          1  inside one cloud, through the internal endpoint
dedicated to origin    110  over the line, and the origin bills the request
island to origin       110  over the public internet
===================  =====  ====================================================

Agents ask no node of another domain, so there is no edge between two domains.
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
EDGE_TO_ORIGIN = 110.0


@dataclass(frozen=True, slots=True)
class Link:
    """The line from a domain to the origin. Bandwidth in bytes per second, 0 is unknown."""

    domain: str
    cost: float
    bandwidth: int


@dataclass(frozen=True, slots=True)
class Route:
    """The cheapest way of a domain's bytes: ``path`` begins with it and ends at the origin."""

    domain: str
    path: tuple[str, ...]
    cost: float


def links_of(domains: Sequence[Domain], rules: Sequence[LinkRule] = ()) -> tuple[Link, ...]:
    """Return the edges that may carry data, sorted by domain.

    ``rules`` set cost and bandwidth; of several that fit an edge the most exact one counts, then
    the first. The line of a dedicated pool is one: a rule for its way to the cloud also describes
    its way to the origin.
    """
    return tuple(sorted((_link(domain, rules) for domain in domains), key=lambda link: link.domain))


def domain_graph(links: Iterable[Link]) -> nx.Graph[str]:
    """Return the graph of domains; edges carry ``cost`` and ``bandwidth``."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_node(ORIGIN)
    for link in links:
        graph.add_edge(link.domain, ORIGIN, cost=link.cost, bandwidth=link.bandwidth)
    return graph


def routes(links: Iterable[Link]) -> tuple[Route, ...]:
    """Return every domain's cheapest way to the origin, sorted by domain."""
    graph = domain_graph(links)
    costs: dict[str, float] = nx.single_source_dijkstra_path_length(graph, ORIGIN, weight="cost")
    paths: dict[str, list[str]] = nx.single_source_dijkstra_path(graph, ORIGIN, weight="cost")
    return tuple(
        Route(name, tuple(reversed(paths[name])), costs[name])
        for name in sorted(costs)
        if name != ORIGIN
    )


def line_bandwidth(domain: str, rules: Sequence[LinkRule]) -> int:
    """Return the bandwidth of a domain's line in bytes per second, 0 when no rule tells it."""
    rule = _rule_for(_names(domain, is_cloud=False), rules, "bandwidth")
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


def _link(domain: Domain, rules: Sequence[LinkRule]) -> Link:
    is_cloud = domain.network_class == "Cloud"
    here = _names(domain.name, is_cloud=is_cloud)
    priced = _rule_for(here, rules, "cost")
    sized = _rule_for(here, rules, "bandwidth")
    cost = CLOUD_TO_ORIGIN if is_cloud else EDGE_TO_ORIGIN
    if priced is not None and priced.cost is not None:
        cost = priced.cost
    return Link(domain.name, cost, 0 if sized is None else sized.bandwidth)


def _names(domain: str, *, is_cloud: bool) -> set[str]:
    """Return the names by which rules may call a domain."""
    line = line_name(domain)
    names = {domain, line, line.removeprefix(POOL_PREFIX)}
    return names | {CLOUD} if is_cloud else names


def _rule_for(
    here: set[str], rules: Sequence[LinkRule], wanted: Literal["cost", "bandwidth"]
) -> LinkRule | None:
    """Return the rule that sets what is wanted for a domain's line.

    A rule for the way to the origin goes before one for the way to the cloud.
    """
    for far in (ORIGIN, CLOUD):
        for rule in rules:
            # A bandwidth of 0 is none; a cost of 0 is one.
            said = rule.bandwidth > 0 if wanted == "bandwidth" else rule.cost is not None
            ends = {(rule.source, rule.target), (rule.target, rule.source)}
            if said and far not in here and any(a in here and b == far for a, b in ends):
                return rule
    return None
