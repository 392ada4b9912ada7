"""Who may ask for what."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from runtime.contract import protocol, token
from runtime.errors import AccessDenied, PeerMismatch, TokenInvalid

if TYPE_CHECKING:
    from runtime.agent.agent import Agent
    from runtime.contract.plan import Member
    from runtime.serve.message import Request

_REMEMBERED: Final = 1024


class Access:
    """Checks tokens, and that a peer is the member that it says it is."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._uid = os.getuid()
        self._keys = agent.keys
        self._known: dict[str, tuple[str, str]] = {}

    def _scope(self, request: Request) -> tuple[str, str]:
        value = request.headers.get("authorization", "")
        kind, _, text = value.partition(" ")
        if kind.lower() != "bearer" or not text:
            raise TokenInvalid(
                "a token is required, in the header Authorization: Bearer <token>; ask for one of "
                "this Dataset"
            )
        if self._keys is not self._agent.keys:
            self._keys = self._agent.keys
            self._known.clear()
        scope = self._known.get(text)
        if scope is None:
            scope = token.check(self._agent.keys, text.strip())
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[text] = scope
        return scope

    def own_user(self, request: Request) -> bool:
        """Tell whether the request came over the Unix socket from the agent's own user, or root."""
        return request.peer_uid is not None and request.peer_uid in {self._uid, 0}

    def reader(self, request: Request, dataset: str) -> bool:
        """Let readers of a Dataset through; return whether that was for the token they sent.

        Raises:
            AccessDenied: the token is of another Dataset; ``TokenInvalid`` when it is missing or
                forged.
        """
        if self._agent.settings.trust_same_uid and request.peer_uid == self._uid:
            return False
        try:
            allowed = self._scope(request) == ("reader", dataset)
        except AccessDenied:
            self._agent.counters.refused_requests += 1
            raise
        if not allowed:
            self._agent.counters.refused_requests += 1
            raise AccessDenied(f"the token does not read Dataset {dataset}; ask for one that does")
        return True

    def operator(self, request: Request) -> None:
        """Let the node's own user, and requests from the node's own address, see the report.

        Raises:
            AccessDenied: somebody else asks.
        """
        if not self.own_user(request) and request.peer != self._agent.settings.address:
            self._agent.counters.refused_requests += 1
            raise AccessDenied("the report is shown on the node itself; ask there")

    def peer(self, request: Request) -> Member:
        """Return the member that asks.

        Raises:
            AccessDenied: the token is not that of a peer, or no member asks from that address.
            PeerMismatch: another node was meant.
        """
        try:
            member = self._claimed(request)
        except AccessDenied:
            self._agent.counters.refused_requests += 1
            raise
        self.expected(request)
        self._agent.health.asked(member.uid)
        return member

    def _claimed(self, request: Request) -> Member:
        view = self._agent.view
        member = view.members.get(request.headers.get(FROM, ""))
        known = member is not None and request.peer == member.address
        try:
            allowed = view.distributed and self._scope(request) == ("peer", view.plan.runtime)
        except AccessDenied:
            allowed = False
        if not allowed:
            if not known:
                self._agent.counters.forbidden_connections += 1
            raise AccessDenied("this token does not ask as a peer of this domain")
        if member is None or not known:  # of this domain, but in a plan that is not here yet
            raise AccessDenied(f"no member of this plan asks from {request.peer}")
        return member

    def expected(self, request: Request) -> None:
        """Refuse a question that was meant for another node.

        Raises:
            PeerMismatch: it was.
        """
        meant = request.headers.get(EXPECTED)
        if meant is not None and meant != self._agent.settings.uid:
            raise PeerMismatch(f"node {self._agent.settings.node} answers here, not the one meant")


FROM: Final = protocol.FROM_HEADER.lower()
EXPECTED: Final = protocol.EXPECT_NODE_HEADER.lower()
