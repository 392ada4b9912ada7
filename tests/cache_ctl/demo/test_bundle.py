"""The bundled YAML and the generated dataset."""

import re

import xxhash
import yaml

from cache_ctl.demo import data
from cache_ctl.demo.bundle import NAMES, write_files


def test_the_files_are_filled_in_and_kept(tmp_path):
    files = write_files(tmp_path / "files", state=tmp_path, origin_port=4242, agent_port=4343)
    kept = {name: (tmp_path / "files" / name).read_text() for name in NAMES}
    assert kept == files.texts
    assert not re.search(r"\$\{", "".join(kept.values()))
    runtime = yaml.safe_load(kept["runtime.yaml"])
    assert runtime["spec"]["port"] == 4343
    assert runtime["spec"]["tiers"][0]["path"] == f"{tmp_path}/tiers"
    source = yaml.safe_load(kept["dataset.yaml"])["spec"]["mounts"][0]["source"]
    assert source == "http://127.0.1.100:4242/"


def test_the_nodes_are_eleven_with_addresses_of_their_own(tmp_path):
    files = write_files(tmp_path / "files", state=tmp_path, origin_port=1, agent_port=2)
    nodes = [
        body for body in yaml.safe_load_all(files.texts["nodes.yaml"]) if body["kind"] == "Node"
    ]
    addresses = {node["status"]["addresses"][0]["address"] for node in nodes}
    assert len(nodes) == len(addresses) == 11
    assert files.nodes_summary == "NetworkTopology (1), Node (11), NodePool (4)"


def test_short_forms_leave_the_comments_out(tmp_path):
    files = write_files(tmp_path / "files", state=tmp_path, origin_port=1, agent_port=2)
    assert [name for name, _ in files.short_forms()] == list(NAMES[1:])
    assert all(text.startswith("apiVersion") for _, text in files.short_forms())


def test_the_dataset_is_the_same_every_time_and_its_digests_are_true(tmp_path):
    first = data.generate(tmp_path / "a")
    assert data.generate(tmp_path / "b") == first
    for sample in first:
        stored = (tmp_path / "a" / sample.path).read_bytes()
        assert (len(stored), xxhash.xxh3_128_hexdigest(stored)) == (sample.size, sample.digest)
    data.save(first, tmp_path / "digests.json")
    assert data.load(tmp_path / "digests.json") == first
