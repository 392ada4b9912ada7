"""Varnish, with its objects in memory: the HTTP cache to beat."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.perf.bench.peers.install import Unavailable, debian
from tests.perf.bench.peers.running import (
    LOOPBACK,
    HttpPeer,
    answers,
    configuration,
    free_port,
    started,
)


@contextlib.contextmanager
def varnish(folder: Path, origin: str, *, memory: int = 4 << 30) -> Iterator[HttpPeer]:
    """Cache what ``origin`` (a URL) has, in up to ``memory`` bytes of its own memory.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        raise Unavailable("Varnish compiles its configuration, and this machine has no C compiler")
    installed = debian("varnish")
    port = free_port()
    parts = urlsplit(origin)
    path = configuration("varnish.vcl", folder, host=parts.hostname, port=parts.port)
    command = (
        installed.program("varnishd"),
        *("-F", "-n", str(folder / "work"), "-a", f"{LOOPBACK}:{port}", "-f", str(path)),
        *("-j", "none", "-s", f"malloc,{memory}", "-T", "none", "-p", "thread_pool_min=50"),
    )
    environment = installed.environment
    with started(command, folder, lambda: answers(port), environment=environment) as pid:
        yield HttpPeer(
            "Varnish", f"http://{LOOPBACK}:{port}", (pid,), installed.versions["varnish"]
        )
