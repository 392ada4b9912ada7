"""Numbers as people read them, the same on the screen and on the page."""

from __future__ import annotations

from tests.perf.bench.results import Spread

NONE = "-"
"""Where there is no figure."""
_BINARY = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_SMALL = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
_THOUSANDS = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def figure(value: float) -> str:
    """Return three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def amount(value: float, unit: str) -> str:
    """Return a value with its unit, scaled: ``B`` by 1,024, ``s`` down to µs, others by 1,000."""
    if unit == "B":
        for name, size in _BINARY:
            if abs(value) >= size:
                return f"{figure(value / size)} {name}"
        return f"{figure(value)} B"
    if unit == "s":
        for name, size in _SMALL:
            if abs(value) >= size:
                return f"{figure(value / size)} {name}"
        return f"{figure(value / 1e-6)} µs"
    for name, size in _THOUSANDS:
        if abs(value) >= 10 * size:
            return f"{figure(value / size)} {name} {unit}".rstrip()
    return f"{figure(value)} {unit}".rstrip()


def rate(value: float, unit: str) -> str:
    """Return a rate of a unit."""
    return f"{amount(value, unit)}/s"


def ratio(spread: Spread) -> str:
    """Return a ratio with its spread."""
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def limits(bar: float | None, aim: float | None, *, unit: str = "", best: str = "high") -> str:
    """Return bar and aim in short; ``NONE`` where there are none."""
    sign = "≥" if best == "high" else "≤"

    def shown(value: float) -> str:
        return amount(value, unit) if unit else f"{value:g}"

    parts = [] if bar is None else [f"{sign} {shown(bar)}"]
    parts += [] if aim is None else [f"aim {shown(aim)}"]
    return ", ".join(parts) or NONE


def processor(value: float | None) -> str:
    """Return processor seconds a GiB."""
    return NONE if value is None else f"{value:.2f}"


def memory(value: int | None) -> str:
    """Return resident bytes."""
    return NONE if value is None else amount(value, "B")
