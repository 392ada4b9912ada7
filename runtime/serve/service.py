"""What the connections of a listener share: the handler, the limits, the counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.contract import protocol
from runtime.serve.message import Answer, Handler

if TYPE_CHECKING:
    from runtime.serve.connection import Connection  # noqa: TC004 - the two know each other


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost. Seconds and bytes."""

    head_bytes: int = protocol.MAX_HEADER_BYTES
    target_bytes: int = 8 << 10
    body_bytes: int = protocol.MAX_BODY_BYTES
    request_seconds: float = protocol.HEAD_SECONDS
    """From a request's first byte to its last."""
    idle_seconds: float = 60.0
    stalled_seconds: float = 30.0
    """A receiver that takes nothing for this long is cut."""
    linger_seconds: float = 2.0
    """After the last answer what still comes is read away, so that no reset overtakes it."""
    connections: int = 4096
    """Open ones, over all listeners; above this a new one is answered 503."""


@dataclass(slots=True)
class Counters:
    """What the server did since its start."""

    requests: int = 0
    bytes_sent: int = 0
    open_connections: int = 0
    bad_requests: int = 0
    refused_connections: int = 0


@dataclass(slots=True, eq=False)
class Service:
    """One listener's share of the server; handler, limits and counters are the server's."""

    loop: asyncio.AbstractEventLoop
    handler: Handler
    on_error: Callable[[Exception], Answer]
    limits: Limits
    counters: Counters
    remembered: Callable[[bytes], tuple[bytes, bytes] | None]
    """Head and body of the answer to these bytes, None when they are to be read as a request."""
    connections: set[Connection] = field(default_factory=set)
