"""``cachectl describe``: one object as an explanation."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

from cache_ctl.api.kinds import EVENT, title_of, uid_of
from cache_ctl.cli.objects import KIND, NAMESPACE, one
from cache_ctl.cli.show import age, print_table
from cache_ctl.cli.state import STATE_DIR
from cache_ctl.domain.quantity import short_bytes
from cache_ctl.local.control_client import Control
from cache_ctl.local.control_socket import HIDDEN

if TYPE_CHECKING:
    from pathlib import Path

    from cache_ctl.api.kinds import Kind, Resource

_LAST_EVENTS: Final = 20
_APART: Final = ("conditions", "domains", "observedGeneration")
_BYTES: Final = ("Bytes", "bytesDone", "bytesTotal", "lineBytesSaved")


@click.command("describe")
@KIND
@click.argument("name")
@NAMESPACE
@STATE_DIR
def command(*, kind: Kind, name: str, namespace: str, state_dir: Path) -> None:
    """Explain an object: what it asks for, what became of it and why, and what happened."""
    space = namespace if kind.namespaced else ""
    control = Control(state_dir)
    body = one(kind, control.objects(kind, space), name, space)
    events = [
        event
        for event in control.objects(EVENT)
        if event["involvedObject"].get("uid") == uid_of(body)
    ]
    _print(body, events, dt.datetime.now(dt.UTC))


def _print(body: Resource, events: list[Resource], now: dt.datetime) -> None:
    metadata, status = body["metadata"], body.get("status") or {}
    click.echo(f"{title_of(body)}, {age(metadata['creationTimestamp'], now)} old")
    if "deletionTimestamp" in metadata:
        click.echo(f"It is being deleted since {age(metadata['deletionTimestamp'], now)}.")
    for field in ("labels", "annotations"):
        _section(field.capitalize(), metadata.get(field))
    for field in ("type", "spec", "data"):
        _section(field.capitalize(), _without_options(body.get(field)))
    if conditions := status.get("conditions"):
        click.echo()
        rows = [_condition(item, now) for item in conditions]
        print_table(["CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"], rows)
    if domains := status.get("domains"):
        click.echo()
        _print_rows(domains)
    _section("Status", {key: value for key, value in status.items() if key not in _APART})
    if events:
        click.echo()
        print_table(["EVENT", "AGE", "REASON", "MESSAGE"], _event_rows(events, now))


def _section(title: str, value: Any) -> None:
    if not value:
        return
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    click.echo(f"\n{title}:")
    for line in text.splitlines():
        click.echo(f"  {line}")


def _without_options(data: Any) -> Any:
    """Return data with the values below ``options`` hidden: they may be credentials."""
    if isinstance(data, list):
        return [_without_options(item) for item in data]
    if not isinstance(data, dict):
        return data
    return {
        key: dict.fromkeys(value, HIDDEN)
        if key == "options" and isinstance(value, dict)
        else _without_options(value)
        for key, value in data.items()
    }


def _condition(item: dict[str, Any], now: dt.datetime) -> list[str]:
    since = item.get("lastTransitionTime")
    return [
        str(item.get("type")),
        str(item.get("status")),
        age(since, now) if since else "-",
        item.get("reason") or "-",
        item.get("message") or "-",
    ]


def _print_rows(rows: list[dict[str, Any]]) -> None:
    """Print the rows of a status as a table, amounts of bytes for people."""
    fields = list(rows[0])
    heads = [field.replace("networkClass", "class").replace("Bytes", "") for field in fields]
    print_table(
        [head.upper() for head in heads],
        [[_amount(field, row.get(field)) for field in fields] for row in rows],
    )


def _amount(field: str, value: Any) -> str:
    if isinstance(value, int) and field.endswith(_BYTES):
        return short_bytes(value)
    return "-" if value is None else str(value)


def _event_rows(events: list[Resource], now: dt.datetime) -> list[list[str]]:
    last = sorted(events, key=lambda event: str(event["lastTimestamp"]))[-_LAST_EVENTS:]
    return [
        [event["type"], age(event["lastTimestamp"], now), event["reason"], event["message"]]
        for event in last
    ]
