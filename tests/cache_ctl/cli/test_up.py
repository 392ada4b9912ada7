"""``cachectl up`` and the commands beside it, over real agents and an origin that counts."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
import yaml

from tests.support.live_world import make_files
from tests.support.local_cluster import REF, SPACE, Cluster, detached, foreground
from tests.support.origin import running_origin
from tests.support.processes import ends_of_processes, processes_of

NODE_KEYS = {
    "name",
    "networkClass",
    "domain",
    "mode",
    "reason",
    "pid",
    "address",
    "port",
    "socket",
    "ready",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("source")
    return root, make_files(root)


@pytest.fixture(scope="module")
def origin(files):
    with running_origin(files[0]) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory, origin):
    """A warm cluster for tests that only look at it."""
    with detached(Cluster(tmp_path_factory.mktemp("shared"), origin.url)) as cluster:
        cluster.wait_warm()
        yield cluster


def sent(origin):
    return sum(client["bytes"] for client in origin.sent().values())


def wait_quota(cluster, worker, quota):
    """Wait until an agent reports this quota of its tier."""
    for _ in range(300):
        body = json.loads(cluster.ok("get", "cworker", worker, "-n", SPACE, "-o", "json"))
        if body["status"]["tiers"][0]["quota"] == quota:
            return
    pytest.fail(f"{worker} reports {body['status']['tiers']}")


def test_status_tells_of_every_agent(shared):
    found = shared.status()

    assert found.keys() == {"nodes", "datasets", "prewarms"}
    rows = {row["name"]: row for row in found["nodes"]}
    assert all(row.keys() == NODE_KEYS for row in rows.values())
    assert {name: (row["networkClass"], row["mode"]) for name, row in rows.items()} == {
        "cloud-1": ("Cloud", "Distributed"),
        "cloud-2": ("Cloud", "Distributed"),
        "plant-1": ("Dedicated", "Distributed"),
        "plant-2": ("Dedicated", "Distributed"),
        "shop-1": ("Basic", "LocalOnly"),
    }
    assert all(row["ready"] for row in rows.values())
    assert rows["plant-1"]["domain"] == "pool:plant"
    assert isinstance(rows["plant-1"]["port"], int)
    assert rows["shop-1"]["port"] is None
    assert rows["shop-1"]["reason"] == "AckBasicPool"
    agents = {pid for pid, line in processes_of(shared.state).items() if "-m runtime" in line}
    assert {row["pid"] for row in rows.values()} == agents
    assert all(Path(row["socket"]).is_socket() for row in rows.values())


def test_status_tells_of_datasets_and_prewarms(shared, files):
    size = sum(map(len, files[1].values()))
    found = shared.wait(lambda found: found["datasets"][0]["cachedPercent"] == 100)
    (data,) = found["datasets"]
    (warm,) = found["prewarms"]

    assert (data["ref"], data["ready"], data["reason"]) == (REF, True, "DatasetReady")
    assert (data["files"], data["bytes"]) == (len(files[1]), size)
    assert (warm["dataset"], warm["complete"], warm["failed"]) == (REF, True, False)
    assert warm["bytesDone"] == warm["bytesTotal"] == 3 * size


def test_the_table_says_how_to_read(shared):
    table = shared.ok("status")

    assert "its socket only" in table
    assert f"env {REF} --node cloud-1)" in table


@pytest.mark.parametrize("node", ["cloud-1", "shop-1"])
def test_what_env_prints_is_enough_to_read(shared, files, node):
    assert shared.read("train/1.bin", node) == files[1]["1.bin"]


def test_get_lists_and_shows_objects(shared):
    line = shared.ok("get", "dset", "-n", SPACE).splitlines()[1].split()
    assert line[:3] == ["images", "True", "4"]
    assert shared.ok("get", "Dataset", "-A").split()[0] == "NAMESPACE"
    assert shared.ok("get", "datasets.cachectl.dev", "-n", SPACE, "-o", "name") == (
        "dataset.cachectl.dev/images\n"
    )
    listed = yaml.safe_load(shared.ok("get", "cworker", "-n", SPACE, "-o", "yaml"))
    assert (listed["kind"], len(listed["items"])) == ("List", 5)
    shown = yaml.safe_load(shared.ok("get", "crt", "edge", "-n", SPACE, "-o", "json"))
    assert shown["spec"]["chunkSize"] == "64Ki"
    assert "MESSAGE" in shared.ok("get", "crt", "-n", SPACE, "-o", "wide")
    empty = shared.run("get", "prewarm")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "there are no cacheprewarms in the namespace default" in empty.stderr


def test_describe_explains(shared):
    text = shared.ok("describe", "dset", "images", "-n", SPACE)

    assert text.startswith(f"Dataset {REF}, ")
    assert "files can be read on 5 of 5 nodes" in text
    assert "pool:plant" in text
    assert "AllBytesCached" in text


def test_secrets_are_kept_but_never_shown(shared):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "keys",
            "namespace": SPACE,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "cGxhaW4td29yZA"},
        },
        "stringData": {"secret": "plain-word"},
    }
    shared.ok("apply", "-f", "-", stdin=yaml.safe_dump(secret))

    for output in ("json", "yaml", "wide"):
        text = shared.ok("get", "secret", "keys", "-n", SPACE, "-o", output)
        assert "plain-word" not in text
        assert "cGxhaW4td29yZA" not in text
    assert "cGxhaW4td29yZA" not in shared.ok("describe", "secret", "keys", "-n", SPACE)
    again = shared.ok("apply", "-f", "-", stdin=yaml.safe_dump(secret))
    assert again == "secret/keys unchanged\n"
    assert shared.ok("delete", "secret", "keys", "-n", SPACE) == 'secret "keys" deleted\n'


def test_a_secret_writes_no_file_elsewhere(shared, tmp_path):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": SPACE},
        "stringData": {f"{tmp_path}/there": "planted"},
    }
    said = shared.refused("apply", "-f", "-", stdin=yaml.safe_dump(secret))
    assert "use letters, digits, hyphens, underscores and dots" in said


def test_the_control_socket_is_for_its_own_user_alone(shared):
    assert (shared.state / "control.sock").stat().st_mode & 0o777 == 0o600


def test_a_second_up_is_told_so(shared):
    for more in ((), ("--detach",)):
        said = shared.refused("up", "-f", shared.file, *more)
        assert said.startswith(f"another process runs a cluster in {shared.state}; stop it")
    assert all(row["ready"] for row in shared.nodes().values())


def test_what_the_running_cluster_refuses(shared):
    worker = shared.ok("get", "cworker", "edge.shop-1", "-n", SPACE, "-o", "yaml")
    assert "are written by the controller" in shared.refused("apply", "-f", "-", stdin=worker)
    missing = ("get", "describe", "delete")
    for command in missing:
        said = shared.refused(command, "dset", "nothing")
        assert said == "there is no dataset.cachectl.dev nothing in the namespace default"
    assert "--node" in shared.refused("env", REF)
    assert "cloud-1" in shared.refused("env", REF, "--node", "cloud-9")
    assert f"there are {REF}" in shared.refused("env", "x/y", "--node", "cloud-1")


def test_an_edited_file_changes_the_running_cluster(tmp_path, files, origin):
    more = tmp_path / "more"
    more.mkdir()
    (more / "new.bin").write_bytes(b"new" * 1000)
    with detached(Cluster(tmp_path, origin.url)) as cluster:
        cluster.wait_warm()
        before = cluster.nodes()
        for name in before:  # each has a copy of its own then, as nobody will share with plant-2
            cluster.read("train/2.bin", name)
        fetched = sent(origin)

        node = cluster.objects["Node", "plant-2"]
        node["metadata"]["annotations"] = {"cachectl.dev/network-class": "basic"}
        spec = cluster.objects["CacheRuntime", "edge"]["spec"]
        spec["tiers"][0]["quota"] = "32Mi"
        spec["bandwidth"] = {"perBasicNode": "80Mbit"}
        mounts = cluster.objects["Dataset", "images"]["spec"]["mounts"]
        mounts.append({"name": "more", "source": more.as_uri()})
        outcomes = dict(line.split() for line in cluster.apply())
        cluster.wait(
            lambda found: (
                found["datasets"][0]["files"] == len(files[1]) + 1
                and {row["mode"] for row in found["nodes"] if row["name"].startswith("plant")}
                == {"LocalOnly"}
                and all(row["ready"] for row in found["nodes"])
            )
        )
        after = cluster.nodes()
        wait_quota(cluster, "edge.shop-1", 32 << 20)

        assert outcomes["node/plant-2"] == "configured"
        assert outcomes["node/plant-1"] == "unchanged"
        assert outcomes["dataset.cachectl.dev/images"] == "configured"
        assert after["plant-2"]["networkClass"] == "Basic"
        assert {name: row["pid"] for name, row in after.items()} == {
            name: row["pid"] for name, row in before.items()
        }
        for name in after:
            assert cluster.read("train/2.bin", name) == files[1]["2.bin"]
        assert cluster.read("more/new.bin", "plant-2") == b"new" * 1000
        assert after["plant-2"]["port"] is None
        assert sent(origin) == fetched


def test_a_second_up_finds_what_was_cached(tmp_path, files, origin):
    cluster = Cluster(tmp_path, origin.url)
    with detached(cluster):
        cluster.wait_warm()
        assert cluster.ok("down") == f"the cluster in {cluster.state} has stopped\n"
    assert processes_of(cluster.state) == {}
    assert cluster.sockets() == []
    fetched = sent(origin)

    with detached(cluster):
        cluster.wait_warm()
        for node in ("cloud-2", "shop-1"):
            assert cluster.read("train/3.bin", node) == files[1]["3.bin"]
        assert sent(origin) == fetched
    assert cluster.ok("down") == f"no cluster runs in {cluster.state}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(tmp_path, files, number):
    cluster = Cluster(tmp_path, files[0].as_uri())
    with foreground(cluster) as child:
        child.send_signal(number)
        output = child.stdout.read()
        child.wait(60)

    assert child.returncode == 0
    assert "Traceback" not in output
    assert processes_of(cluster.state) == {}
    assert cluster.sockets() == []


async def test_after_a_kill_another_up_starts_over_what_lies_there(tmp_path, files):
    cluster = Cluster(tmp_path, files[0].as_uri())
    with foreground(cluster) as child:
        child.kill()
        child.wait(60)
    async with asyncio.timeout(60):
        await ends_of_processes(cluster.state)
    assert "no cluster runs in" in cluster.refused("status")

    with detached(cluster):
        assert all(row["ready"] for row in cluster.nodes().values())
    assert cluster.sockets() == []


def test_a_state_directory_may_lie_deep(tmp_path, files):
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    cluster = Cluster(deep, files[0].as_uri())
    with detached(cluster):
        assert cluster.read("train/0.bin", "shop-1") == files[1]["0.bin"]
    assert cluster.sockets() == []


def test_delete_takes_a_dataset_and_then_the_agents(tmp_path, files):
    cluster = Cluster(tmp_path, files[0].as_uri())
    with detached(cluster):
        cluster.ok("delete", "dset", "images", "-n", SPACE)
        assert cluster.status()["datasets"] == []
        assert "there is no Dataset" in cluster.refused("env", REF, "--node", "cloud-1")
        cluster.ok("delete", "crt", "edge", "-n", SPACE)
        found = cluster.wait(lambda found: all(row["pid"] is None for row in found["nodes"]))
        assert {row["reason"] for row in found["nodes"]} == {"NoAgent"}
        said = cluster.refused("delete", "-f", cluster.file)
        assert "there is no dataset.cachectl.dev images" in said
        assert cluster.status()["nodes"] == []
