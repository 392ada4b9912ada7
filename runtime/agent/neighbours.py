"""The graph at work: warm connections to neighbours, and what each says that it holds.

Asking for a neighbour's summary is its probe too: one exchange tells that the edge works and what
may be had over it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

from runtime.contract import protocol
from runtime.errors import CacheError, PeerLied
from runtime.policy.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.agent.counters import Counters
    from runtime.agent.health import Health
    from runtime.agent.planview import PlanView
    from runtime.contract.plan import Member
    from runtime.peers.pool import Peers

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 5.0
ASK_SECONDS: Final = 2.0


class Neighbours:
    """What this agent's neighbours in the graph announced last."""

    def __init__(
        self, peers: Peers, health: Health, counters: Counters, view: Callable[[], PlanView]
    ) -> None:
        self._peers = peers
        self._health = health
        self._counters = counters
        self._view = view
        self._summaries: dict[str, Summary] = {}

    def holders(self, unit: str) -> set[str]:
        """Return the neighbours that say they hold a unit; about one in a hundred errs."""
        return {uid for uid, summary in self._summaries.items() if unit in summary}

    async def run(self) -> None:
        """Ask every neighbour in turn, until cancelled."""
        while True:
            view = self._view()
            near = view.graph.get(view.me, ()) if view.distributed else ()
            self._summaries = {uid: self._summaries[uid] for uid in near if uid in self._summaries}
            await asyncio.gather(*(self._ask(view.members[uid]) for uid in near))
            await asyncio.sleep(EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def _ask(self, member: Member) -> None:
        known = self._summaries.get(member.uid)
        version = known.version if known is not None else 0
        target = f"{protocol.SUMMARY}?version={version}"
        try:
            status, _, body = await self._peers.get(member, target, timeout=ASK_SECONDS)
            if status == 200:
                self._summaries[member.uid] = Summary.decode(body)
                self._counters.summaries_received += 1
            elif status != 304:
                raise PeerLied(f"{member.name} answered {status} when asked what it holds")
        except CacheError as error:
            self._summaries.pop(member.uid, None)
            self._health.failed(member.uid)
            log.debug("neighbour %s: %s", member.name, error)
        else:
            self._health.answered(member.uid)
