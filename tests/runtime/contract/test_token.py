"""Tokens and proofs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract.token import Keys, check, identity_proof, peer_token, reader_token
from runtime.errors import AccessDenied, ConfigError

MASTER = b"m" * 32
CLOUD = Keys.derive(MASTER, "cloud")


def test_a_token_tells_its_scope():
    assert check(CLOUD, reader_token(CLOUD, "team/images")) == ("reader", "team/images")
    assert check(CLOUD, peer_token(CLOUD, "sys/cache")) == ("peer", "sys/cache")


def test_a_reader_token_holds_on_every_node_of_the_runtime():
    basic = Keys.derive(MASTER, None)

    assert check(basic, reader_token(CLOUD, "a/b")) == ("reader", "a/b")


def test_a_peer_token_holds_in_its_own_domain_only():
    other = Keys.derive(MASTER, "pool:x")

    with pytest.raises(AccessDenied):
        check(other, peer_token(CLOUD, "sys/cache"))


def test_a_local_only_node_can_neither_make_nor_take_a_peer_token():
    basic = Keys.derive(MASTER, None)

    assert basic.peer == b""
    with pytest.raises(AccessDenied):
        check(basic, peer_token(basic, "sys/cache"))


def test_a_reader_token_is_no_peer_token():
    forged = reader_token(CLOUD, "sys/cache").replace("reader", "peer")

    with pytest.raises(AccessDenied):
        check(CLOUD, forged)


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text):
    with pytest.raises(AccessDenied):
        check(CLOUD, text)


@given(st.data())
def test_one_changed_character_is_refused(data):
    token = reader_token(CLOUD, "team/images")
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = token[:place] + other + token[place + 1 :]
    if changed != token:
        with pytest.raises(AccessDenied):
            check(CLOUD, changed)


def test_keys_do_not_show_in_repr_and_survive_their_file():
    assert CLOUD.reader.decode() not in repr(CLOUD)
    assert Keys.decode(CLOUD.encode()) == CLOUD


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"reader": 1, "peer": ""}'])
def test_a_key_file_that_is_none_is_refused(text):
    with pytest.raises(ConfigError):
        Keys.decode(text)


def test_a_proof_holds_for_one_nonce_one_node_and_one_domain():
    proof = identity_proof(CLOUD, "n1", "u1", "cloud")

    assert proof != identity_proof(CLOUD, "n2", "u1", "cloud")
    assert proof != identity_proof(CLOUD, "n1", "u2", "cloud")
    assert proof != identity_proof(Keys.derive(MASTER, "pool:x"), "n1", "u1", "cloud")
