"""``cachectl``: the command line's entry, and what it answers when something is wrong.

Exit codes: 0 done, 1 it could not be done (one sentence on standard error says why), 2 the command
was not understood, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, NoReturn, cast

import click

from cache_ctl.errors import ControlError
from runtime.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    "apply": ("cache_ctl.cli.objects:apply", "Apply objects to the cluster that runs here."),
    "cat": ("cache_ctl.cli.files:cat", "Write files of a dataset to standard output."),
    "classify": ("cache_ctl.cli.classify:command", "Tell each node's network class, and why."),
    "cp": ("cache_ctl.cli.files:cp", "Copy files of a dataset to this machine."),
    "delete": ("cache_ctl.cli.objects:delete", "Delete objects of the cluster that runs here."),
    "demo": ("cache_ctl.cli.demo:command", "Run a small edge cluster here and check every byte."),
    "describe": (
        "cache_ctl.cli.describe:command",
        "Explain one object of the cluster that runs here.",
    ),
    "down": ("cache_ctl.cli.up:down", "Stop the cluster that runs here."),
    "du": ("cache_ctl.cli.files:du", "Sum the sizes of a dataset's files."),
    "env": ("cache_ctl.cli.status:env", "Print the environment that reads a dataset on a node."),
    "explain": ("cache_ctl.cli.explain:command", "Tell why a node, a dataset or a chunk is so."),
    "get": ("cache_ctl.cli.objects:get", "List objects of the cluster that runs here."),
    "ls": ("cache_ctl.cli.files:ls", "List files of a dataset."),
    "status": ("cache_ctl.cli.status:status", "Show the cluster that runs here at a glance."),
    "topology": ("cache_ctl.cli.topology:command", "Show domains, their graphs and routes."),
    "up": ("cache_ctl.cli.up:up", "Run a cluster on this machine from files."),
}
"""Where each command is, as ``module:name``, and its line of help."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing its module."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        try:
            return cast("click.Command", getattr(importlib.import_module(module), name))
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{cmd_name} needs the package {error.name}, which is not installed; install "
                "cachectl with its extra controller"
            ) from error

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cachectl")
def cachectl() -> None:
    """Cache datasets in clusters that mix cloud nodes, private-line pools and internet pools."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        code = cachectl.main(args=arguments, prog_name="cachectl", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (CacheError, ControlError) as error:
        click.echo(f"cachectl: {error}", err=True)
        return 1
    except BrokenPipeError:
        # The reader has gone; what is still buffered must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
