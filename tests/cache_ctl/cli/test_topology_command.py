"""``cachectl topology``, as a process."""

from __future__ import annotations

import json
import struct
import xml.etree.ElementTree as ET

import pytest
import yaml

from tests.support.clusters import fleet, network_topology
from tests.support.command import FLEET, cachectl


def test_json_has_domains_local_nodes_and_routes():
    done = cachectl("topology", "-f", FLEET, "-o", "json")

    assert json.loads(done.stdout) == {
        "domains": [
            {
                "name": "cn-hangzhou",
                "networkClass": "Cloud",
                "members": ["cloud-1", "cloud-2"],
                "edges": [["cloud-1", "cloud-2"]],
            },
            {
                "name": "pool:np-line",
                "networkClass": "Dedicated",
                "members": ["line-1", "line-2"],
                "edges": [["line-1", "line-2"]],
            },
        ],
        "localOnly": [
            {"node": "shop-1", "networkClass": "Basic", "reason": "AckBasicPool"},
            {"node": "stray-1", "networkClass": "Basic", "reason": "NoMarker"},
        ],
        "routes": [
            {"domain": "cn-hangzhou", "path": ["cn-hangzhou", "origin"], "cost": 1.0},
            {
                "domain": "pool:np-line",
                "path": ["pool:np-line", "origin"],
                "cost": 40.0,
            },
        ],
    }


def test_the_table_shows_domains_and_local_nodes():
    text = cachectl("topology", "-f", FLEET).stdout

    assert "pool:np-line > origin" in text
    assert "LOCAL ONLY" in text


def test_without_any_domain_the_table_says_so():
    text = yaml.safe_dump_all(fleet({"p": 1}))

    assert "No domain" in cachectl("topology", "-f", "-", stdin=text).stdout


def test_dot_has_clusters_and_labelled_lines_and_no_line_at_basic_nodes():
    text = cachectl("topology", "-f", FLEET, "-o", "dot").stdout
    edges = [line for line in text.splitlines() if " -- " in line]

    assert 'label="pool:np-line (Dedicated)"' in text
    assert any("200Mbit, cost 40" in edge for edge in edges)
    assert '"line-1" -- "line-2"' in text
    assert not any("shop-1" in edge or "stray-1" in edge for edge in edges)
    assert text.count("{") == text.count("}")


def test_png_is_an_image_of_sensible_size(tmp_path):
    file = tmp_path / "t.png"

    done = cachectl("topology", "-f", FLEET, "-o", "png", "--output-file", file)

    data = file.read_bytes()
    assert (done.returncode, done.stderr) == (0, "")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert 500 < width < 4000
    assert 500 < height < 4000


def test_svg_names_domains_and_is_the_same_each_time():
    first = cachectl("topology", "-f", FLEET, "-o", "svg")
    second = cachectl("topology", "-f", FLEET, "-o", "svg")

    assert first.stdout == second.stdout
    assert ET.fromstring(first.stdout).tag.endswith("svg")
    assert "pool:np-line" in first.stdout


@pytest.mark.parametrize(
    "objects",
    [[], fleet({"p": 1}), fleet({}, basic=300), fleet({f"p{i}": 2 for i in range(9)}, cloud=90)],
    ids=["nothing", "one", "many-local", "many-domains"],
)
def test_a_picture_is_drawn_of_any_cluster(objects, tmp_path):
    file = tmp_path / "t.png"

    done = cachectl(
        "topology", "-f", "-", "-o", "png", "--output-file", file, stdin=yaml.safe_dump_all(objects)
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert file.stat().st_size > 5000


def test_a_link_that_names_no_domain_is_remarked_on_standard_error():
    objects = [*fleet({"p": 2}), network_topology(links=[{"from": "typo", "to": "cloud"}])]

    done = cachectl("topology", "-f", "-", "-o", "json", stdin=yaml.safe_dump_all(objects))

    assert done.returncode == 0
    assert "the link from typo to cloud is not used" in done.stderr
    assert json.loads(done.stdout)["domains"]


def test_peering_over_the_line_is_one_sentence():
    text = FLEET.read_text().replace("degree: 6", "dedicatedPeering: Cloud")

    done = cachectl("topology", "-f", "-", stdin=text)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "cachectl: CacheRuntime cache-system/edge-cache: spec.topology.dedicatedPeering is "
        "'Cloud', which is not offered yet; use None\n"
    )


def test_an_odd_degree_is_one_sentence():
    text = FLEET.read_text().replace("degree: 6", "degree: 5")

    done = cachectl("topology", "-f", "-", stdin=text)

    assert done.returncode == 1
    assert done.stderr.startswith("cachectl: topology.degree is 5; it must be an even number")


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    file = tmp_path / "none" / "t.dot"

    done = cachectl("topology", "-f", FLEET, "-o", "dot", "--output-file", file)

    assert done.returncode == 1
    assert done.stderr == f"cachectl: {file} cannot be written: No such file or directory\n"


def test_a_table_does_not_go_into_a_file(tmp_path):
    done = cachectl("topology", "-f", FLEET, "--output-file", tmp_path / "t")

    assert done.returncode == 2
    assert not (tmp_path / "t").exists()
