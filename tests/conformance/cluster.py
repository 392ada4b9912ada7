"""What every ``Cluster`` must do. A test module gives its own ``cluster`` fixture and imports this.

Objects are made in a namespace of their own, so that the suite can run against a shared server.
"""

from __future__ import annotations

import asyncio
import uuid

import pytest

from cache_ctl.api.kinds import CACHE_RUNTIME, CONFIG_MAP, DATASET, EVENT, uid_of
from cache_ctl.kube.cluster import ApplyConflict, Changed, Listed, ObjectMissing, ObjectRefused

MANAGER = "conformance"


@pytest.fixture
def space():
    return f"conformance-{uuid.uuid4().hex[:8]}"


def config_map(space, name="one", **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": space},
        "data": data,
    }


def dataset(space, *, source="oss://bucket/a", **metadata):
    return {
        "apiVersion": DATASET.api_version,
        "kind": "Dataset",
        "metadata": {"name": "images", "namespace": space, **metadata},
        "spec": {"runtimeRef": {"name": "edge"}, "mounts": [{"name": "a", "source": source}]},
    }


def condition(kind, status):
    return {
        "type": kind,
        "status": status,
        "reason": "Because",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def named(body, *, uid=True, **rest):
    keys = ("name", "namespace", "uid") if uid else ("name", "namespace")
    metadata = {key: body["metadata"][key] for key in keys}
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata | rest.pop("metadata", {}),
        **rest,
    }


async def next_of(watch):
    async with asyncio.timeout(10):
        return await anext(watch)


async def test_an_applied_object_is_created_and_can_be_read(cluster, space):
    made = await cluster.apply(config_map(space, a="1"), manager=MANAGER)

    assert made["metadata"]["uid"]
    assert made["metadata"]["resourceVersion"]
    assert (await cluster.get(CONFIG_MAP, "one", space))["data"] == {"a": "1"}


async def test_what_is_not_there_reads_as_none(cluster, space):
    assert await cluster.get(CONFIG_MAP, "one", space) is None
    assert await cluster.list(CONFIG_MAP, namespace=space) == []
    assert not await cluster.delete(CONFIG_MAP, "one", space)


async def test_a_returned_object_is_a_copy(cluster, space):
    made = await cluster.apply(config_map(space, a="1"), manager=MANAGER)
    made["data"]["a"] = "changed"

    assert (await cluster.get(CONFIG_MAP, "one", space))["data"] == {"a": "1"}


async def test_list_selects_by_namespace_and_labels(cluster, space):
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "1", "y": "2"}), ("c", {})):
        body = config_map(space, name)
        body["metadata"]["labels"] = labels
        await cluster.apply(body, manager=MANAGER)
    await cluster.apply(config_map(f"{space}-other", "d"), manager=MANAGER)

    found = await cluster.list(CONFIG_MAP, namespace=space, labels={"x": "1"})

    assert [body["metadata"]["name"] for body in found] == ["a", "b"]
    assert len(await cluster.list(CONFIG_MAP, namespace=space)) == 3


async def test_applying_the_same_again_changes_nothing(cluster, space):
    first = await cluster.apply(config_map(space, a="1"), manager=MANAGER)
    again = await cluster.apply(config_map(space, a="1"), manager=MANAGER)

    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_field_that_its_manager_drops_is_removed(cluster, space):
    await cluster.apply(config_map(space, a="1", b="2"), manager=MANAGER)
    after = await cluster.apply(config_map(space, a="1"), manager=MANAGER)

    assert after["data"] == {"a": "1"}


async def test_fields_of_another_manager_are_left_alone(cluster, space):
    await cluster.apply(config_map(space, a="1"), manager="one")
    await cluster.apply(config_map(space, b="2"), manager="two")
    after = await cluster.apply(config_map(space), manager="one")

    assert after["data"] == {"b": "2"}


async def test_a_field_that_two_managers_apply_stays_until_both_drop_it(cluster, space):
    await cluster.apply(config_map(space, a="1"), manager="one")
    await cluster.apply(config_map(space, a="1"), manager="two")
    after_one = await cluster.apply(config_map(space), manager="one")
    after_both = await cluster.apply(config_map(space), manager="two")

    assert after_one["data"] == {"a": "1"}
    assert not after_both.get("data")


async def test_without_force_another_managers_field_is_a_conflict(cluster, space):
    await cluster.apply(config_map(space, a="1"), manager="one")

    with pytest.raises(ApplyConflict, match="one"):
        await cluster.apply(config_map(space, a="2"), manager="two", force=False)

    assert (await cluster.get(CONFIG_MAP, "one", space))["data"] == {"a": "1"}


async def test_with_force_the_field_changes_hands(cluster, space):
    await cluster.apply(config_map(space, a="1"), manager="one")
    await cluster.apply(config_map(space, a="2"), manager="two", force=True)
    after = await cluster.apply(config_map(space), manager="one")

    assert after["data"] == {"a": "2"}


async def test_generation_counts_changes_of_the_spec_only(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    labelled = await cluster.apply(dataset(space, labels={"a": "b"}), manager=MANAGER)
    await cluster.apply_status(named(made, status={"hitRatio": "9%"}), manager=MANAGER)
    moved = await cluster.apply(dataset(space, source="oss://bucket/b"), manager=MANAGER)

    assert made["metadata"]["generation"] == 1
    assert labelled["metadata"]["generation"] == 1
    assert moved["metadata"]["generation"] == 2


async def test_spec_and_status_are_written_apart(cluster, space):
    made = await cluster.apply({**dataset(space), "status": {"hitRatio": "1%"}}, manager=MANAGER)
    wrong = {**named(made, status={"hitRatio": "9%"}), "spec": {"mounts": []}}
    after = await cluster.apply_status(wrong, manager=MANAGER)

    assert "hitRatio" not in made.get("status", {})
    assert after["status"]["hitRatio"] == "9%"
    assert after["spec"] == made["spec"]


async def test_an_apply_keeps_the_status(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    await cluster.apply_status(named(made, status={"hitRatio": "9%"}), manager=MANAGER)
    after = await cluster.apply(dataset(space, source="oss://b/c"), manager=MANAGER)

    assert after["status"] == {"hitRatio": "9%"}


async def test_conditions_are_merged_by_type(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    for manager, kind in (("one", "Ready"), ("two", "Warm")):
        status = {"conditions": [condition(kind, "True")]}
        await cluster.apply_status(named(made, status=status), manager=manager)
    status = {"conditions": [condition("Ready", "False")]}
    after = await cluster.apply_status(named(made, status=status), manager="one")

    found = {item["type"]: item["status"] for item in after["status"]["conditions"]}
    assert found == {"Ready": "False", "Warm": "True"}


async def test_a_condition_that_its_manager_drops_is_removed(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    both = {"conditions": [condition("Ready", "True"), condition("Warm", "True")]}
    await cluster.apply_status(named(made, status=both), manager=MANAGER)
    one = {"conditions": [condition("Warm", "True")]}
    after = await cluster.apply_status(named(made, status=one), manager=MANAGER)

    assert [item["type"] for item in after["status"]["conditions"]] == ["Warm"]


async def test_a_status_needs_its_object(cluster, space):
    body = {**dataset(space), "status": {"hitRatio": "9%"}}

    with pytest.raises(ObjectMissing, match="images"):
        await cluster.apply_status(body, manager=MANAGER)


async def test_an_apply_with_a_uid_never_creates(cluster, space):
    made = await cluster.apply(config_map(space, a="1"), manager=MANAGER)
    await cluster.delete(CONFIG_MAP, "one", space)

    with pytest.raises(ApplyConflict):
        await cluster.apply(named(made, data={"a": "2"}), manager=MANAGER)

    assert await cluster.get(CONFIG_MAP, "one", space) is None


async def test_a_uid_protects_an_object_that_took_the_name(cluster, space):
    old = await cluster.apply(config_map(space, a="1"), manager=MANAGER)
    await cluster.delete(CONFIG_MAP, "one", space)
    await cluster.apply(config_map(space, a="new"), manager=MANAGER)

    with pytest.raises(ApplyConflict):
        await cluster.apply(named(old, data={"a": "2"}), manager=MANAGER)
    assert not await cluster.delete(CONFIG_MAP, "one", space, uid=uid_of(old))

    assert (await cluster.get(CONFIG_MAP, "one", space))["data"] == {"a": "new"}


async def test_a_stale_resource_version_is_a_conflict(cluster, space):
    old = await cluster.apply(config_map(space, a="1"), manager=MANAGER)
    await cluster.apply(config_map(space, a="2"), manager=MANAGER)
    version = {"resourceVersion": old["metadata"]["resourceVersion"]}

    with pytest.raises(ApplyConflict):
        await cluster.apply(named(old, metadata=version, data={"a": "3"}), manager=MANAGER)


async def test_a_finalizer_holds_a_deleted_object(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    await cluster.set_finalizer(made, "cachectl.dev/cleanup", present=True)
    await cluster.delete(DATASET, "images", space)

    marked = await cluster.get(DATASET, "images", space)
    assert marked["metadata"]["deletionTimestamp"]

    await cluster.set_finalizer(marked, "cachectl.dev/cleanup", present=False)
    assert await cluster.get(DATASET, "images", space) is None


async def test_setting_a_finalizer_twice_is_the_same_as_once(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    for _ in range(2):
        await cluster.set_finalizer(made, "cachectl.dev/cleanup", present=True)

    found = await cluster.get(DATASET, "images", space)
    assert found["metadata"]["finalizers"] == ["cachectl.dev/cleanup"]


async def test_a_finalizer_of_a_vanished_object_is_nothing(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    await cluster.delete(DATASET, "images", space)
    await cluster.set_finalizer(made, "cachectl.dev/cleanup", present=True)

    assert await cluster.get(DATASET, "images", space) is None


async def test_a_deleted_object_takes_no_new_finalizer(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    await cluster.set_finalizer(made, "cachectl.dev/cleanup", present=True)
    await cluster.delete(DATASET, "images", space)
    marked = await cluster.get(DATASET, "images", space)

    with pytest.raises(ObjectRefused):
        await cluster.set_finalizer(marked, "cachectl.dev/another", present=True)


async def test_a_watch_sees_a_held_object_marked_and_then_gone(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    await cluster.set_finalizer(made, "cachectl.dev/cleanup", present=True)
    watch = cluster.watch(DATASET, namespace=space)
    await next_of(watch)
    await cluster.delete(DATASET, "images", space)
    marked = await next_of(watch)
    await cluster.set_finalizer(marked.object, "cachectl.dev/cleanup", present=False)
    gone = await next_of(watch)
    while gone.type == "MODIFIED":  # the finalizer's own removal may be told as well
        gone = await next_of(watch)

    assert (marked.type, "deletionTimestamp" in marked.object["metadata"]) == ("MODIFIED", True)
    assert gone.type == "DELETED"


async def test_every_change_has_a_resource_version_of_its_own(cluster, space):
    watch = cluster.watch(CONFIG_MAP, namespace=space)
    await next_of(watch)
    for number in range(3):
        await cluster.apply(config_map(space, a=str(number)), manager=MANAGER)
    seen = [(await next_of(watch)).object["metadata"]["resourceVersion"] for _ in range(3)]

    assert len(set(seen)) == 3
    assert (await cluster.get(CONFIG_MAP, "one", space))["metadata"]["resourceVersion"] == seen[-1]


async def test_a_name_that_is_none_is_refused(cluster, space):
    for name in ("Upper", "a/b", "../a", "a_b", ""):
        with pytest.raises(ObjectRefused):
            await cluster.apply(config_map(space, name), manager=MANAGER)


@pytest.mark.parametrize("field", ["data", "stringData"])
async def test_a_secret_s_key_that_is_no_file_s_name_is_refused(cluster, space, field):
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "oss", "namespace": space}}
    for key in ("../a", "/tmp/a", "a/b", "..", ".", "..a", ""):
        with pytest.raises(ObjectRefused):
            await cluster.apply({**body, field: {key: "b2s="}}, manager=MANAGER)
    await cluster.apply({**body, field: {".a_B-1": "b2s="}}, manager=MANAGER)


async def test_children_go_with_their_owner(cluster, space):
    runtime = {
        "apiVersion": CACHE_RUNTIME.api_version,
        "kind": "CacheRuntime",
        "metadata": {"name": "edge", "namespace": space},
        "spec": {"tiers": [{"medium": "SSD", "path": "/x", "quota": "1Gi"}]},
    }
    owner = await cluster.apply(runtime, manager=MANAGER)
    child = config_map(space, "child")
    child["metadata"]["ownerReferences"] = [
        {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": "edge"}
        | {"uid": uid_of(owner), "controller": True}
    ]
    await cluster.apply(child, manager=MANAGER)
    await cluster.apply(config_map(space, "stranger"), manager=MANAGER)
    watch = cluster.watch(CONFIG_MAP, namespace=space)
    await next_of(watch)

    await cluster.delete(CACHE_RUNTIME, "edge", space)

    gone = await next_of(watch)
    assert (gone.type, gone.object["metadata"]["name"]) == ("DELETED", "child")
    assert await cluster.get(CONFIG_MAP, "stranger", space) is not None


async def test_a_watch_begins_with_all_objects_and_goes_on_with_changes(cluster, space):
    await cluster.apply(config_map(space, "old"), manager=MANAGER)
    watch = cluster.watch(CONFIG_MAP, namespace=space)
    listed = await next_of(watch)
    await cluster.apply(config_map(space, "new", a="1"), manager=MANAGER)
    await cluster.apply(config_map(space, "new", a="2"), manager=MANAGER)
    await cluster.delete(CONFIG_MAP, "new", space)
    changes = [await next_of(watch) for _ in range(3)]

    assert isinstance(listed, Listed)
    assert [body["metadata"]["name"] for body in listed.objects] == ["old"]
    assert all(isinstance(change, Changed) for change in changes)
    assert [change.type for change in changes] == ["ADDED", "MODIFIED", "DELETED"]
    assert changes[1].object["data"] == {"a": "2"}


async def test_a_watch_of_a_namespace_hears_of_no_other(cluster, space):
    watch = cluster.watch(CONFIG_MAP, namespace=space)
    await next_of(watch)
    await cluster.apply(config_map(f"{space}-other"), manager=MANAGER)
    await cluster.apply(config_map(space, "mine"), manager=MANAGER)

    assert (await next_of(watch)).object["metadata"]["name"] == "mine"


async def test_an_event_names_its_object(cluster, space):
    made = await cluster.apply(dataset(space), manager=MANAGER)
    await cluster.event(made, reason="SnapshotFailed", message="no route", warning=True)

    (event,) = await cluster.list(EVENT, namespace=space)
    assert event["reason"] == "SnapshotFailed"
    assert event["type"] == "Warning"
    assert event["involvedObject"]["uid"] == uid_of(made)
