"""Processes of peers: started, waited for, and stopped whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import string
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.perf.bench.peers.install import Unavailable

CONFIG = Path(__file__).parent.parent / "config"
LOOPBACK = "127.0.0.1"
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class HttpPeer:
    """A server that answers GETs below ``url`` (which ends without a slash)."""

    name: str
    url: str
    pids: tuple[int, ...]
    version: str


@dataclass(frozen=True, slots=True)
class MountPeer:
    """A file system mounted at ``folder``."""

    name: str
    folder: Path
    pids: tuple[int, ...]
    version: str


class _Template(string.Template):
    """``@{name}`` is replaced: the peers' own languages use the dollar sign."""

    delimiter = "@"


def configuration(name: str, folder: Path, /, **values: object) -> Path:
    """Fill in a template of ``config/`` and write it into ``folder``.

    Raises:
        KeyError: the template asks for a value that is not given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(_Template((CONFIG / name).read_text()).substitute(values))
    return path


def free_port(address: str = LOOPBACK) -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def answers(port: int, address: str = LOOPBACK) -> bool:
    """Tell whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


@contextlib.contextmanager
def started(
    command: Sequence[str],
    folder: Path,
    ready: Callable[[], bool],
    *,
    environment: Mapping[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[int]:
    """Run a server for the time of the block and give its process id.

    Its output goes to a log in ``folder``. It has a process group of its own, so that children
    end with it, and a Ctrl-C reaches this process alone, which then stops it in order.

    Args:
        command: what to run in the foreground.
        folder: of this server alone; made when it is not there.
        ready: tells whether it serves.
        environment: variables beside those of this process.
        stop: the signal that asks it to end in order.

    Raises:
        Unavailable: it ended or did not serve in time; with the last line of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(command[0]).name
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None:
                raise Unavailable(f"{name} ended at its start: {_last_line(log)}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{name} did not serve within {PATIENCE:.0f} s: {_last_line(log)}"
                )
            time.sleep(0.02)
        yield process.pid
    finally:
        _stop(process, stop)


@contextlib.contextmanager
def mounted(
    command: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Path, int]]:
    """Run a file system in the foreground; give its mount point, below ``folder``, and process.

    The mount point is put for ``{mount}`` in ``command``.

    Raises:
        Unavailable: there is no FUSE here, or what ``started`` raises.
    """
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Unavailable("this machine has no /dev/fuse for this user")
    point = folder / "mount"
    point.mkdir(parents=True, exist_ok=True)
    filled = [word.replace("{mount}", str(point)) for word in command]
    with contextlib.ExitStack() as stack:
        # Unmounted first: a file system that is ended while it is mounted leaves a dead mount.
        stack.callback(_unmount, point)
        pid = stack.enter_context(
            started(filled, folder, lambda: _is_mount(point), environment=environment)
        )
        stack.callback(_unmount, point)
        yield point, pid


def drop_kernel_cache(path: Path) -> None:
    """Let the kernel forget the pages of one file, so that a mount has to give them again."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _is_mount(point: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.ismount(point)
    return False


def _unmount(point: Path) -> None:
    """Unmount; lazily when somebody still has a file open, and nothing when not mounted."""
    for options in ((), ("-l",)):
        if not any(line.split()[1] == str(point) for line in _mounts()):
            return
        subprocess.run(["umount", *options, str(point)], capture_output=True, check=False)


def _mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind, and itself if it must be
    process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
