"""Version tokens from HTTP headers, and back into conditions.

A strong etag is kept without its quotes, a weak one as it came (``W/"x"``), a server without
etags is identified by ``date "<Last-Modified>" <size>``. No strong etag contains a quote, so the
three never mix.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATED = re.compile(r'date "([^"]*)" (\d+)')


def from_etag(etag: str) -> str:
    """Return the version of an ETag header's value, or of the same without quotes."""
    text = etag.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    return text


def from_headers(headers: Mapping[str, str], size: int) -> str:
    """Return the version that an answer's headers tell, or an empty string if they tell none."""
    if etag := headers.get("ETag", ""):
        return from_etag(etag)
    if date := headers.get("Last-Modified", ""):
        return f'date "{date}" {size}'
    return ""


def conditions(version: str) -> dict[str, str]:
    """Return the request headers that ask for exactly this version.

    A weak etag never satisfies If-Match, so there the answer alone tells.
    """
    if dated := _DATED.fullmatch(version):
        return {"If-Unmodified-Since": dated[1]}
    return {} if '"' in version else {"If-Match": f'"{version}"'}


def matches(version: str, headers: Mapping[str, str], size: int) -> bool:
    """Tell whether an answer's headers name this version of an object of ``size`` bytes."""
    if _DATED.fullmatch(version):
        return f'date "{headers.get("Last-Modified", "")}" {size}' == version
    return from_etag(headers.get("ETag", "")) == version
