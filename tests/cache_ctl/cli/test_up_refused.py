"""What keeps a local cluster from starting: one sentence each, and nothing is left behind."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from cache_ctl.local.state_dir import StateDir
from tests.support.command import cachectl
from tests.support.local_cluster import REF, Cluster, detached
from tests.support.processes import processes_of

HEAD = "apiVersion: cachectl.dev/v1alpha1\nkind: CacheRuntime\nmetadata: {name: edge}\n"
TIER = "  - {medium: SSD, path: /tmp/x, quota: "

WRONG = {
    "malformed": (
        "apiVersion: v1\nkind: Node\nmetadata: {name: a\n",
        ":4: this is not valid YAML",
    ),
    "unknown field": (
        f"{HEAD}spec:\n  tires: []\n  tiers:\n{TIER}1Gi}}\n",
        ":5: spec.tires is not a known field; did you mean tiers?",
    ),
    "impossible quantity": (
        f"{HEAD}spec:\n  tiers:\n{TIER}lots}}\n",
        ":6: spec.tiers[0].quota is 'lots'; write an amount of bytes like",
    ),
    "unknown kind": (
        "apiVersion: cachectl.dev/v1alpha1\nkind: Datasets\nmetadata: {name: a}\n",
        ":2: Datasets (cachectl.dev/v1alpha1) is not a kind that is known here; did you mean",
    ),
    "a name that climbs": (
        "apiVersion: v1\nkind: Node\nmetadata: {name: ../../a}\n",
        ":3: metadata.name is '../../a'; use lower-case letters",
    ),
    "nothing": ("---\n", "there are no objects in it"),
}


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "source").mkdir()
    return Cluster(tmp_path, (tmp_path / "source").as_uri())


@pytest.mark.parametrize("more", [(), ("--detach",)], ids=["foreground", "detached"])
@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_starts_nothing(cluster, name, more):
    text, sentence = WRONG[name]
    cluster.file.write_text(text)

    said = cluster.refused("up", "-f", cluster.file, *more)

    assert said.startswith(str(cluster.file))
    assert sentence in said
    assert not cluster.state.exists()


def test_standard_input_is_called_that(cluster):
    said = cluster.refused("up", "-f", "-", stdin=WRONG["malformed"][0])
    assert said.startswith("standard input:4: ")


def test_files_that_are_not_there(cluster):
    missing = cluster.folder / "missing.yaml"
    assert cluster.refused("up", "-f", missing) == (
        f"{missing} cannot be read: No such file or directory"
    )
    empty = cluster.folder / "source"
    assert cluster.refused("up", "-f", empty).startswith(f"{empty} has no files that end with")
    assert cachectl("up").returncode == 2


@pytest.mark.parametrize("more", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_state_directory_that_cannot_be_made(cluster, more):
    cluster.state = cluster.file / "below"

    said = cluster.refused("up", "-f", cluster.file, *more)

    assert said == f"state directory {cluster.state}: Not a directory; choose another one"


COMMANDS = [
    ("status",),
    ("get", "nodes"),
    ("describe", "node", "a"),
    ("delete", "node", "a"),
    ("env", "a/b"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_while_nothing_runs(cluster, command):
    assert cluster.refused(*command) == (
        f"no cluster runs in {cluster.state}; start one with cachectl up -f FILE, or name another "
        "state directory with --state-dir"
    )


def test_apply_while_nothing_runs(cluster):
    assert "no cluster runs in" in cluster.refused("apply", "-f", cluster.file)


def test_a_state_directory_that_a_demo_uses(cluster):
    with StateDir(cluster.state).locked():
        assert "takes no commands" in cluster.refused("down")
        said = cluster.refused("up", "-f", cluster.file, "--detach")
    assert said.startswith(f"another process runs a cluster in {cluster.state}; stop it")


@pytest.mark.parametrize("more", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_port_that_is_in_use(cluster, more):
    address = cluster.objects["Node", "plant-1"]["status"]["addresses"][0]["address"]
    with socket.socket() as taken:
        taken.bind((address, 0))
        taken.listen()
        port = taken.getsockname()[1]
        cluster.objects["CacheRuntime", "edge"]["spec"]["port"] = port
        cluster.write()

        said = cluster.refused("up", "-f", cluster.file, *more)

    assert said.startswith(
        "the agent of plant-1 cannot do its work: "
        f"cannot listen on {address} port {port}: Address already in use; "
    )
    assert processes_of(cluster.state) == {}
    assert cluster.sockets() == []


def test_a_dataset_that_cannot_be_read_is_an_error_and_the_cluster_runs(cluster):
    """Every member says what keeps the one that takes the snapshot from it."""
    said = cluster.refused("up", "-f", cluster.file, "--detach")
    try:
        rows = cluster.nodes()
        again = cluster.refused("up", "-f", cluster.file, "--detach")
    finally:
        cluster.ok("down")

    assert said.startswith(f"Dataset {REF} is not ready: 5 of 5 agents report an error; ")
    assert f"no object matches at {(cluster.folder / 'source').as_uri()}" in said
    assert all(row["ready"] for row in rows.values())
    assert again.startswith("another process runs a cluster")


def test_a_tier_that_cannot_be_used_is_an_error_and_the_cluster_runs(cluster):
    (cluster.folder / "source" / "a.bin").write_bytes(b"bytes")
    tier = cluster.folder / "tier"
    tier.write_text("in the way")

    said = cluster.refused("up", "-f", cluster.file, "--detach")
    try:
        table = cluster.ok("status")
        data = cluster.read("train/a.bin", "shop-1")
    finally:
        cluster.ok("down")

    assert f"{tier}/cloud-1: Not a directory; " in said
    assert f"warning: {said}" in table
    assert data == b"bytes"


def test_addresses_of_other_machines_become_ones_of_this(cluster):
    """As in what kubectl prints of a real cluster; nothing is dialled there."""
    (cluster.folder / "source" / "a.bin").write_bytes(b"bytes")
    for number, name in enumerate(("cloud-1", "cloud-2", "shop-1")):
        addresses = cluster.objects["Node", name]["status"]["addresses"]
        addresses[0]["address"] = f"192.0.2.{200 + number}"
    cluster.write()

    with detached(cluster):
        rows = cluster.nodes()
        again = cluster.apply()
        data = cluster.read("train/a.bin", "cloud-2")

    for name in ("cloud-1", "cloud-2", "shop-1"):
        assert ip_address(rows[name]["address"]).is_loopback
    assert rows["cloud-1"]["address"] != rows["cloud-2"]["address"]
    assert rows["cloud-1"]["mode"] == "Distributed"
    assert rows["shop-1"]["port"] is None
    assert all(line.endswith("unchanged") for line in again)
    assert data == b"bytes"
    assert (
        "addresses on this machine stand for those of cloud-1, "
        in (cluster.state / "up.log").read_text()
    )


def test_an_agent_that_ends_at_its_start(cluster):
    """Its own last words are the reason."""
    folder = cluster.state / "nodes" / "shop-1"
    folder.mkdir(parents=True)
    (folder / "catalogs").write_text("in the way")

    said = cluster.refused("up", "-f", cluster.file, "--detach")

    assert said.startswith("the agent of shop-1 does not start: ")
    assert "catalogs" in said
    assert processes_of(cluster.state) == {}
