"""Both orders of eviction against plain models of what they promise."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.policy.evict import Epoch, S3Fifo, policy_for


def idle(_name):
    return False


class S3Model:
    """Algorithm 1 of the paper with lists, sizes in bytes, and this store's two deviations."""

    def __init__(self):
        self.small, self.main, self.ghosts = [], [], []
        self.size, self.reads = {}, {}

    def insert(self, name, size):
        self.size[name], self.reads[name] = size, 0
        if name in self.ghosts:
            self.ghosts.remove(name)
            self.main.append(name)
        else:
            self.small.append(name)

    def touch(self, name):
        if name in self.reads:
            self.reads[name] = min(3, self.reads[name] + 1)

    def remove(self, name):
        for queue in (self.small, self.main):
            if name in queue:
                queue.remove(name)
        self.size.pop(name, None)
        self.reads.pop(name, None)

    def victim(self, busy):
        small = sum(self.size[name] for name in self.small)
        steps = [self.evict_small, self.evict_main]
        if small * 10 < sum(self.size.values()):
            steps.reverse()
        for step in steps:
            name = step(busy)
            if name is not None:
                self.remove(name)
                return name
        return None

    def evict_small(self, busy):
        for _ in range(len(self.small)):
            name = self.small.pop(0)
            if busy(name):
                self.small.append(name)
            elif self.reads[name] > 1:
                self.reads[name] = 0
                self.main.append(name)
            else:
                self.ghosts.append(name)
                self.ghosts = self.ghosts[-max(16, len(self.size) - 1) :]
                return name
        return None

    def evict_main(self, busy):
        for _ in range(4 * len(self.main)):
            name = self.main.pop(0)
            if busy(name):
                self.main.append(name)
            elif self.reads[name]:
                self.reads[name] -= 1
                self.main.append(name)
            else:
                return name
        return None


class Op(NamedTuple):
    kind: str
    unit: int
    size: int


ops = st.lists(
    st.builds(
        Op,
        st.sampled_from(["insert", "insert", "touch", "touch", "victim", "remove", "busy victim"]),
        st.integers(0, 40),
        st.sampled_from([4, 4, 4, 1, 60]),
    ),
    max_size=300,
)


@settings(max_examples=150, deadline=None)
@given(ops)
def test_s3_fifo_evicts_in_the_order_of_the_model(sequence):
    policy, model = S3Fifo(), S3Model()
    for op in sequence:
        name = ("k", op.unit)
        match op.kind:
            case "insert" if name not in model.size:
                policy.insert(name, op.size)
                model.insert(name, op.size)
            case "touch":
                policy.touch(name)
                model.touch(name)
            case "remove":
                policy.remove(name)
                model.remove(name)
            case "victim" | "busy victim":
                busy = idle if op.kind == "victim" else (lambda unit: unit[1] % 2 == 0)
                reads = dict(model.reads)
                was_main = set(model.main)
                expected = model.victim(busy)
                found = policy.victim(busy)
                assert (found.name if found else None) == expected
                if found is not None:
                    if found.name in was_main:
                        assert found.reread
                    elif expected in model.ghosts:
                        assert found.reread == (reads[expected] > 0)
        assert dict(policy.names()) == model.size
        assert policy.size == sum(model.size.values())


@settings(max_examples=100, deadline=None)
@given(ops)
def test_epoch_gives_up_the_newest_and_only_when_told_to(sequence):
    policy, model = Epoch(), {}
    for op in sequence:
        name = ("k", op.unit)
        match op.kind:
            case "insert" if name not in model:
                policy.insert(name, op.size)
                model[name] = op.size
            case "touch":
                policy.touch(name)
            case "remove":
                policy.remove(name)
                model.pop(name, None)
            case "victim" | "busy victim":
                busy = idle if op.kind == "victim" else (lambda unit: unit[1] % 2 == 0)
                expected = next((unit for unit in reversed(model) if not busy(unit)), None)
                found = policy.victim(busy)
                assert (found.name if found else None) == expected
                model.pop(expected, None)
        assert list(policy.names()) == list(model.items())
        assert policy.size == sum(model.values())


@pytest.mark.parametrize("policy", [Epoch(), S3Fifo()], ids=["Epoch", "S3Fifo"])
def test_a_unit_may_grow(policy):
    policy.insert(("k", 1), 4)
    policy.insert(("k", 2), 4)
    policy.grow(("k", 1), 6)
    assert policy.size == 14
    assert dict(policy.names()) == {("k", 1): 10, ("k", 2): 4}
    while policy.victim(idle):
        pass
    assert policy.size == 0


def test_kinds_have_their_policies():
    assert not policy_for("Epoch").yields
    assert policy_for("Serving").yields


def hit_ratio(policy, trace, capacity):
    here, hits = set(), 0
    for unit in trace:
        name = ("k", unit)
        if name in here:
            hits += 1
            policy.touch(name)
            continue
        if len(here) == capacity:
            if not policy.yields:
                continue
            here.discard(policy.victim(idle).name)
        policy.insert(name, 1)
        here.add(name)
    return hits / len(trace)


def test_s3_fifo_serves_skewed_reads_better_than_keeping_the_first():
    choice = random.Random(7)
    weights = [1 / (rank + 1) ** 0.9 for rank in range(2_000)]
    units = choice.sample(range(2_000), 2_000)
    trace = choice.choices(units, weights, k=40_000)
    assert hit_ratio(S3Fifo(), trace, 200) > hit_ratio(Epoch(), trace, 200) + 0.03


def test_epoch_hits_its_share_on_shuffled_epochs():
    choice = random.Random(7)
    trace = [unit for _ in range(6) for unit in choice.sample(range(1_000), 1_000)]
    assert hit_ratio(Epoch(), trace, 500) == pytest.approx(0.5 * 5 / 6)
    assert hit_ratio(S3Fifo(), trace, 500) < 0.4


def test_what_others_choose_leaves_unless_it_was_read_and_is_remembered():
    policy = S3Fifo()
    for name in "abc":
        policy.insert((name, 0), 10)
    policy.touch(("b", 0))
    assert [policy.let_go((name, 0)) for name in "ab"] == [True, False]
    assert [name for name, _ in policy.names()] == [("b", 0), ("c", 0)]
    assert policy.size == 20
    policy.insert(("a", 0), 10)
    assert not policy.let_go(("a", 0))  # in the main queue by now
    keeping = Epoch()
    keeping.insert(("a", 0), 10)
    keeping.touch(("a", 0))
    assert keeping.let_go(("a", 0))
    assert keeping.size == 0
