"""``cachectl explain``: why a node, a dataset or a chunk is as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cache_ctl.cli.read import FILES, RUNTIME, read_input
from cache_ctl.cli.show import print_json, print_table
from cache_ctl.cli.state import STATE_DIR, State, resolve_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cache_ctl.domain.classify import NodeExplanation
    from cache_ctl.domain.topology import Topology

OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group("explain")
def command() -> None:
    """Tell why a node, a dataset or a chunk is as it is."""


@command.command("node")
@click.argument("name")
@FILES
@RUNTIME
@STATE_DIR
@OUTPUT
def explain_node(
    name: str, *, files: Sequence[str], runtime: str | None, state_dir: Path, output: str
) -> None:
    """Tell which rule gave the node NAME its class, on what evidence, and what others say.

    Without -f, the objects of the local cluster in the state directory are read.
    """
    from cache_ctl.domain import classify  # noqa: PLC0415  each subcommand imports its own
    from cache_ctl.domain.topology import build_topology  # noqa: PLC0415  networkx is slow

    objects = State(state_dir).objects
    if not files and objects.is_file():
        files = [str(objects)]
    given = read_input(files, runtime)
    islands = given.options.allow_connected_islands
    found = classify.explain_node(given.cluster, name, allow_connected_islands=islands)
    classified = classify.classify(given.cluster, allow_connected_islands=islands)
    topology = build_topology(classified, given.cluster.nodes, degree=given.options.degree)
    mode = _mode(topology, name)
    if output == "json":
        print_json(_node_document(found, mode))
    else:
        _print_node(found, mode)


def _mode(topology: Topology, node: str) -> tuple[str, str, list[str]]:
    """Return a node's mode, why, and its neighbours."""
    for domain in topology.domains:
        near = sorted({b if a == node else a for a, b in domain.edges if node in (a, b)})
        if near:
            count = len(domain.members) - 1
            return "Distributed", f"it shares the domain {domain.name} with {count} others", near
    alone = next(item for item in topology.local_only if item.node == node)
    return "LocalOnly", f"{alone.reason}: {alone.message}", []


def _node_document(found: NodeExplanation, mode: tuple[str, str, list[str]]) -> dict[str, Any]:
    item = found.classification
    return {
        "node": item.node,
        "networkClass": item.network_class,
        "domain": item.domain,
        "reason": item.reason,
        "message": item.message,
        "evidence": list(item.evidence),
        "mode": mode[0],
        "modeMessage": mode[1],
        "neighbours": mode[2],
        "considered": [
            {
                "rule": considered.rule,
                "fired": considered.fired,
                "networkClass": considered.finding.network_class if considered.finding else None,
                "reason": considered.finding.reason if considered.finding else None,
                "message": considered.finding.message if considered.finding else None,
            }
            for considered in found.considered
        ],
    }


def _print_node(found: NodeExplanation, mode: tuple[str, str, list[str]]) -> None:
    item = found.classification
    click.echo(f"{item.node} is {item.network_class}: {item.message}.")
    click.echo(f"Its mode is {mode[0]}: {mode[1]}.")
    if mode[2]:
        click.echo(f"Its neighbours in the graph are {', '.join(mode[2])}.")
    click.echo(f"\nReason {item.reason}, on this evidence:")
    for line in item.evidence:
        click.echo(f"  - {line}")
    click.echo("\nRules in the order in which they are asked:")
    rows = []
    for considered in found.considered:
        finding = considered.finding
        if finding is None:
            rows.append(("  ", considered.rule, "does not apply", ""))
        else:
            verb = "decided" if considered.fired else "would say"
            answer = f"{verb} {finding.network_class}"
            rows.append(
                ("->" if considered.fired else "  ", considered.rule, answer, finding.reason)
            )
    print_table(["", "RULE", "ANSWER", "REASON"], rows)


@command.command("dataset")
@click.argument("name")
@STATE_DIR
@OUTPUT
def explain_dataset(name: str, *, state_dir: Path, output: str) -> None:
    """Tell who keeps the dataset NAME (namespace/name) in each domain, and how it is fetched."""
    from cache_ctl.cli import explain_data  # noqa: PLC0415  only this subcommand needs it

    plans = State(state_dir).plans()
    rows = explain_data.dataset_rows(plans, resolve_dataset(plans, name))
    if output == "json":
        print_json({"dataset": resolve_dataset(plans, name).ref, "plans": rows})
    else:
        explain_data.print_dataset(resolve_dataset(plans, name), rows)


@command.command("chunk")
@click.argument("dataset")
@click.argument("path")
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--from", "reader", metavar="NODE", help="Also tell where a read on NODE looks.")
@STATE_DIR
@OUTPUT
def explain_chunk(
    *, dataset: str, path: str, offset: int, reader: str | None, state_dir: Path, output: str
) -> None:
    """Tell who owns the chunk that holds byte OFFSET of PATH in DATASET, and who stands by.

    PATH is the path in the dataset, the mount's name included.
    """
    from cache_ctl.cli import explain_data  # noqa: PLC0415  only this subcommand needs it

    state = State(state_dir)
    found = explain_data.chunk_document(state, dataset, path, offset, reader=reader)
    if output == "json":
        print_json(found)
    else:
        explain_data.print_chunk(found)
