"""Prewarms: every owner loads what it owns, so that a byte crosses the line once."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from runtime.agent.content import Content
from runtime.agent.line import PREWARM, Line
from runtime.contract.layout import ObjectLayout
from runtime.contract.report import PrewarmReport
from runtime.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from runtime.agent.dataset import Dataset
    from runtime.agent.fetch import Fetcher
    from runtime.agent.planview import PlanView
    from runtime.catalog.read import Catalog
    from runtime.contract.plan import PrewarmPlan

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Units fetched at once."""
AGAIN_SECONDS: Final = 2.0
ROUNDS: Final = 4
"""How often units that could not be had are tried again."""


@dataclass(frozen=True, slots=True)
class Share:
    """A unit that this agent has to load, ``files`` of which begin in it."""

    content: Content
    unit: int
    cells: tuple[int, ...]
    bytes: int
    files: int


def selected(path: str, prefixes: tuple[str, ...]) -> bool:
    """Tell whether a path lies under one of the prefixes; none select everything."""
    return not prefixes or any(
        path == prefix or path.startswith(prefix.rstrip("/") + "/")
        for prefix in (prefix.strip("/") for prefix in prefixes)
    )


def shares(
    dataset: Dataset, catalog: Catalog, view: PlanView, plan: PrewarmPlan
) -> Iterator[Share]:
    """Yield the units of a snapshot that this agent is to load, in path order."""
    copies = max(plan.copies, dataset.plan.copies)
    groups: dict[tuple[int, int], list[int]] = {}
    sizes: dict[tuple[int, int], int] = {}
    for record in catalog.walk():
        if not record.size or not selected(record.path, plan.paths):
            continue
        if record.pack is not None:
            layout = catalog.pack_layout(record.pack)
            group = (record.pack, layout.unit_of(record.ordinal))
            groups.setdefault(group, []).append(record.ordinal)
            sizes[group] = sizes.get(group, 0) + record.size
            continue
        content = Content.of_record(dataset, catalog, record)
        assert isinstance(content.layout, ObjectLayout)
        for unit in range(content.layout.units):
            if view.owns(content.unit_name(unit), copies):
                start, stop = content.layout.unit_range(unit)
                yield Share(content, unit, (unit,), stop - start, int(unit == 0))
    for (pack, unit), cells in groups.items():
        content = Content(dataset, catalog, catalog.pack_layout(pack), pack=pack)
        if view.owns(content.unit_name(unit), copies):
            yield Share(content, unit, tuple(cells), sizes[pack, unit], len(cells))


class Prewarm:
    """This agent's share of one prewarm.

    It begins when ``ready`` returns: before the tiers admit, what it fetches could not be kept.
    """

    def __init__(
        self,
        plan: PrewarmPlan,
        *,
        dataset: Callable[[], Dataset | None],
        fetcher: Fetcher,
        view: Callable[[], PlanView],
        ready: Callable[[], Awaitable[object]],
    ) -> None:
        self.plan = plan
        self.report = PrewarmReport(uid=plan.uid, state="Pending")
        self._dataset = dataset
        self._fetcher = fetcher
        self._view = view
        self._ready = ready
        self._line = Line()

    async def run(self) -> None:
        """Load the share of the snapshot that is current now, then end."""
        try:
            await self._run()
        except Exception as error:
            self.report = replace(self.report, state="Failed", message=str(error))
            raise

    async def _run(self) -> None:
        await self._ready()
        dataset = self._dataset()
        if dataset is None or dataset.head is None:
            return
        catalog = dataset.catalog()
        view = self._view()
        members = len(view.members) if view.distributed else 1
        self._line.set_rate(self.plan.bytes_per_second / members)
        todo = await asyncio.to_thread(list, shares(dataset, catalog, view, self.plan))
        self.report = PrewarmReport(
            uid=self.plan.uid,
            state="Running",
            bytes_total=sum(share.bytes for share in todo),
            files_total=sum(share.files for share in todo),
        )
        failure = ""
        for round_ in range(ROUNDS):
            todo, failure = await self._load(todo)
            if not todo:
                break
            await asyncio.sleep(AGAIN_SECONDS * (round_ + 1))
        if todo:
            failed = sum(share.files or 1 for share in todo)
            self.report = replace(self.report, state="Failed", failed_files=failed, message=failure)
        else:
            self.report = replace(self.report, state="Complete")
        log.info("prewarm %s/%s: %s", self.plan.namespace, self.plan.name, self.report.state)

    async def _load(self, todo: list[Share]) -> tuple[list[Share], str]:
        """Load units, some at once; return those that failed, and why the last one did."""
        failed: list[Share] = []
        why = ""
        queue = iter(todo)

        async def worker() -> None:
            nonlocal why
            for share in queue:
                try:
                    await self._line.take(share.bytes, PREWARM)
                    kept = await self._fetcher.ensure(share.content, share.cells, priority=PREWARM)
                except CacheError as error:
                    failed.append(share)
                    why = str(error)
                    continue
                if not kept:
                    failed.append(share)
                    why = "the tiers of this node have no room for it; raise a tier's quota"
                    continue
                self.report = replace(
                    self.report,
                    bytes_done=self.report.bytes_done + share.bytes,
                    files_done=self.report.files_done + share.files,
                )

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return failed, why
