"""What we last heard from the cluster: every object of the kinds that are watched.

Fed by events and replaced whole by each list, so that an object which vanished in a gap of a watch
leaves no ghost. Reading it costs no request; it may be a moment behind the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from cache_ctl.api.kinds import Kind, Resource, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Iterable

Objects = list[Resource]
ObjectKeys = list[tuple[str, str]]
Availability = Literal["Served", "Absent", "Forbidden"]
Listener = Callable[[Kind, Resource | None, Resource | None], None]
"""Called with the kind, the object before and after a change; None where there was or is none."""


class ObjectCache:
    """Objects by kind.

    What it returns is what it holds, and not to be changed: a pass looks at every node, and copies
    would cost it more than all else.
    """

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[tuple[str, str], Resource]] = {}
        self._availability: dict[Kind, Availability] = {}
        self._listeners: list[Listener] = []
        self._heard = asyncio.Event()

    def subscribe(self, listener: Listener) -> None:
        """Call the listener after every change from now on."""
        self._listeners.append(listener)

    def replace(self, kind: Kind, bodies: Iterable[Resource]) -> None:
        """Take a list of all objects of a kind."""
        before = self._objects.get(kind, {})
        after = {(namespace_of(body), name_of(body)): body for body in bodies}
        self._objects[kind] = after
        self._set_availability(kind, "Served")
        for key in before.keys() | after.keys():
            old, new = before.get(key), after.get(key)
            if old != new:
                self._tell(kind, old, new)

    def observe(self, kind: Kind, body: Resource) -> None:
        """Take the newest state of an object."""
        key = (namespace_of(body), name_of(body))
        known = self._objects.setdefault(kind, {})
        before = known.get(key)
        known[key] = body
        self._tell(kind, before, body)

    def forget(self, kind: Kind, body: Resource) -> None:
        """Take note that an object is gone."""
        before = self._objects.get(kind, {}).pop((namespace_of(body), name_of(body)), None)
        if before is not None:
            self._tell(kind, before, None)

    def unavailable(self, kind: Kind, state: Literal["Absent", "Forbidden"]) -> None:
        """Take note that a kind cannot be read now; nothing of it is known then."""
        self.replace(kind, ())
        self._set_availability(kind, state)

    def _set_availability(self, kind: Kind, state: Availability) -> None:
        self._availability[kind] = state
        self._heard.set()

    def _tell(self, kind: Kind, before: Resource | None, after: Resource | None) -> None:
        for listener in self._listeners:
            listener(kind, before, after)

    def get(self, kind: Kind, name: str, namespace: str = "") -> Resource | None:
        """Return an object, or None where there is none."""
        return self._objects.get(kind, {}).get((namespace, name))

    def list(self, kind: Kind, *, namespace: str = "") -> Objects:
        """Return the objects of a kind by namespace and name."""
        return [
            body
            for (space, _), body in sorted(self._objects.get(kind, {}).items())
            if namespace in ("", space)
        ]

    def keys(self, kind: Kind) -> ObjectKeys:
        """Return namespace and name of each object of a kind, sorted."""
        return sorted(self._objects.get(kind, {}))

    def availability(self, kind: Kind) -> Availability:
        """Return whether a kind is served; one that was not heard of yet counts as absent."""
        return self._availability.get(kind, "Absent")

    async def heard_of(self, kinds: Iterable[Kind]) -> None:
        """Wait until every one of the kinds has been listed once, or is known to be unreadable."""
        wanted = set(kinds)
        while not wanted <= self._availability.keys():
            self._heard.clear()
            await self._heard.wait()
