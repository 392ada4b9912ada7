"""Who owns a slot: weighted rendezvous hashing, one ranking per slot, made on first use.

Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998, with the
weighted score ``-w / ln(h)`` of Schindelhauer and Schomaker, "Weighted distributed hash tables",
2005. A member that joins or leaves moves exactly its share of the slots and no other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import xxhash

from runtime.contract.units import SLOTS, slot_of

if TYPE_CHECKING:
    from collections.abc import Sequence

RANKS = 3
"""The owner and two standbys."""

_SPAN = float(1 << 64)


def score(uid: str, weight: float, slot: int) -> float:
    """Return the rendezvous score of a member for a slot; the highest owns it."""
    unit = (xxhash.xxh3_64_intdigest(uid.encode(), seed=slot) + 0.5) / _SPAN
    return -weight / math.log(unit)


class Ownership:
    """The ranking of members for every slot.

    ``members`` are ``(uid, weight)``; a weight of 0 owns nothing. The order of members does not
    matter. One ranking costs O(members) once, then O(1).
    """

    def __init__(self, members: Sequence[tuple[str, float]], *, ranks: int = RANKS) -> None:
        self._members = sorted((uid, weight) for uid, weight in members if weight > 0)
        self._ranks = ranks
        self._table: list[tuple[str, ...] | None] = [None] * SLOTS

    def ranking(self, slot: int) -> tuple[str, ...]:
        """Return the uids of the owner and its standbys for ``slot``, best first."""
        row = self._table[slot]
        if row is None:
            scored = sorted(
                ((-score(uid, weight, slot), uid) for uid, weight in self._members),
            )
            row = tuple(uid for _, uid in scored[: self._ranks])
            self._table[slot] = row
        return row

    def of(self, name: str) -> tuple[str, ...]:
        """Return the ranking for the slot that ``name`` falls into."""
        return self.ranking(slot_of(name))
