"""The rows over several nodes hold themselves to the bars that the suite promises."""

from __future__ import annotations

import pytest

from tests.perf.bench import discovery
from tests.perf.bench.agents import running_agents
from tests.perf.bench.cluster import PIECE, make_objects, read_at, rings
from tests.support.lab_origin import LabOrigin

BARS = {
    "herd": {
        ("time ÷ one reader's", ""): (1.3, 1.1),
        ("origin's requests ÷ chunks", ""): (1.0, None),
        ("origin's requests ÷ small objects", ""): (1.0, None),
    },
    "swarm": {
        ("small: time ÷ (S ÷ B)", ""): (4.0, 2.0),
        ("small: busiest uplink ÷ S", ""): (6, None),
        ("small: origin's bytes ÷ S", ""): (1.0, None),
        ("large: time ÷ (S ÷ B)", ""): (1.5, 1.15),
        ("large: busiest uplink ÷ S", ""): (6, None),
        ("large: origin's bytes ÷ S", ""): (1.0, None),
    },
    "epoch-half": {
        ("hit ratio less the optimum", ""): (-0.02, None),
        ("origin's bytes an epoch ÷ the optimum", ""): (1.02, None),
    },
    "zipf": {
        ("hit ratio less that of the best other", ""): (-0.01, 0.0),
        ("hit ratio in an agent less that of the policy alone", ""): (-0.01, 0.0),
    },
    "scale-out": {
        ("2 nodes: sum of rates ÷ 2 x one's", ""): (0.85, 0.95),
        ("4 nodes: sum of rates ÷ 4 x one's", ""): (0.85, 0.95),
        ("8 nodes: sum of rates ÷ 8 x one's", ""): (0.85, 0.95),
    },
}


@pytest.mark.parametrize("name", BARS)
def test_the_bars_are_the_promised_ones(name):
    (row,) = discovery.chosen(discovery.rows(), [name])
    assert row.bars == BARS[name]


def test_readers_read_everything_and_a_wrong_byte_ends_a_row(tmp_path):
    folder = tmp_path / "origin"
    sizes = {"large": PIECE + 1, "small": 1000}
    make_objects(folder, sizes)
    origin = LabOrigin(folder)
    try:
        with running_agents(tmp_path / "lab", origin.source, domain=None) as agents:
            both = [(agents[0], list(sizes)), (agents[0], list(sizes))]

            assert read_at(both, check=folder).bytes == 2 * sum(sizes.values())

            (folder / "large").write_bytes(bytes(PIECE + 1))
            with pytest.raises(ValueError, match="wrong bytes in large at 0"):
                read_at(both, check=folder)
    finally:
        origin.stop()


def test_objects_are_different_everywhere(tmp_path):
    make_objects(tmp_path, {"a": 2 * PIECE, "b": PIECE})
    whole = (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes()

    assert len(whole) == 3 * PIECE
    assert len({whole[at : at + PIECE] for at in range(0, len(whole), PIECE)}) == 3


def test_the_graph_is_the_controllers():
    made = rings(16)

    assert len(made) == 3
    assert all(sorted(ring) == list(range(16)) for ring in made)
    assert rings(7) == ()
