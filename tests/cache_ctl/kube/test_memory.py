"""The in-memory cluster under the conformance suite, and what is its own."""

from __future__ import annotations

import base64

import pytest

from cache_ctl.api.kinds import CONFIG_MAP, EVENT, NODE_POOL, SECRET
from cache_ctl.kube.cluster import KindAbsent, KindForbidden, ObjectRefused
from cache_ctl.kube.memory import MemoryCluster
from tests.conformance.cluster import *  # noqa: F403  the suite's tests become this module's
from tests.conformance.cluster import config_map


@pytest.fixture
def cluster():
    return MemoryCluster()


async def test_writes_counts_changes_only(cluster):
    await cluster.apply(config_map("space", a="1"), manager="one")
    before = cluster.writes
    await cluster.apply(config_map("space", a="1"), manager="one")

    assert cluster.writes == before


async def test_plain_text_of_a_secret_is_kept_as_the_server_keeps_it(cluster):
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "oss", "namespace": "space"},
        "stringData": {"key": "open sesame"},
    }
    made = await cluster.apply(body, manager="one")

    assert "stringData" not in made
    assert base64.b64decode(made["data"]["key"]) == b"open sesame"
    assert (await cluster.get(SECRET, "oss", "space"))["data"] == made["data"]


async def test_an_object_without_its_namespace_is_refused(cluster):
    with pytest.raises(ObjectRefused, match="needs a name and a namespace"):
        await cluster.apply(config_map(""), manager="one")


async def test_a_namespace_has_no_dot_so_that_names_of_files_can_be_joined_by_one(cluster):
    with pytest.raises(ObjectRefused, match=r"metadata\.namespace .* is refused"):
        await cluster.apply(config_map("a.b"), manager="one")


async def test_a_child_of_a_vanished_owner_does_not_stay(cluster):
    owner = await cluster.apply(config_map("space", "owner"), manager="one")
    await cluster.delete(CONFIG_MAP, "owner", "space")
    child = config_map("space", "child")
    child["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    ]
    await cluster.apply(child, manager="one")

    assert await cluster.get(CONFIG_MAP, "child", "space") is None


async def test_the_oldest_events_go_when_there_are_many(cluster):
    about = await cluster.apply(config_map("space"), manager="one")
    for number in range(510):
        await cluster.event(about, reason="Counted", message=f"{number}")

    messages = {event["message"] for event in await cluster.list(EVENT)}
    assert len(messages) == 500
    assert "509" in messages
    assert "0" not in messages


async def test_kinds_that_cannot_be_read_say_so():
    with pytest.raises(KindAbsent, match="nodepools"):
        await MemoryCluster(absent=[NODE_POOL]).list(NODE_POOL)
    with pytest.raises(KindForbidden, match="nodepools"):
        await MemoryCluster(forbidden=[NODE_POOL]).list(NODE_POOL)
