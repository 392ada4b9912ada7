"""Starting peers from rows: one that cannot be had becomes a gap with its reason."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Protocol, TypeVar

from tests.perf.bench.peers.install import Unavailable
from tests.perf.bench.row import Context, Gap


class _Peer(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


P = TypeVar("P", bound=_Peer)


def start(
    stack: ExitStack, context: Context, name: str, peer: AbstractContextManager[P]
) -> P | Gap:
    """Start a peer until ``stack`` ends, and note its version; or say why it is not there."""
    try:
        found = stack.enter_context(peer)
    except Unavailable as why:
        return Gap("every case", name, str(why))
    context.versions[found.name] = found.version
    return found
