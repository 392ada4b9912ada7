"""Finding the rows: every module in ``tests/perf/bench/rows``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.perf.bench.row import Case, Context

FOLDER = Path(__file__).parent / "rows"
ORDER = (
    "local-seq",
    "local-rand",
    "local-open",
    "names",
    "local-map",
    "local-mounts",
    "peer-seq",
    "peer-small",
    "peer-batch",
    "cold-seq",
    "herd",
    "swarm",
    "epoch-half",
    "zipf",
    "trainers",
    "scale-out",
    "agent-cost",
    "store",
    "decisions",
)
"""How rows follow each other; others come after these, by name."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row's module, imported when it is used: one that is broken must not end the others."""

    name: str

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(f"tests.perf.bench.rows.{self.name.replace('-', '_')}")

    @property
    def work(self) -> str:
        work: str = self.module.WORK
        return work

    @property
    def opt_in(self) -> bool:
        """Tell whether it runs when it is named only."""
        return getattr(self.module, "OPT_IN", False)

    @property
    def bars(self) -> Mapping[tuple[str, str], tuple[float | None, float | None]]:
        """Bar and aim by case and peer, as far as the row says them in advance."""
        return getattr(self.module, "BARS", {})

    def run(self, context: Context) -> Generator[Case, None, None]:
        generator: Generator[Case, None, None] = self.module.run(context)
        return generator


def rows() -> list[Row]:
    """Return every row, in the order they run."""
    names = [module.name.replace("_", "-") for module in pkgutil.iter_modules([str(FOLDER)])]
    order = {name: place for place, name in enumerate(ORDER)}
    return [Row(name) for name in sorted(names, key=lambda name: (order.get(name, 99), name))]


def chosen(found: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Return the rows with these names, all but the opt-in ones for none.

    Raises:
        KeyError: no row has one of the names; its argument is that name.
    """
    if not names:
        return [row for row in found if not row.opt_in]
    wanted = {name.replace("_", "-") for name in names}
    for name in sorted(wanted - {row.name for row in found}):
        raise KeyError(name)
    return [row for row in found if row.name in wanted]
