"""Pure: agents by domain, as status shows them. LocalOnly agents of a class share one row."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache_ctl.api.v1alpha1.cacheworker import CacheWorker

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Row:
    """One distributed domain, or all LocalOnly nodes of one network class."""

    name: str
    network_class: str
    mode: str
    reason: str
    workers: tuple[CacheWorker, ...]

    @property
    def distributed(self) -> bool:
        """Tell whether the workers share one copy."""
        return self.mode == "Distributed"


def rows(workers: Iterable[CacheWorker]) -> tuple[Row, ...]:
    """Return the workers by domain, sorted by name; the reason is the most common one."""
    grouped: dict[tuple[str, str, str], list[CacheWorker]] = defaultdict(list)
    for worker in workers:
        spec = worker.spec
        name = spec.domain if spec.mode == "Distributed" and spec.domain else None
        local = f"local-{spec.network_class.lower()}"
        grouped[name or local, spec.network_class, spec.mode].append(worker)
    return tuple(
        Row(
            name=name,
            network_class=network_class,
            mode=mode,
            reason=_most_common(item.spec.reason for item in members),
            workers=tuple(members),
        )
        for (name, network_class, mode), members in sorted(grouped.items(), key=lambda e: e[0])
    )


def _most_common(reasons: Iterable[str]) -> str:
    counts = Counter(reasons)
    return min(counts, key=lambda reason: (-counts[reason], reason))


def percent(part: int, whole: int) -> int:
    """Return a share in percent, rounded down, so that 100 means all; of nothing, all is there."""
    return 100 if whole <= 0 else min(100, 100 * part // whole)
