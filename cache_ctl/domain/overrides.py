"""Rule 0: what the operator says of a node goes before all that is found.

The node's annotations first, then those of its pool objects, then the NetworkTopology's rules.
Class and domain are looked up one by one, so a rule may name the domain of nodes whose class is
found elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_ctl.domain import marks, reasons
from cache_ctl.domain.evidence import Evidence, Finding, annotation
from cache_ctl.domain.marks import word

if TYPE_CHECKING:
    from cache_ctl.domain.facts import NodeFacts, PoolFacts
    from runtime.contract.plan import NetworkClass

CLASSES: dict[str, NetworkClass] = {"cloud": "Cloud", "dedicated": "Dedicated", "basic": "Basic"}
RANK: dict[NetworkClass, int] = {"Cloud": 0, "Dedicated": 1, "Basic": 2}
"""Order of restriction: of two contradicting classes the one with the higher rank counts."""


def class_override(node: NodeFacts, evidence: Evidence) -> Finding | None:
    """Return the class that the operator gave the node, if any."""
    if marks.NETWORK_CLASS in node.annotations:
        value = node.annotations[marks.NETWORK_CLASS]
        source = f"node annotation {marks.NETWORK_CLASS}={value}"
        return _finding(value, reasons.NODE_OVERRIDE, source)
    said = [
        _finding(
            pool.annotations[marks.NETWORK_CLASS],
            reasons.POOL_OVERRIDE,
            annotation(pool, marks.NETWORK_CLASS),
        )
        for pool in _pools(node, evidence)
        if marks.NETWORK_CLASS in pool.annotations
    ]
    if said:
        return max(said, key=lambda finding: RANK[finding.network_class])
    for index, rule in enumerate(evidence.cluster.rules.rules):
        if rule.network_class and rule.matches(node):
            source = f"NetworkTopology rules[{index}] networkClass={rule.network_class}"
            return _finding(rule.network_class, reasons.RULE_OVERRIDE, source)
    return None


def domain_override(node: NodeFacts, evidence: Evidence) -> tuple[str, str] | None:
    """Return the domain that the operator gave the node, and the evidence of it."""
    name = node.annotations.get(marks.NETWORK_DOMAIN, "").strip()
    if name:
        return name, f"node annotation {marks.NETWORK_DOMAIN}={name}"
    for pool in _pools(node, evidence):
        name = pool.annotations.get(marks.NETWORK_DOMAIN, "").strip()
        if name:
            return name, annotation(pool, marks.NETWORK_DOMAIN)
    for index, rule in enumerate(evidence.cluster.rules.rules):
        if rule.domain and rule.matches(node):
            return rule.domain, f"NetworkTopology rules[{index}] domain={rule.domain}"
    return None


def _pools(node: NodeFacts, evidence: Evidence) -> tuple[PoolFacts, ...]:
    pool = evidence.node_pool(node)
    return (() if pool is None else (pool,)) + evidence.groups(node)


def _finding(value: str, reason: str, source: str) -> Finding:
    network_class = CLASSES.get(word(value))
    if network_class is None:
        return Finding(
            "Basic",
            reasons.INVALID_OVERRIDE,
            f"{source} is not a network class, so the node is treated as Basic; "
            "write cloud, dedicated or basic",
            (source,),
            final=True,
        )
    message = f"{source} makes the node {network_class}"
    return Finding(network_class, reason, message, (source,), final=True)
