"""What each plan may draw from the origin, so that together no line carries more than it may.

A pool's budget is the smaller one of what the runtime allows it and what its line has. It is
divided by heads among all nodes behind the line: a domain gets the sum of its members' parts, a
LocalOnly node its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cache_ctl.domain import routes
from cache_ctl.domain.domains import POOL_PREFIX
from cache_ctl.domain.evidence import Evidence

if TYPE_CHECKING:
    from cache_ctl.domain.facts import PlanningFacts
    from cache_ctl.domain.topology import Domain, Topology
    from runtime.contract.plan import NetworkClass


class Budgets:
    """The budgets in bytes per second of one runtime's plans; 0 is unlimited."""

    def __init__(self, topology: Topology, facts: PlanningFacts) -> None:
        self._facts = facts
        pools = {node.uid: Evidence.pool_id(node) or node.name for node in facts.nodes}
        self._alone = Counter(
            POOL_PREFIX + pools[item.uid]
            for item in topology.local_only
            if item.network_class == "Dedicated"
        )
        self._behind = self._alone.copy()
        for domain in topology.domains:
            if domain.network_class == "Dedicated":
                self._behind[routes.line_name(domain.name)] += len(domain.members)

    def of_domain(self, domain: Domain) -> int:
        """Return what a whole domain may draw.

        Cloud nodes have no line. The nodes of an island most likely share one uplink, so they get
        together what a basic node gets.
        """
        match domain.network_class:
            case "Cloud":
                return 0
            case "Basic":
                return self._facts.runtime.basic_bytes_per_second
            case "Dedicated":
                return self._part(routes.line_name(domain.name), len(domain.members))

    def of_local_node(self, network_class: NetworkClass) -> int:
        """Return what each LocalOnly node of a class may draw.

        The dedicated ones share a plan, so the pool with the smallest parts sets it for all.
        """
        match network_class:
            case "Cloud":
                return 0
            case "Basic":
                return self._facts.runtime.basic_bytes_per_second
            case "Dedicated":
                parts = [self._part(line, 1) for line in self._alone]
                return min((part for part in parts if part), default=0)

    def _part(self, line: str, heads: int) -> int:
        allowed = self._facts.runtime.line_bytes_per_second
        carried = routes.line_bandwidth(line, self._facts.links)
        budget = min(allowed, carried) if allowed and carried else allowed or carried
        # A budget is never rounded down to 0, which would be unlimited.
        return max(1, budget * heads // self._behind[line]) if budget else 0
