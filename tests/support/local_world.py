"""Waiting in a local world by what happens there: the reports of its agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache_ctl.local.world import LocalWorld

SECONDS = 30


async def reports(world: LocalWorld, count: int) -> None:
    """Wait until agents have answered so many times; each is asked about three times a second."""
    seen = 0

    def heard() -> None:
        nonlocal seen
        seen += 1

    world._supervisor.subscribe(heard)
    await world.until(lambda _: seen >= count, seconds=SECONDS, what=f"{count} reports")


async def quiet(world: LocalWorld) -> None:
    """Wait until nothing has been written to the cluster while agents reported eight times."""
    before = -1
    while before != world.cluster.writes:
        before = world.cluster.writes
        await reports(world, 8)
