"""The agent's report."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from runtime.contract.report import Connections, DatasetReport, NodeReport

if TYPE_CHECKING:
    from runtime.agent.agent import Agent
    from runtime.agent.dataset import Dataset


class Counts(Protocol):
    """A dataclass of counts."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def report(agent: Agent, *, port: int | None, server: Counts) -> NodeReport:
    """Return what the agent is, holds and did.

    ``port`` is where it listens, if it does; ``server`` are counts of whoever serves it.
    """
    settings, plan = agent.settings, agent.view.plan
    return NodeReport(
        node=settings.node,
        uid=settings.uid,
        network_class=plan.network_class,
        mode=plan.mode,
        domain=plan.domain,
        ready=agent.ready,
        plan_generation=plan.generation,
        pid=os.getpid(),
        address=settings.address,
        port=port,
        socket=settings.socket,
        tiers=agent.store.tiers(),
        datasets=tuple(_dataset(agent, dataset) for dataset in agent.datasets.values()),
        prewarms=tuple(prewarm.report for prewarm in agent.prewarms),
        announced_units=agent.holdings.units,
        members_down=len(agent.health.down()),
        problem=agent.problem,
        counters=agent.counters.as_dict()
        | {f"store_{name}": count for name, count in asdict(agent.store.counters).items()}
        | {f"server_{name}": count for name, count in asdict(server).items()},
        connections=Connections(
            dialled=dict(agent.dialled),
            accepted=dict(agent.accepted),
            forbidden=agent.counters.forbidden_connections,
        ),
    )


def _dataset(agent: Agent, dataset: Dataset) -> DatasetReport:
    owned, spare = agent.store.usage(dataset.ref)
    head = dataset.head
    meta = dataset.catalog().meta if head is not None else None
    listing, fetching = dataset.listing, dataset.fetching.last
    return DatasetReport(
        dataset=dataset.ref,
        snapshot=head.snapshot if head is not None else "",
        taken=head.taken if head is not None else "",
        files=meta.files if meta is not None else 0,
        bytes=meta.bytes if meta is not None else 0,
        owned_bytes=owned,
        spare_bytes=spare,
        origin_bytes=dataset.origin_bytes,
        peer_bytes=dataset.peer_bytes,
        error=listing.message if listing is not None else "",
        reason=listing.reason if listing is not None else "",
        origin_error=fetching.message if fetching is not None else "",
        origin_reason=fetching.reason if fetching is not None else "",
    )
