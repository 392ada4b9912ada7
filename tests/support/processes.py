"""Processes that belong to a folder: found, and waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def processes_of(state: Path) -> dict[int, str]:
    """Every process whose command line names the folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(state) in line:
                found[int(entry.name)] = line
    return found


def handles(pids: Iterable[int]) -> list[int]:
    """Open a descriptor for each process that still lives; it turns readable when it ends."""
    found = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            found.append(os.pidfd_open(pid))
    return found


async def end_of(descriptor: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def ends_of_processes(state: Path) -> None:
    """Wait until no process names the folder, those that were just being started included."""
    while left := processes_of(state):
        await asyncio.gather(*map(end_of, handles(left)))
