"""The part of the picture without any line: nodes that cache for themselves. And the colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.patches import Circle, FancyBboxPatch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

    from cache_ctl.domain.topology import LocalOnly

# Okabe and Ito's palette: told apart with any kind of colour vision.
INK: Final = {"Cloud": "#0072B2", "Dedicated": "#009E73", "Basic": "#D55E00"}
PAPER: Final = {"Cloud": "#E8F2F9", "Dedicated": "#E5F4EE", "Basic": "#FCEFE5"}
GREY: Final = "#5A5A5A"
LINE: Final = "#8A8A8A"

_LABEL_CHARS = 18
_MOST_LOCAL = 240
_CELL_WIDTH = 1.55
_CELL_HEIGHT = 0.42


def short(name: str) -> str:
    """Return a name that fits beside a node: the middle of a long one is left out."""
    if len(name) <= _LABEL_CHARS:
        return name
    half = (_LABEL_CHARS - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


class LocalArea:
    """The nodes without peers: grouped by class and reason, each barred, with no line at all."""

    def __init__(self, nodes: Iterable[LocalOnly]) -> None:
        listed = sorted(nodes, key=lambda item: (item.network_class, item.reason, item.node))
        self.hidden = max(0, len(listed) - _MOST_LOCAL)
        self.groups: dict[tuple[str, str], list[LocalOnly]] = {}
        for item in listed[:_MOST_LOCAL]:
            self.groups.setdefault((item.network_class, item.reason), []).append(item)
        most = max((len(group) for group in self.groups.values()), default=0)
        self.columns = max(4, min(8, most))
        rows = sum(-(-len(group) // self.columns) for group in self.groups.values())
        self.width = self.columns * _CELL_WIDTH + 0.4
        self.height = 0.62 + 0.34 * len(self.groups) + rows * _CELL_HEIGHT + 0.12

    def draw(self, axes: Axes, x: float, y: float, width: float) -> None:
        """Draw the area with its lower left corner at x, y."""
        axes.add_patch(
            FancyBboxPatch(
                (x + 0.12, y + 0.12),
                width - 0.24,
                self.height - 0.24,
                boxstyle="round,pad=0.12,rounding_size=0.22",
                facecolor="#FAFAFA",
                edgecolor=GREY,
                linewidth=1.2,
                linestyle=(0, (4, 3)),
                zorder=2,
            )
        )
        down = y + self.height - 0.24
        title = "Local only: no peers, each fetches from the origin by itself"
        if self.hidden:
            title += f" (and {self.hidden} more)"
        axes.text(
            x + 0.25,
            down,
            title,
            fontsize=10,
            weight="bold",
            color="#222222",
            va="center",
            zorder=5,
        )
        down -= 0.14
        for (network_class, reason), group in self.groups.items():
            down -= 0.24
            text = f"{network_class}, {reason}"
            axes.text(x + 0.25, down, text, fontsize=8, color=GREY, va="center", zorder=5)
            down -= 0.1
            for index, item in enumerate(group):
                column = index % self.columns
                if column == 0:
                    down -= _CELL_HEIGHT if index else 0.24
                self._node(axes, x + 0.4 + column * _CELL_WIDTH, down, item)
            down -= 0.18

    @staticmethod
    def _node(axes: Axes, x: float, y: float, item: LocalOnly) -> None:
        ink = INK[item.network_class]
        axes.add_patch(
            Circle((x, y), 0.1, facecolor="white", edgecolor=ink, lw=1.4, ls=(0, (2, 1)), zorder=4)
        )
        axes.plot([x - 0.07, x + 0.07], [y - 0.07, y + 0.07], color=ink, lw=1.4, zorder=5)
        axes.text(
            x + 0.17, y, short(item.node), fontsize=7.5, color="#222222", va="center", zorder=5
        )
