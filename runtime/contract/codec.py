"""Frozen dataclasses to JSON and back, for documents on the wire.

Field names become camelCase. Unknown fields are ignored, so that an older agent reads a newer
plan; a missing field takes its default. Understood types: str, int, float, bool, ``X | None``,
``tuple[X, ...]``, ``dict[str, X]``, ``Literal`` and dataclasses of these.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from runtime.errors import ConfigError

T = TypeVar("T")


def camel(name: str) -> str:
    """Return ``some_name`` as ``someName``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, str, Any, bool], ...]:
    hints = get_type_hints(kind)
    return tuple(
        (
            field.name,
            camel(field.name),
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    )


def to_json(value: Any) -> Any:
    """Return the plain JSON value of a document: dicts, lists, strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: to_json(getattr(value, name)) for name, key, _, _ in _fields(type(value))}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    return value


def dumps(value: Any) -> str:
    """Return the document as compact JSON, the same bytes for equal documents."""
    return json.dumps(to_json(value), separators=(",", ":"), sort_keys=True)


def loads(kind: type[T], text: str | bytes) -> T:
    """Read a document.

    Raises:
        ConfigError: the text is not JSON, or a field is missing or of another type; the message
            names the field's place.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"this is not a JSON document: {error}") from error
    return from_json(kind, data)


def from_json(kind: type[T], data: Any, where: str = "") -> T:
    """Build a ``kind`` from a plain JSON value; ``where`` prefixes the place in messages."""
    result: T = _convert(kind, data, where or kind.__name__)
    return result


def _convert(hint: Any, data: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _convert_dataclass(hint, data, where)
    if origin in (Union, types.UnionType):
        if data is None:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), data, where)
    if origin is tuple and isinstance(data, list):
        items = enumerate(data)
        return tuple(_convert(arguments[0], item, f"{where}[{index}]") for index, item in items)
    if origin is dict and isinstance(data, dict):
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    if origin is Literal and data in arguments:
        return data
    if hint is float and type(data) in (int, float):
        return float(data)
    if isinstance(hint, type) and type(data) is hint:
        return data
    wanted = f"one of {', '.join(map(str, arguments))}" if origin is Literal else str(hint)
    raise ConfigError(f"{where} is {data!r}; it must be {wanted}")


def _convert_dataclass(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ConfigError(f"{where} is {data!r}; it must be an object")
    values = {}
    for name, key, hint, required in _fields(kind):
        if key in data:
            values[name] = _convert(hint, data[key], f"{where}.{key}")
        elif required:
            raise ConfigError(f"{where}.{key} is missing")
    return kind(**values)
