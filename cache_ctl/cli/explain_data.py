"""What ``cachectl explain dataset`` and ``explain chunk`` print: plans and catalogs, joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import click

from cache_ctl.cli.read import read_input
from cache_ctl.cli.show import print_table
from cache_ctl.cli.state import State, resolve_dataset
from cache_ctl.domain import ownership
from cache_ctl.domain.classify import classify
from cache_ctl.domain.quantity import format_rate
from cache_ctl.errors import InvalidInput, UnknownName
from runtime.contract.ownership import Ownership
from runtime.contract.units import Unit, snapshot_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runtime.catalog.read import Catalog
    from runtime.contract.plan import DatasetPlan, MountPlan, NetworkClass, Plan

_LOCAL_ONLY_POLICIES = {
    "Cache": "each node caches what it reads",
    "Bypass": "each node reads through and keeps nothing",
    "Refuse": "reads are refused",
}


def public_url(text: str) -> str:
    """Return an address without credentials, query and fragment."""
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def origin_of(mount: MountPlan, network_class: NetworkClass) -> str:
    """Return where nodes of a class fetch a mount: the class's endpoint, or the source."""
    endpoint = mount.endpoints.for_class(network_class) or mount.options.get("endpoint", "")
    return public_url(endpoint or mount.source)


def dataset_rows(plans: dict[str, Plan], dataset: DatasetPlan) -> list[dict[str, Any]]:
    """Return one row for every plan that has the Dataset."""
    rows = []
    for name, plan in plans.items():
        held = next((item for item in plan.datasets if item.ref == dataset.ref), None)
        if held is None:
            continue
        distributed = plan.mode == "Distributed"
        names = {member.uid: member.name for member in plan.members}
        caches = [(member.uid, member.weight) for member in plan.members if member.role == "cache"]
        first = Ownership(caches).of(snapshot_name(dataset.ref))[:1] if distributed else ()
        part = ownership.shares(plan) if distributed else {}
        rows.append(
            {
                "plan": name,
                "domain": plan.domain,
                "networkClass": plan.network_class,
                "mode": plan.mode,
                "generation": plan.generation,
                "copies": held.copies,
                "origins": [origin_of(mount, plan.network_class) for mount in held.mounts],
                "lineBytesPerSecond": plan.line_bytes_per_second,
                "snapshotTakenBy": names[first[0]] if first else None,
                "localOnlyPolicy": None if distributed else held.local_only,
                "shares": {names[uid]: round(share, 4) for uid, share in part.items()},
            }
        )
    return rows


def print_dataset(dataset: DatasetPlan, rows: list[dict[str, Any]]) -> None:
    """Print the rows of a Dataset for people."""
    click.echo(f"{dataset.ref}, cache policy {dataset.cache_policy}.")
    for row in rows:
        title = row["domain"] or f"LocalOnly {row['networkClass']} nodes"
        limit = row["lineBytesPerSecond"]
        drawn = f"at most {format_rate(limit)}" if limit else "without a limit"
        click.echo(f"\n{title} ({row['networkClass']}, {row['mode']})")
        click.echo(f"  fetches from {', '.join(row['origins'])}, {drawn}")
        if row["mode"] == "LocalOnly":
            click.echo(f"  no peers; {_LOCAL_ONLY_POLICIES[row['localOnlyPolicy']]}")
            continue
        click.echo(
            f"  keeps {_copies(row['copies'])} of each chunk in the domain; the snapshot is "
            f"taken by {row['snapshotTakenBy']}"
        )
        for node, share in row["shares"].items():
            owned = f"owns {share:6.1%} of the chunks" if share else "only reads"
            click.echo(f"  {node}: {owned}")


def _copies(count: int) -> str:
    return "one copy" if count == 1 else f"{count} copies"


def chunk_document(
    state: State, name: str, path: str, offset: int, *, reader: str | None
) -> dict[str, Any]:
    """Return who owns a chunk in every domain, and where a read on ``reader`` looks.

    Raises:
        UnknownName: there is no such Dataset, path or node, or no node has a catalog yet.
        InvalidInput: the offset is beyond the object.
    """
    plans = state.plans()
    dataset = resolve_dataset(plans, name)
    followed = _plan_of(state, plans, reader) if reader is not None else None
    domains = []
    read: dict[str, Any] | None = None
    for plan in sorted(plans.values(), key=lambda plan: (plan.mode, plan.domain or "")):
        relevant = plan.mode == "Distributed" or plan is followed
        if not relevant or all(item.ref != dataset.ref for item in plan.datasets):
            continue
        nodes = [member.name for member in plan.members]
        file = _catalog(state, dataset.ref, [reader, *nodes] if plan is followed else nodes)
        chunk = _chunk(file, dataset, path, offset)
        if plan.mode == "Distributed":
            domains.append(_domain_row(plan, chunk))
        if plan is followed and reader is not None:
            mount = dataset.mounts[chunk["mount"]]
            where = origin_of(mount, plan.network_class)
            steps = ownership.read_path(plan, chunk["unit"], reader, origin=where)
            read = {
                "node": reader,
                "networkClass": plan.network_class,
                "mode": plan.mode,
                "chunk": _public(chunk),
                "steps": [{"source": s.source, "node": s.node, "why": s.why} for s in steps],
            }
    return {
        "dataset": dataset.ref,
        "path": path,
        "offset": offset,
        "domains": domains,
        "read": read,
    }


def _plan_of(state: State, plans: dict[str, Plan], node: str) -> Plan:
    """Return the plan that a node follows: its domain's, or that of its class."""
    for plan in plans.values():
        if any(member.name == node for member in plan.members):
            return plan
    given = read_input([str(state.objects)])
    found = classify(given.cluster, allow_connected_islands=given.options.allow_connected_islands)
    item = next((item for item in found if item.node == node), None)
    if item is None:
        raise UnknownName(f"there is no Node named {node} in {state.objects}")
    for plan in plans.values():
        if plan.mode == "LocalOnly" and plan.network_class == item.network_class:
            return plan
    raise UnknownName(f"no plan is for the node {node}; it may have no agent")


def _catalog(state: State, dataset: str, nodes: Sequence[str | None]) -> Path:
    """Return the catalog of the first of these nodes that has one, else of any node."""
    for node in [*nodes, *state.nodes()]:
        found = state.catalog(node, dataset) if node else None
        if found is not None:
            return found
    raise UnknownName(f"no node has a snapshot of {dataset} yet; wait until it has been taken")


def _chunk(file: Path, dataset: DatasetPlan, path: str, offset: int) -> dict[str, Any]:
    from runtime.catalog.read import Catalog  # noqa: PLC0415  only chunks need it

    with Catalog(file) as catalog:
        return _locate(catalog, dataset, path.strip("/"), offset)


def _locate(catalog: Catalog, dataset: DatasetPlan, path: str, offset: int) -> dict[str, Any]:
    """Return the unit that holds a byte of a path."""
    record = catalog.find(path)
    if record is None:
        raise UnknownName(f"{dataset.ref} has no file {path} in snapshot {catalog.meta.snapshot}")
    if record.size == 0:
        raise InvalidInput(f"{path} is empty, so it has no chunk; name a file that has bytes")
    if offset >= record.size:
        raise InvalidInput(
            f"OFFSET is {offset}, and {path} has {record.size} bytes; give one below that"
        )
    layout = catalog.layout(record)
    if record.pack is None:
        cell = offset // layout.cell_range(0)[1] if layout.cells > 1 else 0
    else:
        cell = record.ordinal
    index = layout.unit_of(cell)
    start, stop = layout.unit_range(index)
    return {
        "snapshot": catalog.meta.snapshot,
        "version": record.version,
        "mount": record.mount,
        "packed": record.pack is not None,
        "unit": str(Unit(layout.key, index)),
        "index": index,
        "units": layout.units,
        "bytes": stop - start,
        "files": len(layout.unit_cells(index)) if record.pack is not None else 1,
    }


def _public(chunk: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in chunk.items() if key != "mount"}


def _domain_row(plan: Plan, chunk: dict[str, Any]) -> dict[str, Any]:
    found = ownership.explain_unit(plan, chunk["unit"])
    ranking = [
        {
            "node": rank.member.name,
            "score": round(rank.score, 6),
            "weight": rank.member.weight,
            "share": round(rank.share, 4),
        }
        for rank in found.ranking
    ]
    return {
        "domain": plan.domain,
        "networkClass": plan.network_class,
        "chunk": _public(chunk),
        "slot": found.slot,
        "owner": ranking[0]["node"] if ranking else None,
        "standbys": [rank["node"] for rank in ranking[1:]],
        "why": found.why,
        "ranking": ranking,
    }


def print_chunk(found: dict[str, Any]) -> None:
    """Print a chunk's owners and the path of a read for people."""
    click.echo(f"{found['path']} of {found['dataset']}, byte {found['offset']}")
    for row in found["domains"]:
        chunk = row["chunk"]
        what = f"a group of {chunk['files']} small files" if chunk["packed"] else "a chunk"
        click.echo(f"\n{row['domain']} ({row['networkClass']})")
        click.echo(
            f"  unit {chunk['unit']}: {what}, number {chunk['index'] + 1} of {chunk['units']}, "
            f"{chunk['bytes']} bytes"
        )
        standbys = ", ".join(row["standbys"]) or "nobody"
        click.echo(f"  owner {row['owner']}, standbys {standbys}: {row['why']}")
        print_table(
            ["  RANK", "NODE", "SCORE", "WEIGHT", "SHARE"],
            [
                (
                    f"  {place}",
                    r["node"],
                    f"{r['score']:g}",
                    f"{r['weight']:g}",
                    f"{r['share']:.1%}",
                )
                for place, r in enumerate(row["ranking"], start=1)
            ],
        )
    read = found["read"]
    if read is None:
        return
    click.echo(f"\nA read on {read['node']} ({read['networkClass']}, {read['mode']}) looks:")
    for number, step in enumerate(read["steps"], start=1):
        place = f" {step['node']}" if step["node"] and step["source"] != "local" else ""
        click.echo(f"  {number}. {step['source']}{place}: {step['why']}")
