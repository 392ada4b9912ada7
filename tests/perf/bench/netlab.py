"""Machines and lines on one machine: network namespaces on a switch, their NICs shaped.

Nothing is done to the host's own network: the switch is a bridge in a namespace of its own, and
every device is made inside the namespaces. A NIC is a veth pair with a token bucket (``tbf``) at
both ends, one for each direction. A line with delay is a pair of TUN devices joined by a process
(see ``delay``), because many kernels lack ``netem``.

Namespaces are named after the process that made them. They go when its context ends, and those of
a process that died go, with what still runs in them, when the next one makes its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PREFIX = "cachectl-bench"
MBIT = 125_000
"""Bytes a second."""

_CLONE_NEWNET = 0x40000000
_BURST = 128 << 10
"""Bytes that pass at once: two of the kernel's largest segments, which are then not cut up."""
_QUEUE = 0.02
"""Seconds of traffic that a shaped NIC queues before it drops."""
_lab_numbers = itertools.count()


class NoNetlabError(Exception):
    """Namespaces cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a NIC carried, headers included."""

    sent: int
    received: int

    def since(self, before: Traffic) -> Traffic:
        """Return what was added to ``before``."""
        return Traffic(self.sent - before.sent, self.received - before.received)


@dataclass(frozen=True, slots=True)
class Host:
    """A machine: a namespace with one NIC, ``eth0``."""

    namespace: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words to put before a command so that it runs on this host."""
        return ("ip", "netns", "exec", self.namespace)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let the calling thread, and those it starts meanwhile, open sockets on this host."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(f"/run/netns/{self.namespace}")
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)

    def traffic(self) -> Traffic:
        """Return the counters of the NIC."""
        with self.entered(), Path("/proc/thread-self/net/dev").open(encoding="ascii") as table:
            for row in table:
                device, _, counters = row.partition(":")
                if device.strip() == "eth0":
                    numbers = counters.split()
                    return Traffic(sent=int(numbers[8]), received=int(numbers[0]))
        raise NoNetlabError(f"host {self.namespace} has no eth0 any more")


@dataclass(frozen=True, slots=True)
class Network:
    """Hosts on a switch, and one more with an unshaped NIC for the origin."""

    hosts: tuple[Host, ...]
    origin: Host


@dataclass(frozen=True, slots=True)
class Line:
    """Two hosts at the ends of a line."""

    near: Host
    far: Host


def why_not() -> str | None:
    """Return a sentence on why namespaces cannot be had here; None when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root: run the suite as root to have this row"
    if missing := [tool for tool in ("ip", "tc") if shutil.which(tool) is None]:
        return f"{' and '.join(missing)} not found: install iproute2 to have this row"
    try:
        with network(1, rate=100 * MBIT):
            return None
    except NoNetlabError as error:
        return str(error)


@contextlib.contextmanager
def network(nodes: int, *, rate: int | None) -> Iterator[Network]:
    """Have ``nodes`` hosts on a switch, each NIC ``rate`` bytes a second each way.

    Raises:
        NoNetlabError: when the kernel or the rights of this process do not allow it.
    """
    with _namespaces() as make:
        switch = make("switch")
        _run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "br0", "up")
        origin = _join(switch, make("origin"), 0, None)
        hosts = tuple(_join(switch, make(f"n{i}"), i, rate) for i in range(1, nodes + 1))
        yield Network(hosts, origin)


@contextlib.contextmanager
def line(rate: int, delay: float) -> Iterator[Line]:
    """Have two hosts joined by a line of ``rate`` bytes a second each way.

    Args:
        rate: bytes a second.
        delay: seconds that the line adds to a round trip, half of them each way.

    Raises:
        NoNetlabError: when the kernel or the rights of this process do not allow it.
    """
    with _namespaces() as make, contextlib.ExitStack() as stack:
        near = Host(make("near"), "10.78.0.1")
        far = Host(make("far"), "10.78.0.2")
        stack.enter_context(_wire(near, far, delay / 2))
        for end, other in ((near, far), (far, near)):
            own = ("ip", "-n", end.namespace)
            _run(*own, "address", "add", end.address, "peer", other.address, "dev", "eth0")
            _run(*own, "link", "set", "eth0", "up")
            _shape(end.namespace, "eth0", rate)
        yield Line(near, far)


def copy_rate(source: Host, target: Host, size: int) -> float:
    """Return the bytes a second of one plain TCP copy from one host to another."""
    with target.entered():
        listener = socket.create_server((target.address, 0))
    port = listener.getsockname()[1]

    def send() -> None:
        with source.entered():
            out = socket.create_connection((target.address, port), timeout=30)
        with out:
            block = memoryview(bytes(1 << 18))
            for at in range(0, size, len(block)):
                out.sendall(block[: size - at])

    sender = threading.Thread(target=send)
    buffer = bytearray(1 << 18)
    with listener:
        sender.start()
        connection, _ = listener.accept()
    with connection:
        connection.settimeout(60)
        start = time.perf_counter()
        got = 0
        while count := connection.recv_into(buffer):
            got += count
        took = time.perf_counter() - start
    sender.join()
    if got != size:
        raise NoNetlabError(f"only {got} of {size} bytes crossed the network")
    return size / took


def round_trip(one: Host, other: Host, times: int = 20) -> float:
    """Return the median seconds from asking a byte of another host to having it."""
    with other.entered():
        listener = socket.create_server((other.address, 0))
    port = listener.getsockname()[1]

    def echo() -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1):
                connection.send(data)

    echoing = threading.Thread(target=echo)
    echoing.start()
    took = []
    with one.entered():
        asking = socket.create_connection((other.address, port), timeout=30)
    with listener, asking:
        asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(times):
            start = time.perf_counter()
            asking.send(b"?")
            asking.recv(1)
            took.append(time.perf_counter() - start)
    echoing.join()
    return statistics.median(took)


# -- how it is made ---------------------------------------------------------------------------


@contextlib.contextmanager
def _namespaces() -> Iterator[_Maker]:
    """Hand out a maker of namespaces; remove them, and what runs in them, in the end."""
    if os.geteuid() != 0:
        raise NoNetlabError("network namespaces need root")
    remove_leftovers()
    make = _Maker(f"{PREFIX}-{os.getpid()}-{_started(os.getpid())}-{next(_lab_numbers)}")
    try:
        yield make
    finally:
        for name in make.made:
            _remove(name)


class _Maker:
    """Makes namespaces of one lab, each with its loopback up."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.made: list[str] = []

    def __call__(self, name: str) -> str:
        full = f"{self._prefix}-{name}"
        _run("ip", "netns", "add", full)
        self.made.append(full)
        _run("ip", "-n", full, "link", "set", "lo", "up")
        return full


def remove_leftovers() -> None:
    """Remove namespaces whose makers are gone, and end what still runs in them."""
    for name in _listed():
        _, _, rest = name.partition(f"{PREFIX}-")
        pid, started, *_ = rest.split("-")
        if _started(int(pid)) != started:
            _remove(name)


def _listed() -> list[str]:
    found = _run("ip", "netns", "list").split("\n")
    return [row.split()[0] for row in found if row.startswith(f"{PREFIX}-")]


def _remove(name: str) -> None:
    """End what runs in a namespace, then remove it; fine when it is gone already."""
    running = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
    )
    for pid in running.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _started(pid: int) -> str:
    """Return when a process started, in ticks since boot: numbers of processes come again."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "gone"
    return status.rpartition(")")[2].split()[19]


def _join(switch: str, namespace: str, number: int, rate: int | None) -> Host:
    """Plug a namespace into the switch."""
    port, address = f"p{number}", f"10.77.{number >> 8}.{(number & 255) + 1}"
    _run(
        *("ip", "-n", switch, "link", "add", port, "type", "veth"),
        *("peer", "name", "eth0", "netns", namespace),
    )
    _run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
    _run("ip", "-n", namespace, "address", "add", f"{address}/16", "dev", "eth0")
    _run("ip", "-n", namespace, "link", "set", "eth0", "up")
    if rate is not None:
        _shape(namespace, "eth0", rate)
        _shape(switch, port, rate)
    return Host(namespace, address)


def _shape(namespace: str, device: str, rate: int) -> None:
    limit = _BURST + int(rate * _QUEUE)
    _run(
        *("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf"),
        *("rate", f"{rate * 8}bit", "burst", str(_BURST), "limit", str(limit)),
    )


@contextlib.contextmanager
def _wire(near: Host, far: Host, delay: float) -> Iterator[None]:
    """Join two hosts by TUN devices and the process that carries their packets."""
    command = [sys.executable, "-m", "tests.perf.bench.delay"]
    arguments = [near.namespace, far.namespace, str(delay)]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise NoNetlabError("no delayed line: TUN devices cannot be had")
        yield
    finally:
        process.kill()
        process.communicate()


def _enter(namespace: int | str) -> None:
    """Move the calling thread to a network namespace (``os.setns`` came with Python 3.12)."""
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC) if isinstance(namespace, str) else namespace
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
    finally:
        if fd != namespace:
            os.close(fd)


def _run(*command: str) -> str:
    words: Sequence[str] = command
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().replace("\n", " ")
        raise NoNetlabError(f"`{' '.join(words)}` failed: {said}")
    return done.stdout
