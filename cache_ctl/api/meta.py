"""What all our kinds share: the model's settings, metadata, references and label selectors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from cache_ctl.api.kinds import Resource  # noqa: TC001  pydantic reads the hints

ConditionStatus = Literal["True", "False", "Unknown"]

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
BYTES = r"^[0-9]{1,18}(\.[0-9]{1,9})?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
RATE = r"^[0-9]{1,18}(\.[0-9]{1,9})?([kKMGT]?bit)$"
CHUNK = r"^((64|128|256|512)Ki|(1|2|4|8|16|32|64)Mi)$"

Name = Annotated[str, Field(pattern=DNS_NAME, max_length=253)]
Label = Annotated[str, Field(pattern=DNS_LABEL, max_length=63)]
Bytes = Annotated[str, Field(pattern=BYTES, max_length=32)]
"""An amount of bytes such as ``10Gi``."""
Rate = Annotated[str, Field(pattern=RATE, max_length=32)]
"""A rate in bits per second such as ``500Mbit``."""
Chunk = Annotated[str, Field(pattern=CHUNK, max_length=8)]
"""A power of two from ``64Ki`` to ``64Mi``."""


class Model(BaseModel):
    """Frozen, camelCase on the wire; unknown fields are ignored, as the cluster prunes them."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
    )


class ObjectMeta(Model):
    """The part of ObjectMeta that we read."""

    name: Name
    namespace: str = ""
    uid: str = ""
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: str = ""
    deletion_timestamp: str = ""


class Condition(Model):
    """One fact about an object; ``last_transition_time`` moves when ``status`` flips."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int = 0


class SelectorExpression(Model):
    """One requirement of a label selector."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[tuple[str, ...], Field(max_length=256)] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether labels satisfy this requirement."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(Model):
    """A Kubernetes label selector; an empty one selects everything."""

    match_labels: Annotated[dict[str, str], Field(max_length=64)] = Field(default_factory=dict)
    match_expressions: Annotated[tuple[SelectorExpression, ...], Field(max_length=64)] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether labels satisfy every requirement."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            expression.matches(labels) for expression in self.match_expressions
        )


class ObjectReference(Model):
    """An object by name; without a namespace, one in the namespace of who refers to it."""

    name: Name
    namespace: Label | None = None

    def within(self, namespace: str) -> tuple[str, str]:
        """Return ``(namespace, name)``, seen from an object in ``namespace``."""
        return self.namespace or namespace, self.name


class SecretReference(Model):
    """A Secret in the namespace of who refers to it."""

    name: Name


class KubeObject(Model):
    """An object of ours as a whole."""

    api_version: str
    kind: str
    metadata: ObjectMeta

    @property
    def ref(self) -> str:
        """Return ``namespace/name``, or the name alone for cluster-scoped kinds."""
        namespace = self.metadata.namespace
        return f"{namespace}/{self.metadata.name}" if namespace else self.metadata.name


def dump(model: Model) -> Resource:
    """Return a model as plain JSON; what is None is left out."""
    result: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return result
