"""``cachectl status | env``: the cluster that runs here at a glance, and how to read from it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from cache_ctl.api.reasons import READY
from cache_ctl.cli.alarms import alarms
from cache_ctl.cli.show import print_json, print_table
from cache_ctl.cli.state import STATE_DIR, naming, program
from cache_ctl.domain.quantity import short_bytes
from cache_ctl.errors import UnknownName
from cache_ctl.local.control_client import Control

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@click.command("status")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@STATE_DIR
def status(output: str, state_dir: Path) -> None:
    """Show the nodes, Datasets and prewarms of the cluster that runs here."""
    control = Control(state_dir)
    found = control.overview()
    if output == "json":
        print_json(found)
        return
    _print_nodes(found["nodes"])
    node = next((row["name"] for row in found["nodes"] if row["ready"]), None)
    for row in found["datasets"]:
        click.echo()
        _print_dataset(row)
        if node is not None and row["tokenFile"] is not None:
            click.echo(f"  read it: {reading(row['ref'], node, state_dir)}")
    for row in found["prewarms"]:
        click.echo()
        _print_prewarm(row)
    for alarm in alarms(control):
        if alarm.condition != READY:  # the Dataset's own line says that
            click.echo(f"\nwarning: {alarm.sentence}")


def reading(dataset: str, node: str, state_dir: Path) -> str:
    """Return the words for a shell that read a Dataset on a node."""
    call = f"{program()} env {dataset} --node {node}{naming(state_dir)}"
    return f'eval "$({call})" && {program()} ls {dataset}'


def _print_nodes(rows: Sequence[dict[str, Any]]) -> None:
    columns = ("NODE", "READY", "CLASS", "DOMAIN", "MODE", "REASON", "PID", "LISTENS AT")
    print_table(
        columns,
        [
            [
                row["name"],
                "yes" if row["ready"] else "no",
                row["networkClass"] or "-",
                row["domain"] or "-",
                row["mode"] or "-",
                row["reason"],
                str(row["pid"] or "-"),
                f"{row['address']}:{row['port']}" if row["port"] else "its socket only",
            ]
            for row in rows
        ],
    )


def _print_dataset(row: dict[str, Any]) -> None:
    state = "is ready" if row["ready"] else "is not ready"
    click.echo(f"Dataset {row['ref']} {state}: {row['message']} ({row['reason']})")
    if row["files"] is not None:
        click.echo(
            f"  {row['files']} files, {short_bytes(row['bytes'])}; "
            f"{row['cachedPercent']}% cached, {short_bytes(row['originBytes'])} from the origin"
        )


def _print_prewarm(row: dict[str, Any]) -> None:
    state = "is complete" if row["complete"] else "has failed" if row["failed"] else "runs"
    click.echo(f"Prewarm {row['ref']} of {row['dataset']} {state}: {row['message']}")
    click.echo(
        f"  {short_bytes(row['bytesDone'])} of {short_bytes(row['bytesTotal'])}, "
        f"{row['filesDone']} of {row['filesTotal']} files, {row['failedFiles']} failed"
    )


@click.command("env")
@click.argument("dataset")
@click.option("--node", help="The node to read on; it may be left out where there is one agent.")
@STATE_DIR
def env(dataset: str, node: str | None, state_dir: Path) -> None:
    """Print what a reader's environment needs to read DATASET (namespace/name) on a node.

    For a shell: eval "$(cachectl env training/images --node cloud-1)", then cachectl ls, cat and
    cp, and every program that uses fsspec, read there.
    """
    found = Control(state_dir).overview()
    socket = _socket(found["nodes"], node)
    token = _token(found["datasets"], dataset)
    click.echo(f"export CACHECTL_SOCKET={shlex.quote(socket)}")
    click.echo(f"export CACHECTL_TOKEN_FILE={shlex.quote(token)}")


def _socket(rows: Sequence[dict[str, Any]], node: str | None) -> str:
    sockets = {row["name"]: str(row["socket"]) for row in rows if row["socket"]}
    listed = ", ".join(sockets) or "none"
    if node is None:
        if len(sockets) != 1:
            raise UnknownName(f"choose a node with --node; those with an agent are {listed}")
        return next(iter(sockets.values()))
    if node not in sockets:
        raise UnknownName(f"no node {node} has an agent here; those with one are {listed}")
    return sockets[node]


def _token(rows: Sequence[dict[str, Any]], dataset: str) -> str:
    known = {row["ref"]: row for row in rows}
    row = known.get(dataset)
    if row is None:
        listed = ", ".join(known) or "none"
        raise UnknownName(f"there is no Dataset {dataset}; there are {listed}")
    if row["tokenFile"] is None:
        raise UnknownName(f"no runtime serves the Dataset {dataset}: {row['message']}")
    return str(row["tokenFile"])
