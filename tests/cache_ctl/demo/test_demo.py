"""The demo itself: real agents, a real origin, every byte checked, and nothing left behind."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import ends_of_processes, processes_of

NODES = 11
DISTRIBUTED = {"cn-hangzhou", "pool:factory-east", "pool:factory-west"}


async def demo(state: Path, *options: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "cache_ctl", "demo", "--state-dir", str(state), *options)
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)


async def cachectl(*arguments: str) -> str:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cache_ctl", *arguments, stdout=pipe, stderr=pipe
    )
    out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    return out.decode()


async def agents_started(child: asyncio.subprocess.Process) -> None:
    """Read the demo's output up to the line that says so."""
    assert child.stdout is not None
    async for line in child.stdout:
        if b"agents have started" in line:
            return
    pytest.fail("the demo ended before its agents had started")


async def test_the_main_job(tmp_path):
    child = await demo(tmp_path, "-o", "json")
    out, err = await child.communicate()
    assert child.returncode == 0, (out + err).decode()
    document = json.loads(out)
    size = document["bytes"]
    assert (document["ok"], document["problems"]) == (True, [])
    assert (document["wrongBytes"], document["forbiddenConnections"]) == (0, 0)
    rows = document["domains"]
    assert sum(row["nodes"] for row in rows) == NODES
    assert sum(row["readBytes"] for row in rows) == NODES * document["epochs"] * size
    shared = {row["name"]: row for row in rows if row["mode"] == "Distributed"}
    alone = [row for row in rows if row["mode"] == "LocalOnly"]
    assert shared.keys() == DISTRIBUTED
    for row in shared.values():
        assert row["originBytes"] == size
        assert row["peerBytes"] >= (row["nodes"] - 1) * size
    assert {row["reason"] for row in alone} == {"AckBasicPool", "NoMarker"}
    for row in alone:
        assert row["originBytes"] >= row["nodes"] * size
        assert row["peerBytes"] == 0
    assert processes_of(tmp_path) == {}

    # What it names as next commands works on what it left.
    state = ("--state-dir", str(tmp_path))
    assert "Basic" in await cachectl("explain", "node", "store-1", *state)
    chunk = ("training/images", "train/shards/part-00.tar", "0", "--from", "factory-east-1")
    assert "owner factory-east" in await cachectl("explain", "chunk", *chunk, *state)
    assert not (tmp_path / "tiers").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_an_interrupted_demo_leaves_no_process(tmp_path, number):
    child = await demo(tmp_path)
    await agents_started(child)
    others = processes_of(tmp_path).keys() - {child.pid}
    assert len(others) > NODES
    child.send_signal(number)
    _, err = await child.communicate()
    assert child.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert b"Traceback" not in err
    async with asyncio.timeout(5):
        await ends_of_processes(tmp_path)


async def test_a_second_demo_in_the_same_folder_is_told_so(tmp_path):
    first = await demo(tmp_path)
    await agents_started(first)
    second = await demo(tmp_path)
    _, err = await second.communicate()
    first.send_signal(signal.SIGINT)
    await first.communicate()
    assert second.returncode == 1
    assert err.decode().startswith("cachectl: another process runs a cluster in")


async def test_a_folder_that_is_in_use_for_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").touch()
    child = await demo(tmp_path)
    _, err = await child.communicate()
    assert child.returncode == 1
    assert err.decode().count("\n") == 1
    assert "choose another folder with --state-dir" in err.decode()
