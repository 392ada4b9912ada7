"""Keep a cache true by a watch on the cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cache_ctl.kube.cluster import Changed, KindForbidden, KindUnavailable, Listed

if TYPE_CHECKING:
    from cache_ctl.api.kinds import Kind
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.kube.cluster import Cluster

RETRY_SECONDS = 60.0
"""After this, a kind that was not served is asked for again: a CRD may have been installed."""


async def feed(
    cluster: Cluster, cache: ObjectCache, kind: Kind, *, retry_seconds: float = RETRY_SECONDS
) -> None:
    """Feed one kind into the cache until cancelled."""
    while True:
        try:
            async for event in cluster.watch(kind):
                match event:
                    case Listed(objects):
                        cache.replace(kind, objects)
                    case Changed("DELETED", body):
                        cache.forget(kind, body)
                    case Changed(_, body):
                        cache.observe(kind, body)
        except KindUnavailable as error:
            cache.unavailable(kind, "Forbidden" if isinstance(error, KindForbidden) else "Absent")
            await asyncio.sleep(retry_seconds)
