"""Nodes of other machines get addresses of their own on this one."""

from __future__ import annotations

from ipaddress import ip_address

from cache_ctl.local.addresses import internal_ip, reachable_here


def node(name, *addresses):
    rows = [{"type": "Hostname", "address": name}]
    rows += [{"type": "InternalIP", "address": address} for address in addresses]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"addresses": rows}}


def test_an_address_of_this_machine_stays():
    given = node("a", "127.0.3.7")
    assert reachable_here(given, [given], scope="s") is given


def test_a_node_without_an_address_stays_so():
    given = node("a")
    assert reachable_here(given, [], scope="s") is given


def test_another_machines_address_becomes_a_loopback_one_each_time_the_same():
    given = node("a", "192.0.2.201", "2001:db8::1")
    found = reachable_here(given, [], scope="s")

    assert ip_address(internal_ip(found)).is_loopback
    assert found["status"]["addresses"][0] == {"type": "Hostname", "address": "a"}
    assert found["status"]["addresses"][2]["address"] == "2001:db8::1"
    assert internal_ip(given) == "192.0.2.201"
    assert reachable_here(given, [found], scope="s") == found
    assert reachable_here(given, [], scope="another") != found


def test_no_two_nodes_share_an_address():
    first, second = node("a", "127.0.0.1"), node("b", "127.0.0.1")
    assert reachable_here(first, [], scope="s") is first
    moved = reachable_here(second, [first], scope="s")
    assert internal_ip(moved) != "127.0.0.1"

    squatter = node("c", internal_ip(moved))
    again = reachable_here(second, [first, squatter], scope="s")
    assert internal_ip(again) not in ("127.0.0.1", internal_ip(moved))


def test_what_is_no_address_is_left_for_its_own_error():
    given = node("a", "plenty")
    assert reachable_here(given, [], scope="s") is given
