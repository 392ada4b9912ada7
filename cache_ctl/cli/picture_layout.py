"""Where things stand on the page: rows of domains above and below the origin.

One unit is one inch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cache_ctl.cli.picture_local import short
from cache_ctl.domain.topology import Domain

if TYPE_CHECKING:
    from collections.abc import Sequence

Point = tuple[float, float]

GAP = 0.55
MARGIN = 0.35
TITLE = 0.62
MOST_LABELS = 64
"""Domains with more nodes than this are drawn without their names."""

_ROW_WIDTH = 13.0
_LEAST_WIDTH = 6.5
_LINE_ROOM = 0.75
_ORIGIN_HEIGHT = 0.6
_HEADING = 0.75


@dataclass(frozen=True, slots=True)
class Box:
    """A domain's place on the page: its lower left corner, size, and the ring of its nodes."""

    domain: Domain
    x: float
    y: float
    width: float
    height: float
    radius: float
    dot: float

    @property
    def centre(self) -> Point:
        """The middle of the ring of nodes."""
        return self.x + self.width / 2, self.y + (self.height - TITLE) / 2

    @property
    def angles(self) -> list[float]:
        """The directions of the nodes from the centre, the first one up."""
        count = len(self.domain.members)
        return [math.pi / 2 - 2 * math.pi * index / count for index in range(count)]


@dataclass(frozen=True, slots=True)
class Page:
    """The page and the domains on it: rows above the origin and below it, from the top down."""

    width: float
    height: float
    origin: Point
    upper: tuple[tuple[Box, ...], ...]
    lower: tuple[tuple[Box, ...], ...]

    @property
    def boxes(self) -> dict[str, Box]:
        """Every domain's box by the domain's name."""
        return {box.domain.name: box for row in self.upper + self.lower for box in row}


def lay_out(domains: Sequence[Domain], *, least_width: float, foot: float) -> Page:
    """Place the domains: cloud above the origin, the others below, over a foot of this height."""
    upper = _rows([domain for domain in domains if domain.network_class == "Cloud"])
    lower = _rows([domain for domain in domains if domain.network_class != "Cloud"])
    widest = max([_LEAST_WIDTH, least_width, *(_row_width(row) for row in upper + lower)])
    width = widest + 2 * MARGIN
    y = MARGIN + (foot + GAP if foot else 0)
    below, y = _stack(lower, y, width)
    y += _LINE_ROOM if lower else 0
    origin = (width / 2, y + _ORIGIN_HEIGHT / 2)
    y += _ORIGIN_HEIGHT + (_LINE_ROOM + 0.15 if upper else 0)
    above, y = _stack(upper, y, width)
    return Page(width, y - (GAP if upper else 0) + _HEADING, origin, above, below)


def _stack(
    rows: Sequence[Sequence[Box]], y: float, page: float
) -> tuple[tuple[tuple[Box, ...], ...], float]:
    """Place rows from ``y`` upwards; return them from the top down, and where they end."""
    placed = []
    for row in reversed(rows):
        placed.append(_place_row(row, y, page))
        y += max(box.height for box in row) + GAP
    return tuple(reversed(placed)), y


def _measure(domain: Domain) -> Box:
    count = len(domain.members)
    spacing = 0.42 if count <= 12 else 0.28 if count <= MOST_LABELS else 0.13
    radius = max(0.62, count * spacing / (2 * math.pi))
    dot = 0.1 if count <= 24 else 0.075 if count <= MOST_LABELS else 0.045
    longest = max(len(short(member.name)) for member in domain.members)
    side = 2 * (radius + dot)
    title = max(len(domain.name) * 0.105, 2.45) + 0.3
    if count <= MOST_LABELS:
        room = longest * 0.073 + 0.12
        turned = count > 12
        width = side + 2 * room + 0.2
        height = side + (2 * room if turned else 0.5) + 0.15 + TITLE
    else:
        width, height = side + 0.4, side + 0.4 + TITLE
    return Box(domain, 0, 0, max(width, title), height, radius, dot)


def _rows(domains: Sequence[Domain]) -> list[list[Box]]:
    rows: list[list[Box]] = []
    for box in map(_measure, domains):
        if rows and _row_width([*rows[-1], box]) <= _ROW_WIDTH:
            rows[-1].append(box)
        else:
            rows.append([box])
    return rows


def _row_width(row: Sequence[Box]) -> float:
    return sum(box.width for box in row) + GAP * (len(row) - 1)


def _place_row(row: Sequence[Box], y: float, page: float) -> tuple[Box, ...]:
    """Centre a row on the page, its boxes aligned at their upper edges."""
    x = (page - _row_width(row)) / 2
    tallest = max(box.height for box in row)
    placed = []
    for box in row:
        placed.append(replace(box, x=x, y=y + tallest - box.height))
        x += box.width + GAP
    return tuple(placed)
