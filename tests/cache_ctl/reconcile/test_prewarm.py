"""A prewarm's status, from the agents that take part to its end."""

from __future__ import annotations

import pytest

from cache_ctl.api.kinds import CACHE_PREWARM, uid_of
from tests.support.control_world import control_world
from tests.support.objects import SPACE, cloud_node, dataset, edge_node, pool, prewarm, runtime


@pytest.fixture
async def world():
    async with control_world() as made:
        await made.apply(
            cloud_node(1),
            cloud_node(2),
            pool("east", "private"),
            edge_node("east", 1),
            edge_node("east", 2),
            pool("stores", "basic"),
            edge_node("stores", 1),
            runtime(),
            dataset(),
        )
        yield made


async def reports(world, state, *names, **numbers):
    uid = uid_of(await world.get(CACHE_PREWARM, "warm"))
    for name in names:
        await world.report(name, prewarms=[{"uid": uid, "state": state, **numbers}])
    await world.run()


async def carried(world):
    """Return the plans that carry the prewarm."""
    return {name for name, plan in (await world.plans()).items() if plan.prewarms}


DISTRIBUTED = ("cloud-1", "cloud-2", "east-1", "east-2")


async def test_it_waits_until_agents_report(world):
    await world.apply(prewarm())

    assert await world.condition(CACHE_PREWARM, "warm", "Complete") == ("False", "Waiting")
    assert await world.condition(CACHE_PREWARM, "warm", "Failed") == ("False", "NothingFailed")


async def test_progress_is_summed_by_domain(world):
    await world.apply(prewarm())
    await reports(world, "Running", "cloud-1", bytesDone=10, bytesTotal=50, filesDone=1)
    await reports(world, "Complete", "cloud-2", bytesDone=40, bytesTotal=40, filesDone=4)

    status = await world.status(CACHE_PREWARM, "warm")
    rows = {row["name"]: row for row in status["domains"]}
    assert (status["bytesDone"], status["bytesTotal"], status["filesDone"]) == (50, 90, 5)
    assert (rows["cn-hangzhou"]["bytesDone"], rows["cn-hangzhou"]["nodesDone"]) == (50, 1)
    assert set(rows) == {"cn-hangzhou", "pool:east"}
    assert await world.condition(CACHE_PREWARM, "warm", "Complete") == ("False", "Running")


async def test_it_is_complete_when_every_agent_is_and_leaves_the_plans(world):
    await world.apply(prewarm())
    assert len(await carried(world)) == 2
    await reports(world, "Complete", *DISTRIBUTED)

    assert (await world.condition(CACHE_PREWARM, "warm", "Complete"))[0] == "True"
    assert (await world.status(CACHE_PREWARM, "warm"))["completionTime"]
    assert await carried(world) == set()


async def test_its_end_is_final(world):
    await world.apply(prewarm())
    await reports(world, "Complete", *DISTRIBUTED, bytesDone=7)
    done = await world.status(CACHE_PREWARM, "warm")
    for name in DISTRIBUTED:
        await world.report(name, prewarms=[])
    await world.run(60)

    assert await world.status(CACHE_PREWARM, "warm") == done


async def test_with_local_only_nodes_these_have_to_be_done_too(world):
    await world.apply(prewarm(includeLocalOnly=True))
    await reports(world, "Complete", *DISTRIBUTED)
    assert (await world.condition(CACHE_PREWARM, "warm", "Complete"))[0] == "False"

    await reports(world, "Complete", "stores-1")
    assert (await world.condition(CACHE_PREWARM, "warm", "Complete"))[0] == "True"


async def test_only_targeted_domains_take_part(world):
    await world.apply(prewarm(target={"domains": ["pool:east"]}, includeLocalOnly=True))
    await reports(world, "Complete", "east-1", "east-2")

    assert (await world.condition(CACHE_PREWARM, "warm", "Complete"))[0] == "True"


async def test_plans_and_status_agree_on_who_takes_part(world):
    for target in ({}, {"networkClasses": ["Basic"]}, {"domains": ["cn-hangzhou"]}):
        for local in (False, True):
            await world.apply(prewarm(target=target, includeLocalOnly=local))
            workers = await world.workers()
            plans = await carried(world)
            by_plan = [name for name, spec in workers.items() if spec["plan"] in plans]
            rows = (await world.status(CACHE_PREWARM, "warm"))["domains"]

            assert sum(row["nodes"] for row in rows) == len(by_plan)


async def test_failed_files_fail_it_once_all_agents_are_through(world):
    await world.apply(prewarm())
    await reports(world, "Failed", "east-1", failedFiles=2, message="x.jpg: 403")
    assert (await world.condition(CACHE_PREWARM, "warm", "Failed"))[0] == "False"

    await reports(world, "Complete", "cloud-1", "cloud-2", "east-2")
    assert await world.condition(CACHE_PREWARM, "warm", "Failed") == ("True", "FilesFailed")
    assert await world.condition(CACHE_PREWARM, "warm", "Complete") == ("False", "FilesFailed")
    status = await world.status(CACHE_PREWARM, "warm")
    assert status["failedFiles"] == 2
    assert "x.jpg: 403" in str(status["conditions"])


async def test_its_deadline_ends_it(world):
    await world.apply(prewarm(deadlineSeconds=30))
    await reports(world, "Running", *DISTRIBUTED)
    await world.run(20)
    assert (await world.condition(CACHE_PREWARM, "warm", "Failed"))[0] == "False"

    await world.run(20)
    assert await world.condition(CACHE_PREWARM, "warm", "Failed") == (
        "True",
        "DeadlineExceeded",
    )
    assert await carried(world) == set()


async def test_a_finished_prewarm_goes_after_its_time(world):
    await world.apply(prewarm(ttlSecondsAfterFinished=60))
    await reports(world, "Complete", *DISTRIBUTED)
    await world.run(50)
    assert await world.cluster.get(CACHE_PREWARM, "warm", SPACE) is not None

    await world.run(20)
    assert await world.cluster.get(CACHE_PREWARM, "warm", SPACE) is None


async def test_a_missing_dataset_is_said(world):
    await world.apply(prewarm(datasetRef={"name": "nothing"}))

    assert await world.condition(CACHE_PREWARM, "warm", "Complete") == (
        "False",
        "DatasetMissing",
    )


async def test_a_dataset_of_another_namespace_is_not_prewarmed(world):
    reference = {"name": "images", "namespace": "training"}
    await world.apply(prewarm(datasetRef=reference))

    assert await world.condition(CACHE_PREWARM, "warm", "Complete") == (
        "False",
        "NamespaceNotAllowed",
    )
    assert await carried(world) == set()
