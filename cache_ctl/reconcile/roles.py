"""Pure: which agents of a runtime add capacity when ``spec.replicas`` says how many."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cache_ctl.domain.domains import Classification


def cache_agents(classified: Iterable[Classification], replicas: int | None) -> frozenset[str]:
    """Return the uids of the agents in role cache.

    LocalOnly agents always cache for themselves and count for nothing here. The others are taken
    from their domains in turn, in an order given by their uids: one more or less replica changes
    one agent, and a node that joins takes the place of one other at most.
    """
    domains: dict[str, list[str]] = defaultdict(list)
    chosen = set()
    for item in classified:
        if item.domain is None or replicas is None:
            chosen.add(item.uid)
        else:
            domains[item.domain].append(item.uid)
    ranked = [
        (rank, name, uid)
        for name, uids in domains.items()
        for rank, uid in enumerate(sorted(uids, key=_order))
    ]
    chosen.update(uid for _, _, uid in sorted(ranked)[: replicas or 0])
    return frozenset(chosen)


def _order(uid: str) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(uid.encode()), uid
