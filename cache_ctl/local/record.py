"""The cluster's objects as a file beside the agents, for people and for ``cachectl explain``."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import yaml

from cache_ctl.api import kinds
from cache_ctl.local.files import PRIVATE_MODE, replace
from cache_ctl.manifests.labels import owned_by_runtime
from cache_ctl.manifests.objects import PLAN_KEY
from runtime.contract import codec
from runtime.contract.plan import Plan
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cache_ctl.api.kinds import Resource
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.local.state_dir import StateDir

_log = logging.getLogger(__name__)
RECORDED: Final = (
    kinds.NODE,
    *kinds.POOL_KINDS,
    kinds.NETWORK_TOPOLOGY,
    kinds.NAMESPACE,
    kinds.CACHE_RUNTIME,
    kinds.DATASET,
    kinds.CACHE_PREWARM,
    kinds.CACHE_WORKER,
)
"""Neither Secrets, which have no business in a file, nor plans, which have files of their own."""
PAUSE_SECONDS: Final = 0.5


async def keep_record(cache: ObjectCache, layout: StateDir) -> None:
    """Write the file after changes, at most every half second, until cancelled; then once more."""
    changed = asyncio.Event()
    changed.set()

    def listen(kind: kinds.Kind, before: Resource | None, after: Resource | None) -> None:
        del before, after
        if kind in RECORDED:
            changed.set()

    cache.subscribe(listen)
    try:
        while True:
            await changed.wait()
            changed.clear()
            write_record(cache, layout)
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        write_record(cache, layout)


def write_record(cache: ObjectCache, layout: StateDir) -> None:
    """Write the objects as they are now."""
    bodies = [_plain(body) for kind in RECORDED for body in cache.list(kind)]
    text = yaml.dump_all(bodies, Dumper=_DUMPER, sort_keys=False, explicit_start=True)
    try:
        replace(layout.objects, text.encode(), mode=PRIVATE_MODE)
    except OSError as error:
        _log.warning("cannot write %s: %s", layout.objects, error.strerror)


_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _plain(body: Resource) -> Resource:
    """Return an object without what only a server can give, so that it can be applied again."""
    metadata = dict(body["metadata"])
    metadata.pop("resourceVersion", None)
    return {**body, "metadata": metadata}


def recorded_plans(layout: StateDir) -> Iterator[Resource]:
    """Yield the plans of an earlier run as ConfigMaps.

    Agents remember the generation that they follow, so that the next one must be higher.
    """
    for path in sorted(layout.plans.glob("*.json")):
        try:
            plan = codec.loads(Plan, path.read_bytes())
        except (OSError, ConfigError) as error:
            _log.warning("the plan of an earlier run is left out: %s: %s", path, error)
            continue
        namespace = plan.runtime.partition("/")[0]
        yield _config_map(path.stem.removeprefix(f"{namespace}."), plan)


def _config_map(name: str, plan: Plan) -> Resource:
    namespace, _, runtime = plan.runtime.partition("/")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": owned_by_runtime(runtime),
        },
        "data": {PLAN_KEY: codec.dumps(plan)},
    }
