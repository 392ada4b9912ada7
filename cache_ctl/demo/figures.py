"""What the demo counts, and what must hold of it at the end. Pure.

Three parties count apart from each other: readers what they read and whether it was right, agents
what they fetched and with whom they spoke, the origin what it sent to whom. A figure that two of
them know must be the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from runtime.contract.plan import Mode, NetworkClass
from runtime.contract.report import Connections

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Tally:
    """What a reader has read so far in one epoch.

    ``wrong_bytes`` are those of files whose digest differs, ``failures`` the files that could not
    be read; ``failure`` says why for the last of them.
    """

    epoch: int = 0
    files: int = 0
    bytes: int = 0
    wrong_bytes: int = 0
    failures: int = 0
    failure: str = ""
    seconds: float = 0.0

    def read(self, size: int, *, right: bool) -> Tally:
        """Count one file of ``size`` bytes."""
        return replace(
            self,
            files=self.files + 1,
            bytes=self.bytes + size,
            wrong_bytes=self.wrong_bytes + (0 if right else size),
        )

    def failed(self, path: str, error: BaseException) -> Tally:
        """Count one file that could not be read."""
        reason = f"{path}: {str(error) or type(error).__name__}"
        return replace(self, failures=self.failures + 1, failure=reason)


@dataclass(frozen=True, slots=True)
class Placing:
    """Where the controller put a node, and why."""

    node: str
    address: str
    network_class: NetworkClass
    mode: Mode
    domain: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes that an agent has fetched since its start."""

    peer: int = 0
    origin: int = 0


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """One node's figures. ``before`` is what its agent had fetched when reading began.

    ``sent`` is what the origin counts as sent to this node's address.
    """

    placing: Placing
    tallies: tuple[Tally, ...] = ()
    fetched: Fetched = Fetched()
    before: Fetched = Fetched()
    sent: int = 0
    connections: Connections = field(default_factory=Connections)

    @property
    def read_bytes(self) -> int:
        """Bytes that this node's reader got, over all epochs."""
        return sum(tally.bytes for tally in self.tallies)

    @property
    def local_bytes(self) -> int:
        """Bytes read that were on the node already: those read less those fetched meanwhile."""
        on_demand = self.fetched.peer + self.fetched.origin - self.before.peer - self.before.origin
        return max(0, self.read_bytes - on_demand)


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """A domain, or the nodes that are LocalOnly for the same reason (then ``name`` is None).

    ``line_bytes_saved`` has the meaning that it has in a Dataset's status: the bytes that nodes of
    a dedicated pool had from each other instead of over their line.
    ``samples_per_second`` is the sum over the pool's nodes, for every epoch.
    """

    name: str | None
    network_class: NetworkClass
    mode: Mode
    reason: str
    nodes: tuple[str, ...]
    local_bytes: int
    peer_bytes: int
    origin_bytes: int
    read_bytes: int
    line_bytes_saved: int
    samples_per_second: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """What every node is to read: files and bytes as generated at the origin, and how often."""

    files: int
    bytes: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a demo. It is well if there are no ``problems``, each one sentence."""

    files: int
    bytes: int
    epochs: int
    wrong_bytes: int
    forbidden_connections: int
    domains: tuple[PoolFigures, ...]
    problems: tuple[str, ...]
    prewarm_seconds: float
    reading_seconds: float
    wall_seconds: float

    @property
    def ok(self) -> bool:
        """Tell whether everything held that must hold."""
        return not self.problems


def pools_of(nodes: Iterable[NodeFigures]) -> tuple[PoolFigures, ...]:
    """Sum nodes up by domain, LocalOnly nodes by class and reason, in the order they come."""
    groups: dict[tuple[str | None, str, str, str], list[NodeFigures]] = defaultdict(list)
    for node in nodes:
        placing = node.placing
        key = (placing.domain, placing.network_class, placing.mode, placing.reason)
        groups[key if placing.mode == "LocalOnly" else (placing.domain, "", "", "")].append(node)
    return tuple(_sum(members) for members in groups.values())


def _sum(members: Sequence[NodeFigures]) -> PoolFigures:
    first = members[0].placing
    peer = sum(node.fetched.peer for node in members)
    return PoolFigures(
        name=first.domain if first.mode == "Distributed" else None,
        network_class=first.network_class,
        mode=first.mode,
        reason=first.reason,
        nodes=tuple(node.placing.node for node in members),
        local_bytes=sum(node.local_bytes for node in members),
        peer_bytes=peer,
        origin_bytes=sum(node.fetched.origin for node in members),
        read_bytes=sum(node.read_bytes for node in members),
        line_bytes_saved=peer if first.network_class == "Dedicated" else 0,
        samples_per_second=_rates(members),
    )


def _rates(members: Sequence[NodeFigures]) -> tuple[float, ...]:
    rates: dict[int, float] = defaultdict(float)
    for node in members:
        for tally in node.tallies:
            rates[tally.epoch] += tally.files / tally.seconds if tally.seconds else 0.0
    return tuple(rates[epoch] for epoch in sorted(rates))


def forbidden_connections(nodes: Sequence[NodeFigures]) -> int:
    """Count the connections that no plan may allow.

    Agents count those with addresses that are no member's; here every connection with a Basic or
    LocalOnly node on either side counts as well, whatever the agent says of it.
    """
    apart = {node.placing.address for node in nodes if _stands_apart(node.placing)}
    total = 0
    for node in nodes:
        seen = [*node.connections.dialled.items(), *node.connections.accepted.items()]
        itself_apart = node.placing.address in apart
        crossing = sum(count for address, count in seen if itself_apart or address in apart)
        total += max(crossing, node.connections.forbidden)
    return total


def _stands_apart(placing: Placing) -> bool:
    return placing.mode == "LocalOnly" or placing.network_class == "Basic"


def problems_of(
    nodes: Sequence[NodeFigures], expected: Iterable[str], promise: Promise
) -> list[str]:
    """Return a sentence for everything that does not hold; none means that all is well.

    ``expected`` are the names of all nodes that must have figures.
    """
    silent = sorted(set(expected) - {node.placing.node for node in nodes})
    found = [f"the agent on {name} does not answer at the end" for name in silent]
    found += [sentence for node in nodes for sentence in _reading(node, promise)]
    forbidden = forbidden_connections(nodes)
    if forbidden:
        found.append(f"{forbidden} connections involve a node that may not peer")
    found += [sentence for node in nodes for sentence in _origin(node, promise.bytes)]
    found += [
        f"domain {pool.name} drew {pool.origin_bytes} bytes from the origin; "
        f"one crossing is {promise.bytes}"
        for pool in pools_of(nodes)
        if pool.mode == "Distributed" and pool.origin_bytes != promise.bytes
    ]
    return found


def _origin(node: NodeFigures, size: int) -> Iterable[str]:
    name, origin = node.placing.node, node.fetched.origin
    if node.sent != origin:
        yield f"{name} counts {origin} bytes from the origin, which counts {node.sent} to it"
    if node.placing.mode == "LocalOnly" and origin < size:
        yield f"{name} must fetch its own copy of {size} bytes, and fetched {origin}"


def _reading(node: NodeFigures, promise: Promise) -> Iterable[str]:
    name = node.placing.node
    if len(node.tallies) != promise.epochs:
        yield f"{name} read {len(node.tallies)} of {promise.epochs} epochs"
    for tally in node.tallies:
        where = f"{name}, epoch {tally.epoch + 1}"
        if tally.wrong_bytes:
            yield f"{where}: {tally.wrong_bytes} bytes differ from the origin"
        if tally.failures:
            yield f"{where}: {tally.failures} files could not be read, the last one {tally.failure}"
        elif (tally.files, tally.bytes) != (promise.files, promise.bytes):
            yield (
                f"{where}: read {tally.files} files and {tally.bytes} bytes "
                f"of {promise.files} and {promise.bytes}"
            )
