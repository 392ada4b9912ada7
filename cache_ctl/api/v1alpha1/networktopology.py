"""NetworkTopology: the operator's rules about classes, domains and lines; one per cluster."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cache_ctl.api.meta import KubeObject, LabelSelector, Model, Rate

DEFAULT_NAME = "default"
"""The only name that is read."""


class TopologyRule(Model):
    """Nodes that the selector matches get the class, the domain, or both."""

    node_selector: LabelSelector
    network_class: Literal["Cloud", "Dedicated", "Basic"] | None = None
    domain: Annotated[str, Field(min_length=1, max_length=253)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.network_class is None and self.domain is None:
            raise ValueError("a rule needs a networkClass, a domain, or both")
        return self


class TopologyLink(Model):
    """The line between two domains, or between a domain and the origin; it has no direction."""

    origin: Annotated[str, Field(alias="from", min_length=1, max_length=253)]
    to: Annotated[str, Field(min_length=1, max_length=253)]
    bandwidth: Rate | None = None
    cost: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class NetworkTopologySpec(Model):
    """The operator's rules; the first match decides."""

    rules: Annotated[tuple[TopologyRule, ...], Field(max_length=256)] = ()
    unlabeled_nodes: Literal["Basic", "Cloud"] = "Basic"
    links: Annotated[tuple[TopologyLink, ...], Field(max_length=1024)] = ()


class NetworkTopology(KubeObject):
    """What the operator knows better than labels do."""

    spec: NetworkTopologySpec = Field(default_factory=NetworkTopologySpec)
