"""Doubt is settled by probes."""

from __future__ import annotations

import asyncio
import time

import pytest

from runtime.agent import health as health_module
from runtime.agent.health import Health
from runtime.errors import PeerUnavailable


class Member:
    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.probes = 0
        self.probed = asyncio.Event()

    async def probe(self, _uid: str) -> None:
        self.probes += 1
        self.probed.set()
        if not self.answers:
            raise PeerUnavailable("dead")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(health_module, "FIRST_PAUSE", 0.01)


async def settle(member: Member, probes: int) -> None:
    """Wait until so many probes have been made and judged."""
    while member.probes < probes:
        member.probed.clear()
        await member.probed.wait()
    for _ in range(10):
        await asyncio.sleep(0)


async def until_down(health: Health, down: set[str]) -> None:
    async with asyncio.timeout(30):
        while health.down() != down:  # noqa: ASYNC110 - it has no event, and tells by being asked
            await asyncio.sleep(0.01)


async def test_a_member_that_answers_its_probe_is_never_left_out():
    member = Member(answers=True)
    health = Health(member.probe)

    health.failed("m")
    await settle(member, 1)

    assert not health.down()
    await health.close()


async def test_a_member_is_left_out_while_probes_fail_and_back_when_one_succeeds():
    member = Member(answers=False)
    health = Health(member.probe)
    health.failed("m")
    await settle(member, 2)
    assert health.down() == {"m"}

    member.answers = True
    await settle(member, member.probes + 1)

    assert not health.down()
    await health.close()


async def test_an_answer_shows_that_a_member_is_back():
    member = Member(answers=False)
    health = Health(member.probe)
    health.failed("m")
    await settle(member, 1)

    health.answered("m")

    assert not health.down()
    await health.close()


async def test_a_question_from_a_member_has_it_probed_and_proves_nothing_alone(monkeypatch):
    monkeypatch.setattr(health_module, "LONGEST_PAUSE", 3600.0)
    member = Member(answers=False)
    health = Health(member.probe)
    health.failed("m")
    async with asyncio.timeout(30):
        for probes in range(2, 25):  # the pauses would be hours by now
            health.asked("m")
            await settle(member, probes)
            assert health.down() == {"m"}

    member.answers = True
    health.asked("m")
    await settle(member, member.probes + 1)

    assert not health.down()
    await health.close()


async def test_members_that_left_the_plan_are_probed_no_more():
    member = Member(answers=False)
    health = Health(member.probe)
    health.failed("m")
    await settle(member, 1)

    health.keep_only(set())
    seen = member.probes
    await asyncio.sleep(0.1)

    assert not health.down()
    assert member.probes == seen
    await health.close()


async def test_many_failures_at_once_cost_one_probe_at_a_time():
    member = Member(answers=True)
    health = Health(member.probe)
    for _ in range(50):
        health.failed("m")
    await settle(member, 1)

    assert member.probes == 1
    await health.close()


class LateMember(Member):
    """Takes a probe, and answers it when it is let."""

    def __init__(self) -> None:
        super().__init__(answers=True)
        self.go = asyncio.Event()

    async def probe(self, uid: str) -> None:
        await super().probe(uid)
        await self.go.wait()


async def test_a_silent_member_is_left_out_until_its_late_answer(monkeypatch):
    monkeypatch.setattr(health_module, "TURN_SECONDS", 0.001)
    member = LateMember()
    health = Health(member.probe)
    health.failed("m")
    await until_down(health, {"m"})

    member.go.set()
    await until_down(health, set())

    await health.close()


async def test_time_that_this_process_did_not_have_is_not_held_against_a_member(monkeypatch):
    """A loop that was held up sees its timers and the late answer at the same moment."""
    monkeypatch.setattr(health_module, "TURN_SECONDS", 0.01)
    member = LateMember()
    health = Health(member.probe)
    health.failed("m")
    await member.probed.wait()

    asyncio.get_running_loop().call_soon(time.sleep, 0.01 * health_module.SILENT_TURNS * 3)
    await asyncio.sleep(0.02)

    assert not health.down()
    member.go.set()
    await settle(member, 1)
    assert not health.down()
    await health.close()
