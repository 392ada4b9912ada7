"""``cachectl classify``: the network class of every node in a set of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cache_ctl.cli.read import FILES, RUNTIME, read_input
from cache_ctl.cli.show import print_json, print_table, print_yaml
from cache_ctl.domain.classify import classify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache_ctl.domain.domains import Classification


@click.command("classify")
@FILES
@RUNTIME
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
)
def command(files: Sequence[str], runtime: str | None, output: str) -> None:
    """Tell each node's network class, the domain that it may peer in, and why.

    The files hold Nodes and, where there are any, NodePools, NodeGroups, NodeUnits, Communities,
    Gateways, a NetworkTopology and a CacheRuntime: what "kubectl get nodes,nodepools -o yaml"
    prints will do.
    """
    given = read_input(files, runtime)
    found = classify(given.cluster, allow_connected_islands=given.options.allow_connected_islands)
    match output:
        case "json":
            print_json([row(item) for item in found])
        case "yaml":
            print_yaml([row(item) for item in found])
        case _:
            print_table(
                ["NODE", "CLASS", "DOMAIN", "REASON", "MESSAGE"],
                [
                    (item.node, item.network_class, item.domain or "-", item.reason, item.message)
                    for item in found
                ],
            )


def row(item: Classification) -> dict[str, Any]:
    """Return a classification as it stands in JSON and YAML."""
    return {
        "node": item.node,
        "networkClass": item.network_class,
        "domain": item.domain,
        "reason": item.reason,
        "message": item.message,
        "evidence": list(item.evidence),
    }
