"""Names of plans are DNS subdomains and never collide."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_ctl.domain.naming import dns_name, local_plan_name, plan_name

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@pytest.mark.parametrize(
    ("domain", "name"),
    [("cloud", "cloud"), ("cn-hangzhou", "cn-hangzhou"), ("pool:np-a", "pool.np-a")],
)
def test_a_plain_name_is_kept(domain, name):
    assert dns_name(domain) == name


@pytest.mark.parametrize("domain", ["pool.np-a", "Pool:np-a", "pool:np-a/gw", "a" * 64, "", "域"])
def test_any_other_name_gets_a_digest(domain):
    assert re.search(r"(^|-)[0-9a-f]{8}$", dns_name(domain))


@given(st.lists(st.text("abAB-.:/@1é", max_size=80), min_size=2, max_size=30, unique=True))
def test_names_are_valid_short_and_different(domains):
    names = [plan_name("ns/edge", domain) for domain in domains]

    assert len(set(names)) == len(domains)
    for name in names:
        assert SUBDOMAIN.fullmatch(name)
        assert len(dns_name(name.partition(".")[2])) <= 63


def test_a_domain_cannot_take_the_name_of_a_local_plan():
    assert plan_name("ns/edge", "local-basic") != local_plan_name("ns/edge", "Basic")


def test_runtimes_cannot_take_each_others_names():
    assert plan_name("ns/a", "b:c") != plan_name("ns/a.b", "c")
    assert plan_name("ns/a-b", "c") != plan_name("ns/a", "b-c")


def test_the_longest_runtime_still_gives_a_valid_object_name():
    assert len(plan_name(f"ns/{'a.' * 126}z", "x" * 300)) <= 253
