"""Ask one agent for its report over its Unix socket, again and again, and say when it differs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from cache_ctl.api.meta import dump
from cache_ctl.api.v1alpha1.cacheworker import (
    CacheWorkerStatus,
    WorkerDataset,
    WorkerPrewarm,
    WorkerTier,
)
from runtime.contract import codec
from runtime.contract.report import NodeReport
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

STARTING_SECONDS: Final = 0.1
STEADY_SECONDS: Final = 0.3
ANSWER_SECONDS: Final = 2.0
_REPORT_URL: Final = "http://agent/report"


async def follow(socket: Path, heard: Callable[[NodeReport | None], Awaitable[None]]) -> None:
    """Call ``heard`` with each report, and with None while the agent does not answer."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    connector = aiohttp.UnixConnector(path=str(socket))
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        while True:
            report = await _ask(session)
            await heard(report)
            ready = report is not None and report.ready
            await asyncio.sleep(STEADY_SECONDS if ready else STARTING_SECONDS)


async def _ask(session: aiohttp.ClientSession) -> NodeReport | None:
    try:
        async with session.get(_REPORT_URL) as answer:
            if answer.status != 200:
                return None
            return codec.loads(NodeReport, await answer.read())
    except (aiohttp.ClientError, OSError, TimeoutError, ConfigError):
        return None


def status_of(report: NodeReport) -> dict[str, Any]:
    """Return a report as the status of a CacheWorker: all but what grows with other nodes."""
    status = CacheWorkerStatus(
        ready=report.ready,
        message=report.problem,
        plan_generation=report.plan_generation,
        network_class=report.network_class,
        mode=report.mode,
        domain=report.domain,
        tiers=tuple(WorkerTier.model_validate(codec.to_json(item)) for item in report.tiers),
        datasets=tuple(
            WorkerDataset.model_validate(codec.to_json(item)) for item in report.datasets
        ),
        prewarms=tuple(
            WorkerPrewarm.model_validate(codec.to_json(item)) for item in report.prewarms
        ),
        counters=report.counters,
        forbidden_connections=report.connections.forbidden,
    )
    return dump(status)
