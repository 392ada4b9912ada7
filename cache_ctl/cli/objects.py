"""``cachectl apply | delete | get``: the objects of the cluster that runs here, as with kubectl."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import click

from cache_ctl.api.columns import columns_of
from cache_ctl.api.kinds import KINDS, find_resource, kind_of, name_of, namespace_of
from cache_ctl.cli.manifests import MANIFESTS, load
from cache_ctl.cli.show import age, note, print_json, print_table, print_yaml
from cache_ctl.cli.state import STATE_DIR
from cache_ctl.errors import ControlError, UnknownName
from cache_ctl.local.control_client import Control

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cache_ctl.api.columns import Column
    from cache_ctl.api.kinds import Kind, Resource

DEFAULT_NAMESPACE: Final = "default"


class KindName(click.ParamType["Kind"]):
    """A kind by name, plural or short name."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Kind:
        """Return the kind."""
        found = find_resource(str(value))
        if found is None:
            known = ", ".join(kind.plural for kind in KINDS)
            self.fail(f"{value} is no kind that is known here; there are {known}", param, ctx)
        return found


KIND: Final = click.argument("kind", type=KindName())
NAMESPACE: Final = click.option(
    "-n", "--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="The namespace."
)


@click.command("apply")
@MANIFESTS
@STATE_DIR
def apply(files: Sequence[str], state_dir: Path) -> None:
    """Apply objects to the cluster that runs here; it follows at once, and its agents stay.

    They hold as long as this cluster runs: the next "cachectl up" starts from its own files.
    """
    results, error = Control(state_dir).apply(load(files))
    for result in results:
        click.echo(f"{result.object} {result.outcome}")
    if error is not None:
        raise ControlError(error)


@click.command("delete")
@click.argument("kind", type=KindName(), required=False)
@click.argument("name", required=False)
@MANIFESTS
@NAMESPACE
@STATE_DIR
def delete(
    *, kind: Kind | None, name: str | None, files: Sequence[str], namespace: str, state_dir: Path
) -> None:
    """Delete the object NAME of a KIND, or all that the files hold, and wait until it is gone."""
    if (kind is None) != bool(files) or (kind is None) != (name is None):
        raise click.UsageError("give either KIND and NAME, or files with -f")
    targets: list[tuple[Kind, str, str]] = []
    if kind is not None and name is not None:
        targets.append((kind, name, namespace if kind.namespaced else ""))
    else:
        for body in load(files):
            found = kind_of(body)
            assert found is not None, "loaded objects have a kind"
            targets.append((found, name_of(body), namespace_of(body)))
    control = Control(state_dir)
    missing = []
    for target, called, space in targets:
        if control.delete(target, called, space):
            click.echo(f'{target.resource} "{called}" deleted')
        else:
            missing.append(_not_found(target, called, space))
    if missing:
        raise UnknownName("; ".join(missing))


@click.command("get")
@KIND
@click.argument("name", required=False)
@NAMESPACE
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "name", "json", "yaml"]),
    default="table",
    show_default=True,
)
@STATE_DIR
def get(
    *,
    kind: Kind,
    name: str | None,
    namespace: str,
    everywhere: bool,
    output: str,
    state_dir: Path,
) -> None:
    """List the objects of a KIND, or show the one called NAME.

    Values of Secrets are hidden.
    """
    if name is not None and everywhere:
        raise click.UsageError("give either NAME or -A: a name means something in one namespace")
    space = namespace if kind.namespaced and not everywhere else ""
    found = Control(state_dir).objects(kind, space)
    if name is not None:
        found = [one(kind, found, name, space)]
    match output:
        case "json" | "yaml":
            listed = {"apiVersion": "v1", "kind": "List", "items": found}
            document = listed if name is None else found[0]
            (print_json if output == "json" else print_yaml)(document)
        case "name":
            for body in found:
                click.echo(f"{kind.resource}/{name_of(body)}")
        case _ if not found:
            note(f"there are no {kind.plural}" + (f" in the namespace {space}" if space else ""))
        case _:
            print_objects(kind, found, wide=output == "wide", spaces=kind.namespaced and not space)


def one(kind: Kind, found: Sequence[Resource], name: str, namespace: str) -> Resource:
    """Return the object of this name.

    Raises:
        UnknownName: there is none.
    """
    for body in found:
        if name_of(body) == name:
            return body
    raise UnknownName(_not_found(kind, name, namespace))


def _not_found(kind: Kind, name: str, namespace: str) -> str:
    where = f" in the namespace {namespace}" if namespace else ""
    return f"there is no {kind.resource} {name}{where}"


def print_objects(kind: Kind, bodies: Sequence[Resource], *, wide: bool, spaces: bool) -> None:
    """Print objects with the columns of their kind."""
    columns = columns_of(kind, wide=wide)
    now = dt.datetime.now(dt.UTC)
    head = ["NAMESPACE", "NAME"] if spaces else ["NAME"]
    rows = [
        [*([namespace_of(body)] if spaces else []), name_of(body)]
        + [_cell(column, body, now) for column in columns]
        for body in bodies
    ]
    print_table([*head, *(column.name.upper() for column in columns)], rows)


def _cell(column: Column, body: Resource, now: dt.datetime) -> str:
    value = column.value(body)
    if value is None or value == "":
        return "-"
    return age(str(value), now) if column.type == "date" else str(value)
