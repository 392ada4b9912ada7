"""Which nodes a runtime's agents run on, and which of them add capacity."""

from __future__ import annotations

import pytest

from cache_ctl.api.v1alpha1.cacheruntime import RuntimeNodes
from cache_ctl.domain.domains import Classification
from cache_ctl.reconcile.access import selects
from cache_ctl.reconcile.roles import cache_agents
from tests.support.objects import node

GPU = {"key": "gpu", "value": "a100", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("spec", "labels", "taints", "selected"),
    [
        pytest.param({}, {}, [], True, id="all nodes"),
        pytest.param({"selector": {"matchLabels": {"a": "b"}}}, {"a": "b"}, [], True, id="label"),
        pytest.param({"selector": {"matchLabels": {"a": "b"}}}, {"a": "c"}, [], False, id="other"),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
            {},
            [],
            False,
            id="key missing",
        ),
        pytest.param(
            {
                "selector": {
                    "matchExpressions": [{"key": "a", "operator": "NotIn"} | {"values": ["b"]}]
                }
            },
            {},
            [],
            True,
            id="absent is not in",
        ),
        pytest.param({}, {}, [GPU], False, id="taint"),
        pytest.param({}, {}, [GPU | {"effect": "PreferNoSchedule"}], True, id="soft taint"),
        pytest.param(
            {},
            {},
            [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}],
            True,
            id="taint that every daemon tolerates",
        ),
        pytest.param(
            {"tolerations": [{"key": "gpu", "value": "a100"}]}, {}, [GPU], True, id="equal"
        ),
        pytest.param(
            {"tolerations": [{"key": "gpu", "value": "h100"}]}, {}, [GPU], False, id="unequal"
        ),
        pytest.param(
            {"tolerations": [{"key": "gpu", "operator": "Exists"}]}, {}, [GPU], True, id="exists"
        ),
        pytest.param({"tolerations": [{"operator": "Exists"}]}, {}, [GPU], True, id="everything"),
        pytest.param(
            {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]},
            {},
            [GPU],
            False,
            id="another effect",
        ),
    ],
)
def test_nodes_are_selected_as_kubernetes_would_place_daemons(spec, labels, taints, selected):
    nodes = RuntimeNodes.model_validate(spec)

    assert selects(nodes, node("n", "10.0.0.1", labels=labels, taints=taints)) is selected


def classified(sizes):
    return [
        Classification(f"{domain}-{n}", f"uid-{domain}-{n}", "Cloud", domain, "Because", "")
        for domain, size in sizes.items()
        for n in range(size)
    ] + [Classification("alone", "uid-alone", "Basic", None, "Because", "")]


def by_domain(chosen):
    found = {}
    for uid in chosen:
        domain = uid.split("-")[1]
        found[domain] = found.get(domain, 0) + 1
    return found


def test_without_a_number_every_agent_caches():
    assert len(cache_agents(classified({"a": 3, "b": 2}), None)) == 6


def test_a_number_is_spread_over_domains_and_leaves_local_agents_out():
    chosen = cache_agents(classified({"a": 10, "b": 10, "c": 1}), 7)

    assert by_domain(chosen) == {"a": 3, "b": 3, "c": 1, "alone": 1}


def test_one_replica_more_adds_one_agent_and_moves_none():
    nodes = classified({"a": 10, "b": 10})
    for replicas in range(20):
        assert len(cache_agents(nodes, replicas + 1) - cache_agents(nodes, replicas)) == 1
        assert cache_agents(nodes, replicas) <= cache_agents(nodes, replicas + 1)


def test_a_node_that_joins_displaces_one_at_most():
    before = cache_agents(classified({"a": 10, "b": 10}), 8)
    after = cache_agents(classified({"a": 11, "b": 10}), 8)

    assert len(before - after) <= 1


def test_the_order_of_nodes_does_not_matter():
    nodes = classified({"a": 10, "b": 10})

    assert cache_agents(nodes[::-1], 9) == cache_agents(nodes, 9)
