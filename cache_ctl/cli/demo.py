"""``cachectl demo``: the whole of it on one machine, in under a minute."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from cache_ctl.cli.state import naming, program, shown, state_dir_option
from runtime.contract import codec

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cache_ctl.demo.figures import Outcome, PoolFigures


@click.command("demo")
@state_dir_option(Path("~/.local/state/cachectl/demo"))
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A live table and figures, or one JSON document at the end.",
)
@click.pass_context
def command(context: click.Context, state_dir: Path, output: str) -> None:
    """Start a small edge cluster on this machine, read a dataset through it, check every byte.

    Eleven real agents on loopback addresses: a cloud pool, two dedicated pools behind lines of
    200 Mbit/s, a basic pool, and a node without any marker. It ends with what was read from
    where, and with exit code 1 if anything was not as it must be.
    """
    from cache_ctl.demo.run import run  # noqa: PLC0415 - no other command needs what it loads
    from cache_ctl.demo.screen import Screen, next_commands  # noqa: PLC0415 - as above

    quiet = output == "json"
    screen = Screen(Console(quiet=quiet))
    try:
        outcome = asyncio.run(_interruptible(run(state_dir, screen)))
    except asyncio.CancelledError:
        raise click.Abort from None
    if quiet:
        click.echo(json.dumps(document(outcome), indent=2))
    else:
        commands = next_commands(program(), shown(state_dir / "files"), naming(state_dir))
        screen.finish(outcome, commands)
    if not outcome.ok:
        context.exit(1)


async def _interruptible(running: Awaitable[Outcome]) -> Outcome:
    """Run to the end, or until a SIGTERM, which ends it in order as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await running


def document(outcome: Outcome) -> dict[str, Any]:
    """Return the JSON document of ``-o json``."""
    plain = codec.to_json(outcome)
    domains = [_domain(pool) for pool in outcome.domains]
    return {"ok": outcome.ok, **plain, "domains": domains}


def _domain(pool: PoolFigures) -> dict[str, Any]:
    """Return one row; ``nodes`` is their number, as in a Dataset's status."""
    plain: dict[str, Any] = codec.to_json(pool)
    rates = [round(rate, 1) for rate in pool.samples_per_second]
    return {
        **plain,
        "nodes": len(pool.nodes),
        "members": list(pool.nodes),
        "samplesPerSecond": rates,
    }
