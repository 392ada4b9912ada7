"""The report as Prometheus text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.contract.report import NodeReport


def exposition(node: NodeReport) -> bytes:
    """Return a report in Prometheus' text format, version 0.0.4."""
    return ("\n".join(_lines(node)) + "\n").encode()


def _lines(node: NodeReport) -> Iterator[str]:
    for name, value in node.counters.items():
        yield from _metric(f"cachectl_{name}_total", "counter", [("", value)])
    yield from _metric("cachectl_ready", "gauge", [("", int(node.ready))])
    yield from _metric("cachectl_members_down", "gauge", [("", node.members_down)])
    yield from _metric("cachectl_plan_generation", "gauge", [("", node.plan_generation)])
    tiers = [(_labels(medium=tier.medium, path=tier.path), tier) for tier in node.tiers]
    yield from _metric("cachectl_tier_quota_bytes", "gauge", [(at, t.quota) for at, t in tiers])
    yield from _metric("cachectl_tier_used_bytes", "gauge", [(at, t.used) for at, t in tiers])
    sets = [(_labels(dataset=row.dataset), row) for row in node.datasets]
    yield from _metric("cachectl_dataset_bytes", "gauge", [(at, d.bytes) for at, d in sets])
    yield from _metric(
        "cachectl_dataset_owned_bytes", "gauge", [(at, d.owned_bytes) for at, d in sets]
    )
    yield from _metric(
        "cachectl_dataset_spare_bytes", "gauge", [(at, d.spare_bytes) for at, d in sets]
    )
    yield from _metric(
        "cachectl_dataset_origin_bytes_total", "counter", [(at, d.origin_bytes) for at, d in sets]
    )
    yield from _metric(
        "cachectl_dataset_peer_bytes_total", "counter", [(at, d.peer_bytes) for at, d in sets]
    )


def _metric(name: str, kind: str, samples: list[tuple[str, int]]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{labels} {value}"


def _labels(**labels: str) -> str:
    escaped = (
        (key, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for key, value in labels.items()
    )
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped) + "}"
