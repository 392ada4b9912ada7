"""YAML from people: every problem is a sentence with its line."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from cache_ctl.api.load import load_files
from cache_ctl.errors import InvalidInput, Unreadable

RUNTIME = """\
apiVersion: cachectl.dev/v1alpha1
kind: CacheRuntime
metadata:
  name: edge
  namespace: cache-system
spec:
  tiers:
  - medium: SSD
    path: /var/lib/cachectl
    quota: 200Gi
"""
DATASET = """\
apiVersion: cachectl.dev/v1alpha1
kind: Dataset
metadata:
  name: images
spec:
  runtimeRef: {name: edge}
  mounts:
  - name: train
    source: oss://bucket/train
"""
PREWARM = """\
apiVersion: cachectl.dev/v1alpha1
kind: CachePrewarm
metadata:
  name: warm
spec:
  datasetRef: {name: images}
"""


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """Let files go by their names alone."""
    monkeypatch.chdir(tmp_path)


def load(text):
    Path("my.yaml").write_text(text)
    return load_files([Path("my.yaml")])


def problems(text):
    return [str(problem) for problem in load(text).problems]


def test_right_documents_are_returned_in_order_with_a_namespace():
    found = load(f"{RUNTIME}---\n{DATASET}---\n{PREWARM}").required()

    assert [body["kind"] for body in found] == ["CacheRuntime", "Dataset", "CachePrewarm"]
    assert [body["metadata"]["namespace"] for body in found] == [
        "cache-system",
        "default",
        "default",
    ]


def test_lists_and_other_platforms_objects_are_taken():
    text = textwrap.dedent("""\
        apiVersion: v1
        kind: List
        items:
        - {apiVersion: v1, kind: Node, metadata: {name: n1}}
        - {apiVersion: apps.openyurt.io/v1beta1, kind: NodePool, metadata: {name: p}}
        """)
    found = load(text).required()

    assert [(body["kind"], body["metadata"]["name"]) for body in found] == [
        ("Node", "n1"),
        ("NodePool", "p"),
    ]
    assert "namespace" not in found[0]["metadata"]


def test_json_and_empty_documents_are_taken():
    text = '---\n---\n{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}\n'

    assert len(load(text).required()) == 1


def test_times_stay_text():
    text = (
        "apiVersion: v1\nkind: Node\nmetadata: {name: n, creationTimestamp: 2026-01-01T00:00:00Z}\n"
    )
    (body,) = load(text).required()

    assert body["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        pytest.param(
            DATASET.replace("name: train", "name: train\n   source: x"),
            9,
            "this is not valid YAML",
            id="malformed",
        ),
        pytest.param("a: [1, 2\n", 2, "this is not valid YAML", id="unclosed"),
        pytest.param(
            DATASET.replace("kind: Dataset", "kind: Datset"),
            2,
            "Datset (cachectl.dev/v1alpha1) is not a kind that is known here; "
            "did you mean Dataset?",
            id="kind misspelt",
        ),
        pytest.param(
            DATASET.replace("cachectl.dev/v1alpha1", "data.fluid.io/v1alpha1"),
            2,
            "Dataset is not a kind of data.fluid.io/v1alpha1; did you mean cachectl.dev/v1alpha1?",
            id="group of another",
        ),
        pytest.param(
            DATASET.replace("v1alpha1", "v1"),
            1,
            "apiVersion is cachectl.dev/v1; Dataset is known as cachectl.dev/v1alpha1",
            id="version",
        ),
        pytest.param(
            DATASET.replace("    source:", "    sorce: a\n    source:"),
            9,
            "spec.mounts[0].sorce is not a known field; did you mean source?",
            id="unknown field",
        ),
        pytest.param(
            DATASET + "  zzz: 1\n",
            10,
            "spec.zzz is not a known field; known here: cachePolicy, localOnly, mounts,",
            id="unknown field like no other",
        ),
        pytest.param(
            DATASET.replace("  name: images", "  name: images\n  label: {a: b}"),
            5,
            "metadata.label is not a known field; did you mean labels?",
            id="unknown metadata",
        ),
        pytest.param(
            DATASET.replace("    source: oss://bucket/train\n", ""),
            8,
            "spec.mounts[0].source is missing",
            id="missing field",
        ),
        pytest.param(
            DATASET.replace("oss://bucket/train", "bucket/train"),
            9,
            "spec.mounts[0].source is 'bucket/train'; write a URL like",
            id="no URL",
        ),
        pytest.param(
            RUNTIME.replace("200Gi", "200GiB"),
            10,
            "spec.tiers[0].quota is '200GiB'; write an amount of bytes like",
            id="impossible quantity",
        ),
        pytest.param(
            RUNTIME.replace("200Gi", "-5Gi"),
            10,
            "spec.tiers[0].quota is '-5Gi'",
            id="negative quantity",
        ),
        pytest.param(
            RUNTIME.replace("200Gi", "0Gi"),
            8,
            "quota is 0Gi; a tier needs room",
            id="no room",
        ),
        pytest.param(
            RUNTIME + "    high: 80\n    low: 85\n",
            8,
            "spec.tiers[0]: low is 85 and high is 80; low must be below high",
            id="watermarks",
        ),
        pytest.param(
            RUNTIME + "  bandwidth: {perDomainLine: 500Mi}\n",
            11,
            "spec.bandwidth.perDomainLine is '500Mi'; write a rate in bits per second",
            id="impossible rate",
        ),
        pytest.param(
            RUNTIME + "  chunkSize: 5Mi\n",
            11,
            "spec.chunkSize is '5Mi'; write a power of two from 64Ki to 64Mi",
            id="chunk",
        ),
        pytest.param(
            RUNTIME + "  topology: {degree: 5}\n",
            11,
            "spec.topology.degree is 5: input should be a multiple of 2",
            id="odd degree",
        ),
        pytest.param(
            RUNTIME + "  topology: {dedicatedPeering: Cloud}\n",
            11,
            "spec.topology.dedicatedPeering: Cloud is not offered yet; use None",
            id="peering over the line",
        ),
        pytest.param(
            RUNTIME + "  image: registry/agent:1\n",
            11,
            "spec.image is not a known field; known here: allowedNamespaces, bandwidth,",
            id="image",
        ),
        pytest.param(
            PREWARM + "  schedule: {policy: Once}\n",
            7,
            "spec.schedule is not a known field; known here: bandwidth, datasetRef,",
            id="schedule",
        ),
        pytest.param(
            RUNTIME + "  allowedNamespaces: {from: Selector}\n",
            11,
            "spec.allowedNamespaces: from: Selector needs a selector",
            id="selector missing",
        ),
        pytest.param(
            RUNTIME.replace("medium: SSD", "medium: Tape"),
            8,
            "spec.tiers[0].medium is 'Tape'; it must be 'Memory', 'SSD' or 'HDD'",
            id="enum",
        ),
        pytest.param(
            RUNTIME.replace("path: /var", "path: var"),
            9,
            "write an absolute path",
            id="relative path",
        ),
        pytest.param(
            DATASET + "  - {name: train, source: oss://b/c}\n",
            5,
            "two mounts have the name train",
            id="mounts of one name",
        ),
        pytest.param(
            DATASET.replace("kind: Dataset\n", ""),
            1,
            "kind is missing",
            id="no kind",
        ),
        pytest.param("just words\n", 1, "this document is no Kubernetes object", id="no object"),
        pytest.param(
            DATASET.replace("name: images", "labels: {a: b}"),
            3,
            "metadata.name is missing",
            id="no name",
        ),
        pytest.param(
            DATASET.replace("  name: images", "  name: images\n  name: other"),
            5,
            "the field name stands here twice",
            id="field twice",
        ),
        pytest.param(
            DATASET + "---\n" + DATASET,
            11,
            "Dataset default/images is given twice, first at my.yaml:1",
            id="object twice",
        ),
        pytest.param(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: n\n  labels:\n    edge: true\n",
            6,
            "metadata.labels.edge is True, not a string; put quotes around it",
            id="label without quotes",
        ),
        pytest.param(
            DATASET[: DATASET.index("  - name")].replace("mounts:", "mounts: []"),
            7,
            "spec.mounts is empty; it needs at least 1",
            id="empty list",
        ),
        pytest.param(
            "apiVersion: v1\nkind: Node\nmetadata: {name: n, namespace: x}\n",
            3,
            "Node has no namespace",
            id="namespace of a node",
        ),
        pytest.param(
            "apiVersion: cachectl.dev/v1alpha1\nkind: NetworkTopology\nmetadata: {name: mine}\n",
            3,
            "a cluster has one NetworkTopology, named default",
            id="second topology",
        ),
        pytest.param("a: &x [*x]\n", 1, "this part refers to itself", id="endless"),
    ],
)
def test_each_problem_is_a_sentence_at_its_line(text, line, said):
    found = problems(text)

    assert len(found) == 1, found
    assert found[0].startswith(f"my.yaml:{line}: "), found
    assert said in found[0]
    assert "\n" not in found[0]


def test_all_problems_are_told_at_once_with_right_objects_left_in():
    broken = DATASET.replace("sou", "sau").replace("runtimeRef", "runtimRef")
    found = load(RUNTIME + "---\n" + broken)

    assert [body["kind"] for body in found.objects] == ["CacheRuntime"]
    assert [(problem.line, problem.message.partition(";")[0]) for problem in found.problems] == [
        (17, "spec.runtimRef is not a known field"),
        (20, "spec.mounts[0].saurce is not a known field"),
        (16, "spec.runtimeRef is missing"),
        (19, "spec.mounts[0].source is missing"),
    ]
    with pytest.raises(InvalidInput, match=r"my.yaml:17: spec.runtimRef.*did you mean runtimeRef"):
        found.required()


def test_values_of_options_are_not_repeated():
    text = DATASET + "    options: {key: 12345, secret: [hush]}\n"
    found = problems(text)

    assert len(found) == 2
    assert not [line for line in found if "12345" in line or "hush" in line]
    assert "spec.mounts[0].options.key" in found[0]


def test_problems_in_a_list_have_the_lines_of_their_items():
    text = textwrap.dedent("""\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: Node
          metadata: {}
        """)

    assert problems(text) == ["my.yaml:6: metadata.name is missing"]


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(Unreadable, match=r"none.yaml cannot be read: No such file"):
        load_files([tmp_path / "none.yaml"])


def test_a_file_that_is_no_text_is_a_sentence(tmp_path):
    path = tmp_path / "image.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Unreadable, match="not text in UTF-8"):
        load_files([path])


def test_an_object_may_not_stand_in_two_files(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(DATASET)
    found = load_files([tmp_path / "a.yaml", tmp_path / "b.yaml"])

    (problem,) = found.problems
    assert str(problem).startswith(f"{tmp_path}/b.yaml:1: ")
    assert f"first at {tmp_path}/a.yaml:1" in str(problem)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("  tiers:", "  allowedNamespaces: All\n  tiers:", "it is a mapping with from, selector"),
        ("  tiers:", "  port: high\n  tiers:", "spec.port is 'high'; write a whole number"),
        ("  tiers:", "  port: 99999\n  tiers:", "spec.port is 99999; it must be at most 65535"),
        ("  tiers:", "  replicas: -1\n  tiers:", "spec.replicas is -1; it must be at least 0"),
        ("  - medium: SSD", "  - SSD\n  - medium: SSD", "is 'SSD'; it is a mapping with high, "),
    ],
)
def test_a_value_of_another_form_is_told_what_would_be_right(old, new, sentence):
    (problem,) = problems(RUNTIME.replace(old, new))
    assert sentence in problem
