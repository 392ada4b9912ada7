"""Every TCP connection of this machine, as the kernel lists them."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path
from typing import Self

LISTEN = "0A"


def listed() -> set[tuple[str, str, str]]:
    """Return ``(local address, remote address, state)`` of every IPv4 TCP socket now.

    Closed connections stay listed for a minute, so that short ones are seen too.
    """
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        found.add((_address(local), _address(remote), state))
    return found


def _address(text: str) -> str:
    return socket.inet_ntoa(struct.pack("<I", int(text.partition(":")[0], 16)))


def of_network(number: int) -> set[tuple[str, str, str]]:
    """Return the sockets that are bound to, or connected with, an address in 127.N.0.0/16."""
    prefix = f"127.{number}."
    return {
        found for found in listed() if found[0].startswith(prefix) or found[1].startswith(prefix)
    }


class SocketWatch:
    """Collects every connection that exists while it is entered."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str, str]] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.01):
            self.seen |= listed()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.seen |= listed()

    def between(self, one: set[str], other: set[str]) -> set[tuple[str, str]]:
        """Return the connections that join an address of ``one`` with one of ``other``."""
        return {
            (local, remote)
            for local, remote, _ in self.seen
            if local != remote
            and ((local in one and remote in other) or (local in other and remote in one))
        }
