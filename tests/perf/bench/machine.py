"""What a run was made on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine: ``memory`` in bytes, ``load`` the runnable processes just before the run.

    ``disk`` and ``ram`` are the file systems of the two kinds of scratch.
    """

    cpu: str
    cores: int
    memory: int
    kernel: str
    python: str
    disk: str
    ram: str
    load: float


def describe(disk: Path, ram: Path) -> Machine:
    """Describe this machine, and the file systems that hold two folders."""
    return Machine(
        cpu=_field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory=int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) << 10,
        kernel=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        disk=file_system(disk),
        ram=file_system(ram),
        load=os.getloadavg()[0],
    )


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds a folder, such as ``ext4``."""
    place = str(folder.resolve())
    found = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, at, kind, *_ = line.split()
        if (place == at or place.startswith(at.rstrip("/") + "/")) and len(at) >= len(found[0]):
            found = at, kind
    return found[1]
