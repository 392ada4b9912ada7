"""The page on conditions names every condition and reason there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from cache_ctl.api import reasons

PAGE = Path(__file__).parents[3] / "docs" / "conditions.md"
TYPES = {
    reasons.READY,
    reasons.TOPOLOGY_BUILT,
    reasons.AGENTS_AVAILABLE,
    reasons.TIERS_USABLE,
    reasons.SNAPSHOT_TAKEN,
    reasons.ORIGIN_REACHABLE,
    reasons.PLACED,
    reasons.WARM,
    reasons.COMPLETE,
    reasons.FAILED,
}
"""Everything else in the module is a reason."""


def told():
    """Return the types and the reasons in the page's tables."""
    rows = [line.split("|")[1:3] for line in PAGE.read_text().splitlines() if line[:3] == "| `"]
    assert rows
    names = [[set(re.findall(r"`(\w+)`", cell)) for cell in row] for row in rows]
    return set().union(*(kinds for kinds, _ in names)), set().union(*(said for _, said in names))


def test_the_page_names_every_type_and_every_reason():
    every = {value for value in vars(reasons).values() if isinstance(value, str)}
    words = {value for value in every if re.fullmatch(r"[A-Z]\w+", value)}
    types, said = told()

    assert types == TYPES
    assert said - TYPES == words - TYPES
