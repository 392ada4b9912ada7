"""The topology as a picture: the cloud above the origin, pools below, nodes without peers apart.

One unit of the drawing is one inch, so that text and shapes keep their proportions; the page grows
with the cluster.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyBboxPatch, Rectangle

from cache_ctl.cli.picture_local import GREY, INK, LINE, PAPER, LocalArea, short
from cache_ctl.cli.topology import Scene, link_label
from cache_ctl.domain.routes import ORIGIN
from cache_ctl.domain.topology import Domain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from cache_ctl.domain.routes import Link

_GAP = 0.55
_MARGIN = 0.35
_TITLE = 0.62
_ROW_WIDTH = 13.0
_MOST_LABELS = 64


@dataclass(frozen=True, slots=True)
class _Box:
    """A domain's place on the page: its lower left corner, size, and the ring of its nodes."""

    domain: Domain
    x: float
    y: float
    width: float
    height: float
    radius: float
    dot: float

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + (self.height - _TITLE) / 2

    @property
    def top(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height

    @property
    def bottom(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y

    @property
    def angles(self) -> list[float]:
        count = len(self.domain.members)
        return [math.pi / 2 - 2 * math.pi * index / count for index in range(count)]


def draw(scene: Scene, kind: str) -> bytes:
    """Return the picture as ``png`` or ``svg``."""
    above = [domain for domain in scene.topology.domains if domain.network_class == "Cloud"]
    below = [domain for domain in scene.topology.domains if domain.network_class != "Cloud"]
    upper, lower = _rows(above), _rows(below)
    local = LocalArea(scene.topology.local_only)
    width = max([6.5, *(_row_width(row) for row in upper + lower), local.width]) + 2 * _MARGIN
    y = _MARGIN
    if local.groups:
        y += local.height + _GAP
    boxes: list[_Box] = []
    for row in reversed(lower):
        boxes += _place_row(row, y, width)
        y += max(box.height for box in row) + _GAP
    line_room = 0.75
    y += line_room if lower else 0
    origin = (width / 2, y + 0.3)
    y += 0.6 + line_room + (0.15 if upper else -line_room)
    for row in reversed(upper):
        boxes += _place_row(row, y, width)
        y += max(box.height for box in row) + _GAP
    height = y - (_GAP if upper else 0) + 0.75

    with mpl.rc_context({"font.family": "DejaVu Sans", "svg.hashsalt": "cachectl"}):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        axes.axis("off")
        _draw_heading(axes, width, height, scene)
        _draw_links(axes, scene, {box.domain.name: box for box in boxes}, origin)
        for box in boxes:
            _draw_domain(axes, box)
        _draw_origin(axes, origin)
        if local.groups:
            local.draw(axes, _MARGIN, _MARGIN, width - 2 * _MARGIN)
        buffer = io.BytesIO()
        # Without a date, the same topology gives the same file.
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=_dpi(width, height), metadata=metadata)
    return buffer.getvalue()


def _dpi(width: float, height: float) -> float:
    return min(140.0, 12000 / max(width, height))


def _measure(domain: Domain) -> _Box:
    count = len(domain.members)
    spacing = 0.42 if count <= 12 else 0.28 if count <= _MOST_LABELS else 0.13
    radius = max(0.62, count * spacing / (2 * math.pi))
    dot = 0.1 if count <= 24 else 0.075 if count <= _MOST_LABELS else 0.045
    longest = max(len(short(member.name)) for member in domain.members)
    side = 2 * (radius + dot)
    title = max(len(domain.name) * 0.105, 2.45) + 0.3
    if count <= _MOST_LABELS:
        room = longest * 0.073 + 0.12
        turned = count > 12
        width = side + 2 * room + 0.2
        height = side + (2 * room if turned else 0.5) + 0.15 + _TITLE
    else:
        width, height = side + 0.4, side + 0.4 + _TITLE
    return _Box(domain, 0, 0, max(width, title), height, radius, dot)


def _rows(domains: Sequence[Domain]) -> list[list[_Box]]:
    rows: list[list[_Box]] = []
    for box in map(_measure, domains):
        if rows and _row_width([*rows[-1], box]) <= _ROW_WIDTH:
            rows[-1].append(box)
        else:
            rows.append([box])
    return rows


def _row_width(row: Sequence[_Box]) -> float:
    return sum(box.width for box in row) + _GAP * (len(row) - 1)


def _place_row(row: Sequence[_Box], y: float, page: float) -> list[_Box]:
    """Centre a row on the page, its boxes aligned at their upper edges."""
    x = (page - _row_width(row)) / 2
    tallest = max(box.height for box in row)
    placed = []
    for box in row:
        lower = y + tallest - box.height
        placed.append(_Box(box.domain, x, lower, box.width, box.height, box.radius, box.dot))
        x += box.width + _GAP
    return placed


def _draw_heading(axes: Axes, width: float, height: float, scene: Scene) -> None:
    peers = sum(len(domain.members) for domain in scene.topology.domains)
    alone = len(scene.topology.local_only)
    text = f"{peers} nodes share in {len(scene.topology.domains)} domains, {alone} cache alone"
    axes.text(
        _MARGIN, height - 0.32, text, fontsize=11, weight="bold", color="#222222", va="center"
    )
    x = width - _MARGIN
    for name in ("Basic", "Dedicated", "Cloud"):
        x -= len(name) * 0.085
        axes.text(x, height - 0.32, name, fontsize=8.5, color="#222222", va="center")
        x -= 0.14
        axes.add_patch(Circle((x, height - 0.32), 0.075, color=INK[name], linewidth=0))
        x -= 0.22


def _draw_origin(axes: Axes, origin: tuple[float, float]) -> None:
    """Draw a drum: its foot, its body over the foot's upper half, and its lid."""
    x, y = origin
    wide, lid = 1.2, 0.18
    low, high = y - 0.23, y + 0.17
    paper, edge = "#F3F3F3", {"edgecolor": GREY, "linewidth": 1.3}
    foot = Ellipse((x, low), wide, lid, facecolor=paper, zorder=6)
    body = Rectangle((x - wide / 2, low), wide, high - low, facecolor=paper, lw=0, zorder=6.1)
    cover = Ellipse((x, high), wide, lid, facecolor=paper, zorder=6.3)
    foot.set(**edge)
    cover.set(**edge)
    for patch in (foot, body, cover):
        axes.add_patch(patch)
    for side in (x - wide / 2, x + wide / 2):
        axes.plot([side, side], [low, high], color=GREY, lw=1.3, zorder=6.2)
    axes.text(x, y - 0.06, "origin", ha="center", va="center", fontsize=10, zorder=7)


def _draw_links(
    axes: Axes, scene: Scene, boxes: Mapping[str, _Box], origin: tuple[float, float]
) -> None:
    used = {
        frozenset(pair)
        for route in scene.routes
        for pair in zip(route.path, route.path[1:], strict=False)
    }
    direct = [link for link in scene.links if link.b == ORIGIN]
    order = {name: box.x for name, box in boxes.items()}
    for index, link in enumerate(sorted(direct, key=lambda link: order[link.a])):
        box = boxes[link.a]
        start = box.bottom if box.y > origin[1] else box.top
        _draw_link(axes, link, start, origin, used=frozenset((link.a, link.b)) in used, at=index)
    for link in scene.links:
        if link.b != ORIGIN:
            start, stop = boxes[link.a].top, boxes[link.b].bottom
            side = 1.0 if start[0] >= origin[0] else -1.0
            stop = (stop[0] + side * boxes[link.b].width / 3, stop[1])
            start = (start[0] + side * boxes[link.a].width / 4, start[1])
            _draw_link(axes, link, start, stop, used=frozenset((link.a, link.b)) in used, at=0)


def _draw_link(
    axes: Axes,
    link: Link,
    start: tuple[float, float],
    stop: tuple[float, float],
    *,
    used: bool,
    at: int,
) -> None:
    """Draw one line and its label; a line that no route uses is dashed."""
    axes.plot(
        [start[0], stop[0]],
        [start[1], stop[1]],
        color=GREY if used else LINE,
        linewidth=2.2 if used else 1.1,
        linestyle="-" if used else (0, (5, 4)),
        solid_capstyle="round",
        zorder=1,
    )
    # Labels of lines that run side by side stand at different heights.
    share = 0.42 if at % 2 == 0 else 0.58
    if link.b != ORIGIN:
        share = 0.58
    x = start[0] + (stop[0] - start[0]) * share
    y = start[1] + (stop[1] - start[1]) * share
    axes.text(
        x,
        y,
        link_label(link),
        ha="center",
        va="center",
        fontsize=8,
        color="#222222" if used else GREY,
        zorder=8,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": LINE, "lw": 0.6},
    )


def _draw_domain(axes: Axes, box: _Box) -> None:
    domain = box.domain
    ink = INK[domain.network_class]
    axes.add_patch(
        FancyBboxPatch(
            (box.x + 0.12, box.y + 0.12),
            box.width - 0.24,
            box.height - 0.24,
            boxstyle="round,pad=0.12,rounding_size=0.22",
            facecolor=PAPER[domain.network_class],
            edgecolor=ink,
            linewidth=1.4,
            zorder=2,
        )
    )
    middle = box.x + box.width / 2
    upper = box.y + box.height
    axes.text(
        middle,
        upper - 0.2,
        domain.name,
        ha="center",
        va="center",
        fontsize=10,
        weight="bold",
        color="#222222",
        zorder=5,
    )
    edges = domain.graph.number_of_edges()
    facts = f"{domain.network_class}, {len(domain.members)} nodes, {edges} edge{'s' * (edges > 1)}"
    axes.text(
        middle, upper - 0.42, facts, ha="center", va="center", fontsize=8, color=GREY, zorder=5
    )
    x, y = box.centre
    spots = [(x + box.radius * math.cos(a), y + box.radius * math.sin(a)) for a in box.angles]
    crowd = min(1.0, 40 / max(1, domain.graph.number_of_edges()))
    axes.add_collection(
        LineCollection(
            [(spots[a], spots[b]) for a, b in domain.graph.edges],
            colors=ink,
            linewidths=0.5 + 0.6 * crowd,
            alpha=0.25 + 0.35 * crowd,
            zorder=3,
        )
    )
    for spot in spots:
        axes.add_patch(Circle(spot, box.dot, facecolor=ink, edgecolor="white", lw=0.8, zorder=4))
    if len(spots) <= _MOST_LABELS:
        _draw_names(axes, box)


def _draw_names(axes: Axes, box: _Box) -> None:
    """Write the nodes' names around the ring, along its radius where they are many."""
    turned = len(box.domain.members) > 12
    x, y = box.centre
    reach = box.radius + box.dot + 0.07
    for member, angle in zip(box.domain.members, box.angles, strict=True):
        across, up = math.cos(angle), math.sin(angle)
        if turned:
            degrees = math.degrees(angle) % 360
            flipped = 90 < degrees < 270
            rotation = degrees - 180 if flipped else degrees
            ha, va = ("right" if flipped else "left"), "center_baseline"
            mode = "anchor"
        else:
            rotation, mode = 0.0, "default"
            ha = "center" if abs(across) < 0.2 else ("left" if across > 0 else "right")
            va = "center" if abs(up) < 0.8 else ("bottom" if up > 0 else "top")
        axes.text(
            x + reach * across,
            y + reach * up,
            short(member.name),
            ha=ha,
            va=va,
            rotation=rotation,
            rotation_mode=mode,
            fontsize=7.5,
            color="#222222",
            zorder=5,
        )
