from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.contract.plan import TierPlan
from runtime.store.store import Store

Opener = Callable[..., Store]


@pytest.fixture
def open_store() -> Iterator[Opener]:
    """Open stores that are closed after the test, without waiting for the medium."""
    stores: list[Store] = []

    def opener(*tiers: TierPlan, boot_id: str = "boot-1", **settings) -> Store:
        store = Store.open(tiers, boot_id=boot_id, **settings)
        stores.append(store)
        return store

    yield opener
    for store in stores:
        store.close(sync=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "tier"
