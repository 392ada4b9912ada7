"""YAML from people to objects: strict, and every problem is a sentence with its line.

The cluster prunes what it does not know; here an unknown field is a problem, because the one who
wrote it meant something by it.
"""

from __future__ import annotations

import difflib
import re
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cache_ctl.api import kinds, meta
from cache_ctl.api.documents import Document, Place, Problem, documents
from cache_ctl.api.kinds import Resource
from cache_ctl.api.v1alpha1.cacheprewarm import CachePrewarm
from cache_ctl.api.v1alpha1.cacheruntime import CacheRuntime
from cache_ctl.api.v1alpha1.cacheworker import CacheWorker
from cache_ctl.api.v1alpha1.dataset import Dataset
from cache_ctl.api.v1alpha1.networktopology import DEFAULT_NAME, NetworkTopology
from cache_ctl.errors import InvalidInput, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cache_ctl.api.kinds import Kind

MODELS: Final[dict[Kind, type[meta.KubeObject]]] = {
    kinds.DATASET: Dataset,
    kinds.CACHE_RUNTIME: CacheRuntime,
    kinds.CACHE_PREWARM: CachePrewarm,
    kinds.CACHE_WORKER: CacheWorker,
    kinds.NETWORK_TOPOLOGY: NetworkTopology,
}
DEFAULT_NAMESPACE: Final = "default"

_METADATA_FIELDS: Final = frozenset(
    {
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_SAID_BY_PATTERN: Final = {
    meta.BYTES: 'write an amount of bytes like "10Gi", "4Mi" or "8G"',
    meta.RATE: 'write a rate in bits per second like "500Mbit" or "1Gbit"',
    meta.CHUNK: "write a power of two from 64Ki to 64Mi, like 4Mi",
    meta.DNS_LABEL: "use lower-case letters, digits and hyphens, at most 63 of them",
    meta.DNS_NAME: "use lower-case letters, digits, hyphens and dots",
    r"^/": "write an absolute path",
    r"^[a-z][a-z0-9+.-]*://": 'write a URL like "oss://bucket/folder" or "https://host/folder/"',
}
_PRIVATE: Final = "options"
"""Values below this field may be credentials, so that no sentence repeats them."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found: the objects that are right, and the problems."""

    objects: tuple[Resource, ...]
    problems: tuple[Problem, ...]

    def required(self) -> tuple[Resource, ...]:
        """Return the objects.

        Raises:
            InvalidInput: there are problems; the message has one line for each.
        """
        if self.problems:
            raise InvalidInput("\n".join(map(str, self.problems)))
        return self.objects


def load_files(paths: Iterable[Path]) -> Loaded:
    """Read files; the path ``-`` is standard input.

    Raises:
        Unreadable: a file cannot be read.
    """
    return _collect(found for path in paths for found in documents(_read(path), _shown(path)))


def _shown(path: Path) -> str:
    return "standard input" if str(path) == "-" else str(path)


def _read(path: Path) -> str:
    if str(path) == "-":
        return sys.stdin.read()
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path} is not text in UTF-8") from error


def _collect(parts: Iterable[Document | Problem]) -> Loaded:
    objects: list[Resource] = []
    problems: list[Problem] = []
    seen: dict[tuple[Kind, str, str], str] = {}
    for part in parts:
        if isinstance(part, Problem):
            problems.append(part)
            continue
        for document in _items(part):
            kind, found = _check(document)
            problems.extend(
                Problem(document.file, document.line(place), message) for place, message in found
            )
            if kind is None or found:
                continue
            body = _with_namespace(kind, document.data)
            key = (kind, kinds.namespace_of(body), kinds.name_of(body))
            here = f"{document.file}:{document.line(())}"
            if key in seen:
                text = f"{kinds.title_of(body)} is given twice, first at {seen[key]}"
                problems.append(Problem(document.file, document.line(()), text))
            else:
                seen[key] = here
                objects.append(body)
    return Loaded(tuple(objects), tuple(problems))


def _items(document: Document) -> Iterator[Document]:
    """Yield a document, or the items of a List; an empty document is nothing."""
    data = document.data
    if isinstance(data, dict) and str(data.get("kind", "")).endswith("List"):
        items = data.get("items")
        if isinstance(items, list):
            for index in range(len(items)):
                yield from _items(document.part("items", index))
            return
    if data is not None:
        yield document


def _with_namespace(kind: Kind, data: Resource) -> Resource:
    if not kind.namespaced or data["metadata"].get("namespace"):
        return data
    return {**data, "metadata": {**data["metadata"], "namespace": DEFAULT_NAMESPACE}}


def _check(document: Document) -> tuple[Kind | None, list[tuple[Place, str]]]:
    data = document.data
    if not isinstance(data, dict):
        return None, [((), "this document is no Kubernetes object; it needs apiVersion and kind")]
    missing = [field for field in ("apiVersion", "kind") if not isinstance(data.get(field), str)]
    if missing:
        return None, [((), f"{missing[0]} is missing; every object needs apiVersion and kind")]
    kind = kinds.kind_of(data)
    if kind is None:
        return None, [(("kind",), _unknown_kind(data["apiVersion"], data["kind"]))]
    if kind.ours and data["apiVersion"] != kind.api_version:
        text = f"apiVersion is {data['apiVersion']}; {kind} is known as {kind.api_version}"
        return None, [(("apiVersion",), text)]
    problems = list(_metadata_problems(kind, data.get("metadata")))
    if kind in MODELS and not problems:
        problems += _model_problems(MODELS[kind], data)
    return kind, problems


def _unknown_kind(api_version: str, name: str) -> str:
    same_name = next((kind for kind in kinds.KINDS if kind.name == name), None)
    if same_name is not None:
        return f"{name} is not a kind of {api_version}; did you mean {same_name.api_version}?"
    close = difflib.get_close_matches(name, [kind.name for kind in kinds.KINDS], n=1)
    hint = f"; did you mean {close[0]}?" if close else "; remove it from the files given here"
    return f"{name} ({api_version}) is not a kind that is known here{hint}"


def _metadata_problems(kind: Kind, metadata: Any) -> Iterator[tuple[Place, str]]:
    if not isinstance(metadata, dict):
        yield ("metadata",), "metadata is missing; it needs a name"
        return
    for field in metadata:
        if field not in _METADATA_FIELDS:
            yield ("metadata", field), _unknown_field("metadata", field, sorted(_METADATA_FIELDS))
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        yield ("metadata", "name"), "metadata.name is missing"
    elif not re.fullmatch(meta.DNS_NAME, name):
        text = f"metadata.name is {name!r}; {_SAID_BY_PATTERN[meta.DNS_NAME]}"
        yield ("metadata", "name"), text
    elif kind is kinds.NETWORK_TOPOLOGY and name != DEFAULT_NAME:
        text = f"metadata.name is {name}; a cluster has one NetworkTopology, named {DEFAULT_NAME}"
        yield ("metadata", "name"), text
    if metadata.get("namespace") and not kind.namespaced:
        yield ("metadata", "namespace"), f"{kind} has no namespace; remove metadata.namespace"
    elif not re.fullmatch(meta.DNS_LABEL, str(metadata.get("namespace") or DEFAULT_NAMESPACE)):
        said = _SAID_BY_PATTERN[meta.DNS_LABEL]
        yield ("metadata", "namespace"), f"metadata.namespace is {metadata['namespace']!r}; {said}"
    for section in ("labels", "annotations"):
        yield from _map_problems(section, metadata.get(section) or {})


def _map_problems(section: str, values: Any) -> Iterator[tuple[Place, str]]:
    if not isinstance(values, dict):
        yield ("metadata", section), f"metadata.{section} must map names to strings"
        return
    for key, value in values.items():
        if not isinstance(value, str):
            text = f"metadata.{section}.{key} is {value!r}, not a string; put quotes around it"
            yield ("metadata", section, key), text


def _model_problems(model: type[BaseModel], data: Resource) -> Iterator[tuple[Place, str]]:
    yield from _unknown_fields(model, data, ())
    try:
        model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        for item in found:
            place = item["loc"]
            # A list counts as too short when its items are wrong: the cause is told, not that.
            inner = any(other["loc"][: len(place)] == place != other["loc"] for other in found)
            if not inner:
                yield place, _sentence(item, model)


def _unknown_fields(hint: Any, data: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Walk the data along the types; yield every field that no type has."""
    hint = _without_wrapping(hint)
    if get_origin(hint) is tuple and isinstance(data, list):
        for index, item in enumerate(data):
            yield from _unknown_fields(get_args(hint)[0], item, (*place, index))
    if not (isinstance(hint, type) and issubclass(hint, BaseModel) and isinstance(data, dict)):
        return
    fields = {str(field.alias): field.annotation for field in hint.model_fields.values()}
    for key, value in data.items():
        if key not in fields and key != "status":
            yield (*place, key), _unknown_field(_said(place), key, sorted(fields))
        elif key not in ("metadata", "status"):
            yield from _unknown_fields(fields[key], value, (*place, key))


def _without_wrapping(hint: Any) -> Any:
    """Return the type inside Annotated and Optional."""
    while get_origin(hint) in (Annotated, Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    return hint


def _unknown_field(where: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    return f"{where + '.' if where else ''}{name} is not a known field; {hint}"


def _said(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


_REMEDIES: Final = {
    "bool_parsing": "write true or false",
    "bool_type": "write true or false",
    "dict_type": "it is a mapping",
    "greater_than_equal": "it must be at least {ge}",
    "int_from_float": "write a whole number",
    "int_parsing": "write a whole number",
    "int_type": "write a whole number",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "it must be {expected}",
    "string_type": "it must be a string, put quotes around it",
    "tuple_type": "it is a list",
}
"""What would be right, by pydantic's name of the finding, with its context."""


def _fields_at(hint: Any, place: Place) -> list[str]:
    """Return the names of the fields that a mapping at this place has."""
    for part in place:
        hint = _without_wrapping(hint)
        if isinstance(part, int):
            hint = get_args(hint)[0]
        else:
            hint = next(f.annotation for f in hint.model_fields.values() if f.alias == part)
    return sorted(str(field.alias) for field in _without_wrapping(hint).model_fields.values())


def _sentence(error: Any, model: type[BaseModel]) -> str:
    """Say one of pydantic's findings about a model in our words."""
    place, context = error["loc"], error.get("ctx", {})
    where = _said(place) or "the object"
    shown = isinstance(error["input"], (str, int, float)) and _PRIVATE not in place
    value = f" {error['input']!r}" if shown else ""
    form = value or " of another form"
    match error["type"]:
        case "missing":
            return f"{where} is missing"
        case "string_pattern_mismatch":
            said = _SAID_BY_PATTERN.get(context["pattern"], "it has another form")
            return f"{where} is{value}; {said}"
        case "too_short":
            return f"{where} is empty; it needs at least {context['min_length']}"
        case "value_error":
            return f"{where}: {context['error']}"
        case "model_type":
            return f"{where} is{form}; it is a mapping with {', '.join(_fields_at(model, place))}"
        case other if other in _REMEDIES:
            return f"{where} is{form}; {_REMEDIES[other].format(**context)}"
        case _:
            text = str(error["msg"])
            return f"{where} is{form}: {text[0].lower()}{text[1:]}"
