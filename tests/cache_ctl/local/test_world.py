"""A local cluster with real processes for agents: started, kept, followed, and never left over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from pathlib import Path

import pytest
import yaml

import tests.support.standin_agent as standin
from cache_ctl.api.kinds import (
    CACHE_PREWARM,
    CACHE_RUNTIME,
    CACHE_WORKER,
    CONFIG_MAP,
    DATASET,
    NODE,
    SECRET,
)
from cache_ctl.errors import InvalidInput
from cache_ctl.kube.cluster import ClusterError
from cache_ctl.local.state_dir import StateInUse
from cache_ctl.local.world import LocalWorld, NotInTime
from runtime.contract.token import Keys, check
from tests.support.local_world import quiet, reports
from tests.support.objects import SPACE, cloud_node, dataset, edge_node, pool, prewarm, runtime

STANDIN = (sys.executable, str(standin.__file__))
SECONDS = 30


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let the stand-in find the packages, as it is started by its path."""
    monkeypatch.setenv("PYTHONPATH", str(Path(standin.__file__).parents[2]))


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def objects():
    return [
        cloud_node(1),
        cloud_node(2),
        pool("stores", "basic"),
        edge_node("stores", 1),
        runtime(),
        dataset(),
    ]


def alive(pid):
    """Tell whether a process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


async def all_ready(world, count=3):
    def ready(world):
        bodies = world.objects.list(CACHE_WORKER)
        return len(bodies) == count and all(body.get("status", {}).get("ready") for body in bodies)

    await world.until(ready, seconds=SECONDS, what=f"{count} agents to be ready")


async def until_true(check, seconds=SECONDS):
    """Wait for a process or a file that no event tells of."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110  the kernel sets no Event of ours
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(state, command=STANDIN, count=3):
    async with LocalWorld(state, agent_command=command) as world:
        await world.apply(objects())
        await all_ready(world, count)
        yield world


async def test_every_selected_node_gets_an_agent_that_follows_its_plan(state):
    async with running(state) as world:
        reports = world.reports

        assert set(reports) == {"cloud-1", "cloud-2", "stores-1"}
        assert reports["cloud-1"].domain == "cn-hangzhou"
        assert reports["cloud-1"].mode == "Distributed"
        assert reports["stores-1"].mode == "LocalOnly"
        assert len({report.pid for report in reports.values()}) == 3


async def test_conditions_become_true_and_can_be_awaited(state):
    async with running(state) as world:
        await world.apply([prewarm(includeLocalOnly=True)])
        await world.until(
            lambda w: w.is_true(CACHE_PREWARM, "warm", SPACE, condition="Complete"),
            seconds=SECONDS,
            what="the prewarm to complete",
        )
        await world.until(
            lambda w: w.is_true(CACHE_RUNTIME, "edge", SPACE, condition="Ready"),
            seconds=SECONDS,
            what="the runtime to be ready",
        )

        assert world.is_true(DATASET, "images", SPACE, condition="Ready")


async def test_what_does_not_happen_is_said(state):
    async with running(state) as world:
        with pytest.raises(NotInTime, match=r"waited 0.05 s for rain, in vain"):
            await world.until(lambda _: False, seconds=0.05, what="rain")


async def test_only_members_of_a_domain_hold_its_peer_key(state):
    async with running(state) as world:
        keys = {
            node: json.loads((state / "nodes" / node / "keys.json").read_text())
            for node in world.nodes()
        }

        assert keys["cloud-1"] == keys["cloud-2"]
        assert keys["cloud-1"]["peer"]
        assert keys["stores-1"]["peer"] == ""


async def test_keys_are_for_their_user_alone(state):
    async with running(state):
        private = [*state.glob("nodes/*/keys.json"), *state.glob("keys/*")]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in private}

        assert len(private) == 4
        assert modes == {0o600}


def readable(token_file):
    """Return what the token in a file reads, by the keys of the agent on ``cloud-1``."""
    state = token_file.parents[1]
    keys = Keys.decode((state / "nodes/cloud-1/keys.json").read_text())
    return check(keys, token_file.read_text())


async def test_a_dataset_has_a_token_for_its_readers_as_long_as_it_is_served(state):
    async with running(state) as world:
        ours, other = world.token_file(f"{SPACE}/images"), world.token_file(f"{SPACE}/other")
        await world.apply([dataset("other")])
        await until_true(other.exists)

        assert (ours, other) == (
            state / f"tokens/{SPACE}_images",
            state / f"tokens/{SPACE}_other",
        )
        assert readable(ours) == ("reader", f"{SPACE}/images")
        assert readable(other) == ("reader", f"{SPACE}/other")
        assert stat.S_IMODE(ours.stat().st_mode) == 0o600
        assert stat.S_IMODE(ours.parent.stat().st_mode) == 0o700

        await world.delete(DATASET, "images", SPACE)
        await until_true(lambda: not ours.exists())
        assert other.exists()


async def test_a_dataset_that_may_not_use_the_runtime_has_no_token(state):
    async with running(state) as world:
        await world.apply([dataset("theirs", namespace="elsewhere"), dataset("later")])
        await until_true(world.token_file(f"{SPACE}/later").exists)

        assert not world.token_file("elsewhere/theirs").exists()


async def test_a_token_stays_the_same_from_run_to_run(state):
    async with running(state) as world:
        first = world.token_file(f"{SPACE}/images").read_text()
    async with running(state) as world:
        assert world.token_file(f"{SPACE}/images").read_text() == first


async def test_an_agent_that_dies_is_started_again(state):
    async with running(state) as world:
        first = world.reports["cloud-1"].pid
        os.kill(first, signal.SIGKILL)
        await world.until(
            lambda w: "cloud-1" in w.reports and w.reports["cloud-1"].pid != first,
            seconds=SECONDS,
            what="another agent on cloud-1",
        )

        assert alive(world.reports["cloud-1"].pid)
        assert not alive(first)


async def test_a_dead_agent_is_not_ready_in_its_worker(state):
    async with running(state) as world:
        first = world.reports["cloud-1"].pid
        os.kill(first, signal.SIGSTOP)
        os.kill(first, signal.SIGKILL)

        def down(world):
            body = world.objects.get(CACHE_WORKER, "edge.cloud-1", SPACE)
            return body is not None and not body["status"]["ready"]

        await world.until(down, seconds=SECONDS, what="cloud-1 to be reported as down")


async def test_an_agent_that_cannot_start_is_tried_with_growing_pauses(state, caplog):
    async with LocalWorld(state, agent_command=(*STANDIN, "--dies")) as world:
        await world.apply(objects())
        await until_true(lambda: caplog.text.count("agent of cloud-1 ended") >= 3)
        body = world.objects.get(CACHE_RUNTIME, "edge", SPACE)
        message = next(
            item["message"]
            for item in body["status"]["conditions"]
            if item["type"] == "AgentsAvailable"
        )

    waits = [line for line in caplog.messages if line.startswith("agent of cloud-1 ended")]
    assert "cloud-1 (the tier is on fire)" in message
    assert "(3)" in waits[0]
    assert "in 0.2 s" in waits[0]
    assert "in 0.4 s" in waits[1]
    assert "in 0.8 s" in waits[2]


async def test_closing_leaves_no_process_and_no_socket(state):
    async with running(state) as world:
        pids = [report.pid for report in world.reports.values()]
        sockets = [world.socket(node) for node in world.nodes()]
        assert all(path.is_socket() for path in sockets)

    assert not [pid for pid in pids if alive(pid)]
    assert not [path for path in sockets if path.exists()]


async def test_closing_kills_an_agent_that_does_not_leave(state, monkeypatch):
    monkeypatch.setattr("cache_ctl.local.agent_process.STOP_SECONDS", 0.3)
    async with running(state, (*STANDIN, "--stubborn")) as world:
        pids = [report.pid for report in world.reports.values()]

    assert not [pid for pid in pids if alive(pid)]


async def test_agents_end_when_the_block_fails(state):
    pids = []

    async def fail():
        async with running(state) as world:
            pids.extend(report.pid for report in world.reports.values())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail()

    assert pids
    assert not [pid for pid in pids if alive(pid)]


async def test_no_agent_outlives_a_killed_supervisor(state, tmp_path):
    script = tmp_path / "host.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from cache_ctl.local.world import LocalWorld\n"
        "from tests.cache_ctl.local.test_world import STANDIN, all_ready, objects\n"
        "async def main():\n"
        "    async with LocalWorld(Path(sys.argv[1]), agent_command=STANDIN) as world:\n"
        "        await world.apply(objects())\n"
        "        await all_ready(world)\n"
        "        print(*(r.pid for r in world.reports.values()), flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    host = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(state), stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    async with asyncio.timeout(SECONDS):
        pids = [int(text) for text in (await host.stdout.readline()).split()]
    assert len(pids) == 3
    assert all(map(alive, pids))

    host.kill()
    await host.wait()

    await until_true(lambda: not any(map(alive, pids)), 5)


async def test_a_node_that_leaves_loses_its_agent(state):
    async with running(state) as world:
        pid = world.reports["stores-1"].pid
        await world.delete(NODE, "stores-1")

        await until_true(lambda: not alive(pid) and "stores-1" not in world.reports)


async def test_a_node_that_turns_basic_loses_the_peer_key_and_keeps_its_process(state):
    async with running(state) as world:
        await world.apply([cloud_node(3)])
        await all_ready(world, 4)
        pid = world.reports["cloud-1"].pid
        basic = {"cachectl.dev/network-class": "basic"}
        await world.apply([cloud_node(1, annotations=basic)])

        def local(world):
            report = world.reports.get("cloud-1")
            return report is not None and report.mode == "LocalOnly"

        await world.until(local, seconds=SECONDS, what="cloud-1 to be LocalOnly")
        assert world.reports["cloud-1"].counters == {"peer_key_bytes": 0}
        assert world.reports["cloud-1"].pid == pid
        domain = json.loads((state / f"plans/{SPACE}.edge.cn-hangzhou.json").read_text())
        assert [member["name"] for member in domain["members"]] == ["cloud-2", "cloud-3"]


async def test_a_plan_that_someone_deletes_stops_no_agent(state):
    async with running(state) as world:
        pids = {node: report.pid for node, report in world.reports.items()}

        def plan_uid(world):
            body = world.objects.get(CONFIG_MAP, "edge.cn-hangzhou", SPACE)
            return body and body["metadata"]["uid"]

        first = plan_uid(world)
        old = world.reports["cloud-1"].plan_generation
        await world.delete(CONFIG_MAP, "edge.cn-hangzhou", SPACE)
        await world.until(
            lambda w: (
                plan_uid(w) not in (None, first)
                and all(w.reports[node].plan_generation > old for node in ("cloud-1", "cloud-2"))
            ),
            seconds=SECONDS,
            what="both agents to follow another plan in its place",
        )

        assert {node: report.pid for node, report in world.reports.items()} == pids


async def test_secrets_reach_only_nodes_whose_plan_names_them(state):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "oss", "namespace": SPACE},
        "stringData": {"key": "open sesame"},
    }
    stranger = {**secret, "metadata": {"name": "stranger", "namespace": SPACE}}
    mounts = [{"name": "a", "source": "oss://b/c", "secretRef": {"name": "oss"}}]
    async with LocalWorld(state, agent_command=STANDIN) as world:
        await world.apply([*objects(), dataset(mounts=mounts), secret, stranger])
        await all_ready(world)
        folder = state / "nodes/cloud-1/secrets"
        path = folder / f"{SPACE}.oss" / "key"
        await until_true(path.exists)
        first = path.read_text()
        mode = stat.S_IMODE(path.stat().st_mode)
        await world.apply([{**secret, "stringData": {"key": "abracadabra"}}])
        await until_true(lambda: path.read_text() == "abracadabra")
        names = [item.name for item in folder.iterdir()]
        await world.delete(SECRET, "oss", SPACE)
        await until_true(lambda: not path.exists())

    assert (first, mode, names) == ("open sesame", 0o600, [f"{SPACE}.oss"])
    text = "".join(file.read_text() for file in state.rglob("*") if file.is_file())
    assert "sesame" not in text
    assert "abracadabra" not in text


async def test_the_record_holds_the_objects_and_their_status(state):
    async with running(state):
        pass

    bodies = list(yaml.safe_load_all((state / "objects.yaml").read_text()))
    kinds = [body["kind"] for body in bodies]
    assert kinds.count("Node") == 3
    assert kinds.count("CacheWorker") == 3
    assert "Secret" not in kinds
    status = next(body for body in bodies if body["kind"] == "CacheRuntime")["status"]
    assert status["planGeneration"] >= 1


async def test_a_second_cluster_in_the_same_directory_is_refused(state):
    second = LocalWorld(state, agent_command=STANDIN)
    async with LocalWorld(state, agent_command=STANDIN):
        with pytest.raises(StateInUse, match="another process runs a cluster in"):
            await second.__aenter__()


async def test_a_second_run_goes_on_where_the_first_one_ended(state):
    async with running(state) as world:
        first = world.reports["cloud-1"]
        key = (state / f"keys/{SPACE}.edge").read_text()
    async with running(state) as world:
        second = world.reports["cloud-1"]

    assert second.uid == first.uid
    assert second.plan_generation >= first.plan_generation
    assert (state / f"keys/{SPACE}.edge").read_text() == key


async def test_socket_paths_that_are_too_long_lie_elsewhere(tmp_path):
    state = tmp_path / ("long" * 25)
    async with running(state) as world:
        path = world.socket("cloud-1")
        assert len(os.fsencode(path)) < 108
        assert path.is_socket()

    assert not path.parent.exists()


async def test_objects_may_come_from_another_cluster(state):
    dumped = cloud_node(1)
    dumped["metadata"] |= {
        "uid": "7d0e",
        "resourceVersion": "991",
        "managedFields": [{"manager": "kubelet"}],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Machine", "name": "m", "uid": "77"}],
    }
    async with LocalWorld(state, agent_command=STANDIN) as world:
        await world.apply([dumped])
        await world.until(lambda w: w.nodes() == ["cloud-1"], seconds=SECONDS, what="the node")


async def test_objects_of_no_known_kind_are_refused(state):
    async with LocalWorld(state, agent_command=STANDIN) as world:
        with pytest.raises(InvalidInput, match="Deployment x is of a kind"):
            await world.apply(
                [{"apiVersion": "apps/v1", "kind": "Deployment"} | {"metadata": {"name": "x"}}]
            )
        with pytest.raises(ClusterError):
            await world.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}])


async def test_a_steady_world_writes_nothing(state):
    async with running(state) as world:
        await world.until(
            lambda w: w.is_true(CACHE_RUNTIME, "edge", SPACE, condition="Ready"),
            seconds=SECONDS,
            what="the runtime to be ready",
        )
        await quiet(world)
        before = world.cluster.writes
        await reports(world, 12)

        assert world.cluster.writes == before
