"""HTTP between agents, clients and agents, and curl and agents.

Every request carries ``Authorization: Bearer <token>`` but ``/healthz``, ``/readyz``, the proof of
identity, and ``/metrics`` and ``/report``, which answer on the node itself only.

=============================================  ====================================================
``GET|HEAD /<ns>/<dataset>/<path>``            an object; ``Range``, ``If-None-Match``, ``If-Match``
``POST /batch``                                many small objects in one answer, see ``BATCH_ITEM``
``GET /healthz  /readyz  /metrics  /report``   probes, Prometheus text, the report as JSON
``GET /v1/identity?nonce=``                    who answers here, with a proof (peers)
``GET /v1/unit?...``                           a unit and its checksums (peers), see ``UNIT_*``
``GET /v1/head?dataset=``                      the snapshot this agent follows, JSON (peers)
``GET /v1/catalog?dataset=&snapshot=``         a catalog's bytes (peers)
``GET /v1/summary``                            a filter of the units held here (peers)
``GET /v1/open/catalog?dataset=``              descriptors: catalog, head      (Unix socket only)
``GET /v1/open/blob?...``                      descriptors: bytes, map a tier  (Unix socket only)
``GET /v1/open/whole?...``                     descriptors: bytes, held; map   (Unix socket only)
``POST /v1/want?...``                          fetch cells, answer when they are there  (Unix)
``POST /v1/suspect?...``                       verify cells that a reader found corrupt (Unix)
=============================================  ====================================================

Descriptors ride as SCM_RIGHTS on the first bytes of an answer whose JSON body names them in order.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

IDENTITY: Final = "/v1/identity"
UNIT: Final = "/v1/unit"
HEAD: Final = "/v1/head"
CATALOG: Final = "/v1/catalog"
SUMMARY: Final = "/v1/summary"
OPEN_CATALOG: Final = "/v1/open/catalog"
OPEN_BLOB: Final = "/v1/open/blob"
OPEN_WHOLE: Final = "/v1/open/whole"
"""For mapping: of the one tier that has all of an object. Its bytes stay as they are while the
first descriptor, a copy of it, or a mapping of it is open in any process."""
WANT: Final = "/v1/want"
SUSPECT: Final = "/v1/suspect"
BATCH: Final = "/batch"

DEFAULT_PORT: Final = 19600
DEFAULT_SOCKET: Final = "/run/cachectl/agent.sock"

MAX_HEADER_BYTES: Final = 16 * 1024
"""A request's head above this is refused with 431."""
MAX_BODY_BYTES: Final = 8 << 20
"""A request's body above this is refused with 413."""
HEAD_SECONDS: Final = 10.0
"""A request's head and body must arrive within this; a client that drips is cut off."""

NODE_HEADER: Final = "Cachectl-Node"
EXPECT_NODE_HEADER: Final = "Cachectl-Expect-Node"
"""The uid of the node that the caller means to reach; another one answers 421."""
FROM_HEADER: Final = "Cachectl-From"
"""The caller's uid; it must be a member of the same plan."""
REDIRECT_HEADER: Final = "Cachectl-Redirect"
"""On 307: the uid of the member that has, or is receiving, the unit. Followed once."""
CELLS_HEADER: Final = "Cachectl-Cells"
"""Cells in a unit's answer. The body is the unit's bytes, then a trailer of one little-endian
u64 checksum a cell; 0 marks a cell that is absent, whose bytes are filler."""
CODE_HEADER: Final = "Cachectl-Error"
"""On errors: the class name in ``runtime.errors``; the body is one sentence."""

AskAs = Literal["holder", "owner"]
"""In which role a peer is asked for a unit: a holder answers 404 when it has it not, an owner (or
a standby asked in its place) fetches it from the origin. ``redirected=<uid>`` in the query names
the member that an earlier redirect pointed at in vain, and asks for an answer without another."""

UNIT_SUM: Final = struct.Struct("<Q")
BATCH_ITEM: Final = struct.Struct("<IQ")
"""Before each object of a batch's answer: HTTP status, length. Objects come in the order asked;
the request's body is JSON ``{"dataset": "ns/name", "paths": [...]}``, at most ``BATCH_PATHS``."""
BATCH_PATHS: Final = 4096

DATASET_HEAD: Final = struct.Struct("<QQ")
"""The head file of a Dataset, mapped by clients: a sequence number that grows with each new
snapshot, and a spare word."""
