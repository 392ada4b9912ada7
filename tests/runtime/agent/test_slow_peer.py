"""An owner whose bytes only drip to one of its readers."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from runtime.contract.ownership import Ownership
from runtime.contract.units import MIB
from tests.support.lab_proxy import DripProxy

PATH = "train/shard.bin"


def test_a_reader_behind_a_slow_path_to_the_owner_is_served_by_a_standby(lab, origin):
    data = random.Random(41).randbytes(3 * MIB)
    (origin.folder / "shard.bin").write_bytes(data)
    for number in range(3):
        lab.add(f"n{number}")
    dataset = lab.dataset(origin.source)
    plan = lab.plan("cloud", datasets=(dataset,))
    lab.start()
    lab.until_ready()
    unit = lab.unit(lab.nodes["n0"], PATH, len(data))
    ranking = Ownership([(n.uid, 1.0) for n in lab.nodes.values()]).of(unit)
    owner, standby, reader = (lab.nodes[uid.removeprefix("uid-")] for uid in ranking)

    address = f"127.{lab.network}.8.8"
    with DripProxy(address, target=owner, reader=reader) as proxy:
        members = tuple(
            replace(member, address=proxy.address, port=proxy.port)
            if member.uid == owner.uid
            else member
            for member in plan.members
        )
        lab.give(reader, replace(plan, members=members, generation=plan.generation + 1))
        lab.until(lambda: lab.report(reader).plan_generation == plan.generation + 1)
        origin.reset()
        started = time.monotonic()

        status, _, body = lab.ask(reader, "GET", f"/team/images/{PATH}", timeout=12)

        took = time.monotonic() - started
        assert (status, body == data) == (200, True)
        assert took < 12
        assert proxy.units == 1
    counters = lab.report(reader).counters
    assert counters["hedges"] >= 1
    assert counters["standby_units"] == 1
    assert counters["origin_units"] == 0
    assert origin.requests("shard.bin") == 1
    assert lab.count("origin_units", owner) == 1
    assert lab.count("owner_units", standby) == 1
