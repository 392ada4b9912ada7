"""Answers that were given before: small objects that rest here, asked for in the same bytes.

Clients repeat themselves: a reader of a shuffled epoch sends the same head for the same object
again. Its meaning is worked out once, and found by the bytes of the request from then on. What is
remembered is where the bytes lie and under what they were allowed, never the bytes themselves:
these are read and verified anew each time, and any change of what the answer hung on (keys, plan,
snapshot, blob) sends the request the long way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.serve.head import answer_head

if TYPE_CHECKING:
    from runtime.agent.agent import Agent
    from runtime.agent.dataset import Dataset
    from runtime.catalog.shelf import Head
    from runtime.contract.plan import DatasetPlan
    from runtime.contract.token import Keys
    from runtime.serve.message import Request
    from runtime.store.blob import Blob
    from runtime.store.places import Span

ENTRIES: Final = 8192
LONGEST: Final = 1024
"""Bytes of a request that are kept at most; longer ones go the long way each time."""


class _Known(NamedTuple):
    """The head of an answer, its body's place, and what must still be so for it to be given."""

    head: bytes
    blob: Blob
    span: Span
    keys: Keys
    dataset: Dataset
    plan: DatasetPlan
    snapshot: Head | None


class Remembered:
    """The answers of one agent to readers with a token. Not for questions that name a snapshot."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._known: dict[bytes, _Known] = {}

    def answer(self, request: bytes) -> tuple[bytes, bytes] | None:
        """Return head and body for the bytes of a whole request; None to go the long way."""
        known = self._known.get(request)
        if known is None:
            return None
        head, blob, span, keys, dataset, plan, snapshot = known
        if (
            self._agent.keys is keys
            and dataset.plan is plan
            and dataset.head is snapshot
            and self._agent.datasets.get(dataset.ref) is dataset
        ):
            data = blob.glance(span)
            if data is not None:
                return head, data
            del self._known[request]
        else:
            self._known.clear()  # others are out of date too, and keep old layouts alive
        return None

    def note(
        self,
        request: Request,
        status: int,
        headers: tuple[tuple[str, str], ...],
        dataset: Dataset,
        blob: Blob,
        span: Span,
    ) -> None:
        """Remember the answer to a request that a token allowed."""
        if not request.raw or len(request.raw) > LONGEST or "?" in request.target:
            return
        if len(self._known) >= ENTRIES:
            self._known.clear()
        head = answer_head(status, headers, length=span.stop - span.start, connection="")
        self._known[request.raw] = _Known(
            head, blob, span, self._agent.keys, dataset, dataset.plan, dataset.head
        )
