"""``cachectl explain``, as a process, over a state directory with real plans and catalogs."""

from __future__ import annotations

import json

import pytest
import yaml

from cache_ctl.domain.planning import plan
from runtime.catalog.build import build
from runtime.catalog.records import Entry
from runtime.catalog.shelf import Head
from runtime.contract.codec import dumps
from runtime.contract.ownership import Ownership
from runtime.contract.plan import DatasetPlan, Endpoints, MountPlan
from runtime.contract.units import Unit, object_key
from tests.support.clusters import fleet, node, planning
from tests.support.command import FLEET, cachectl

MIB = 1 << 20
OBJECTS = [*fleet({"p": 4}, cloud=3, basic=2), node("stray")]
MOUNT = MountPlan(
    "train",
    "https://user:secret@origin.example/train?token=secret",
    Endpoints(basic="https://public.example"),
    options={"key": "secret"},
)
DATASET = DatasetPlan("ml", "images", "uid-d", (MOUNT,))
LARGE = Entry("train/large.bin", 10 * MIB, "v1")
SMALL = [Entry(f"train/small/{index:03}.jpg", 10_000, "v1") for index in range(20)]
EMPTY = Entry("train/empty", 0, "v1")


@pytest.fixture(scope="module")
def plans():
    return plan(*planning(OBJECTS, datasets=(DATASET,))).plans


@pytest.fixture(scope="module")
def state(tmp_path_factory, plans):
    root = tmp_path_factory.mktemp("state")
    (root / "objects.yaml").write_text(yaml.safe_dump_all(OBJECTS))
    (root / "plans").mkdir()
    for name, made in plans.items():
        (root / "plans" / f"{name}.json").write_text(dumps(made))
    for name in ("p-1", "cloud-0", "shop-0"):
        folder = root / "nodes" / name / "catalogs" / "ml_images"
        folder.mkdir(parents=True)
        meta = build(
            folder / "new",
            dataset="ml/images",
            entries=[LARGE, EMPTY, *SMALL],
            chunk_size=4 * MIB,
            pack_below=MIB,
        )
        (folder / "new").rename(folder / f"{meta.snapshot}.sqlite")
        (folder / "current").write_text(Head(1, meta.snapshot).encode())
    return root


def explain(state, *arguments):
    done = cachectl("explain", *arguments, "--state-dir", state, "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def refused(state, *arguments):
    done = cachectl("explain", *arguments, CACHECTL_STATE_DIR=str(state))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_node_is_explained_with_its_evidence_and_all_rules():
    text = cachectl("explain", "node", "line-1", "-f", FLEET).stdout

    assert "line-1 is Dedicated" in text
    assert "Distributed" in text
    assert "NodePool np-line annotation alibabacloud.com/interconnection-mode=private" in text
    assert "->  ACK edge node           decided Dedicated" in text
    assert "would say Basic" in text


def test_a_node_without_peers_is_explained_with_its_reason(state):
    found = explain(state, "node", "stray")

    assert (found["mode"], found["neighbours"]) == ("LocalOnly", [])
    assert found["modeMessage"].startswith("NoMarker: ")
    assert [item["rule"] for item in found["considered"] if item["fired"]] == [
        "nodes without a marker"
    ]


def test_an_unknown_node_is_one_sentence(state):
    assert "there is no Node named nope; there are cloud-0" in refused(state, "node", "nope")


def test_a_dataset_is_explained_for_every_plan(state):
    found = explain(state, "dataset", "ml/images")
    rows = {row["plan"].partition(".")[2]: row for row in found["plans"]}

    assert set(rows) == {"cloud", "pool.p", "local-basic"}
    assert sum(rows["pool.p"]["shares"].values()) == pytest.approx(1, abs=0.001)
    assert rows["pool.p"]["snapshotTakenBy"] in rows["pool.p"]["shares"]
    assert rows["pool.p"]["origins"] == ["https://origin.example/train"]
    assert rows["local-basic"]["origins"] == ["https://public.example"]


def test_no_secret_is_ever_printed(state):
    for arguments in (("dataset", "images"), ("chunk", "images", LARGE.path, "0", "--from", "p-0")):
        done = cachectl("explain", *arguments, "--state-dir", state)

        assert done.returncode == 0
        assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(("offset", "index"), [(0, 0), (4 * MIB, 1), (10 * MIB - 1, 2)])
def test_a_chunk_of_a_large_object_has_the_owner_that_agents_compute(state, plans, offset, index):
    found = explain(state, "chunk", "ml/images", LARGE.path, str(offset))
    unit = str(Unit(object_key("ml/images", LARGE.path, LARGE.size, "v1", 4 * MIB), index))

    assert [row["domain"] for row in found["domains"]] == ["cloud", "pool:p"]
    for row, name in zip(found["domains"], ("cloud", "pool.p"), strict=True):
        members = plans[f"edge-cache.{name}"].members
        ranking = Ownership([(m.uid, m.weight) for m in members]).of(unit)
        assert row["chunk"]["unit"] == unit
        assert [row["owner"], *row["standbys"]] == [uid.removeprefix("uid-") for uid in ranking]
    assert found["read"] is None


def test_small_files_of_one_group_have_one_owner(state):
    rows = [explain(state, "chunk", "ml/images", entry.path, "5") for entry in SMALL[:2]]

    assert rows[0]["domains"][0]["chunk"]["packed"]
    assert rows[0]["domains"][0]["chunk"]["files"] == len(SMALL)
    assert rows[0]["domains"] == rows[1]["domains"]


def test_the_path_of_a_read_in_a_domain(state):
    found = explain(state, "chunk", "ml/images", LARGE.path, "0", "--from", "p-0")
    owner = found["domains"][1]["owner"]
    sources = [(step["source"], step["node"]) for step in found["read"]["steps"]]

    assert sources[0] == ("local", "p-0")
    assert sources[-1] == ("origin", "")
    assert owner == "p-0" or ("owner", owner) in sources


@pytest.mark.parametrize("reader", ["shop-0", "stray"])
def test_the_path_of_a_read_on_a_basic_node_touches_no_peer(state, reader):
    found = explain(state, "chunk", "ml/images", LARGE.path, "0", "--from", reader)
    steps = found["read"]["steps"]

    assert [(step["source"], step["node"]) for step in steps] == [("local", reader), ("origin", "")]
    assert "https://public.example" in steps[1]["why"]


def test_the_text_of_a_chunk_names_owner_and_steps(state):
    arguments = ("chunk", "images", LARGE.path, "0", "--from", "p-0", "--state-dir", state)

    text = cachectl("explain", *arguments).stdout

    assert "number 1 of 3" in text
    assert "owner " in text
    assert "1. local: " in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dataset", "ml/none"), "no plan has a Dataset ml/none; the plans have ml/images"),
        (("chunk", "ml/images", "train/none", "0"), "ml/images has no file train/none in snapshot"),
        (("chunk", "ml/images", LARGE.path, str(10 * MIB)),
         "OFFSET is 10485760, and train/large.bin has 10485760 bytes"),
        (("chunk", "ml/images", EMPTY.path, "0"), "train/empty is empty"),
        (("chunk", "ml/images", LARGE.path, "0", "--from", "nope"), "no Node named nope"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_one_sentence(state, arguments, message):
    assert message in refused(state, *arguments)


def test_an_empty_state_directory_is_one_sentence(tmp_path):
    assert "has no plans; start a local cluster first" in refused(tmp_path, "dataset", "x")


def test_a_damaged_plan_is_one_sentence(tmp_path):
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "x.json").write_text("{")

    assert "is not a plan" in refused(tmp_path, "dataset", "x")


def test_without_files_and_state_the_call_is_not_understood(tmp_path):
    assert cachectl("explain", "node", "n", "--state-dir", tmp_path).returncode == 2
