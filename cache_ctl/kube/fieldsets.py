"""Which manager owns which field: server-side apply, on plain JSON, purely.

A field's path is a tuple of keys. Lists are atomic, except those that Kubernetes merges by key
(conditions, owner references) or as a set (finalizers).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cache_ctl.api.kinds import Resource

Path = tuple[Any, ...]
_Item = tuple[str, Any]

_LIST_KEYS: Final[dict[Path, str]] = {
    ("metadata", "finalizers"): "",
    ("metadata", "ownerReferences"): "uid",
    ("status", "conditions"): "type",
}
"""Lists that are merged: by this key of their items, or as a set where it is empty."""


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every field of an object that a manager can own, with its value."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value and path in _LIST_KEYS:
        key = _LIST_KEYS[path]
        for item in value:
            name: _Item = (key, item[key] if key else item)
            # The key names the item: it goes when nothing else of the item is left.
            rest = {k: v for k, v in item.items() if k != key} if key else {}
            yield from leaves(rest, (*path, name)) if rest else [((*path, name), item)]
    else:
        yield path, value


def read(body: Any, path: Path) -> Any:
    """Return the value at a path, or None where there is none."""
    for step in path:
        if isinstance(step, tuple):
            body = next((item for item in body or () if _is(item, step)), None)
        elif isinstance(body, dict):
            body = body.get(step)
        else:
            return None
    return body


def _is(item: Any, step: _Item) -> bool:
    key, value = step
    return bool(item == value if not key else item.get(key) == value)


def write(body: Resource, path: Path, value: Any) -> None:
    """Set the value at a path, making what is missing on the way."""
    at: Any = body
    for step, following in zip(path, (*path[1:], None), strict=True):
        last = following is None
        if isinstance(step, tuple):
            key, name = step
            found = next((item for item in at if _is(item, step)), None)
            if found is None:
                found = value if last or not key else {key: name}
                at.append(found)
            at = found
        elif last:
            at[step] = copy.deepcopy(value)
        else:
            empty: Any = [] if isinstance(following, tuple) else {}
            if not isinstance(at.get(step), type(empty)):
                at[step] = empty
            at = at[step]


def remove(body: Resource, path: Path) -> None:
    """Take the value at a path away, and what it leaves empty around it."""
    parents = [body]
    for step in path[:-1]:
        below = read(parents[-1], (step,))
        if below is None:
            return
        parents.append(below)
    for parent, step in zip(reversed(parents), reversed(path), strict=True):
        child = read(parent, (step,))
        if child in ({}, []) or step is path[-1] or _is_only_key(child, step):
            _drop(parent, step)
        else:
            return


def _is_only_key(child: Any, step: Any) -> bool:
    return isinstance(step, tuple) and isinstance(child, dict) and set(child) <= {step[0]}


def _drop(parent: Any, step: Any) -> None:
    if isinstance(step, tuple):
        parent[:] = [item for item in parent if not _is(item, step)]
    else:
        parent.pop(step, None)


def within(inner: Path, outer: Path) -> bool:
    """Tell whether a field lies in another one, or is it."""
    return inner[: len(outer)] == outer


def is_there(body: Any, path: Path, value: Any) -> bool:
    """Tell whether a field has this value. An empty map is there when there is any map."""
    found = read(body, path)
    return isinstance(found, dict) if value == {} else bool(found == value)
