"""Labels, annotations and names of ours."""

from __future__ import annotations

import hashlib
import re
from typing import Final

NETWORK_CLASS: Final = "cachectl.dev/network-class"
"""On nodes: Cloud, Dedicated or Basic."""
NETWORK_DOMAIN: Final = "cachectl.dev/network-domain"
"""On nodes that may peer: the domain's name, as plan names have it."""
RUNTIME: Final = "cachectl.dev/runtime"
"""On what a CacheRuntime owns: its name."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
REFRESH: Final = "cachectl.dev/refresh"
"""Annotation on a Dataset: any new value asks for a new snapshot."""
FINALIZER: Final = "cachectl.dev/cleanup"

_LABEL = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LONGEST_NAME: Final = 253


def label_value(text: str) -> str:
    """Return a label value for a text: the text itself, or a part of it and its digest."""
    if _LABEL.fullmatch(text):
        return text
    kept = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:54].strip("-")
    return f"{kept}-{_digest(text)}".strip("-")


def worker_name(runtime: str, node: str) -> str:
    """Return the name of a node's CacheWorker in its runtime's namespace."""
    name = f"{runtime}.{node}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9].rstrip('-.')}-{_digest(name)}"


def owned_by_runtime(runtime: str) -> dict[str, str]:
    """Return the labels of what a runtime owns."""
    return {MANAGED_BY: "cachectl", RUNTIME: label_value(runtime)}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
