"""The plots of the page, as SVG: ratios against their bars, throughput, processor seconds."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.perf.bench import words
from tests.perf.bench.results import PairResult, Results, Side, Verdict

OURS, THEIRS = "#2f6fb3", "#7d8793"
INK, MIDDLE, FAINT = "#222222", "#9aa3ad", "#d9dde2"
COLOURS: dict[Verdict, str] = {
    "aim": "#1a7f37",
    "bar": "#57a773",
    "under": "#c62828",
    "shown": "#8a94a0",
}
NAMES: dict[Verdict, str] = {
    "aim": "aim met",
    "bar": "bar met",
    "under": "under its bar",
    "shown": "no bar",
}
_LINE = 0.27
"""Inches that one line of a plot takes."""
_TICKS = (1, 2, 5)

Named = tuple[str, PairResult]


def ratios(results: Results) -> bytes | None:
    """Draw every pair's ratio with its spread, and its bar; None where there are no pairs."""
    pairs = _pairs(results)
    if not pairs:
        return None

    def draw(axes: Any) -> None:
        axes.axvline(1, color=INK, linewidth=0.8)
        for line, (_, pair) in enumerate(pairs):
            colour = COLOURS[pair.verdict]
            found = pair.ratio
            axes.plot([found.low, found.high], [line, line], color=colour, linewidth=2)
            axes.plot(found.median, line, "o", color=colour, markersize=6)
            if pair.bar is not None:
                axes.plot(pair.bar, line, "|", color=INK, markersize=12, markeredgewidth=1.6)
            if pair.aim is not None:
                axes.plot(pair.aim, line, "|", color=MIDDLE, markersize=12, markeredgewidth=1.6)
        for verdict, name in NAMES.items():
            axes.plot([], [], "o", color=COLOURS[verdict], label=name)
        axes.plot([], [], "|", color=INK, markersize=12, markeredgewidth=1.6, label="bar")
        axes.plot([], [], "|", color=MIDDLE, markersize=12, markeredgewidth=1.6, label="aim")
        axes.set_xlabel("ours ÷ the peer's, in the same run (log scale, right is better)")
        _log_scale(axes)

    return _figure([f"{row}: {pair.case} ÷ {pair.peer}" for row, pair in pairs], draw)


def throughput(results: Results) -> bytes | None:
    """Draw bytes a second, ours beside each peer's."""
    pairs = [(row, pair) for row, pair in _pairs(results) if pair.unit == "B"]
    return _beside(
        pairs,
        lambda side: side.rate / 2**30,
        "GiB a second (medians, log scale; right is better)",
        lambda value: words.rate(value * 2**30, "B"),
    )


def processor(results: Results) -> bytes | None:
    """Draw processor seconds a GiB, client and server together, ours beside each peer's."""
    pairs = [
        (row, pair)
        for row, pair in _pairs(results)
        if _spent(pair.ours) is not None and _spent(pair.theirs) is not None and pair.unit == "B"
    ]
    return _beside(
        pairs,
        lambda side: _spent(side) or 0.0,
        "processor seconds a GiB, client and server (medians, log scale; left is better)",
        lambda value: f"{value:.2f} s",
    )


def _pairs(results: Results) -> list[Named]:
    return [(row.name, pair) for row in results.rows for pair in row.pairs]


def _spent(side: Side) -> float | None:
    known = [cost for cost in (side.client_cpu, side.server_cpu) if cost is not None]
    return sum(known) if known else None


def _beside(
    pairs: Sequence[Named],
    value: Callable[[Side], float],
    label: str,
    said: Callable[[float], str],
) -> bytes | None:
    """Draw a line a pair with a dot for each side, each with its figure on its outer side."""
    pairs = [(row, pair) for row, pair in pairs if value(pair.ours) > 0 < value(pair.theirs)]
    if not pairs:
        return None

    def draw(axes: Any) -> None:
        for line, (_, pair) in enumerate(pairs):
            ours, theirs = value(pair.ours), value(pair.theirs)
            axes.plot([ours, theirs], [line, line], color=FAINT, linewidth=2, zorder=1)
            for mine, other, colour in ((theirs, ours, THEIRS), (ours, theirs, OURS)):
                axes.plot(mine, line, "o", color=colour, markersize=6)
                right = mine > other or (mine == other and colour == OURS)
                axes.annotate(
                    said(mine),
                    (mine, line),
                    (7 if right else -7, 0),
                    textcoords="offset points",
                    ha="left" if right else "right",
                    va="center",
                    fontsize=6.5,
                    color=colour,
                )
        axes.plot([], [], "o", color=OURS, label="ours")
        axes.plot([], [], "o", color=THEIRS, label="the peer's")
        axes.set_xlabel(label)
        _log_scale(axes, room=2.4)

    return _figure([f"{row}: {pair.case}, {pair.peer}" for row, pair in pairs], draw)


def _log_scale(axes: Any, *, room: float = 1.1) -> None:
    """Put few, plain numbers on a logarithmic axis, with some room at its ends."""
    low, high = axes.dataLim.intervalx
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    first, last = math.floor(math.log10(low / room)), math.ceil(math.log10(high * room))
    steps = _TICKS if last - first <= 3 else _TICKS[:1]
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    axes.set_xticks([tick for tick in ticks if low / room <= tick <= high * room])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()


def _figure(labels: Iterable[str], draw: Callable[[Any], None]) -> bytes:
    """Draw lines from the top down, one a label; the same results give the same bytes."""
    names = list(labels)
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 8, "svg.hashsalt": "cachectl"}):
        figure = Figure(figsize=(9.5, 1.3 + _LINE * len(names)), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="x", color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower center", ncols=6, frameon=False)
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
