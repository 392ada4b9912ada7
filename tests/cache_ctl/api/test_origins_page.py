"""The examples of docs/origins.md are what they say: good YAML, and sources that open."""

from __future__ import annotations

import re

import pytest

from cache_ctl.api.load import load_files
from cache_ctl.api.v1alpha1.dataset import Dataset
from cache_ctl.reconcile.specs import mount_plan
from runtime.origin.base import open_origin
from runtime.origin.manifest import parse_manifest
from tests.support.pages import blocks

BLOCKS = blocks("origins.md")
EXAMPLES = [block.text for block in BLOCKS if block.language == "yaml"]
MANIFESTS = [block.text for block in BLOCKS if block.language == "text"]


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: re.findall(r"source: (\w+)", text)[0])
async def test_an_example_is_valid_and_its_source_opens_on_every_class(text, tmp_path):
    path = tmp_path / "example.yaml"
    path.write_text(text)
    objects = {body["kind"]: body for body in load_files([path]).required()}
    dataset = Dataset.model_validate(objects["Dataset"])
    login = objects.get("Secret", {}).get("stringData", {})
    [mount] = dataset.spec.mounts
    for network_class in ("Cloud", "Dedicated", "Basic"):
        plan = mount_plan(mount, dataset.metadata.namespace)
        origin = open_origin(plan, network_class, login)
        await origin.close()


def test_there_are_examples_of_all():
    assert len(EXAMPLES) == 4
    assert len(MANIFESTS) == 3


@pytest.mark.parametrize("text", MANIFESTS)
def test_the_manifests_name_the_same_files(text):
    found = parse_manifest(text.encode(), "it", base="http://h/")
    assert [item.path for item in found] == ["a/0001.tar", "a/0002.tar"]
    assert found[1].size == 104857600
