"""The Range header (RFC 9110, section 14): one range of bytes."""

from __future__ import annotations


class NotSatisfiable(Exception):
    """The range lies outside the object."""


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return a range as ``(start, stop)``, or None for a header that is to be ignored.

    Ignored are other units, several ranges and what is malformed, as the RFC allows.

    Raises:
        NotSatisfiable: no byte of the object is in the range.
    """
    unit, _, spec = header.partition("=")
    first, dash, last = spec.strip().partition("-")
    first, last = first.strip(), last.strip()
    if unit.strip().lower() != "bytes" or not dash or "," in spec:
        return None
    if not all(
        part.isascii() and part.isdigit() and len(part) < 20 for part in (first, last) if part
    ):
        return None
    if not first:
        return _suffix(last, size)
    start = int(first)
    stop = int(last) + 1 if last else size
    if stop <= start and last:
        return None
    if start >= size:
        raise NotSatisfiable
    return start, min(stop, size)


def _suffix(count: str, size: int) -> tuple[int, int] | None:
    if not count:
        return None
    if not int(count) or not size:
        raise NotSatisfiable
    return max(0, size - int(count)), size
