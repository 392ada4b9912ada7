"""A tier's folder: taken, marked, given back."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runtime.errors import ConfigError
from runtime.store import disk
from runtime.store.tier import Tier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.contract.plan import TierPlan
    from runtime.store.core import Core


def checked_path(plan: TierPlan) -> str:
    """Return the normal form of a tier's path.

    Raises:
        ConfigError: it is not absolute, or the watermarks make no sense.
    """
    if not os.path.isabs(plan.path):  # noqa: PTH117 - plain strings
        raise ConfigError(
            f"tier path {plan.path!r} is not absolute; give a path that begins with /"
        )
    if not 0 < plan.low <= plan.high <= 100:
        raise ConfigError(
            f"tier {plan.path}: watermarks high {plan.high} and low {plan.low} must be percentages "
            "with low at most high"
        )
    return os.path.normpath(plan.path)


def open_tier(core: Core, plan: TierPlan, number: int, boot_id: str) -> Tier:
    """Take a tier's folder: make it, lock it, and mark it as in use in this boot.

    A folder that the system refuses gives a tier in state Failed.

    Raises:
        ConfigError: the folder is another store's, or not a tier's.
    """
    tier = Tier(core, plan, number)
    try:
        os.makedirs(tier.path, exist_ok=True)  # noqa: PTH103 - plain strings, for speed
        tier.folder_fd = disk.lock_folder(tier.path)
        mark = disk.read_mark(tier.path)
        tier.suspect = mark is not None and mark.suspect_in(boot_id)
        disk.write_mark(
            tier.path,
            disk.Mark(boot_id, suspect=tier.suspect),
            core.fault,
            durable=mark is None or mark.clean,
        )
        tier.usable = True
    except (OSError, ConfigError) as error:
        if tier.folder_fd >= 0:
            os.close(tier.folder_fd)
            tier.folder_fd = -1
        if isinstance(error, ConfigError):
            raise
        tier.failed(error)
    return tier


def close_tier(core: Core, tier: Tier, boot_id: str, *, sync: bool) -> None:
    """Mark the folder as closed cleanly and give it free."""
    units = tier.residents.values()
    unseen = tier.recovering or any(dormant.count for dormant in tier.dormant.values())
    doubted = any(unit.doubted or unit.pair.distrusted for unit in units)
    suspect = doubted or (tier.suspect and unseen)
    if tier.usable:
        try:
            if sync:
                core.fault("close.before-sync")
                disk.sync_filesystem(tier.folder_fd)
            core.fault("close.before-mark")
            mark = disk.Mark(boot_id, clean=sync, suspect=suspect)
            disk.write_mark(tier.path, mark, core.fault, durable=sync)
        except OSError as error:
            tier.failed(error)
    unlock(tier)


def remove_tier(tier: Tier, datasets: Iterable[str]) -> None:
    """Remove an emptied tier's folders and give it free."""
    for dataset in datasets:
        remove_dataset(f"{tier.path}/{dataset}")
    with suppress(OSError):
        os.unlink(f"{tier.path}/{disk.MARK}")  # noqa: PTH108 - plain strings
        os.rmdir(tier.path)  # noqa: PTH106 - plain strings
    unlock(tier)


def remove_dataset(path: str) -> None:
    """Remove the empty folders of a Dataset in a tier."""
    with suppress(OSError), os.scandir(path) as prefixes:
        for prefix in prefixes:
            with suppress(OSError):
                os.rmdir(prefix.path)  # noqa: PTH106 - plain strings
    for folder in (path, path.rpartition("/")[0]):
        with suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 - plain strings


def unlock(tier: Tier) -> None:
    """Give the folder free; the tier admits nothing more."""
    tier.usable = False
    if tier.folder_fd >= 0:
        os.close(tier.folder_fd)
        tier.folder_fd = -1
