"""docs/cli.md leaves out no command and no option."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest

from cache_ctl.__main__ import COMMANDS

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


def commands():
    """Yield every command with the words that call it, those of groups as well."""
    for name, (place, _) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        else:
            yield name, command


@pytest.mark.parametrize(("words", "command"), list(commands()), ids=str)
def test_every_command_and_option_is_named(words, command):
    (usage,) = re.findall(rf"^`?cachectl {words} .*$", TEXT, re.MULTILINE)
    shared = TEXT[: TEXT.index("## classify")] + TEXT[TEXT.index("A PATH is ") :]
    for option in command.params:
        if isinstance(option, click.Option):
            assert any(name in usage or f"`{name} " in shared for name in option.opts), option.opts
        if isinstance(option.type, click.Choice):
            assert "|".join(option.type.choices) in usage
