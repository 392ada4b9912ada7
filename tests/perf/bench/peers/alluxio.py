"""Alluxio: a master, a worker and a mount over a local folder, each a JVM."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.perf.bench.peers.install import Installed, Unavailable, debian, maven
from tests.perf.bench.peers.running import (
    MountPeer,
    answers,
    configuration,
    free_port,
    mounted,
    started,
)

VERSION = "2.9.4"
PARTS = ("core-server-master", "core-server-worker", "shell", "underfs-local", "integration-fuse")
# Made for Java 8 and 11: what later ones closed is opened again.
OPENED = ("java.lang", "java.util", "java.nio", "java.net", "java.util.concurrent", "sun.nio.ch")
MEMORY = "4GB"


@contextlib.contextmanager
def mount(folder: Path, root: Path, ramdisk: Path) -> Iterator[MountPeer]:
    """Mount the files below ``root``, with their blocks kept in the folder ``ramdisk``.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    installed = maven(*(f"org.alluxio:alluxio-{name}:{VERSION}" for name in PARTS))
    fuse = debian("s3fs")  # for the libfuse 2 that it brings
    ports = {name: free_port() for name in ("master", "master_web", "worker", "worker_web")}
    ramdisk.mkdir(parents=True, exist_ok=True)
    configuration(
        "alluxio-site.properties",
        folder,
        folder=folder,
        root=root,
        ramdisk=ramdisk,
        memory=MEMORY,
        mount=folder / "fuse" / "mount",
        **ports,
    )
    for part in ("master", "worker"):
        _format(installed, folder, part)
    with contextlib.ExitStack() as stack:
        pids = []
        for part, size in (("master", "512m"), ("worker", "1g")):
            command = _java(installed, folder, size, f"alluxio.{part}.Alluxio{part.capitalize()}")
            ready = _listens(ports[part])
            pids.append(stack.enter_context(started(command, folder / part, ready)))
        command = _java(installed, folder, "1g", "alluxio.fuse.AlluxioFuse")
        options = ("-m", "{mount}", "-o", "allow_other,kernel_cache")
        point, pid = stack.enter_context(
            mounted([*command, *options], folder / "fuse", environment=fuse.environment)
        )
        yield MountPeer("Alluxio", point, (pid, *pids), VERSION)


def _listens(port: int):
    return lambda: answers(port)


def _java(installed: Installed, folder: Path, memory: str, main: str) -> tuple[str, ...]:
    opened = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED]
    return (
        *("java", *opened, f"-Xmx{memory}", f"-XX:MaxDirectMemorySize={memory}"),
        *(f"-Dalluxio.conf.dir={folder}", f"-Dalluxio.logs.dir={folder}"),
        *(f"-Dalluxio.home={folder}", "-Dalluxio.logger.type=Console"),
        *("-cp", f"{installed.root / 'jars'}/*", main),
    )


def _format(installed: Installed, folder: Path, part: str) -> None:
    ended = subprocess.run(
        [*_java(installed, folder, "256m", "alluxio.cli.Format"), part],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip() or "nothing").splitlines()
        raise Unavailable(f"Alluxio could not format its {part}: {said[-1]}")
