"""Names of plans: DNS subdomains, and never the same one for two domains."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from runtime.contract.plan import NetworkClass

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_PLAIN = re.compile(rf"{_LABEL}(?::{_LABEL})*")
_LONGEST_DOMAIN = 63
_LONGEST_NAME = 200
_LOCAL = "local-"


def dns_name(domain: str) -> str:
    """Return a domain's name as a DNS subdomain of at most 63 characters.

    ``pool:np-a`` becomes ``pool.np-a``. A name that has other characters, that is too long or that
    begins like a name of ours gets a digest of the original, so that no two become the same.
    """
    plain = _PLAIN.fullmatch(domain) and not domain.startswith(_LOCAL)
    if plain and len(domain) <= _LONGEST_DOMAIN:
        return domain.replace(":", ".")
    digest = f"{xxhash.xxh3_64_intdigest(domain.encode()) & 0xFFFFFFFF:08x}"
    kept = re.sub(r"[^a-z0-9]+", "-", domain.lower()).strip("-")[: _LONGEST_DOMAIN - 9].strip("-")
    return f"{kept}-{digest}" if kept else digest


def plan_name(runtime: str, domain: str) -> str:
    """Return the name of the plan of one domain of the runtime ``namespace/name``.

    The runtime's name comes first: plans of several runtimes live in one namespace.
    """
    return f"{_runtime_name(runtime)}.{dns_name(domain)}"


def local_plan_name(runtime: str, network_class: NetworkClass) -> str:
    """Return the name of the plan that a runtime's LocalOnly nodes of one class share."""
    return f"{_runtime_name(runtime)}.{_LOCAL}{network_class.lower()}"


def _runtime_name(runtime: str) -> str:
    """Return the part before the first dot; a runtime's own dots would make it ambiguous."""
    name = runtime.rpartition("/")[2]
    if "." not in name and len(name) <= _LONGEST_NAME - _LONGEST_DOMAIN:
        return name
    digest = f"{xxhash.xxh3_64_intdigest(name.encode()) & 0xFFFFFFFF:08x}"
    return f"{name.replace('.', '-')[: _LONGEST_NAME - _LONGEST_DOMAIN - 9]}-{digest}"
