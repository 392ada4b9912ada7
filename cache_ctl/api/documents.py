"""YAML text to plain documents that remember their lines. The first half of ``load``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[str | int, ...]
"""Where in a document: keys and indexes from its root."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file, as one sentence."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its data, and the line of every place in it."""

    file: str
    data: Any
    lines: dict[Place, int] = field(repr=False)

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest one around it that is there."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place, 1)

    def part(self, key: str, index: int) -> Document:
        """Return an item of a list in this document as a document of its own."""
        root: Place = (key, index)
        lines = {place[2:]: line for place, line in self.lines.items() if place[:2] == root}
        return Document(self.file, self.data[key][index], lines)


class _Loader(yaml.SafeLoader):
    """Reads what JSON can say: times stay strings, as they are in Kubernetes objects."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def documents(text: str, file: str) -> Iterator[Document | Problem]:
    """Yield the documents of a file in order; a malformed one is a problem, and ends it."""
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                return
            lines: dict[Place, int] = {}
            problems = [Problem(file, line, text) for line, text in _index(node, (), lines, ())]
            yield from problems
            if not problems:
                yield Document(file, loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "it cannot be read"
        yield Problem(file, mark.line + 1 if mark else 1, f"this is not valid YAML: {reason}")
    except (yaml.YAMLError, ValueError) as error:
        yield Problem(file, 1, f"this is not valid YAML: {error}")


def _index(
    node: yaml.Node, place: Place, lines: dict[Place, int], around: tuple[int, ...]
) -> Iterator[tuple[int, str]]:
    """Note the line of every place below ``node``; yield what is wrong on the way."""
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if id(node) in around:
        yield line, "this part refers to itself"
        return
    around = (*around, id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name, key_line = str(key.value), key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield key_line, "the name of a field must be a plain string"
            elif name in seen:
                yield key_line, f"the field {name} stands here twice; keep one of them"
            else:
                seen.add(name)
                lines[(*place, name)] = key_line
                yield from _index(value, (*place, name), lines, around)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _index(item, (*place, index), lines, around)
