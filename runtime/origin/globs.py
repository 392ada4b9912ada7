"""Which paths a mount includes: globs over whole paths below the source.

``*`` and ``?`` stay within one name, ``**`` spans any number of folders, ``[...]`` is a set of
characters. ``**/*.jpg`` matches ``x.jpg`` and ``a/b/x.jpg``; ``*.jpg`` only the former.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def selector(include: Sequence[str], exclude: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a path is wanted; no ``include`` means all.

    Raises:
        ConfigError: a glob cannot be read.
    """
    wanted = [_compiled(glob) for glob in include]
    unwanted = [_compiled(glob) for glob in exclude]

    def selects(path: str) -> bool:
        if wanted and not any(pattern.fullmatch(path) for pattern in wanted):
            return False
        return not any(pattern.fullmatch(path) for pattern in unwanted)

    return selects


def _compiled(glob: str) -> re.Pattern[str]:
    try:
        return re.compile(_translate(glob.strip("/")), re.DOTALL)
    except re.error as error:
        raise ConfigError(f"the glob {glob!r} cannot be read: {error}") from error


_TOKEN = re.compile(
    r"(?P<folders>\*\*/)|(?P<all>\*\*)|(?P<star>\*)|(?P<one>\?)|(?P<set>\[.[^]]*\])"
)


def _translate(glob: str) -> str:
    parts, at = [], 0
    for token in _TOKEN.finditer(glob):
        parts.append(re.escape(glob[at : token.start()]))
        at = token.end()
        match token.lastgroup:
            case "folders":
                parts.append("(?:[^/]+/)*")
            case "all":
                parts.append(".*")
            case "star":
                parts.append("[^/]*")
            case "one":
                parts.append("[^/]")
            case _:
                inside = token.group()[1:-1].replace("\\", "\\\\")
                negated = inside[0] in "!^"
                parts.append(f"(?!/)[{'^' if negated else ''}{inside[1:] if negated else inside}]")
    parts.append(re.escape(glob[at:]))
    return "".join(parts)
