"""What happened on this agent since it started, each branch of the read path by its meaning."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """Counts; those ending in ``_bytes`` are bytes."""

    local_units: int = 0
    """Units asked for that were whole in the store."""
    shared_flights: int = 0
    """Askings that joined a fetch already under way."""
    holder_units: int = 0
    """Units received from a neighbour that had announced them."""
    owner_units: int = 0
    """Units received from their owner, or where it redirected to."""
    standby_units: int = 0
    """Units received from a standby, asked in the owner's place."""
    origin_units: int = 0
    """Units fetched from the origin by this agent."""
    origin_bytes: int = 0
    peer_bytes: int = 0
    summaries_received: int = 0
    """Neighbours' announcements that were new."""
    redirects_given: int = 0
    redirects_followed: int = 0
    hedges: int = 0
    """Further askings started because one made no progress."""
    peer_failures: int = 0
    """Askings that a peer did not answer."""
    peer_misses: int = 0
    """Askings of a holder that did not have the unit."""
    peer_lies: int = 0
    """Units from a peer that did not match their checksums; thrown away."""
    origin_failures: int = 0
    stale_objects: int = 0
    """Objects found changed at the origin."""
    read_through_units: int = 0
    """Units fetched that the store did not admit."""
    healed_cells: int = 0
    """Cells that a reader found corrupt; taken away, to be fetched again."""
    served_units: int = 0
    """Units sent to peers."""
    served_unit_bytes: int = 0
    refused_dials: int = 0
    """Connections to other nodes that the plan does not allow; none of them was opened."""
    refused_requests: int = 0
    """Requests without a valid token, or from no member."""
    forbidden_connections: int = 0
    """Connections that the plan does not allow: dialled, or accepted with a peer's request."""

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)
