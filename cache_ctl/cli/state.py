"""The state directory of a local cluster: what was applied, the plans, and the nodes' catalogs.

::

    objects.yaml                                     all Kubernetes objects that were applied
    plans/<plan name>.json                           the plans in force
    nodes/<node>/catalogs/<ns>_<dataset>/current     the snapshot that the node follows
    nodes/<node>/catalogs/<ns>_<dataset>/<id>.sqlite its catalog
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cache_ctl.errors import UnknownName, Unreadable
from runtime.contract.codec import loads
from runtime.contract.plan import Plan
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.contract.plan import DatasetPlan

_Command = TypeVar("_Command", bound="Callable[..., Any]")
DEFAULT: Final = Path("~/.local/state/cachectl/local")
_VARIABLE: Final = "CACHECTL_STATE_DIR"


class StatePath(click.Path):
    """A state directory: absolute, with ``~`` resolved wherever it came from."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the absolute path."""
        found = super().convert(value, param, ctx)
        return Path(os.fsdecode(found)).expanduser().absolute()


def state_dir_option(default: Path) -> Callable[[_Command], _Command]:
    """Return the option ``--state-dir`` with this default."""
    return click.option(
        "--state-dir",
        type=StatePath(file_okay=False, path_type=Path),
        default=default,
        show_default=str(default),
        envvar=_VARIABLE,
        help="State directory of a local cluster.",
    )


STATE_DIR: Final = state_dir_option(DEFAULT)


def program() -> str:
    """Return how this program was called, or its name where that is enough."""
    return "cachectl" if shutil.which("cachectl") else sys.argv[0]


def naming(state_dir: Path) -> str:
    """Return the option that names a state directory in a command to type, or nothing.

    Nothing is needed for the one that commands use by themselves.
    """
    usual = Path(os.environ.get(_VARIABLE) or DEFAULT).expanduser().absolute()
    return "" if state_dir == usual else f" --state-dir {shown(state_dir)}"


def shown(path: Path) -> str:
    """Return a path as a word for the shell, short where it lies in the home directory."""
    home = Path.home()
    if path.is_relative_to(home) and path != home:
        return f"~/{shlex.quote(str(path.relative_to(home)))}"
    return shlex.quote(str(path))


class State:
    """A state directory, read as it is now."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser()

    @property
    def objects(self) -> Path:
        """The file of all applied objects."""
        return self.root / "objects.yaml"

    def plans(self) -> dict[str, Plan]:
        """Return the plans in force, by name.

        Raises:
            Unreadable: there are none, or one cannot be read.
            ConfigError: a file is not a plan.
        """
        folder = self.root / "plans"
        files = sorted(folder.glob("*.json"))
        if not files:
            raise Unreadable(
                f"{folder} has no plans; start a local cluster first, or name another one with "
                "--state-dir"
            )
        return {file.stem: _plan(file) for file in files}

    def catalog(self, node: str, dataset: str) -> Path | None:
        """Return the catalog of the snapshot that a node follows, if it has one.

        Raises:
            Unreadable: the node's note of its snapshot cannot be read.
            ConfigError: it is something else.
        """
        from runtime.catalog.shelf import Head  # noqa: PLC0415  only chunks need it

        folder = self.root / "nodes" / node / "catalogs" / dataset.replace("/", "_")
        try:
            head = Head.decode((folder / "current").read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreadable(f"{error.filename} cannot be read: {error.strerror}") from error
        found = folder / f"{head.snapshot}.sqlite"
        return found if found.is_file() else None

    def nodes(self) -> list[str]:
        """Return the names of the nodes that have a folder here."""
        folder = self.root / "nodes"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _plan(file: Path) -> Plan:
    try:
        return loads(Plan, file.read_bytes())
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(f"{file} is not a plan: {error}") from error


def resolve_dataset(plans: dict[str, Plan], name: str) -> DatasetPlan:
    """Return the Dataset called ``ns/name``, or ``name`` where only one namespace has it.

    Raises:
        UnknownName: no plan, or more than one namespace, has it.
    """
    known = {dataset.ref: dataset for plan in plans.values() for dataset in plan.datasets}
    if name in known:
        return known[name]
    found = sorted(ref for ref in known if ref.partition("/")[2] == name)
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise UnknownName(f"several Datasets are named {name}: {', '.join(found)}; name one fully")
    listed = ", ".join(sorted(known)) or "none"
    raise UnknownName(f"no plan has a Dataset {name}; the plans have {listed}")
