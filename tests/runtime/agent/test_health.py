"""Doubt is settled by probes."""

from __future__ import annotations

import asyncio

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
    while member.probes < probes:
        member.probed.clear()
        await member.probed.wait()
    await asyncio.sleep(0)


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
