"""The only place that opens a connection to another agent.

A target must be a member of the Distributed plan in force, under the address and port that the
plan gives it. Whoever answers must prove that it is that member of that domain before it is shown
a token.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import secrets
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.contract import protocol, token
from runtime.errors import PeerLied, PeerMismatch, PeerUnavailable
from runtime.peers.connection import PeerConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.contract.plan import Member, Plan
    from runtime.contract.token import Keys

IDENTITY_BYTES: Final = 4 << 10


class Dialler:
    """Opens proven connections to members of the plan, and to nobody else.

    ``me`` is this agent's uid; ``source_address`` is bound before connecting, where given, so that
    peers see the address that the plan has for us. ``on_dial(address, allowed)`` is called for
    every attempt, also for those refused here before a packet left.
    """

    def __init__(
        self,
        *,
        me: str,
        source_address: str | None,
        keys: Keys,
        runtime: str,
        on_dial: Callable[[str, bool], None],
    ) -> None:
        self._me = me
        self._source = source_address
        self._runtime = runtime
        self._on_dial = on_dial
        self._domain = ""
        self._allowed: dict[str, tuple[str, int]] = {}
        self.rekey(keys)

    def rekey(self, keys: Keys) -> None:
        """Use other keys from now on; the plan must be followed anew for them to count."""
        self._keys = keys
        self._token = token.peer_token(keys, self._runtime) if keys.peer else ""

    def follow(self, plan: Plan | None) -> None:
        """Take a plan in force. LocalOnly, none, or one without this agent allows nobody."""
        self._domain = ""
        self._allowed = {}
        if (
            plan is not None
            and plan.mode == "Distributed"
            and plan.domain
            and self._token
            and plan.member(self._me) is not None
        ):
            self._domain = plan.domain
            self._allowed = {
                member.uid: (member.address, member.port)
                for member in plan.members
                if member.uid != self._me
            }

    def allows(self, member: Member) -> bool:
        """Tell whether the plan in force lets this agent ask ``member`` at that address."""
        return self._allowed.get(member.uid) == (member.address, member.port)

    def permit(self, member: Member) -> None:
        """Refuse what the plan does not allow, and count it.

        Raises:
            PeerMismatch: ``member`` is not to be connected to.
        """
        if not self.allows(member):
            self._on_dial(member.address, False)  # noqa: FBT003 - the callback's second argument
            raise PeerMismatch(
                f"{member.address} port {member.port} is not a peer of this node in the plan in "
                "force; no connection was made"
            )

    def request(self, member: Member, target: str) -> bytes:
        """Return the bytes that ask a proven member for ``target``; they carry the token."""
        return (
            f"{_request_lines(member, target)}{protocol.FROM_HEADER}: {self._me}\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n"
        ).encode("ascii")

    async def dial(self, member: Member, *, deadline: float) -> PeerConnection:
        """Return a connection on which ``member`` has proven who it is.

        Raises:
            PeerMismatch: the plan does not allow it, or another one answers at that address.
            PeerUnavailable: nobody answers by ``deadline`` of the loop's clock.
        """
        self.permit(member)
        domain = self._domain
        sock = await self._connect(member, deadline)
        connection = PeerConnection(sock, f"{member.name} at {member.address}:{member.port}")
        try:
            await self._prove(connection, member, domain, deadline)
            self._check_still(member, domain)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_still(self, member: Member, domain: str) -> None:
        """The plan may have changed while the other side was proving itself."""
        self.permit(member)
        if self._domain != domain:
            raise _mismatch(member, f"the plan in force is no longer that of domain {domain}")

    async def _connect(self, member: Member, deadline: float) -> socket.socket:
        try:
            version = ipaddress.ip_address(member.address).version
        except ValueError as error:
            raise PeerUnavailable(f"peer {member.name} has no IP address in the plan") from error
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._source is not None:
                sock.bind((self._source, 0))
            self.permit(member)
            self._on_dial(member.address, True)  # noqa: FBT003 - as in permit
            async with asyncio.timeout_at(deadline):
                await asyncio.get_running_loop().sock_connect(sock, (member.address, member.port))
        except TimeoutError as error:
            sock.close()
            raise PeerUnavailable(
                f"peer {member.name} at {member.address} does not answer"
            ) from error
        except OSError as error:
            sock.close()
            raise PeerUnavailable(
                f"peer {member.name} at {member.address}:{member.port} cannot be reached: "
                f"{error.strerror}"
            ) from error
        except BaseException:
            sock.close()
            raise
        return sock

    async def _prove(
        self, connection: PeerConnection, member: Member, domain: str, deadline: float
    ) -> None:
        """Let the other side prove its identity; it learns nothing that it could use elsewhere."""
        nonce = secrets.token_hex(16)
        lines = _request_lines(member, f"{protocol.IDENTITY}?nonce={nonce}")
        try:
            reply = await connection.ask(f"{lines}\r\n".encode("ascii"), deadline=deadline)
            body = bytearray(min(reply.length, IDENTITY_BYTES))
            if reply.length <= IDENTITY_BYTES:
                left = deadline - asyncio.get_running_loop().time()
                await connection.receive(memoryview(body), stall=max(left, 0.0))
        except PeerLied as error:
            raise _mismatch(member, "what answers there is not an agent") from error
        if reply.status >= 500:
            raise PeerUnavailable(f"peer {member.name} answers {reply.status} when asked who it is")
        if reply.status != 200 or reply.length > IDENTITY_BYTES:
            raise _mismatch(member, f"the answer there is {reply.status}")
        node, claimed, proof = _identity(bytes(body))
        expected = token.identity_proof(self._keys, nonce, member.uid, domain)
        if node != member.uid or claimed != domain:
            raise _mismatch(member, f"node {node!r} of domain {claimed!r} answers there")
        if not hmac.compare_digest(proof.encode(), expected.encode()):
            raise _mismatch(member, "who answers there cannot prove to be that node")


def _request_lines(member: Member, target: str) -> str:
    host = f"[{member.address}]" if ":" in member.address else member.address
    return (
        f"GET {quote(target, safe=_TARGET_SAFE)} HTTP/1.1\r\nHost: {host}:{member.port}\r\n"
        f"{protocol.EXPECT_NODE_HEADER}: {member.uid}\r\n"
    )


_TARGET_SAFE: Final = "/?&=%:@,;+$!'()*~#[]"


def _identity(body: bytes) -> tuple[str, str, str]:
    try:
        document = json.loads(body)
        values = (document["node"], document["domain"], document["proof"])
    except (ValueError, KeyError, TypeError):
        return "", "", ""
    node, domain, proof = (value if isinstance(value, str) else "" for value in values)
    return node[:64], domain[:64], proof


def _mismatch(member: Member, what: str) -> PeerMismatch:
    return PeerMismatch(f"{member.address} is not {member.name}: {what}")
