"""What is taken away goes at once; what is added must hold."""

from __future__ import annotations

import math

import pytest

from cache_ctl.domain.domains import Classification
from cache_ctl.domain.facts import NodeFacts
from cache_ctl.domain.hold import (
    GRACE_SECONDS,
    HOLD_SECONDS,
    Settled,
    absences,
    grace_seconds,
    settle,
)


def seen(network_class, domain, *, reason="Seen"):
    return Classification(
        node="n", uid="u", network_class=network_class, domain=domain, reason=reason,
        message="as seen",
    )  # fmt: skip


BASIC = seen("Basic", None)
POOL = seen("Dedicated", "pool:p")
OTHER_POOL = seen("Dedicated", "pool:q")
PARTED = seen("Dedicated", None)
CLOUD = seen("Cloud", "cloud")


def in_force(settled):
    (item,) = settled.classifications
    return item.network_class, item.domain


def test_a_new_node_is_taken_as_it_is_seen():
    assert in_force(settle(Settled(), [POOL], 0)) == ("Dedicated", "pool:p")


@pytest.mark.parametrize(
    ("before", "after"),
    [(POOL, BASIC), (POOL, PARTED), (CLOUD, BASIC), (PARTED, BASIC)],
    ids=["to-basic", "pool-parted", "cloud-to-basic", "parted-to-basic"],
)
def test_a_restriction_counts_at_once(before, after):
    settled = settle(settle(Settled(), [before], 0), [after], 1)

    assert in_force(settled) == (after.network_class, after.domain)
    assert settled.due is None


@pytest.mark.parametrize(
    ("before", "after", "meanwhile"),
    [
        (BASIC, POOL, ("Basic", None)),
        (BASIC, CLOUD, ("Basic", None)),
        (PARTED, POOL, ("Dedicated", None)),
        (POOL, OTHER_POOL, ("Dedicated", None)),
        (POOL, CLOUD, ("Dedicated", None)),
        (CLOUD, POOL, ("Dedicated", None)),
    ],
    ids=["to-pool", "to-cloud", "connected", "pool-changed", "pool-to-cloud", "cloud-to-pool"],
)
def test_a_permission_waits_until_its_evidence_has_held(before, after, meanwhile):
    settled = settle(Settled(), [before], 0)
    settled = settle(settled, [after], 100)
    assert in_force(settled) == meanwhile
    assert settled.classifications[0].reason == "EvidenceHolding"
    assert settled.due == 100 + HOLD_SECONDS

    settled = settle(settled, [after], 100 + HOLD_SECONDS - 1)
    assert in_force(settled) == meanwhile

    settled = settle(settled, [after], 100 + HOLD_SECONDS)
    assert in_force(settled) == (after.network_class, after.domain)
    assert settled.due is None


def test_evidence_that_flaps_starts_to_wait_anew():
    settled = settle(settle(Settled(), [BASIC], 0), [POOL], 10)
    settled = settle(settled, [BASIC], 60)
    settled = settle(settled, [POOL], 65)

    assert in_force(settle(settled, [POOL], 71)) == ("Basic", None)
    assert in_force(settle(settled, [POOL], 65 + HOLD_SECONDS)) == ("Dedicated", "pool:p")


def test_evidence_for_something_else_starts_to_wait_anew():
    settled = settle(settle(Settled(), [BASIC], 0), [POOL], 10)
    settled = settle(settled, [OTHER_POOL], 50)

    assert in_force(settle(settled, [OTHER_POOL], 75)) == ("Basic", None)


def test_a_change_of_words_alone_counts_at_once():
    settled = settle(settle(Settled(), [POOL], 0), [seen("Dedicated", "pool:p", reason="New")], 1)

    assert settled.classifications[0].reason == "New"


def test_a_node_that_is_gone_is_forgotten():
    assert settle(settle(Settled(), [POOL], 0), [], 1).classifications == ()


def fact(ready, annotations=None):
    return NodeFacts("n", "u", annotations=annotations or {}, ready=ready)


def test_an_absent_node_keeps_its_place_for_its_grace():
    first = absences({}, [fact(ready=False)], 10)
    assert first.expired == frozenset()

    later = absences(first.since, [fact(ready=False)], 10 + GRACE_SECONDS)
    assert later.expired == {"u"}

    back = absences(later.since, [fact(ready=True)], 10 + GRACE_SECONDS)
    assert (back.expired, dict(back.since)) == (frozenset(), {})


@pytest.mark.parametrize(
    ("annotations", "seconds"),
    [
        ({}, GRACE_SECONDS),
        ({"node.openyurt.io/autonomy-duration": "2h30m"}, 9000),
        ({"node.openyurt.io/autonomy-duration": "10s"}, GRACE_SECONDS),
        ({"node.alibabacloud.com/autonomy-duration": "1000s"}, 1000),
        ({"node.openyurt.io/autonomy-duration": "0s"}, math.inf),
        ({"node.openyurt.io/autonomy-duration": "-1s"}, math.inf),
        ({"node.openyurt.io/autonomy-duration": "soon"}, GRACE_SECONDS),
        ({"node.beta.openyurt.io/autonomy": "true"}, math.inf),
    ],
)
def test_a_nodes_autonomy_lengthens_its_grace(annotations, seconds):
    assert grace_seconds(fact(ready=False, annotations=annotations)) == seconds
