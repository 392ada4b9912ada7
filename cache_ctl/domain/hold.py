"""Evidence over time: what is taken away goes at once, what is added must hold for a while.

Labels appear on a node one after the other and a pool object may flap; a permission to peer that
was given too early cannot be taken back from bytes that were already sent. Times are seconds of
one monotonic clock, handed in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cache_ctl.domain import marks, reasons
from cache_ctl.domain.domains import Classification
from cache_ctl.domain.marks import word
from cache_ctl.domain.overrides import RANK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cache_ctl.domain.facts import NodeFacts

HOLD_SECONDS = 60.0
"""For how long evidence must hold before it adds a permission."""
GRACE_SECONDS = 15 * 60.0
"""For how long a node that is not ready keeps its place, unless its autonomy is longer."""

_GO_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s|us|ns))+")
_GO_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s|us|ns)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Held:
    """One node's classification in force, and the one that waits since ``since``, if any."""

    current: Classification
    waiting: Classification | None = None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """Every node's state, by uid. The next call takes it as ``previous``."""

    held: Mapping[str, Held] = field(default_factory=dict)

    @property
    def classifications(self) -> tuple[Classification, ...]:
        """The classifications in force, sorted by node name."""
        return tuple(
            sorted((held.current for held in self.held.values()), key=lambda item: item.node)
        )

    @property
    def due(self) -> float | None:
        """When waiting evidence will have held long enough; None when none waits."""
        return min(
            (held.since + HOLD_SECONDS for held in self.held.values() if held.waiting), default=None
        )


def settle(previous: Settled, observed: Iterable[Classification], now: float) -> Settled:
    """Return what is in force now.

    A node seen for the first time is taken as observed: nothing contradicts it. Otherwise the
    part of the observation that restricts counts at once: the stricter class, and no domain unless
    it is the same one. The rest waits until it has been observed unchanged for ``HOLD_SECONDS``.
    """
    return Settled(
        {item.uid: _settle_node(previous.held.get(item.uid), item, now) for item in observed}
    )


def _settle_node(held: Held | None, seen: Classification, now: float) -> Held:
    if held is None:
        return Held(seen)
    common = _common(held.current, seen)
    if _permissions(common) == _permissions(seen):
        return Held(seen)
    waiting = held.waiting
    same = waiting is not None and _permissions(waiting) == _permissions(seen)
    since = held.since if same else now
    if now - since >= HOLD_SECONDS:
        return Held(seen)
    return Held(common, seen, since)


def _permissions(item: Classification) -> tuple[str, str | None]:
    return item.network_class, item.domain


def _common(current: Classification, seen: Classification) -> Classification:
    """Return what both allow: a domain is the same one only for nodes of the same class."""
    if _permissions(current) == _permissions(seen):
        return seen
    stricter = max(current, seen, key=lambda item: RANK[item.network_class])
    goal = f"{seen.network_class} in {seen.domain}" if seen.domain else seen.network_class
    return stricter.without_peers(
        reasons.EVIDENCE_HOLDING,
        f"the node is now found to be {goal}, which counts once it has held for "
        f"{HOLD_SECONDS:.0f} seconds",
        *seen.evidence,
    )


@dataclass(frozen=True, slots=True)
class Absences:
    """Since when each node is not ready, by uid, and those whose grace is over."""

    since: Mapping[str, float] = field(default_factory=dict)
    expired: frozenset[str] = frozenset()


def absences(previous: Mapping[str, float], nodes: Iterable[NodeFacts], now: float) -> Absences:
    """Return which nodes have been away for longer than their grace.

    Until then a node keeps its place and its share, as it comes back with its data; others read
    from its standbys. ``previous`` is the ``since`` of the last call.
    """
    nodes = tuple(nodes)
    since = {node.uid: previous.get(node.uid, now) for node in nodes if not node.ready}
    expired = frozenset(
        node.uid
        for node in nodes
        if not node.ready and now - since[node.uid] >= grace_seconds(node)
    )
    return Absences(since, expired)


def grace_seconds(node: NodeFacts) -> float:
    """Return for how long an absent node keeps its place: its autonomy, 15 minutes at least.

    An autonomy of zero or less is for ever, as OpenYurt reads it; one that cannot be read is none.
    """
    if any(word(node.annotations.get(key, "")) == "true" for key in marks.AUTONOMY_FOREVER):
        return float("inf")
    grace = GRACE_SECONDS
    for key in marks.AUTONOMY_DURATIONS:
        text = word(node.annotations.get(key, ""))
        if text.startswith("-") or text == "0":
            return float("inf")
        if _GO_DURATION.fullmatch(text):
            parts = _GO_PART.findall(text)
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
            grace = max(grace, seconds) if seconds > 0 else float("inf")
    return grace
