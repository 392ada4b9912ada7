"""Eviction policies to compare with, each told of one access at a time.

A policy holds ``capacity`` objects of one size. ``hit(key)`` tells whether the object was there,
and brings it in if it was not. They are plain and follow their sources to the letter.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable

from runtime.policy.evict import policy_for

Hit = Callable[[Hashable], bool]


def serving(capacity: int) -> Hit:
    """Return the product's own policy for Serving Datasets, used as the store uses it."""
    policy = policy_for("Serving")
    held: set[Hashable] = set()

    def hit(key: Hashable) -> bool:
        name = (str(key), 0)
        if key in held:
            policy.touch(name)
            return True
        while len(held) >= capacity:
            victim = policy.victim(lambda _: False)
            assert victim is not None
            held.discard(int(victim.name[0]))
        policy.insert(name, 1)
        held.add(key)
        return False

    return hit


def lru(capacity: int) -> Hit:
    """Return least recently used."""
    held: OrderedDict[Hashable, None] = OrderedDict()

    def hit(key: Hashable) -> bool:
        if key in held:
            held.move_to_end(key)
            return True
        if len(held) >= capacity:
            held.popitem(last=False)
        held[key] = None
        return False

    return hit


def lfu(capacity: int) -> Hit:
    """Return least frequently used, of what is held; ties go to the one used longest ago."""
    held: dict[Hashable, tuple[int, int]] = {}
    heap: list[tuple[int, int, Hashable]] = []
    clock = 0

    def hit(key: Hashable) -> bool:
        nonlocal clock
        clock += 1
        was = held.get(key)
        if was is None and len(held) >= capacity:
            while True:
                uses, then, oldest = heapq.heappop(heap)
                if held.get(oldest) == (uses, then):
                    del held[oldest]
                    break
        held[key] = (was[0] + 1 if was else 1, clock)
        heapq.heappush(heap, (*held[key], key))
        return was is not None

    return hit


def s3_fifo(capacity: int) -> Hit:  # noqa: C901 - the paper's algorithm in one piece
    """Return S3-FIFO as in Yang et al., SOSP 2023, algorithm 1, with a small queue of a tenth."""
    small: deque[Hashable] = deque()
    main: deque[Hashable] = deque()
    ghost: OrderedDict[Hashable, None] = OrderedDict()
    reads: dict[Hashable, int] = {}
    most_small = max(1, capacity // 10)

    def from_main() -> None:
        while True:
            key = main.popleft()
            if not reads[key]:
                del reads[key]
                return
            reads[key] -= 1
            main.append(key)

    def from_small() -> bool:
        while small:
            key = small.popleft()
            if reads[key] > 1:
                reads[key] = 0
                main.append(key)
                continue
            del reads[key]
            ghost[key] = None
            while len(ghost) > capacity - most_small:
                ghost.popitem(last=False)
            return True
        return False

    def hit(key: Hashable) -> bool:
        if key in reads:
            reads[key] = min(reads[key] + 1, 3)
            return True
        while len(reads) >= capacity:
            if not (len(small) >= most_small and from_small()):
                from_main()
        if key in ghost:
            del ghost[key]
            main.append(key)
        else:
            small.append(key)
        reads[key] = 0
        return False

    return hit


def w_tiny_lfu(capacity: int) -> Hit:  # noqa: C901 - likewise
    """Return W-TinyLFU as in Einziger et al., ToS 2017: a window of 1 %, segmented LRU behind it.

    Frequencies are counted exactly up to 15 and halved every 10 x capacity accesses, which is what
    the paper's sketch approximates.
    """
    window: OrderedDict[Hashable, None] = OrderedDict()
    probation: OrderedDict[Hashable, None] = OrderedDict()
    protected: OrderedDict[Hashable, None] = OrderedDict()
    uses: Counter[Hashable] = Counter()
    seen = 0
    most_window = max(1, capacity // 100)
    most_main = capacity - most_window
    most_protected = most_main * 8 // 10

    def count(key: Hashable) -> None:
        nonlocal seen
        seen += 1
        uses[key] = min(uses[key] + 1, 15)
        if seen >= 10 * capacity:
            seen //= 2
            for known in list(uses):
                uses[known] //= 2
                if not uses[known]:
                    del uses[known]

    def hit(key: Hashable) -> bool:
        count(key)
        if key in window:
            window.move_to_end(key)
            return True
        if key in protected:
            protected.move_to_end(key)
            return True
        if key in probation:
            del probation[key]
            protected[key] = None
            if len(protected) > most_protected:
                probation[protected.popitem(last=False)[0]] = None
            return True
        window[key] = None
        if len(window) > most_window:
            candidate = window.popitem(last=False)[0]
            if len(probation) + len(protected) < most_main:
                probation[candidate] = None
            elif probation and uses[candidate] > uses[next(iter(probation))]:
                probation.popitem(last=False)
                probation[candidate] = None
        return False

    return hit


REFERENCES: dict[str, Callable[[int], Hit]] = {
    "LRU": lru,
    "LFU": lfu,
    "S3-FIFO": s3_fifo,
    "W-TinyLFU": w_tiny_lfu,
}
