"""Who may be connected to, and who is shown a token."""

from __future__ import annotations

import asyncio
import dataclasses
import socket

import pytest

from runtime.contract.plan import Plan
from runtime.contract.token import Keys
from runtime.errors import PeerMismatch, PeerUnavailable
from tests.support.peering import (
    DOMAIN,
    KEYS,
    ME,
    RUNTIME,
    Asker,
    answer,
    member,
    plan,
    proof,
    scripted,
)

OTHER_KEYS = Keys.derive(b"m" * 32, "pool-z")


async def never(peer, head, writer):
    raise AssertionError("an impostor was asked for data")


async def greet(peer, head, writer):
    writer.write(answer(b"hello"))


@pytest.fixture(name="trap")
def _trap():
    """An address where every connection is noticed."""
    with socket.create_server(("127.0.0.7", 0)) as listener:
        listener.settimeout(0)
        yield listener


def caught(trap) -> bool:
    try:
        trap.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda there: None, id="no plan"),
        pytest.param(
            lambda there: Plan(1, RUNTIME, "Basic", "LocalOnly", None, (ME, there)),
            id="LocalOnly",
        ),
        pytest.param(
            lambda there: Plan(1, RUNTIME, "Dedicated", "LocalOnly", DOMAIN, (ME, there)),
            id="LocalOnly though a domain is named",
        ),
        pytest.param(lambda there: plan(member(9)), id="no member"),
        pytest.param(
            lambda there: plan(dataclasses.replace(there, port=there.port ^ 1)), id="another port"
        ),
        pytest.param(
            lambda there: plan(dataclasses.replace(there, address="127.0.0.8")),
            id="another address",
        ),
        pytest.param(
            lambda there: plan(dataclasses.replace(there, uid="uid-new")), id="another node there"
        ),
        pytest.param(
            lambda there: Plan(1, RUNTIME, "Dedicated", "Distributed", DOMAIN, (there,)),
            id="a plan without this node",
        ),
        pytest.param(
            lambda there: Plan(1, RUNTIME, "Dedicated", "Distributed", None, (ME, there)),
            id="no domain",
        ),
    ],
)
async def test_what_the_plan_does_not_allow_is_refused_and_counted(make, trap):
    there = member(trap.getsockname()[1], address="127.0.0.7")
    asker = Asker(there)
    asker.peers.follow(make(there))

    with pytest.raises(PeerMismatch, match="no connection was made"):
        await asker.peers.get(there, "/v1/head", timeout=1)

    assert asker.dialled == [("127.0.0.7", False)]
    assert not caught(trap)


async def test_a_node_never_dials_itself(trap):
    asker = Asker()
    with pytest.raises(PeerMismatch):
        await asker.peers.get(ME, "/", timeout=1)


async def test_a_node_without_the_domains_key_dials_nobody(trap):
    there = member(trap.getsockname()[1], address="127.0.0.7")
    asker = Asker(there, keys=Keys(reader=b"r"))

    with pytest.raises(PeerMismatch):
        await asker.peers.get(there, "/", timeout=1)

    assert not caught(trap)


async def test_a_member_proves_itself_before_it_is_shown_the_token():
    async with scripted(greet) as (peer, there):
        asker = Asker(there)
        assert await asker.peers.get(there, "/v1/head", timeout=5) == (
            200,
            {"content-length": "5"},
            b"hello",
        )
        await asker.peers.close()

    first, second, _ = peer.heard.split(b"\r\n\r\n")
    assert b"Authorization" not in first
    assert b"cct1" not in first
    assert b"Authorization: Bearer cct1.peer.ns/cache." in second
    assert asker.dialled == [("127.0.0.2", True)]


@pytest.mark.parametrize(
    "identity",
    [
        pytest.param(lambda n: answer(proof(n, uid="uid-c")), id="another node"),
        pytest.param(lambda n: answer(proof(n, domain="pool-z")), id="another domain"),
        pytest.param(
            lambda n: answer(proof(n, domain="pool-z", keys=OTHER_KEYS)), id="an agent elsewhere"
        ),
        pytest.param(lambda n: answer(proof(n, keys=OTHER_KEYS)), id="another key"),
        pytest.param(lambda n: answer(proof("0" * 32)), id="a proof that was overheard"),
        pytest.param(lambda n: answer(b"{}"), id="an empty document"),
        pytest.param(lambda n: answer(b"[1, 2]"), id="another document"),
        pytest.param(
            lambda n: answer(b'{"node": 1, "domain": null, "proof": []}'), id="other types"
        ),
        pytest.param(lambda n: answer(b"\xff"), id="no document"),
        pytest.param(lambda n: answer(b"", status=404), id="another web server"),
        pytest.param(lambda n: answer(b"", status=421), id="an agent that knows it is not meant"),
        pytest.param(lambda n: answer(b"x" * 5000), id="much text"),
        pytest.param(lambda n: b"SSH-2.0-OpenSSH\r\n\r\n", id="another protocol"),
    ],
)
async def test_an_impostor_learns_no_token(identity):
    async with scripted(never, identity=identity) as (peer, there):
        asker = Asker(there)
        with pytest.raises(PeerMismatch):
            await asker.unit(there, 10)

    assert peer.connections == 1
    assert b"cct1" not in peer.heard
    assert b"Bearer" not in peer.heard


async def test_a_plan_that_changes_during_the_handshake_stops_it():
    asker = Asker()
    arrived = asyncio.Event()

    def identity(nonce):
        asker.peers.follow(plan(generation=2))
        arrived.set()
        return answer(proof(nonce))

    async with scripted(never, identity=identity) as (peer, there):
        asker.peers.follow(plan(there))
        with pytest.raises((PeerMismatch, PeerUnavailable)):
            await asker.peers.get(there, "/", timeout=5)
        assert arrived.is_set()

    assert b"Bearer" not in peer.heard


@pytest.mark.parametrize("change", ["none", "another domain"])
async def test_a_proof_given_after_the_plan_changed_is_worth_nothing(change):
    asker = Asker()

    def identity(nonce):
        asker.dialler.follow(None if change == "none" else plan(there, domain="pool-z"))
        return answer(proof(nonce))

    async with scripted(never, identity=identity) as (_, there):
        asker.dialler.follow(plan(there))
        deadline = asyncio.get_running_loop().time() + 5
        with pytest.raises(PeerMismatch):
            await asker.dialler.dial(there, deadline=deadline)


async def test_a_refused_connection_is_unavailable_at_once():
    there = member(1)
    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        await Asker(there).peers.get(there, "/", timeout=30)


async def test_a_peer_that_accepts_and_says_nothing_is_given_up_in_time():
    with socket.create_server(("127.0.0.2", 0)) as listener:
        there = member(listener.getsockname()[1])
        with pytest.raises(PeerUnavailable, match="did not answer in time"):
            await asyncio.wait_for(Asker(there).unit(there, 10, first_byte=0.1), 3)


async def test_a_peer_whose_packets_vanish_is_given_up_in_time():
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        # With its queue full the kernel drops what comes, as a partition does.
        with socket.create_connection(("127.0.0.2", port)):
            there = member(port)
            with pytest.raises(PeerUnavailable, match="does not answer"):
                await asyncio.wait_for(Asker(there).unit(there, 10, first_byte=0.2), 3)


async def test_the_source_address_is_the_nodes_own():
    seen = []

    async def look(peer, head, writer):
        seen.append(writer.get_extra_info("peername")[0])
        writer.write(answer(b""))

    async with scripted(look) as (_, there):
        await Asker(there).peers.get(there, "/", timeout=5)

    assert seen == ["127.0.0.1"]


def test_nothing_shows_the_keys():
    asker = Asker(member(5))
    text = repr(asker.dialler) + repr(asker.peers) + repr(KEYS)
    assert KEYS.peer.decode() not in text
    assert "cct1" not in text


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\u20ac"])
async def test_a_target_cannot_smuggle_a_header(target):
    async with scripted(greet) as (peer, there):
        await Asker(there).peers.get(there, target, timeout=5)

    request = peer.heard.split(b"\r\n\r\n")[1]
    assert b"X: y" not in request.split(b"\r\n")
    assert request.split(b"\r\n")[0].count(b" ") == 2
