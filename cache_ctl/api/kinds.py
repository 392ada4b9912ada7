"""Every kind of object that we read or write, and how an object is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

Resource = dict[str, Any]
"""A Kubernetes object as plain JSON."""

GROUP: Final = "cachectl.dev"
VERSION: Final = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind as the API server serves it; ``version`` is the one we read and write."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """Return ``group/version``, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def ours(self) -> bool:
        """Tell whether this is one of the kinds that this project defines."""
        return self.group == GROUP

    @property
    def resource(self) -> str:
        """Return how kubectl names it beside an object: ``dataset.cachectl.dev``, ``node``."""
        return f"{self.name.lower()}.{self.group}" if self.group else self.name.lower()

    def __str__(self) -> str:
        return self.name


DATASET = Kind(GROUP, VERSION, "Dataset", "datasets", short_names=("dset",))
CACHE_RUNTIME = Kind(GROUP, VERSION, "CacheRuntime", "cacheruntimes", short_names=("crt",))
CACHE_PREWARM = Kind(GROUP, VERSION, "CachePrewarm", "cacheprewarms", short_names=("prewarm",))
CACHE_WORKER = Kind(GROUP, VERSION, "CacheWorker", "cacheworkers", short_names=("cworker",))
NETWORK_TOPOLOGY = Kind(GROUP, VERSION, "NetworkTopology", "networktopologies", namespaced=False)

NODE = Kind("", "v1", "Node", "nodes", namespaced=False, short_names=("no",))
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",))
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", short_names=("cm",))
SECRET = Kind("", "v1", "Secret", "secrets")
EVENT = Kind("", "v1", "Event", "events", short_names=("ev",))

NODE_POOL = Kind("apps.openyurt.io", "v1beta2", "NodePool", "nodepools", namespaced=False)
NODE_GROUP = Kind("apps.kubeedge.io", "v1alpha1", "NodeGroup", "nodegroups", namespaced=False)
NODE_UNIT = Kind("site.superedge.io", "v1alpha2", "NodeUnit", "nodeunits", namespaced=False)
COMMUNITY = Kind("fabedge.io", "v1alpha1", "Community", "communities", namespaced=False)
GATEWAY = Kind("raven.openyurt.io", "v1beta1", "Gateway", "gateways", namespaced=False)

OUR_KINDS: Final = (DATASET, CACHE_RUNTIME, CACHE_PREWARM, CACHE_WORKER, NETWORK_TOPOLOGY)
POOL_KINDS: Final = (NODE_POOL, NODE_GROUP, NODE_UNIT, COMMUNITY, GATEWAY)
"""What edge platforms say of groups of nodes; each may be missing from a cluster."""
CORE_KINDS: Final = (NODE, NAMESPACE, CONFIG_MAP, SECRET, EVENT)
KINDS: Final = OUR_KINDS + CORE_KINDS + POOL_KINDS

_BY_NAME = {(kind.group, kind.name): kind for kind in KINDS}


def find_kind(api_version: str, name: str) -> Kind | None:
    """Return the kind of an object, whichever version of its group it is written in."""
    group, _, _ = api_version.rpartition("/")
    return _BY_NAME.get((group, name))


def find_resource(word: str) -> Kind | None:
    """Return the kind that a word on a command line means, or None.

    It may be the kind's name, plural or short name, in any case, with or without the group.
    """
    name, _, group = word.lower().partition(".")
    return next(
        (
            kind
            for kind in KINDS
            if name in (kind.name.lower(), kind.plural, *kind.short_names)
            and group in ("", kind.group)
        ),
        None,
    )


def kind_of(body: Resource) -> Kind | None:
    """Return the kind of an object, or None where we know no such kind."""
    return find_kind(str(body.get("apiVersion", "")), str(body.get("kind", "")))


def name_of(body: Resource) -> str:
    """Return an object's name."""
    return str(body.get("metadata", {}).get("name", ""))


def namespace_of(body: Resource) -> str:
    """Return an object's namespace, empty for cluster-scoped ones."""
    return str(body.get("metadata", {}).get("namespace", ""))


def uid_of(body: Resource) -> str:
    """Return an object's uid, empty while no server has given it one."""
    return str(body.get("metadata", {}).get("uid", ""))


def labels_of(body: Resource) -> dict[str, str]:
    """Return an object's labels."""
    return dict(body.get("metadata", {}).get("labels") or {})


def title_of(body: Resource) -> str:
    """Return how a sentence names an object: ``Dataset ns/name``."""
    namespace = namespace_of(body)
    name = f"{namespace}/{name_of(body)}" if namespace else name_of(body)
    return f"{body.get('kind', 'object')} {name}"
