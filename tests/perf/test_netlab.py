"""Namespaces as machines: shaped, by themselves, and gone afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.perf.bench import netlab
from tests.perf.bench.netlab import MBIT, NoNetlabError, copy_rate, line, network, round_trip

REASON = netlab.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

CRASHES = """
import os, signal, subprocess, sys
from tests.perf.bench.netlab import network
with network(1, rate=None) as net:
    host = net.hosts[0]
    child = subprocess.Popen([*host.prefix, "sleep", "600"], stdout=subprocess.DEVNULL)
    inside = ""
    while "sleep" not in inside:
        inside = open(f"/proc/{child.pid}/cmdline").read()
    print(host.namespace, child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return {row.split()[0] for row in listed.stdout.splitlines() if row}


def own_namespaces() -> set[str]:
    return {name for name in namespaces() if name.startswith(f"{netlab.PREFIX}-{os.getpid()}-")}


def devices() -> str:
    return Path("/proc/net/dev").read_text().replace(":", " ").split("\n", 2)[2]


def names(table: str) -> set[str]:
    return {row.split()[0] for row in table.splitlines()}


def test_a_nic_is_shaped_each_way_and_the_origins_is_not():
    rate = 80 * MBIT
    with network(2, rate=rate) as net:
        one, other = net.hosts
        # On a busy machine a copy is slower than the shape, never faster than shape and burst.
        assert copy_rate(one, other, 3_000_000) < 1.1 * rate
        assert copy_rate(net.origin, one, 3_000_000) < 1.1 * rate
        assert copy_rate(one, net.origin, 3_000_000) < 1.1 * rate

        carried = one.traffic()

    assert carried.sent > 6_000_000
    assert carried.received > 3_000_000


def test_a_line_adds_its_delay_to_a_round_trip_and_is_shaped():
    with line(100 * MBIT, 0.03) as wire:
        assert round_trip(wire.near, wire.far, times=3) >= 0.03
        assert copy_rate(wire.far, wire.near, 3_000_000) < 1.1 * 100 * MBIT


def test_a_host_reaches_its_network_and_nothing_else():
    before = names(devices())
    with (
        network(2, rate=None) as net,
        network(1, rate=None) as another,
        socket.create_server(("127.0.0.1", 0)) as outside,
    ):
        assert names(devices()) == before
        assert copy_rate(net.hosts[0], net.hosts[1], 100_000) > 0
        with net.hosts[0].entered(), pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection(outside.getsockname(), timeout=5)
        with another.hosts[0].entered():
            twin = socket.create_server((another.hosts[0].address, 0))
        # The same address in another network is another machine.
        with twin, net.hosts[1].entered(), pytest.raises(ConnectionRefusedError):
            socket.create_connection(twin.getsockname(), timeout=5)


def test_only_the_thread_that_enters_a_host_is_on_it():
    def here() -> str:
        return str(Path("/proc/thread-self/ns/net").readlink())

    home = here()
    with ThreadPoolExecutor(1) as other, network(1, rate=None) as net:
        assert other.submit(here).result() == home
        with net.hosts[0].entered():
            assert here() != home
            assert other.submit(here).result() == home

    assert here() == home


def test_everything_goes_at_the_end_also_after_an_error():
    running: list[subprocess.Popen[bytes]] = []

    def fail() -> None:
        with network(2, rate=50 * MBIT) as net:
            running.append(subprocess.Popen([*net.hosts[0].prefix, "sleep", "600"]))
            assert len(own_namespaces()) == 4
            while "sleep" not in Path(f"/proc/{running[0].pid}/cmdline").read_text():
                pass
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert own_namespaces() == set()
    assert running[0].wait(30) == -signal.SIGKILL


def test_what_a_crash_left_goes_with_the_next_network():
    crashed = subprocess.run(
        [sys.executable, "-c", CRASHES], stdout=subprocess.PIPE, text=True, check=False
    )
    name, child = crashed.stdout.split()
    assert crashed.returncode == -signal.SIGKILL
    assert name in namespaces()
    assert Path(f"/proc/{child}").exists()

    with network(1, rate=None):
        left = namespaces()

    assert name not in left
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text()


def test_a_command_that_fails_is_told_in_a_sentence():
    with pytest.raises(NoNetlabError, match="failed: "), network(1, rate=0):
        pass
    assert own_namespaces() == set()
