"""Amounts as people write them: ``4Mi``, ``8G``, ``500Mbit``.

Bytes follow Kubernetes quantities: decimal suffixes k, M, G, T, P and binary Ki, Mi, Gi, Ti, Pi.
Rates are bits per second with decimal prefixes, as lines are sold: ``20Mbit`` is 2,500,000 bytes
per second. Both allow a fraction, when the amount is a whole number of bytes.
"""

from __future__ import annotations

import re
from fractions import Fraction

from cache_ctl.errors import InvalidQuantity

_BYTE_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}
_RATE_UNITS = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9, "Tbit": 10**12}
_RATE_BY_LOWER = {unit.lower(): factor for unit, factor in _RATE_UNITS.items()}
_AMOUNT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
_MAX = 2**63 - 1
_KIB = 1024


def parse_bytes(text: object, field: str) -> int:
    """Return the bytes that ``text`` stands for; a bare integer is bytes.

    Raises:
        InvalidQuantity: it is no such amount, no whole number of bytes, or beyond 63 bits.
    """
    hint = 'write it like "4Mi", "10Gi" or "8G"'
    number, unit = _split(text, field, hint)
    if unit not in _BYTE_UNITS:
        raise InvalidQuantity(f"{field} is {text!r}, whose unit is not known; {hint}")
    return _whole(number * _BYTE_UNITS[unit], text, field, hint)


def parse_rate(text: object, field: str) -> int:
    """Return the bytes per second that a rate in bits per second stands for.

    Raises:
        InvalidQuantity: it is no such rate, or not a whole number of bytes per second.
    """
    hint = 'write it like "500Mbit" or "1Gbit"'
    number, unit = _split(text, field, hint)
    if unit.lower() not in _RATE_BY_LOWER:
        raise InvalidQuantity(f"{field} is {text!r}, whose unit is not known; {hint}")
    return _whole(number * _RATE_BY_LOWER[unit.lower()] / 8, text, field, hint)


def _split(text: object, field: str, hint: str) -> tuple[Fraction, str]:
    if isinstance(text, bool) or not isinstance(text, (str, int)):
        raise InvalidQuantity(f"{field} is {text!r}, which is no amount; {hint}")
    found = _AMOUNT.fullmatch(str(text).strip())
    if found is None:
        raise InvalidQuantity(f"{field} is {text!r}, which is no amount; {hint}")
    return Fraction(found[1]), found[2]


def _whole(value: Fraction, text: object, field: str, hint: str) -> int:
    if value.denominator != 1:
        raise InvalidQuantity(f"{field} is {text!r}, which is no whole number of bytes; {hint}")
    if value > _MAX:
        raise InvalidQuantity(f"{field} is {text!r}, which is more than can be counted; {hint}")
    return int(value)


def format_rate(bytes_per_second: int) -> str:
    """Return the shortest exact rate: ``2500000`` is ``20Mbit``. The inverse of parse_rate."""
    bits = bytes_per_second * 8
    for unit in ("Tbit", "Gbit", "Mbit", "kbit"):
        if bits and bits % _RATE_UNITS[unit] == 0:
            return f"{bits // _RATE_UNITS[unit]}{unit}"
    return f"{bits}bit"


def short_bytes(count: int) -> str:
    """Return an amount of bytes for people, in two to four digits: ``1536`` is ``1.5Ki``."""
    unit, amount = "", float(count)
    for larger in ("Ki", "Mi", "Gi", "Ti", "Pi"):
        if amount < _KIB:
            break
        unit, amount = larger, amount / _KIB
    return f"{amount:.1f}{unit}" if unit and amount < 10 else f"{amount:.0f}{unit}"
