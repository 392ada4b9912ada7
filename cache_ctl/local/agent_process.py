"""One agent as a child process: started, watched, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cache_ctl.local import tether

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)
STOP_SECONDS: Final = 5.0
"""For an agent to close its store and leave, before it is killed."""
_LAST_BYTES: Final = 2048
STEADY_SECONDS: Final = 10.0
"""An agent that has lived this long has started well: its next death is a new story."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """How long to wait before an agent that died is started again, in seconds."""

    first: float = 0.2
    most: float = 10.0

    def wait(self, deaths: int) -> float:
        """Return the wait after so many early deaths in a row."""
        return min(self.first * 2.0 ** min(deaths - 1, 16), self.most)


class AgentProcess:
    """Keeps one process of a command running until ``stop``.

    Args:
        name: what logs call it.
        command: the command with its arguments.
        log: the file that its output is appended to.
        socket: its Unix socket; a stale one is removed before a start and after the end.
        restarts: how fast it is started again.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        socket: Path,
        restarts: Restarts,
    ) -> None:
        self._name = name
        self._command = tuple(command)
        self._log_file = log
        self._socket = socket
        self._restarts = restarts
        self._process: asyncio.subprocess.Process | None = None
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {name}")
        self.last_words = ""
        """The last line that it wrote before it ended by itself; often the reason."""
        self.deaths = 0
        """How often in a row it ended by itself soon after its start."""

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def _keep(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            try:
                self._process = process = await self._start()
                code: int | str = await process.wait()
            except OSError as error:
                code = f"{error}"
            self.last_words = _last_line(self._log_file)
            self.deaths = 1 if clock() - started >= STEADY_SECONDS else self.deaths + 1
            wait = self._restarts.wait(self.deaths)
            _log.warning(
                "agent of %s ended (%s), starting it again in %.1f s: %s; see %s",
                self._name,
                code,
                wait,
                self.last_words or "it wrote nothing",
                self._log_file,
            )
            await asyncio.sleep(wait)

    async def _start(self) -> asyncio.subprocess.Process:
        self._socket.unlink(missing_ok=True)
        with self._log_file.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *tether.command(self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    async def stop(self) -> None:
        """End the process and all that it started; it is over when this returns."""
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        process = self._process
        if process is not None and process.returncode is None:
            _signal(process.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                _log.warning("agent of %s does not stop and is killed", self._name)
                _signal(process.pid, signal.SIGKILL)
                await process.wait()
        self._socket.unlink(missing_ok=True)


def _last_line(log: Path) -> str:
    """Return the end of a log, without the process id that changes with each start."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    found = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return re.sub(r"^agent \d+: ", "", found)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
