"""Printer columns: what a table shows of each kind.

``cachectl get`` prints them, in the form in which a CustomResourceDefinition has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cache_ctl.api import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cache_ctl.api.kinds import Kind, Resource


@dataclass(frozen=True, slots=True)
class Column:
    """One column after the name.

    ``path`` is a JSONPath of fields (a dot in a name is escaped) and filters like
    ``[?(@.type=="Ready")]``. A ``wide`` one shows with ``-o wide`` alone: priority 1 in a CRD.
    """

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    wide: bool = False

    def value(self, body: Resource) -> Any:
        """Return what stands at the path in an object, or None."""
        found: Any = body
        for step in _steps(self.path):
            found = step.of(found)
        return found


@dataclass(frozen=True, slots=True)
class _Step:
    """A field of an object, or the first item of a list whose ``field`` has this value."""

    field: str
    value: str | None = None

    def of(self, data: Any) -> Any:
        if self.value is None:
            return data.get(self.field) if isinstance(data, dict) else None
        items = data if isinstance(data, list) else ()
        return next((item for item in items if item.get(self.field) == self.value), None)


_STEP = re.compile(r'\[\?\(@\.(\w+)=="([^"]*)"\)\]|\.((?:\\.|[^.\[\\])+)')


def _steps(path: str) -> Iterator[_Step]:
    for match in _STEP.finditer(path):
        field, value, plain = match.groups()
        yield _Step(field, value) if plain is None else _Step(re.sub(r"\\(.)", r"\1", plain))


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")

COLUMNS: Final[dict[Kind, tuple[Column, ...]]] = {
    kinds.DATASET: (
        Column("Ready", _condition("Ready", "status")),
        Column("Files", ".status.snapshot.files", "integer"),
        Column("Bytes", ".status.snapshot.bytes", "integer"),
        Column("Cached%", ".status.cached.percent", "integer"),
        Column("Hits", ".status.hitRatio"),
        _AGE,
        Column("Runtime", ".spec.runtimeRef.name", wide=True),
        Column("Reason", _condition("Ready", "reason"), wide=True),
        Column("Message", _condition("Ready", "message"), wide=True),
    ),
    kinds.CACHE_RUNTIME: (
        Column("Ready", _condition("Ready", "status")),
        Column("Agents", ".status.replicas", "integer"),
        Column("Unclassified", ".status.unclassifiedNodes", "integer"),
        Column("Plan", ".status.planGeneration", "integer"),
        _AGE,
        Column("Reason", _condition("Ready", "reason"), wide=True),
        Column("Message", _condition("Ready", "message"), wide=True),
    ),
    kinds.CACHE_PREWARM: (
        Column("Dataset", ".spec.datasetRef.name"),
        Column("Complete", _condition("Complete", "status")),
        Column("Failed", _condition("Failed", "status")),
        Column("Done", ".status.bytesDone", "integer"),
        Column("Total", ".status.bytesTotal", "integer"),
        _AGE,
        Column("Reason", _condition("Complete", "reason"), wide=True),
        Column("Message", _condition("Complete", "message"), wide=True),
    ),
    kinds.CACHE_WORKER: (
        Column("Node", ".spec.node"),
        Column("Class", ".spec.networkClass"),
        Column("Domain", ".spec.domain"),
        Column("Mode", ".spec.mode"),
        Column("Ready", ".status.ready", "boolean"),
        _AGE,
        Column("Reason", ".spec.reason", wide=True),
        Column("Address", ".spec.address", wide=True),
        Column("Plan", ".status.planGeneration", "integer", wide=True),
        Column("Message", ".status.message", wide=True),
    ),
    kinds.NETWORK_TOPOLOGY: (Column("Unlabeled", ".spec.unlabeledNodes"), _AGE),
    kinds.NODE: (
        Column("Class", r".metadata.labels.cachectl\.dev/network-class"),
        Column("Domain", r".metadata.labels.cachectl\.dev/network-domain"),
        _AGE,
        Column("Address", '.status.addresses[?(@.type=="InternalIP")].address', wide=True),
    ),
    kinds.EVENT: (
        Column("Last", ".lastTimestamp", "date"),
        Column("Type", ".type"),
        Column("Reason", ".reason"),
        Column("Kind", ".involvedObject.kind"),
        Column("Object", ".involvedObject.name"),
        Column("Message", ".message"),
    ),
}
"""The columns of each kind; of the others, ``columns_of`` tells the age."""


def columns_of(kind: Kind, *, wide: bool = False) -> tuple[Column, ...]:
    """Return a kind's columns in their order."""
    return tuple(item for item in COLUMNS.get(kind, (_AGE,)) if wide or not item.wide)
