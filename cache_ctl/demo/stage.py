"""The ground that the demo stands on: its folder, its addresses and its ports."""

from __future__ import annotations

import errno
import shutil
import socket
from typing import TYPE_CHECKING, Final

import yaml

from cache_ctl.errors import ControlError
from cache_ctl.local.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ORIGIN_ADDRESS: Final = "127.0.1.100"
ORIGIN_PORT: Final = 19700
AGENT_PORT: Final = 19600
LINES: Final = {"127.0.2.0/24": "200Mbit", "127.0.3.0/24": "200Mbit"}
"""Client networks behind a line of their own, which the origin shapes."""
ROOM: Final = 1600 << 20
"""Bytes that eleven nodes' copies and the origin may need for the time of the demo."""

_MARK: Final = "demo"
"""An empty file that tells a demo's folder from anybody else's."""
_KEPT: Final = {_MARK, "lock"}
_BULK: Final = ("origin", "tiers")
_TRIES: Final = 50


class DemoCannotRun(ControlError):
    """This machine, or the folder given, does not let the demo run."""


def prepare_folder(folder: Path) -> None:
    """Make the folder ready for a fresh demo: an earlier demo's state is removed.

    Raises:
        DemoCannotRun: the folder holds something else, cannot be written, or has too little room.
        StateInUse: a demo runs there at this moment.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / _MARK).exists():
            raise DemoCannotRun(
                f"{folder} is not empty and holds no earlier demo; "
                "choose another folder with --state-dir"
            )
        (folder / _MARK).touch()
        with StateDir(folder).locked():
            for item in folder.iterdir():
                if item.name not in _KEPT:
                    _remove(item)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise DemoCannotRun(f"state folder {folder}: {error.strerror}; choose another") from error
    if free < ROOM:
        raise DemoCannotRun(
            f"the demo needs {ROOM >> 20} MiB in {folder} for a while and finds {free >> 20} MiB; "
            "choose another folder with --state-dir"
        )


def _remove(item: Path) -> None:
    if item.is_dir() and not item.is_symlink():
        shutil.rmtree(item)
    else:
        item.unlink()


def remove_bulk(folder: Path) -> None:
    """Remove the datasets' bytes, at the origin and on the nodes; what explains them stays."""
    for name in _BULK:
        shutil.rmtree(folder / name, ignore_errors=True)


def node_addresses(nodes_yaml: str) -> list[str]:
    """Return the InternalIP of every Node in the text."""
    return [
        address["address"]
        for body in yaml.safe_load_all(nodes_yaml)
        if body["kind"] == "Node"
        for address in body["status"]["addresses"]
        if address["type"] == "InternalIP"
    ]


def free_port(addresses: Iterable[str], preferred: int) -> int:
    """Return the first port from ``preferred`` on that is free at all these addresses.

    Raises:
        DemoCannotRun: there is none nearby, or this machine has no such loopback addresses.
    """
    wanted = list(addresses)
    for port in range(preferred, preferred + _TRIES):
        if all(_is_free(address, port) for address in wanted):
            return port
    raise DemoCannotRun(
        f"no port from {preferred} to {preferred + _TRIES - 1} is free at {wanted[0]}; "
        "end what holds them"
    )


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise DemoCannotRun(
                    f"this machine has no address {address}; the demo needs Linux, "
                    "where all of 127.0.0.0/8 is loopback"
                ) from error
            return False
    return True
