"""The pages lead somewhere: their links, the index, and the map of the tree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.pages import REPOSITORY, pages

_LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)]+))?\)")
_CODE = re.compile(r"(?s)```.*?```")


def anchors(path: Path) -> set[str]:
    """Return what the headings of a page are called in links, as GitHub makes it."""
    heads = re.findall(r"(?m)^#+ (.+)$", _CODE.sub("", path.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", pages())
def test_links_lead_somewhere(name):
    page = pages()[name]
    for target, anchor in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), f"{name} links to {target}"
        assert place.is_relative_to(REPOSITORY)
        if anchor:
            assert anchor in anchors(place), f"{name} links to {target}#{anchor}"


def test_the_index_names_every_page():
    index = (REPOSITORY / "docs/index.md").read_text("utf-8")
    linked = {target for target, _ in _LINK.findall(index)}
    assert linked >= pages().keys() - {"README.md", "index.md"}


def tree() -> dict[str, set[str]]:
    """Return what the map of the tree in docs/architecture.md names, by top folder."""
    text = (REPOSITORY / "docs/architecture.md").read_text("utf-8")
    found: dict[str, set[str]] = {}
    top = ""
    for line in re.search(r"(?s)```text\n(cache_ctl/.*?)```", text).group(1).splitlines():
        name = line.split()[0].rstrip("/")
        if line.startswith(" "):
            found[top].add(name)
        else:
            top = name
            found[top] = set()
    return found


def test_the_map_of_the_tree_is_that_of_the_tree():
    shown = tree()
    for top in ("cache_ctl", "runtime"):
        there = {path.name for path in (REPOSITORY / top).iterdir() if path.name[0] != "_"}
        assert shown[top] == {"__main__.py"} | there
    there = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir()}
    assert shown["tests"] == there - {"cache_ctl", "data", "runtime", "__pycache__"}


def test_the_order_of_imports_is_the_one_that_is_checked():
    text = (REPOSITORY / "docs/architecture.md").read_text("utf-8")
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert " -> ".join(f"{{{item}}}" if "|" in item else item for item in layers) in text
