"""What docs/cli.md shows is what the command line answers, and it leaves out nothing."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import click
import pytest

from cache_ctl.__main__ import COMMANDS
from tests.support.command import cachectl

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
EXAMPLES = dict(re.findall(r"```console\n\$ cachectl (.*)\n((?:.*\n)*?)```", TEXT))
PURE = [line for line in EXAMPLES if "-f nodes.yaml" in line]


@pytest.mark.parametrize("line", PURE)
def test_a_pure_example_prints_what_is_shown(line, tmp_path):
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(re.search(r"```yaml\n((?:.*\n)*?)```", TEXT).group(1))

    done = cachectl(*line.replace("nodes.yaml", str(nodes)).split())

    assert (done.returncode, done.stderr) == (0, "")
    if "-o json" in line:
        assert json.loads(done.stdout) == json.loads(EXAMPLES[line])
    else:
        assert done.stdout == EXAMPLES[line]


def test_there_are_examples():
    assert len(PURE) == 5
    assert len(EXAMPLES) == 7


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
