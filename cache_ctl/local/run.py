"""A local cluster from its start to its end: what ``cachectl up`` does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cache_ctl.api import reasons
from cache_ctl.api.conditions import find
from cache_ctl.api.kinds import CACHE_RUNTIME, DATASET, NODE, kind_of, name_of, title_of
from cache_ctl.errors import ControlError
from cache_ctl.local.addresses import internal_ip
from cache_ctl.local.control import controlled
from cache_ctl.local.news import News
from cache_ctl.local.world import LocalWorld, NotInTime

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from cache_ctl.api.kinds import Resource

START_SECONDS: Final = 120.0
_NAMED: Final = 3
"""How many nodes a line names."""
FATAL_DEATHS: Final = 3
"""An agent that has died so often without ever being ready does not start."""


class CannotStart(ControlError):
    """The cluster does not come up; nothing of it runs any more."""


async def run(
    state_dir: Path,
    objects: Sequence[Resource],
    *,
    stop: asyncio.Event,
    say: Callable[[str], None],
    started: Callable[[LocalWorld], None],
) -> bool:
    """Run the cluster of these objects until ``stop`` is set; no process is left afterwards.

    Args:
        state_dir: its state directory.
        objects: what is applied first.
        stop: ends it.
        say: takes a line for each change.
        started: called once all agents that should run are ready.

    Returns:
        Whether it had started when it was stopped.

    Raises:
        CannotStart: an agent does not start, or a CacheRuntime is refused.
        ControlError: the state directory is in use or cannot be written, or an object is refused.
    """
    runtimes = {title_of(body) for body in objects if kind_of(body) is CACHE_RUNTIME}
    async with LocalWorld(state_dir) as world, controlled(world, stop=stop):
        News(world, say)
        await world.apply(objects)
        await _tell_of_addresses(world, objects, say)
        await _first(stop.wait(), _start(world, runtimes))
        if stop.is_set():
            return False
        started(world)
        await _first(stop.wait(), world.until(lambda _: False, seconds=None, what="its end"))
        say("stopping")
    return True


async def _tell_of_addresses(
    world: LocalWorld, objects: Sequence[Resource], say: Callable[[str], None]
) -> None:
    """Say which nodes listen elsewhere than their files say."""
    given = {name_of(body): internal_ip(body) for body in objects if kind_of(body) is NODE}
    moved = [
        name_of(node)
        for node in await world.cluster.list(NODE)
        if internal_ip(node) != given.get(name_of(node))
    ]
    if moved:
        more = ", ..." if len(moved) > _NAMED else ""
        say(
            f"addresses on this machine stand for those of {', '.join(moved[:_NAMED])}{more}, "
            "which are not its own; status shows them"
        )


async def _first(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first to end, cancel the others, and raise what it raised."""
    tasks = [asyncio.create_task(item) for item in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _start(world: LocalWorld, runtimes: AbstractSet[str]) -> None:
    """Wait until all agents of these CacheRuntimes are ready.

    Raises:
        CannotStart: they are not.
    """

    def has_started(world: LocalWorld) -> bool:
        _check_agents(world)
        return not _unready(world, runtimes)

    try:
        await world.until(has_started, seconds=START_SECONDS, what="its agents")
    except NotInTime as error:
        said = "; ".join(_unready(world, runtimes))
        raise CannotStart(f"not all agents are ready after {START_SECONDS:g} s: {said}") from error


def _check_agents(world: LocalWorld) -> None:
    """See that no agent is in a plight that waiting does not end.

    Raises:
        CannotStart: one is.
    """
    for node, report in world.reports.items():
        if report.problem:
            raise CannotStart(f"the agent of {node} cannot do its work: {report.problem}")
    for node, process in world.processes.items():
        if process.deaths >= FATAL_DEATHS and node not in world.reports:
            log = world.state_dir / "nodes" / node / "agent.log"
            raise CannotStart(
                f"the agent of {node} does not start: {process.last_words or 'it wrote nothing'} "
                f"(its log is {log})"
            )


def _unready(world: LocalWorld, runtimes: AbstractSet[str]) -> list[str]:
    """Return what is not settled: CacheRuntimes that are not ready, and Datasets still listed.

    One that selects no node is as ready as it can be, as is a Dataset whose listing fails.

    Raises:
        CannotStart: a CacheRuntime is not usable.
    """
    bodies = {title_of(body): body for body in world.objects.list(CACHE_RUNTIME)}
    found = [f"{title} waits for its first pass" for title in sorted(runtimes - bodies.keys())]
    for title, body in bodies.items():
        built = find(body, reasons.TOPOLOGY_BUILT)
        ready = find(body, reasons.READY)
        if built is None or ready is None:
            found.append(f"{title} waits for its first pass")
        elif built.reason == reasons.SPEC_INVALID:
            raise CannotStart(f"{title}: {built.message}")
        elif ready.status != "True" and built.reason != reasons.NO_NODES_SELECTED:
            found.append(f"{title}: {ready.message}")
    for body in world.objects.list(DATASET):
        ready = find(body, reasons.READY)
        if ready is None:
            found.append(f"{title_of(body)} waits for its first pass")
        elif ready.reason == reasons.SNAPSHOT_PENDING:
            found.append(f"{title_of(body)}: {ready.message}")
    return found
