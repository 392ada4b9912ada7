"""The topology as a picture: the cloud above the origin, pools below, nodes without peers apart.

One unit of the drawing is one inch, so that text and shapes keep their proportions; the page grows
with the cluster.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyBboxPatch, Rectangle

from cache_ctl.cli.picture_layout import MARGIN, MOST_LABELS, lay_out
from cache_ctl.cli.picture_links import draw_links
from cache_ctl.cli.picture_local import GREY, INK, PAPER, LocalArea, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cache_ctl.cli.picture_layout import Box
    from cache_ctl.cli.topology import Scene

_DPI = 140.0
_MOST_PIXELS = 12000


def draw(scene: Scene, kind: str) -> bytes:
    """Return the picture as ``png`` or ``svg``."""
    local = LocalArea(scene.topology.local_only)
    foot = local.height if local.groups else 0.0
    page = lay_out(scene.topology.domains, least_width=local.width, foot=foot)
    with mpl.rc_context({"font.family": "DejaVu Sans", "svg.hashsalt": "cachectl"}):
        figure = Figure(figsize=(page.width, page.height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, page.width)
        axes.set_ylim(0, page.height)
        axes.axis("off")
        _draw_heading(axes, page.width, page.height, scene)
        draw_links(axes, scene, page)
        for box in page.boxes.values():
            _draw_domain(axes, box)
        _draw_origin(axes, page.origin)
        if local.groups:
            local.draw(axes, MARGIN, MARGIN, page.width - 2 * MARGIN)
        buffer = io.BytesIO()
        # Without a date, the same topology gives the same file.
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(
            buffer,
            format=kind,
            dpi=min(_DPI, _MOST_PIXELS / max(page.width, page.height)),
            metadata=metadata,
        )
    return buffer.getvalue()


def _draw_heading(axes: Axes, width: float, height: float, scene: Scene) -> None:
    peers = sum(len(domain.members) for domain in scene.topology.domains)
    alone = len(scene.topology.local_only)
    text = f"{peers} nodes share in {len(scene.topology.domains)} domains, {alone} cache alone"
    axes.text(MARGIN, height - 0.32, text, fontsize=11, weight="bold", color="#222222", va="center")
    x = width - MARGIN
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


def _draw_domain(axes: Axes, box: Box) -> None:
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
    if len(spots) <= MOST_LABELS:
        _draw_names(axes, box)


def _draw_names(axes: Axes, box: Box) -> None:
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
