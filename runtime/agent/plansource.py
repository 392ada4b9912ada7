"""Where the plan comes from: a file that others replace, and a copy kept for offline starts."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import aiofiles

from runtime.contract import codec
from runtime.contract.plan import Plan
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5


class PlanSource:
    """Yields the plans to follow.

    A plan file is mounted or replaced as a whole, so its identity and time tell that it changed.
    """

    def __init__(self, plan_file: Path, kept: Path) -> None:
        self._file = plan_file
        self._kept = kept

    async def plans(self) -> AsyncIterator[Plan]:
        """Yield the plan to start with, then each newer one.

        Without a usable file the kept copy is the start: the node may be offline. Generations
        are compared within one domain only; a node that changes its domain or mode follows the
        other plan at once, whatever its number.
        """
        current = await self._read(self._kept)
        seen = self._mark()
        fresh = await self._read(self._file)
        if fresh is not None and (current is None or _supersedes(fresh, current)):
            current = fresh
            await self._keep(fresh)
        if current is not None:
            yield current
        while True:
            mark = self._mark()
            if mark is not None and mark != seen:
                seen = mark
                plan = await self._read(self._file)
                if plan is not None and (current is None or _supersedes(plan, current)):
                    current = plan
                    await self._keep(plan)
                    yield plan
            await asyncio.sleep(LOOK_SECONDS)

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    async def _read(self, path: Path) -> Plan | None:
        try:
            async with aiofiles.open(path, "rb") as file:
                return codec.loads(Plan, await file.read())
        except FileNotFoundError:
            return None
        except (OSError, ConfigError) as error:
            log.warning("plan %s is not usable: %s", path, error)
            return None

    async def _keep(self, plan: Plan) -> None:
        scratch = self._kept.with_suffix(".new")
        async with aiofiles.open(scratch, "w") as file:
            await file.write(codec.dumps(plan))
        scratch.replace(self._kept)


def _supersedes(new: Plan, old: Plan) -> bool:
    line = (new.runtime, new.domain, new.mode, new.network_class)
    if line != (old.runtime, old.domain, old.mode, old.network_class):
        return True
    return new.generation > old.generation
