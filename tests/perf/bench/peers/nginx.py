"""nginx: as a server of files, and as a cache before an origin."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.perf.bench.peers.install import debian
from tests.perf.bench.peers.running import (
    LOOPBACK,
    HttpPeer,
    configuration,
    free_port,
    started,
)

PORT = 8080


@contextlib.contextmanager
def static(
    folder: Path,
    root: Path,
    *,
    address: str = LOOPBACK,
    prefix: Sequence[str] = (),
) -> Iterator[HttpPeer]:
    """Serve the files below ``root``, which every user must be allowed to read.

    Args:
        folder: scratch of this server alone.
        root: what it serves.
        address: where it listens.
        prefix: put before the command, such as ``ip netns exec NAME``, where that address is.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    with _nginx(folder, "nginx-static.conf", "nginx static", address, prefix, root=root) as peer:
        yield peer


@contextlib.contextmanager
def slices(folder: Path, origin: str) -> Iterator[HttpPeer]:
    """Cache what ``origin`` (a URL) has, in slices of 4 MiB below ``folder``.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    values = {"origin": urlsplit(origin).netloc, "cache": folder / "cache"}
    with _nginx(folder, "nginx-slice.conf", "nginx slice", LOOPBACK, (), **values) as peer:
        yield peer


@contextlib.contextmanager
def _nginx(
    folder: Path,
    template: str,
    name: str,
    address: str,
    prefix: Sequence[str],
    **values: object,
) -> Iterator[HttpPeer]:
    installed = debian("nginx-light")
    # Another host's ports cannot be tried from here, and are all free.
    port = PORT if prefix else free_port(address)
    path = configuration(template, folder, address=address, port=port, **values)
    # Its workers would become another user, who may not enter the folders of a run.
    user = ("-g", "user root;") if os.geteuid() == 0 else ()
    command = (*prefix, installed.program("nginx"), "-p", str(folder), "-c", str(path), *user)
    pid_file = folder / "nginx.pid"
    # It writes that file when it listens.
    with started(command, folder, pid_file.exists, environment=installed.environment) as pid:
        version = installed.versions["nginx"]
        yield HttpPeer(name, f"http://{address}:{port}", (pid,), version)
