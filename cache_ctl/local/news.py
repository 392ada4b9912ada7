"""What changes in a local cluster, as lines for a person who watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cache_ctl.api import reasons
from cache_ctl.api.conditions import find
from cache_ctl.api.kinds import (
    CACHE_PREWARM,
    CACHE_WORKER,
    DATASET,
    EVENT,
    title_of,
    uid_of,
)
from cache_ctl.domain.quantity import short_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cache_ctl.api.kinds import Kind, Resource
    from cache_ctl.local.world import LocalWorld

_STEP: Final = 25
"""Percent of a prewarm between two lines about it."""
_TOLD_WITH_NUMBERS: Final = {reasons.DATASET_READY, reasons.PREWARM_DONE}
_PLACE: Final = ("networkClass", "domain", "mode")


class News:
    """Says a line for each change that a person wants to know of, from now on.

    Args:
        world: the running cluster.
        say: takes a line.
    """

    def __init__(self, world: LocalWorld, say: Callable[[str], None]) -> None:
        self._world = world
        self._say = say
        self._stepped: dict[str, int] = {}
        world.objects.subscribe(self._changed)

    def _changed(self, kind: Kind, before: Resource | None, after: Resource | None) -> None:
        if kind is CACHE_WORKER:
            self._agent(before, after)
        elif after is None:
            self._stepped.pop(uid_of(before or {}), None)
        elif kind is EVENT and before is None:
            self._event(after)
        elif kind is DATASET:
            self._dataset(before, after)
        elif kind is CACHE_PREWARM:
            self._prewarm(before, after)

    def _agent(self, before: Resource | None, after: Resource | None) -> None:
        if after is None:
            if before is not None:
                self._say(f"{before['spec']['node']}: no agent is wanted here any more")
            return
        spec, node = after["spec"], after["spec"]["node"]
        ready, was_ready = _ready(after), _ready(before)
        moved = before is not None and _place(before) != _place(after)
        if moved:
            self._say(f"{node}: is now {_said(spec)}")
        if ready and not was_ready:
            process = self._world.processes.get(node)
            pid = f", process {process.pid}" if process else ""
            self._say(f"{node}: agent is ready as {_said(spec)}{pid}")
        elif was_ready and not ready:
            message = (after.get("status") or {}).get("message") or "it does not answer"
            self._say(f"{node}: agent is not ready: {message}")

    def _event(self, event: Resource) -> None:
        if event["reason"] in _TOLD_WITH_NUMBERS:
            return
        about = event["involvedObject"]
        title = title_of({"kind": about["kind"], "metadata": about})
        mark = "warning: " if event["type"] == "Warning" else ""
        self._say(f"{mark}{title}: {event['message']}")

    def _dataset(self, before: Resource | None, after: Resource) -> None:
        """Say that a Dataset is ready, and when its readers see another snapshot."""
        snapshot = (after.get("status") or {}).get("snapshot")
        if snapshot is None or not _holds(after, reasons.READY):
            return
        old = ((before or {}).get("status") or {}).get("snapshot") or {}
        amount = f"{snapshot['files']} files, {short_bytes(snapshot['bytes'])}"
        if before is None or not _holds(before, reasons.READY):
            self._say(f"{title_of(after)}: is ready, {amount}")
        elif old.get("id") != snapshot["id"]:
            self._say(f"{title_of(after)}: follows a new snapshot, {amount}")

    def _prewarm(self, before: Resource | None, after: Resource) -> None:
        status: dict[str, Any] = after.get("status") or {}
        done, total = status.get("bytesDone", 0), status.get("bytesTotal", 0)
        amount = f"{short_bytes(done)} of {short_bytes(total)}"
        if _holds(after, reasons.COMPLETE):
            if before is None or not _holds(before, reasons.COMPLETE):
                files = status.get("filesDone", 0)
                self._say(f"{title_of(after)}: is complete, {files} files, {short_bytes(done)}")
            return
        percent = 100 * done // total if total else 0
        step = percent - percent % _STEP
        if step > self._stepped.get(uid_of(after), 0):
            self._stepped[uid_of(after)] = step
            self._say(f"{title_of(after)}: {percent}%, {amount}")


def _holds(body: Resource, condition: str) -> bool:
    found = find(body, condition)
    return found is not None and found.status == "True"


def _ready(body: Resource | None) -> bool:
    return bool(((body or {}).get("status") or {}).get("ready"))


def _place(body: Resource) -> tuple[Any, ...]:
    return tuple(body["spec"].get(key) for key in _PLACE)


def _said(spec: dict[str, Any]) -> str:
    where = f" in {spec['domain']}" if spec["mode"] == "Distributed" and spec.get("domain") else ""
    return f"{spec['networkClass']}, {spec['mode']}{where} ({spec['reason']})"
