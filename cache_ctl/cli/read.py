"""Kubernetes objects from files: YAML or JSON, many documents, lists, standard input."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from cache_ctl.domain import observe
from cache_ctl.domain.facts import ClusterFacts, TopologyOptions
from cache_ctl.errors import InvalidInput, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# The C loader is ten times faster; PyYAML lacks it where libyaml is missing.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FILES = click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    metavar="FILE",
    help="File with Kubernetes objects, YAML or JSON; - is standard input. May be repeated.",
)
RUNTIME = click.option(
    "--runtime",
    metavar="NS/NAME",
    help="The CacheRuntime whose topology section counts, when the files have several.",
)


@dataclass(frozen=True, slots=True)
class Input:
    """What the files say."""

    cluster: ClusterFacts
    options: TopologyOptions


def read_input(files: Sequence[str], runtime: str | None = None) -> Input:
    """Return the facts in the files, and the topology options of the CacheRuntime in them.

    Raises:
        Unreadable: a file cannot be read.
        InvalidInput: a file is not YAML, a field has the wrong type, or it is not clear which
            CacheRuntime is meant.
        click.UsageError: no file is given.
    """
    if not files:
        raise click.UsageError("give at least one file with -f, or -f - for standard input")
    objects = [item for name in files for item in read_objects(name)]
    return Input(observe.cluster_facts(objects), _options(objects, runtime))


def read_objects(name: str) -> list[dict[str, Any]]:
    """Return all objects of one file, with the items of lists in place of the lists.

    Raises:
        Unreadable: the file cannot be read.
        InvalidInput: it is not YAML or JSON, or a document is not an object.
    """
    shown = "standard input" if name == "-" else name
    objects = []
    for number, document in enumerate(_documents(_text(name, shown), shown), start=1):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise InvalidInput(
                f"{shown}: document {number} is {_brief(document)}; "
                "it must be an object with apiVersion and kind"
            )
        objects += _flat(document, shown)
    return objects


def _text(name: str, shown: str) -> str:
    try:
        if name == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"{shown} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{shown} is not text in UTF-8: byte {error.start} is wrong") from error


def _documents(text: str, shown: str) -> Iterator[Any]:
    if text.lstrip()[:1] in ("{", "["):
        # JSON may be indented with tabs, which YAML refuses.
        try:
            yield json.loads(text)
        except ValueError:
            pass
        else:
            return
    try:
        yield from yaml.load_all(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}:" if mark is not None else ""
        raise InvalidInput(f"{shown}:{line} this is not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InvalidInput(f"{shown}: this is not YAML: {why}") from error


def _flat(document: dict[str, Any], shown: str) -> list[dict[str, Any]]:
    """Return the document, or its items when it is a list; typed lists have items without kind."""
    kind = document.get("kind")
    if not isinstance(kind, str) or not kind:
        raise InvalidInput(
            f"{shown}: a document has no kind; it must be an object with apiVersion and kind"
        )
    if not kind.endswith("List") or "items" not in document:
        return [document]
    items = document["items"] or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidInput(f"{shown}: items of the {kind} must be a list of objects")
    if kind == "List":
        return [inner for item in items for inner in _flat(item, shown)]
    inherited = {"apiVersion": document.get("apiVersion", "v1"), "kind": kind[: -len("List")]}
    return [inherited | item for item in items]


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _options(objects: Iterable[dict[str, Any]], wanted: str | None) -> TopologyOptions:
    found = {
        _ref(raw): observe.topology_options(raw)
        for raw in objects
        if raw.get("kind") == "CacheRuntime" and observe.group_of(raw) == observe.GROUP
    }
    if wanted is not None:
        if wanted not in found:
            names = ", ".join(sorted(found)) or "none"
            raise InvalidInput(f"the files have no CacheRuntime {wanted}; they have {names}")
        return found[wanted]
    if len(set(found.values())) > 1:
        names = ", ".join(sorted(found))
        raise InvalidInput(
            f"the files have several CacheRuntimes ({names}) whose topology differs; "
            "choose one with --runtime"
        )
    return next(iter(found.values()), TopologyOptions())


def _ref(raw: dict[str, Any]) -> str:
    metadata = raw.get("metadata") or {}
    return f"{metadata.get('namespace', 'default')}/{metadata.get('name')}"
