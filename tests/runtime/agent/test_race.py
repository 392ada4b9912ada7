"""Askings in order, hedged, until the first lands; and streams that follow them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from runtime.agent import race as race_module
from runtime.agent.flight import Flight
from runtime.agent.landing import HELD_BACK, BufferPool, Landing
from runtime.agent.race import Race
from runtime.contract.layout import ObjectLayout
from runtime.contract.route import Step
from runtime.contract.units import MIB
from runtime.errors import (
    OriginRefused,
    PeerBrokeOff,
    PeerLied,
    PeerMissing,
    PeerUnavailable,
    StaleVersion,
)

SIZE = MIB
DATA = bytes(range(256)) * (SIZE // 256)
HOLDER, OWNER = Step("holder", "h", ""), Step("owner", "o", "")
STANDBY, ORIGIN = Step("standby", "s", ""), Step("origin", "", "")


def flight_of_one_chunk() -> Flight:
    content = SimpleNamespace(layout=ObjectLayout("0" * 32, SIZE, SIZE), unit_name=lambda _: "u.0")
    return Flight(
        content, 0, [0], name="u.0", whole=True, priority=0, rested=lambda stop: DATA[:stop]
    )


class Sources:
    """Scripted answers by step; each is an exception to raise, or bytes to land."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.go: dict[str, asyncio.Event] = {}

    async def ask(self, step, landing):
        self.asked.append(step.via)
        landing.begin()
        if step.via in self.go:
            await self.go[step.via].wait()
        answer = self.answers[step.via]
        if isinstance(answer, Exception):
            raise answer
        landing.view[: len(answer)] = answer
        landing.advance(len(answer))

    def tell(self, step, error):
        self.told.append((step.via, type(error).__name__))


def race_of(sources: Sources, flight: Flight | None = None) -> Race:
    pool = BufferPool(keep_bytes=0)
    return Race(flight or flight_of_one_chunk(), sources.ask, sources.tell, pool)


async def test_the_first_that_can_wins_and_the_rest_is_not_asked():
    sources = Sources(holder=PeerMissing("no"), owner=DATA, origin=DATA)

    landing = await race_of(sources).run([HOLDER, OWNER, STANDBY, ORIGIN])

    assert bytes(landing.view) == DATA
    assert landing.complete
    assert sources.asked == ["holder", "owner"]
    assert sources.told == [("holder", "PeerMissing"), ("owner", "NoneType")]


async def test_the_origin_is_asked_when_all_peers_failed():
    sources = Sources(owner=PeerUnavailable("dead"), standby=PeerLied("bad"), origin=DATA)

    await race_of(sources).run([OWNER, STANDBY, ORIGIN])

    assert sources.asked == ["owner", "standby", "origin"]


@pytest.mark.parametrize("final", [StaleVersion("changed"), OriginRefused("key")])
async def test_an_error_that_others_would_only_meet_again_is_final(final):
    sources = Sources(owner=final, origin=DATA)

    with pytest.raises(type(final)):
        await race_of(sources).run([OWNER, ORIGIN])

    assert sources.asked == ["owner"]


async def test_when_nobody_is_left_the_last_failure_is_told():
    sources = Sources(owner=PeerUnavailable("dead"))

    with pytest.raises(PeerUnavailable, match="dead"):
        await race_of(sources).run([OWNER])


async def test_an_owner_whose_redirect_broke_off_is_asked_once_more():
    sources = Sources(owner=PeerBrokeOff("the other stopped"), standby=DATA, origin=DATA)

    await race_of(sources).run([OWNER, STANDBY, ORIGIN])

    assert sources.asked == ["owner", "owner", "standby"]


async def test_a_slow_peer_is_joined_by_the_next_peer(monkeypatch):
    monkeypatch.setattr(race_module, "HEDGE_SECONDS", 0.1)
    sources = Sources(owner=DATA, standby=DATA, origin=DATA)
    sources.go["owner"] = asyncio.Event()

    race = race_of(sources)
    landing = await race.run([OWNER, STANDBY, ORIGIN])

    assert bytes(landing.view) == DATA
    assert sources.asked == ["owner", "standby"]
    assert race.hedges == 1


async def test_a_slow_owner_alone_is_no_reason_to_cross_the_line(monkeypatch):
    monkeypatch.setattr(race_module, "HEDGE_SECONDS", 0.05)
    sources = Sources(owner=DATA, origin=DATA)
    sources.go["owner"] = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, sources.go["owner"].set)

    await race_of(sources).run([OWNER, ORIGIN])

    assert sources.asked == ["owner"]


async def test_a_peer_that_never_lands_is_given_up_for_the_origin(monkeypatch):
    monkeypatch.setattr(race_module, "HEDGE_SECONDS", 0.05)
    monkeypatch.setattr(race_module, "GIVE_UP_SECONDS", 0.2)
    sources = Sources(owner=DATA, origin=DATA)
    sources.go["owner"] = asyncio.Event()

    await race_of(sources).run([OWNER, ORIGIN])

    assert sources.asked == ["owner", "origin"]


async def collect(flight: Flight, start: int, stop: int) -> bytes:
    return b"".join([bytes(part) async for part in flight.stream(start, stop, verified=False)])


async def fly(flight: Flight, race: Race, steps: list[Step]) -> None:
    landing = await race.run(steps)
    flight.sum_up({0: 1})
    flight.landing = landing


async def test_a_stream_gives_what_arrives_before_the_end_but_holds_the_last_bytes_back():
    flight = flight_of_one_chunk()
    sources = Sources(owner=DATA)
    race = race_of(sources, flight)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def ask(_step, landing):
        landing.view[:] = DATA
        landing.advance(SIZE)
        arrived.set()
        await go_on.wait()

    race._ask = ask
    flight.start(fly(flight, race, [OWNER]))
    await arrived.wait()
    stream = flight.stream(0, SIZE, verified=False)

    assert bytes(await anext(stream)) == DATA[: SIZE - HELD_BACK]
    go_on.set()
    assert bytes(await anext(stream)) == DATA[SIZE - HELD_BACK :]
    await flight.landed()


async def test_a_stream_goes_on_from_another_peer_that_agrees():
    flight = flight_of_one_chunk()
    half = SIZE // 2

    async def ask(step, landing):
        if step.via == "owner":
            landing.view[:half] = DATA[:half]
            landing.advance(half)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise PeerUnavailable("broke off")
        landing.view[:] = DATA
        landing.advance(SIZE)

    race = race_of(Sources(), flight)
    race._ask = ask
    flight.start(fly(flight, race, [OWNER, STANDBY]))

    assert await collect(flight, 0, SIZE) == DATA


async def test_a_stream_that_showed_other_bytes_ends_with_an_error():
    """Bytes of two answers are never mixed, whichever of them was right."""
    flight = flight_of_one_chunk()
    half = SIZE // 2
    shown = asyncio.Event()

    async def ask(step, landing):
        if step.via == "owner":
            landing.view[:half] = bytes(half)
            landing.advance(half)
            await shown.wait()
            raise PeerLied("checksum")
        landing.view[:] = DATA
        landing.advance(SIZE)

    race = race_of(Sources(), flight)
    race._ask = ask
    flight.start(fly(flight, race, [OWNER, STANDBY]))
    stream = flight.stream(0, SIZE, verified=False)
    await anext(stream)
    shown.set()

    with pytest.raises(PeerLied):
        await anext(stream)
    await flight.landed()


async def test_a_stream_of_verified_bytes_heals_from_a_peer_that_lied():
    flight = flight_of_one_chunk()

    async def ask(step, landing):
        wrong = step.via == "owner"
        landing.view[:] = bytes(SIZE) if wrong else DATA
        landing.advance(SIZE)
        for _ in range(5):
            await asyncio.sleep(0)
        if wrong:
            raise PeerLied("checksum")

    race = race_of(Sources(), flight)
    race._ask = ask
    flight.start(fly(flight, race, [OWNER, STANDBY]))
    parts = [bytes(part) async for part in flight.stream(0, SIZE, verified=True)]

    assert b"".join(parts) == DATA


async def test_a_stream_that_begins_after_the_end_reads_from_the_store():
    flight = flight_of_one_chunk()
    race = race_of(Sources(owner=DATA), flight)

    async def land_and_leave() -> None:
        landing = await race.run([OWNER])
        flight.sum_up({0: 1})
        flight.unwatch(landing)
        landing.release()

    flight.start(land_and_leave())
    await flight.landed()

    assert await collect(flight, 7, SIZE) == DATA[7:]


async def test_who_waits_for_the_owner_s_bytes_is_let_go_when_the_owner_is_asked_no_more():
    """The standby that is asked next may wait for the very one that waits here."""
    flight = flight_of_one_chunk()
    sources = Sources(owner=PeerUnavailable("dead"), standby=DATA)
    sources.go["owner"], sources.go["standby"] = asyncio.Event(), asyncio.Event()
    flight.start(fly(flight, race_of(sources, flight), [OWNER, STANDBY]))
    stream = flight.stream(0, SIZE, verified=False, rooted=True)
    waiting = asyncio.ensure_future(anext(stream))
    for _ in range(5):
        await asyncio.sleep(0)
    assert sources.asked == ["owner"]
    assert flight.rooted

    sources.go["owner"].set()

    with pytest.raises(PeerMissing):
        await waiting
    assert not flight.rooted
    sources.go["standby"].set()
    assert await collect(flight, 0, SIZE) == DATA


async def test_a_stream_of_a_flight_that_fails_raises_its_error():
    flight = flight_of_one_chunk()
    race = race_of(Sources(owner=StaleVersion("changed")), flight)
    flight.start(fly(flight, race, [OWNER]))

    with pytest.raises(StaleVersion):
        await collect(flight, 0, SIZE)


def test_a_buffer_is_not_used_again_while_a_slice_of_it_lives():
    pool = BufferPool(keep_bytes=1 << 30)
    landing = Landing(SIZE, pool, trusted=True, notify=lambda: None)
    landing.view[:] = DATA
    part = landing.view[10:20]
    landing.release()

    other = Landing(SIZE, pool, trusted=True, notify=lambda: None)
    other.view[:] = bytes(SIZE)

    assert bytes(part) == DATA[10:20]


def test_a_buffer_nobody_reads_is_used_again():
    pool = BufferPool(keep_bytes=1 << 30)
    first = pool.take(SIZE)
    pool.give(first)

    assert pool.take(SIZE) is first
