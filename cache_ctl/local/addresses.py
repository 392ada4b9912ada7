"""Addresses of a local cluster's nodes: what real nodes say of theirs holds on other machines.

A node keeps its InternalIP where that is this machine's and no other node here has it. Each other
one gets a loopback address of its own. It is hashed from the state directory and the node's name,
so that it is the same one in every run, and clusters beside each other do not meet.
"""

from __future__ import annotations

import errno
import itertools
import socket
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Any, Final

import xxhash

from cache_ctl.api.kinds import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cache_ctl.api.kinds import Resource

_FIRST: Final = int(IPv4Address("127.64.0.0"))
_COUNT: Final = 1 << 22


def internal_ip(node: Resource) -> str | None:
    """Return the address by which other nodes know this one."""
    found = _internal(node)
    return None if found is None else str(found.get("address"))


def reachable_here(node: Resource, others: Iterable[Resource], *, scope: str) -> Resource:
    """Return a Node with an InternalIP that its agent can have on this machine.

    One without an InternalIP stays so: nobody can address it.

    Args:
        node: the Node as it was written.
        others: the Nodes of the cluster; one of the same name is passed over.
        scope: tells clusters on one machine from each other.
    """
    given = internal_ip(node)
    taken = {internal_ip(other) for other in others if name_of(other) != name_of(node)}
    if given is None or (given not in taken and _may_be_ours(given)):
        return node
    own = next(item for item in _candidates(f"{scope}/{name_of(node)}") if item not in taken)
    addresses = list(node["status"]["addresses"])
    place = addresses.index(_internal(node))
    addresses[place] = {**addresses[place], "address": own}
    return {**node, "status": {**node["status"], "addresses": addresses}}


def _internal(node: Resource) -> dict[str, Any] | None:
    addresses = (node.get("status") or {}).get("addresses") or ()
    return next((item for item in addresses if item.get("type") == "InternalIP"), None)


def _candidates(name: str) -> Iterable[str]:
    for attempt in itertools.count():
        number = xxhash.xxh3_64_intdigest(f"{attempt}/{name}".encode()) % _COUNT
        yield str(IPv4Address(_FIRST + number))


def _may_be_ours(address: str) -> bool:
    """Tell whether this machine has the address; what is no address is left for its own error."""
    try:
        family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    except ValueError:
        return True
    return True
