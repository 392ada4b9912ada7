"""The demo's dataset: many small images and a few large shards, the same bytes on every machine.

The digests are taken while the bytes are made, so that what readers check against never went
through the cache.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGES = 600
IMAGE_BYTES = (8 << 10, 120 << 10)
SHARDS = 10
SHARD_BYTES = (4 << 20, 6 << 20)
SEED = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One file of the dataset: its path there, its size in bytes and its xxh3-128 in hex."""

    path: str
    size: int
    digest: str


def _sizes(draw: random.Random) -> Iterator[tuple[str, int]]:
    for index in range(IMAGES):
        yield f"images/class-{index % 20:02d}/{index:04d}.jpg", draw.randint(*IMAGE_BYTES)
    for index in range(SHARDS):
        yield f"shards/part-{index:02d}.tar", draw.randint(*SHARD_BYTES)


def generate(root: Path) -> tuple[Sample, ...]:
    """Write the dataset below ``root`` and return its files in path order.

    Raises:
        OSError: the files cannot be written.
    """
    draw = random.Random(SEED)  # noqa: S311 - test data wants to be repeatable, not secret
    samples = []
    for path, size in _sizes(draw):
        data = draw.randbytes(size)
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        samples.append(Sample(path, size, xxhash.xxh3_128_hexdigest(data)))
    return tuple(sorted(samples, key=lambda sample: sample.path))


def save(samples: tuple[Sample, ...], place: Path) -> None:
    """Write the digests to a file that readers load."""
    place.write_text(json.dumps([[item.path, item.size, item.digest] for item in samples]))


def load(place: Path) -> tuple[Sample, ...]:
    """Read what ``save`` wrote."""
    return tuple(Sample(path, size, digest) for path, size, digest in json.loads(place.read_text()))
