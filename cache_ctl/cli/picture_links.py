"""The lines of the picture: from each domain to the origin.

A line of a domain in a further row goes through the gaps between the boxes of nearer rows, never
behind one: it would seem to come from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_ctl.cli.picture_layout import GAP
from cache_ctl.cli.picture_local import GREY, LINE
from cache_ctl.cli.topology import Scene, link_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from cache_ctl.cli.picture_layout import Box, Page, Point

_LANES = 5
_LANE = 0.07
"""Lines that share a gap run side by side."""


def draw_links(axes: Axes, scene: Scene, page: Page) -> None:
    """Draw every domain's line with its label."""
    boxes = page.boxes
    ordered = sorted(scene.links, key=lambda link: (boxes[link.domain].x, link.domain))
    for index, link in enumerate(ordered):
        box = boxes[link.domain]
        lane = (index % _LANES - _LANES // 2) * _LANE
        points = [*_way_out(box, page, box.x + box.width / 2, lane), page.origin]
        if len(points) > 2:
            label = points[1]
        else:
            # Labels of lines that run side by side stand at different heights.
            label = _between(points[0], points[1], 0.58 if index % 2 else 0.42)
        _draw_link(axes, points, link_label(link), label)


def _way_out(box: Box, page: Page, x: float, lane: float) -> list[Point]:
    """Return the corners of the way from a box to the space around the origin."""
    upward = box.y < page.origin[1]
    rows = page.lower if upward else tuple(reversed(page.upper))
    place = next(index for index, row in enumerate(rows) if box in row)
    here = rows[place]
    edge = max(b.y + b.height for b in here) if upward else min(b.y for b in here)
    points = [(x, box.y + box.height if upward else box.y)]
    step = GAP / 2 if upward else -GAP / 2
    for row in reversed(rows[:place]):
        points.append((x, edge + step + lane))
        x = _nearest_gap(row, x) + lane
        points.append((x, edge + step + lane))
        edge = max(b.y + b.height for b in row) if upward else min(b.y for b in row)
        points.append((x, edge))
    return points


def _nearest_gap(row: Sequence[Box], x: float) -> float:
    """Return the middle of the gap beside or between boxes that is nearest to ``x``."""
    gaps = [row[0].x - GAP / 3, *(box.x + box.width + GAP / 2 for box in row[:-1])]
    gaps.append(row[-1].x + row[-1].width + GAP / 3)
    return min(gaps, key=lambda gap: (abs(gap - x), gap))


def _between(start: Point, stop: Point, share: float) -> Point:
    return start[0] + (stop[0] - start[0]) * share, start[1] + (stop[1] - start[1]) * share


def _draw_link(axes: Axes, points: Sequence[Point], text: str, place: Point) -> None:
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=GREY,
        linewidth=2.2,
        solid_capstyle="round",
        solid_joinstyle="round",
        zorder=1,
    )
    axes.text(
        *place,
        text,
        ha="center",
        va="center",
        fontsize=8,
        color="#222222",
        zorder=8,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": LINE, "lw": 0.6},
    )
