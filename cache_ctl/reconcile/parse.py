"""Bodies to models, where a body that a model cannot read is an expected outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from cache_ctl.api.meta import KubeObject

if TYPE_CHECKING:
    from cache_ctl.api.kinds import Resource

M = TypeVar("M", bound=KubeObject)


def parse(model: type[M], body: Resource) -> M | str:
    """Return the object, or the sentence why its spec cannot be used."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"the spec cannot be used: {place or 'the object'}: {first['msg']}"
