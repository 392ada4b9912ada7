"""What the row of the decisions measures is decided right; the row itself measures."""

from __future__ import annotations

from tests.perf.bench.rows import decisions


def test_every_node_of_a_large_cluster_follows_a_plan():
    seconds, planned = decisions.decide(decisions.cluster_objects(1000))

    assert set(seconds) == {"classify", "topology", "plan"}
    assert len(planned.followed) == 1000
    # 16 private pools of 50 are domains, the nodes of the 4 public ones share a plan.
    assert len(planned.plans) == 17


def test_the_plan_of_a_domain_of_5000_fits_into_a_config_map():
    assert decisions.plan_bytes(5000) < decisions.CONFIG_MAP


def test_a_size_is_measured_in_a_process_of_its_own():
    found = decisions.measured(100)

    assert found["all"] == found["classify"] + found["topology"] + found["plan"]
    assert found["peak"] > 1 << 20
