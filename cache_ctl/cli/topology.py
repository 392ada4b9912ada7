"""``cachectl topology``: domains, their graphs and routes, as data or as a picture."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cache_ctl.cli.read import FILES, RUNTIME, read_input
from cache_ctl.cli.show import note, print_json, print_table
from cache_ctl.domain import routes
from cache_ctl.domain.classify import classify
from cache_ctl.domain.quantity import format_rate
from cache_ctl.domain.topology import Topology, build_topology, check, graph_facts
from cache_ctl.errors import Unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is shown: the topology, its links and the routes over them."""

    topology: Topology
    links: tuple[routes.Link, ...]
    routes: tuple[routes.Route, ...]


@click.command("topology")
@FILES
@RUNTIME
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "dot", "svg", "png"]),
    default="table",
    show_default=True,
)
@click.option(
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there instead of to standard output.",
)
def command(
    files: Sequence[str], runtime: str | None, output: str, output_file: Path | None
) -> None:
    """Show the domains, who peers with whom in them, and where each fetches from.

    The picture formats draw every domain as a cluster, lines with their bandwidth and cost, and
    the nodes without peers apart.
    """
    scene = _scene(files, runtime)
    match output:
        case "json" | "table" if output_file is None:
            _print(scene, output)
        case "json":
            import json  # noqa: PLC0415  beside its only use

            _write(f"{json.dumps(document(scene), indent=2)}\n".encode(), output_file)
        case "table":
            raise click.UsageError("-o table goes to the terminal; choose another -o for a file")
        case "dot":
            _write(dot(scene).encode(), output_file)
        case _:
            if output_file is None and sys.stdout.isatty():
                raise click.UsageError(
                    f"give --output-file for {output}: a terminal shows no image"
                )
            from cache_ctl.cli.picture import draw  # noqa: PLC0415  matplotlib is slow to import

            _write(draw(scene, output), output_file)


def _scene(files: Sequence[str], runtime: str | None) -> Scene:
    given = read_input(files, runtime)
    options = given.options
    found = classify(given.cluster, allow_connected_islands=options.allow_connected_islands)
    topology = build_topology(found, given.cluster.nodes, degree=options.degree)
    check(topology, found)
    rules = given.cluster.rules.links
    for rule in routes.unused_rules(topology.domains, rules):
        note(
            f"the link from {rule.source} to {rule.target} is not used, "
            "as there is no distributed domain of that name"
        )
    links = routes.links_of(topology.domains, rules)
    return Scene(topology, links, routes.routes(links))


def document(scene: Scene) -> dict[str, Any]:
    """Return the scene as it stands in JSON."""
    return {
        "domains": [
            {
                "name": domain.name,
                "networkClass": domain.network_class,
                "members": [member.name for member in domain.members],
                "edges": [list(edge) for edge in domain.edges],
            }
            for domain in scene.topology.domains
        ],
        "localOnly": [
            {"node": item.node, "networkClass": item.network_class, "reason": item.reason}
            for item in scene.topology.local_only
        ],
        "routes": [
            {"domain": route.domain, "path": list(route.path), "cost": route.cost}
            for route in scene.routes
        ],
    }


def _write(data: bytes, path: Path | None) -> None:
    if path is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Unreadable(f"{path} cannot be written: {error.strerror}") from error


def _print(scene: Scene, output: str) -> None:
    if output == "json":
        print_json(document(scene))
        return
    paths = {route.domain: route for route in scene.routes}
    rows = []
    for domain in scene.topology.domains:
        facts = graph_facts(domain)
        degrees = (
            str(facts.min_degree)
            if facts.min_degree == facts.max_degree
            else f"{facts.min_degree}-{facts.max_degree}"
        )
        route = paths[domain.name]
        rows.append(
            (
                domain.name,
                domain.network_class,
                str(facts.members),
                str(facts.edges),
                degrees,
                f"{route.cost:g}",
                " > ".join(route.path),
            )
        )
    if rows:
        print_table(
            ["DOMAIN", "CLASS", "NODES", "EDGES", "NEIGHBOURS", "COST", "FETCHES OVER"], rows
        )
    else:
        click.echo("No domain: no two nodes may peer.")
    if scene.topology.local_only:
        click.echo()
        print_table(
            ["LOCAL ONLY", "CLASS", "REASON", "MESSAGE"],
            [
                (item.node, item.network_class, item.reason, item.message)
                for item in scene.topology.local_only
            ],
        )


def link_label(link: routes.Link) -> str:
    """Return what is written at a line: its bandwidth, where that is known, and its cost."""
    cost = f"cost {link.cost:g}"
    return f"{format_rate(link.bandwidth)}, {cost}" if link.bandwidth else cost


_FILLS = {"Cloud": "#d6e9f8", "Dedicated": "#d9f0e3", "Basic": "#fbe9d0"}


def dot(scene: Scene) -> str:
    """Return the scene in the language of Graphviz; it reads well with ``dot`` and ``fdp``."""
    lines = [
        "graph cachectl {",
        "  compound=true; fontname=sans; node [fontname=sans, shape=box, style=rounded];",
        '  "origin" [shape=cylinder, style=filled, fillcolor="#eeeeee"];',
    ]
    for index, domain in enumerate(scene.topology.domains):
        lines += [
            f"  subgraph cluster_{index} {{",
            f"    label={_quoted(f'{domain.name} ({domain.network_class})')};",
            f'    style="rounded,filled"; fillcolor="{_FILLS[domain.network_class]}";',
            *(f"    {_quoted(member.name)};" for member in domain.members),
            *(f"    {_quoted(a)} -- {_quoted(b)};" for a, b in domain.edges),
            "  }",
        ]
    if scene.topology.local_only:
        lines += [
            "  subgraph cluster_local {",
            '    label="LocalOnly: no peers"; style="rounded,dashed";',
            *(
                f"    {_quoted(item.node)} [style=dashed, label={_quoted(label)}];"
                for item in scene.topology.local_only
                for label in [item.node + "\n" + item.reason]
            ),
            "  }",
        ]
    heads = {
        domain.name: (domain.members[0].name, f"cluster_{index}")
        for index, domain in enumerate(scene.topology.domains)
    }
    for link in scene.links:
        lines.append(_dot_link(link, heads))
    return "\n".join([*lines, "}", ""])


def _dot_link(link: routes.Link, heads: dict[str, tuple[str, str]]) -> str:
    node, cluster = heads[link.domain]
    attributes = [f"label={_quoted(link_label(link))}", "penwidth=2", f"ltail={cluster}"]
    return f"  {_quoted(node)} -- {_quoted(routes.ORIGIN)} [{', '.join(attributes)}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
