"""``cachectl up | down``: a local cluster of real agents on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from cache_ctl.cli.manifests import MANIFESTS, load
from cache_ctl.cli.show import note
from cache_ctl.cli.state import STATE_DIR, naming, program, shown
from cache_ctl.cli.status import reading
from cache_ctl.errors import ControlError, Unreadable
from runtime.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cache_ctl.api.kinds import Resource
    from cache_ctl.local.world import LocalWorld

LOG: Final = "up.log"
STARTED: Final = b"started"
_PIPE: Final = "CACHECTL_UP_PIPE"
"""Names the descriptor by which a detached process tells its parent how its start went."""
_INTERRUPTED: Final = 130


@click.command("up")
@MANIFESTS
@STATE_DIR
@click.option("--detach", "-d", is_flag=True, help="Run in the background; return when it is up.")
@click.pass_context
def up(context: click.Context, files: Sequence[str], state_dir: Path, *, detach: bool) -> None:
    """Run a cluster on this machine: one real agent for each Node that a CacheRuntime selects.

    The files hold Nodes and what goes with them, Secrets, Datasets, CacheRuntimes and
    CachePrewarms. All of them are checked before anything starts. Ctrl-C, or "cachectl down",
    ends every process; what is cached stays, and another "cachectl up" finds it.

    With --detach it is an error that a Dataset cannot be read or a tier not be used: the cluster
    runs all the same, and takes it up when the cause is mended.
    """
    objects = load(files)
    if detach:
        _detach(objects, state_dir)
        return
    with _parent() as parent:
        if not asyncio.run(_run(objects, state_dir, parent)):
            context.exit(_INTERRUPTED)


@click.command("down")
@STATE_DIR
def down(state_dir: Path) -> None:
    """Stop the cluster that runs in the state directory, and wait until it is gone.

    It is no error when none runs there.
    """
    from cache_ctl.local.control_client import Control, NotRunning  # noqa: PLC0415  as needed

    try:
        Control(state_dir).stop()
    except NotRunning:
        if _is_locked(state_dir):
            raise ControlError(
                f"the process that uses {state_dir} takes no commands, as it is a demo or is just "
                "starting or ending; end it where it runs"
            ) from None
        click.echo(f"no cluster runs in {shown(state_dir)}")
    else:
        click.echo(f"the cluster in {shown(state_dir)} has stopped")


def _is_locked(state_dir: Path) -> bool:
    from cache_ctl.local.state_dir import StateDir  # noqa: PLC0415  as needed

    return StateDir(state_dir).in_use()


# --- in the foreground


async def _run(objects: Sequence[Resource], state_dir: Path, parent: _Parent) -> bool:
    """Run until a signal or a command ends it; tell whether it had started."""
    from cache_ctl.local.overview import overview  # noqa: PLC0415  no other command needs them
    from cache_ctl.local.run import run  # noqa: PLC0415  as above

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, stop.set)
    _log_to_standard_error()

    def started(world: LocalWorld) -> None:
        _say("all agents are ready")
        if not parent.waits:
            for line in _next_steps(overview(world), state_dir):
                click.echo(line)
        parent.tell(STARTED)

    return await run(state_dir, objects, stop=stop, say=_say, started=started)


def _say(text: str) -> None:
    click.echo(f"{time.strftime(_time_format())} {text}")


def _time_format() -> str:
    return "%H:%M:%S" if sys.stdout.isatty() else "%Y-%m-%d %H:%M:%S"


def _log_to_standard_error() -> None:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s warning: %(message)s",
        datefmt=_time_format(),
        stream=sys.stderr,
    )


def _next_steps(overview: dict[str, Any], state_dir: Path) -> list[str]:
    """Return commands to go on with."""
    where = naming(state_dir)
    call = program()
    nodes = [row["name"] for row in overview["nodes"] if row["ready"]]
    datasets = [row["ref"] for row in overview["datasets"] if row["tokenFile"]]
    lines = [f"  look  {call} status{where}"]
    if nodes and datasets:
        lines.append(f"  read  {reading(datasets[0], nodes[0], state_dir)}")
    return [*lines, f"  stop  {call} down{where}"]


# --- in the background


class _Parent:
    """The process that started this one detached and waits to hear how it went, if there is one."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def waits(self) -> bool:
        """Tell whether there is one that has not been told yet."""
        return self._descriptor is not None

    def tell(self, text: bytes) -> None:
        """Tell it, once."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # it may have gone
                os.write(self._descriptor, text)
            os.close(self._descriptor)
            self._descriptor = None


@contextlib.contextmanager
def _parent() -> Iterator[_Parent]:
    """Give the parent, and tell it of an error that ends the block."""
    given = os.environ.pop(_PIPE, None)
    parent = _Parent(None if given is None else int(given))
    try:
        yield parent
    except (CacheError, ControlError) as error:
        parent.tell(str(error).encode())
        raise


def _detach(objects: Sequence[Resource], state_dir: Path) -> None:
    """Start this command again in a session of its own, and wait until it is up.

    The objects go to it over its standard input, so that they are read and checked once.
    """
    import yaml  # noqa: PLC0415  beside its only use

    from cache_ctl.cli.alarms import alarms  # noqa: PLC0415  as needed
    from cache_ctl.local.control_client import Control  # noqa: PLC0415  as needed
    from cache_ctl.local.run import CannotStart  # noqa: PLC0415  as needed

    log = state_dir / LOG
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told, _log_file(log) as output:
        child = subprocess.Popen(  # noqa: S603  it is this very program
            [sys.executable, "-m", "cache_ctl", "up", "-f", "-", "--state-dir", str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[writing],
            env={**os.environ, _PIPE: str(writing)},
        )
        os.close(writing)
        try:
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write(yaml.safe_dump_all(objects, allow_unicode=True).encode())
            answer = told.read()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        if answer != STARTED:
            child.wait()
            said = answer.decode(errors="replace")
            raise CannotStart(said or f"the cluster has ended at its start; {log} says more")
    child.returncode = 0  # it goes on without us, and nobody is to be warned of that
    control = Control(state_dir)
    found = control.overview()
    ready = sum(row["ready"] for row in found["nodes"])
    click.echo(f"{ready} agents are ready; the cluster runs as process {child.pid}")
    for line in _next_steps(found, state_dir):
        click.echo(line)
    click.echo(f"  log   {shown(log)}")
    wrong = alarms(control)
    for alarm in wrong:
        if not alarm.fails:
            note(alarm.sentence)
    if failing := [alarm.sentence for alarm in wrong if alarm.fails]:
        raise NotAllWell("\n".join(failing))


class NotAllWell(ControlError):
    """The cluster has started, and something that was asked of it cannot be had now."""


def _log_file(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise Unreadable(
            f"state directory {path.parent}: {error.strerror}; choose another one"
        ) from error
