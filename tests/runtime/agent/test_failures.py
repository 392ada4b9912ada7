"""Agents that die, hang, lie about who they are, or cannot be reached."""

from __future__ import annotations

import random
import signal
import socket
import time
from dataclasses import replace

import pytest

from runtime.contract.ownership import Ownership
from runtime.contract.units import MIB
from tests.support.lab import Lab, Node
from tests.support.lab_origin import LabOrigin

PATH = "train/shard.bin"


@pytest.fixture(name="data")
def _data(origin):
    data = random.Random(11).randbytes(3 * MIB)
    (origin.folder / "shard.bin").write_bytes(data)
    return data


@pytest.fixture(name="trio")
def _trio(lab: Lab, origin, data):
    return started(lab, origin, len(data))


def started(lab: Lab, origin: LabOrigin, size: int) -> list[Node]:
    """Start three agents; return owner, first standby, second standby of the one chunk."""
    for number in range(3):
        lab.add(f"n{number}")
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    return ranking(lab, size)


def ranking(lab: Lab, size: int) -> list[Node]:
    """Find who owns the chunk."""
    unit = lab.unit(next(iter(lab.nodes.values())), PATH, size)
    order = Ownership([(n.uid, 1.0) for n in lab.nodes.values()]).of(unit)
    return [next(n for n in lab.nodes.values() if n.uid == uid) for uid in order]


def test_a_dead_owner_is_replaced_by_its_standby_with_one_crossing(lab, origin, trio, data):
    owner, standby, last = trio
    owner.kill()
    origin.reset()

    assert lab.read(last, PATH) == data

    assert origin.requests("shard.bin") == 1
    assert lab.report(standby).counters["origin_units"] == 1
    assert lab.report(last).counters["standby_units"] == 1


def test_an_owner_killed_under_its_readers_costs_no_wrong_byte(lab, origin, trio, data):
    owner, standby, last = trio
    origin.fault("pause", seconds=2, times=1)
    reading = [lab.start_read(node, PATH) for node in (standby, last)]
    lab.until(lambda: origin.requests("shard.bin") == 1, what="the owner's fetch")
    time.sleep(0.5)  # so that bytes are under way when it dies
    owner.kill()

    for result in reading:
        status, body = result()
        assert status == 200
        assert body == data


def test_a_hung_owner_is_abandoned_within_seconds(lab, trio, data):
    """A stopped process keeps its connections and accepts new ones, but answers nothing."""
    owner, _, last = trio
    owner.send(signal.SIGSTOP)
    started = time.monotonic()

    assert lab.read(last, PATH) == data

    assert time.monotonic() - started < 25
    owner.send(signal.SIGCONT)


def test_an_owner_that_wakes_takes_what_its_standby_fetches_in_its_place(lab, slow_origin, data):
    origin = slow_origin
    owner, standby, _ = started(lab, origin, len(data))
    origin.reset()
    owner.send(signal.SIGSTOP)
    reading = [lab.start_read(standby, PATH)]
    lab.until(lambda: origin.requests("shard.bin") == 1, 60, "the standby's crossing")

    owner.send(signal.SIGCONT)
    reading.append(lab.start_read(owner, PATH))

    assert [result() for result in reading] == [(200, data)] * 2
    assert origin.requests("shard.bin") == 1
    assert lab.report(owner).counters["holder_units"] == 1


def test_two_agents_that_cannot_reach_each_other_read_through_the_third(lab, origin, trio, data):
    """The line is crossed once, although one of the readers cannot reach the owner."""
    owner, standby, last = trio
    with socket.socket() as hole:
        hole.bind((f"127.{lab.network}.9.9", 0))
        hole.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(hole.getsockname())
        lab.generation += 1
        plan = lab.plan("cloud", datasets=(lab.dataset(origin.source),))
        address, port = hole.getsockname()
        cut = tuple(
            replace(m, address=address, port=port) if m.uid == owner.uid else m
            for m in plan.members
        )
        lab.give(last, replace(plan, members=cut, generation=plan.generation + 1))
        lab.until(lambda: lab.report(last).plan_generation == plan.generation + 1)
        origin.reset()

        assert lab.read(last, PATH) == data

        assert origin.requests("shard.bin") == 1
        assert lab.report(owner).counters["origin_units"] == 1
        assert lab.report(standby).counters["owner_units"] == 1
        for filler in fillers:
            filler.close()


def test_an_agent_that_answers_at_another_s_address_gets_no_token_and_gives_no_bytes(
    lab, origin, trio, data
):
    """Two pools may have the same addresses: who answers must be who was meant."""
    owner, standby, last = trio
    plan = lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    swapped = {owner.uid: standby.address, standby.uid: owner.address}
    members = tuple(
        replace(member, address=swapped.get(member.uid, member.address)) for member in plan.members
    )
    lab.give(last, replace(plan, members=members, generation=plan.generation + 1))
    lab.until(lambda: lab.report(last).plan_generation == plan.generation + 1)
    before = lab.count("served_units", owner, standby)

    assert lab.read(last, PATH) == data

    assert lab.report(last).counters["origin_units"] == 1
    assert lab.report(last).members_down == 2
    assert lab.count("served_units", owner, standby) == before


def test_an_agent_of_another_domain_s_keys_is_refused(lab, origin, trio, data):
    owner, standby, last = trio
    lab.give_keys(last, domain="another")
    plan = lab.plan("cloud", keys=False, datasets=(lab.dataset(origin.source),))
    lab.until(lambda: lab.report(last).plan_generation == plan.generation)

    assert lab.read(last, PATH) == data

    assert lab.report(last).counters["origin_units"] == 1
    assert lab.count("served_units", owner, standby) == 0


def test_a_restarted_agent_keeps_what_it_had(lab, origin, trio, data):
    owner, _, _ = trio
    lab.read(owner, PATH)
    lab.until(lambda: lab.settled(owner))
    owner.kill()
    lab.start(owner)
    lab.until_ready()
    origin.reset()

    assert lab.read(owner, PATH) == data
    assert origin.requests("shard.bin") == 0
