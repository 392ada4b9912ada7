"""The cache of last-known objects, and the feed that keeps it true."""

from __future__ import annotations

import asyncio

from cache_ctl.api.kinds import CONFIG_MAP, NODE_POOL
from cache_ctl.kube.cache import ObjectCache
from cache_ctl.kube.feed import feed
from cache_ctl.kube.memory import MemoryCluster
from tests.conformance.cluster import config_map
from tests.support.objects import pool


def heard_by(cache):
    heard = []
    cache.subscribe(lambda kind, before, after: heard.append((before, after)))
    return heard


def test_a_list_replaces_all_and_tells_what_is_different():
    cache = ObjectCache()
    a, b, c = (config_map("space", name) for name in "abc")
    cache.replace(CONFIG_MAP, [a, b])
    heard = heard_by(cache)
    cache.replace(CONFIG_MAP, [b, c])

    assert cache.keys(CONFIG_MAP) == [("space", "b"), ("space", "c")]
    assert sorted(heard, key=str) == sorted([(a, None), (None, c)], key=str)


def test_forgetting_what_is_not_known_is_silent():
    cache = ObjectCache()
    heard = heard_by(cache)
    cache.forget(CONFIG_MAP, config_map("space", "a"))

    assert heard == []


async def test_waiting_ends_when_every_kind_was_heard_of():
    cache = ObjectCache()
    waiting = asyncio.create_task(cache.heard_of([CONFIG_MAP, NODE_POOL]))
    cache.replace(CONFIG_MAP, [])
    await asyncio.sleep(0)
    assert not waiting.done()

    cache.unavailable(NODE_POOL, "Forbidden")
    async with asyncio.timeout(5):
        await waiting

    assert cache.availability(NODE_POOL) == "Forbidden"
    assert cache.availability(CONFIG_MAP) == "Served"


async def test_the_feed_follows_the_cluster():
    cluster, cache = MemoryCluster(), ObjectCache()
    await cluster.apply(config_map("space", "a"), manager="one")
    changed = asyncio.Event()
    cache.subscribe(lambda *_: changed.set())
    feeding = asyncio.create_task(feed(cluster, cache, CONFIG_MAP))

    async def until(keys):
        async with asyncio.timeout(5):
            while cache.keys(CONFIG_MAP) != keys:
                changed.clear()
                await changed.wait()

    await until([("space", "a")])
    await cluster.apply(config_map("space", "b"), manager="one")
    await until([("space", "a"), ("space", "b")])
    await cluster.delete(CONFIG_MAP, "a", "space")
    await until([("space", "b")])

    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)


async def test_a_kind_that_is_not_served_is_asked_for_again():
    cache = ObjectCache()
    cluster = MemoryCluster(absent=[NODE_POOL])
    feeding = asyncio.create_task(feed(cluster, cache, NODE_POOL, retry_seconds=0.01))
    async with asyncio.timeout(5):
        await cache.heard_of([NODE_POOL])
    assert cache.availability(NODE_POOL) == "Absent"

    listed = asyncio.Event()
    cache.subscribe(lambda *_: listed.set())
    cluster._absent = frozenset()
    await cluster.apply(pool("east", "private"), manager="one")
    async with asyncio.timeout(5):
        while cache.availability(NODE_POOL) != "Served":
            listed.clear()
            await listed.wait()

    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
