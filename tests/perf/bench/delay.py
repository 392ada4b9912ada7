"""A wire with delay: carries packets between TUN devices in two namespaces, each a while later.

``python -m tests.perf.bench.delay NEAR FAR SECONDS`` makes ``eth0`` in both namespaces, prints
``ready`` and carries until it is killed. Packets keep the kernel's segmentation offload (they come
and go as up to 64 KiB with a ``virtio_net_hdr`` before them), so 1 Gbit/s is some thousand
packets a second. The rate is shaped by the devices' queueing, not here.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

from tests.perf.bench.netlab import Host

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_OFFLOADS = 0x01 | 0x02 | 0x04
"""Checksums, and segmentation of TCP over IPv4 and IPv6."""
_LARGEST = 1 << 17


def open_tun(namespace: str) -> int:
    """Return a descriptor of a new device ``eth0`` in a namespace."""
    with Host(namespace, "").entered():
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"eth0", flags))
        fcntl.ioctl(tun, _TUNSETOFFLOAD, _OFFLOADS)
    return tun


def carry(one: int, other: int, delay: float) -> None:
    """Carry packets both ways for ever."""
    waiting: dict[int, deque[tuple[float, bytes]]] = {one: deque(), other: deque()}
    across = {one: other, other: one}
    while True:
        due = min((queue[0][0] for queue in waiting.values() if queue), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic())
        readable, _, _ = select.select((one, other), (), (), timeout)
        now = time.monotonic()
        for tun in readable:
            try:
                while True:
                    waiting[across[tun]].append((now + delay, os.read(tun, _LARGEST)))
            except BlockingIOError:
                pass
            except OSError:  # the device is not up yet, or no longer
                time.sleep(0.001)
        for tun, queue in waiting.items():
            while queue and queue[0][0] <= now:
                _, packet = queue.popleft()
                try:
                    os.write(tun, packet)
                except OSError:  # as a wire does when nobody listens: the packet is lost
                    continue


if __name__ == "__main__":
    ends = open_tun(sys.argv[1]), open_tun(sys.argv[2])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    carry(*ends, float(sys.argv[3]))
