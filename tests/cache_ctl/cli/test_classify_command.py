"""``cachectl classify``, as a process."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.support.clusters import CLASS, fleet, node
from tests.support.command import FLEET, cachectl

EXPECTED = [
    ("cloud-1", "Cloud", "cn-hangzhou", "AckCloudNode"),
    ("cloud-2", "Cloud", "cn-hangzhou", "AckCloudNode"),
    ("line-1", "Dedicated", "pool:np-line", "AckDedicatedPool"),
    ("line-2", "Dedicated", "pool:np-line", "AckDedicatedPool"),
    ("shop-1", "Basic", None, "AckBasicPool"),
    ("stray-1", "Basic", None, "NoMarker"),
]


def short(rows):
    return [(row["node"], row["networkClass"], row["domain"], row["reason"]) for row in rows]


def test_json_has_one_row_a_node():
    rows = json.loads(cachectl("classify", "-f", FLEET, "-o", "json").stdout)

    assert short(rows) == EXPECTED
    assert list(rows[2]) == ["node", "networkClass", "domain", "reason", "message", "evidence"]
    assert rows[2]["evidence"] == [
        "node label alibabacloud.com/is-edge-worker=true",
        "NodePool np-line annotation alibabacloud.com/interconnection-mode=private",
    ]


def test_yaml_says_the_same():
    as_yaml = yaml.safe_load(cachectl("classify", "-f", FLEET, "-o", "yaml").stdout)
    as_json = json.loads(cachectl("classify", "-f", FLEET, "-o", "json").stdout)

    assert as_yaml == as_json


def test_the_table_has_whole_lines_in_a_pipe():
    lines = cachectl("classify", "-f", FLEET).stdout.splitlines()

    assert lines[0].split() == ["NODE", "CLASS", "DOMAIN", "REASON", "MESSAGE"]
    assert [line.split()[0] for line in lines[1:]] == [row[0] for row in EXPECTED]
    assert "…" not in "".join(lines)


def test_standard_input_and_several_files_are_joined(tmp_path):
    pools, nodes = [], []
    for item in fleet({"p": 2}):
        (nodes if item["kind"] == "Node" else pools).append(item)
    (tmp_path / "pools.json").write_text(json.dumps(pools[0], indent="\t"))
    typed_list = {"apiVersion": "v1", "kind": "NodeList", "items": [bare(item) for item in nodes]}

    done = cachectl(
        "classify", "-f", tmp_path / "pools.json", "-f", "-", "-o", "json",
        stdin=json.dumps(typed_list),
    )  # fmt: skip

    assert {row["domain"] for row in json.loads(done.stdout)} == {"pool:p"}


def bare(item):
    return {key: value for key, value in item.items() if key not in ("kind", "apiVersion")}


def test_the_runtimes_option_for_islands_counts():
    objects = [
        {
            "apiVersion": "cachectl.dev/v1alpha1", "kind": "CacheRuntime",
            "metadata": {"name": name, "namespace": "x"},
            "spec": {"topology": {"allowConnectedIslands": allowed}},
        }
        for name, allowed in (("strict", False), ("loose", True))
    ]  # fmt: skip
    objects.append(node("n", {}, {CLASS: "basic", "cachectl.dev/network-domain": "lan"}))
    text = yaml.safe_dump_all(objects)

    unclear = cachectl("classify", "-f", "-", stdin=text)
    chosen = cachectl("classify", "-f", "-", "--runtime", "x/loose", "-o", "json", stdin=text)
    wrong = cachectl("classify", "-f", "-", "--runtime", "x/none", stdin=text)

    assert (unclear.returncode, wrong.returncode) == (1, 1)
    assert "choose one with --runtime" in unclear.stderr
    assert "x/loose, x/strict" in wrong.stderr
    assert json.loads(chosen.stdout)[0]["domain"] == "island:lan"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Node\nmetadata: {name: a\n", "standard input: line 3: this is not YAML"),
        ("a: b: c\n", "standard input: line 1: this is not YAML"),
        ("- 1\n", "standard input: document 1 is [1]; it must be an object"),
        ("apiVersion: v1\n", "standard input: a document has no kind"),
        ("kind: NodeList\nitems: {}\n---\nkind: NodeList\nitems: [1]\n", "items of the NodeList"),
        ("apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {a: true}}\n",
         'Node n: labels["a"] is True; it must be a string'),
        ("\x01", "this is not YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence_that_says_where(text, message):
    done = cachectl("classify", "-f", "-", stdin=text)

    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("cachectl: ")
    assert done.stderr.count("\n") == 1


def test_a_missing_file_is_one_sentence(tmp_path):
    done = cachectl("classify", "-f", tmp_path / "no.yaml")

    assert done.returncode == 1
    assert (
        done.stderr == f"cachectl: {tmp_path}/no.yaml cannot be read: No such file or directory\n"
    )


def test_a_file_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")

    done = cachectl("classify", "-f", tmp_path / "x")

    assert (done.returncode, "is not text in UTF-8" in done.stderr) == (1, True)


def test_a_call_that_is_not_understood_ends_with_2():
    assert cachectl("classify").returncode == 2
    assert cachectl("classify", "-f", FLEET, "-o", "xml").returncode == 2
    assert cachectl("clasify").returncode == 2


def test_no_nodes_give_an_empty_list():
    assert cachectl("classify", "-f", "-", "-o", "json").stdout == "[]\n"
