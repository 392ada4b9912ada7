"""Many readers of one cold thing."""

from __future__ import annotations

import asyncio
import random
import signal
import time

from runtime.contract.ownership import Ownership
from runtime.contract.units import MIB
from runtime.policy.spread import FAN_OUT
from tests.support.lab import Lab

STOPPED_SECONDS = 4.5
"""Longer than an asking waits for its first doubt, shorter than a member may be silent."""


async def test_twelve_agents_that_ask_for_one_cold_chunk_cost_one_request_and_few_copies(
    lab, slow_origin
):
    origin = slow_origin
    data = random.Random(5).randbytes(3 * MIB)
    (origin.folder / "hot.bin").write_bytes(data)
    for number in range(12):
        lab.add(f"n{number:02}")
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    origin.reset()

    bodies = await asyncio.gather(
        *(lab.read_async(node, "train/hot.bin") for node in lab.nodes.values())
    )

    assert all(body == data for body in bodies)
    assert origin.requests("hot.bin") == 1
    owner = next(n for n in lab.nodes.values() if lab.count("origin_units", n))
    counters = lab.report(owner).counters
    assert counters["served_units"] == FAN_OUT
    assert counters["served_unit_bytes"] == FAN_OUT * len(data)
    assert counters["redirects_given"] == lab.count("redirects_followed") == 11 - FAN_OUT
    assert max(lab.count("served_units", node) for node in lab.nodes.values()) == FAN_OUT
    assert lab.count("hedges") == 0


async def test_an_owner_that_is_late_costs_no_second_crossing(lab: Lab, origin):
    """A process that gets no processor for some seconds is not one that is down."""
    data = random.Random(8).randbytes(32 * MIB)
    (origin.folder / "cold.bin").write_bytes(data)
    for number in range(8):
        lab.add(f"n{number}")
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    origin.reset()
    nodes = list(lab.nodes.values())
    units = [lab.unit(nodes[0], "train/cold.bin", len(data), index) for index in range(8)]
    ownership = Ownership([(node.uid, 1.0) for node in nodes])
    owners = [ownership.of(unit)[0] for unit in units]
    late = next(node for node in nodes if node.uid == owners[0])
    readers = [node for node in nodes if node is not late]

    late.send(signal.SIGSTOP)
    stopped = time.monotonic()
    reading = [asyncio.create_task(lab.read_async(node, "train/cold.bin")) for node in readers]
    await asyncio.sleep(STOPPED_SECONDS)
    late.send(signal.SIGCONT)
    took = time.monotonic() - stopped

    bodies = await asyncio.gather(*reading)
    assert all(body == data for body in bodies)
    # Who was stopped for too long has its standby cross in its place, and nobody else.
    spare = 0 if took < STOPPED_SECONDS + 1 else owners.count(late.uid)
    assert 8 <= origin.requests("cold.bin") <= 8 + spare
    if not spare:
        assert lab.count("peer_failures") == 0


async def test_64_readers_of_one_cold_file_cost_one_request_a_chunk(lab: Lab, origin):
    data = random.Random(6).randbytes(17 * MIB)
    (origin.folder / "cold.bin").write_bytes(data)
    for number in range(4):
        lab.add(f"n{number}")
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    origin.reset()
    nodes = list(lab.nodes.values())

    bodies = await asyncio.gather(
        *(lab.read_async(nodes[number % 4], "train/cold.bin") for number in range(64))
    )

    assert all(body == data for body in bodies)
    assert origin.requests("cold.bin") == 5


async def test_a_client_that_hangs_up_midway_takes_nothing_from_the_others(lab: Lab, slow_origin):
    origin = slow_origin
    data = random.Random(7).randbytes(6 * MIB)
    (origin.folder / "cold.bin").write_bytes(data)
    node = lab.add("n0", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()

    _, writer = await asyncio.open_unix_connection(node.socket)
    writer.write(b"GET /team/images/train/cold.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    await writer.drain()
    other = asyncio.create_task(lab.read_async(node, "train/cold.bin"))
    await asyncio.to_thread(lab.until, lambda: origin.requests("cold.bin") >= 1)
    writer.close()

    assert await other == data
    assert origin.requests("cold.bin") == 2
