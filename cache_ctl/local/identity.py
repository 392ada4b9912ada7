"""Uids of a local cluster's objects."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from cache_ctl.api import kinds

if TYPE_CHECKING:
    from cache_ctl.api.kinds import Kind

_NAMESPACE: Final = uuid.UUID("6f1c7f0a-0b2e-5d0c-9a39-2f0f4f1f0c11")
_STABLE: Final = frozenset({kinds.NODE, kinds.DATASET, kinds.CACHE_RUNTIME})
"""What agents keep on disk is theirs again after a restart: ownership is hashed from node uids."""


def stable_uid(kind: Kind, namespace: str, name: str) -> str:
    """Return the uid of a new object: for the kinds above always the same one for a name.

    Others get a fresh one, above all prewarms: a new one of an old name is to run again.
    """
    if kind not in _STABLE:
        return str(uuid.uuid4())
    return str(uuid.uuid5(_NAMESPACE, f"{kind.name}/{namespace}/{name}"))
