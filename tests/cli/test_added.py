"""Commands that other packages add."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from federlib.cli.added import _LATE
from federlib.cli.app import app
from fleet import Fleet

PLUGIN = """
import click

@click.command()
@click.option("--loud", is_flag=True)
def greet(loud):
    "Say good day."
    click.echo("GOOD DAY" if loud else "good day")

no_command = 7
"""


@pytest.fixture
def plugged(fleet: Fleet) -> Fleet:
    """Install a distribution with commands of its own: one works, the others do not."""
    place = fleet.root / "plugin"
    info = place / "greeter-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[federlib.commands]\n"
        "greet = greeter:greet\n"
        "seven = greeter:no_command\n"
        "gone = nowhere_to_be_found:greet\n"
        "run = greeter:greet\n"
    )
    (place / "greeter.py").write_text(PLUGIN)
    fleet.env["PYTHONPATH"] = str(place)
    return fleet


def test_a_command_that_was_added_works_like_any_other(plugged: Fleet) -> None:
    assert plugged.call("greet", "--loud").out == "GOOD DAY\n"
    assert "Say good day." in plugged.call("greet", "--help").out


def test_help_names_what_was_added_without_importing_it(plugged: Fleet) -> None:
    (plugged.root / "plugin" / "greeter.py").write_text("raise SystemExit('imported')")
    done = plugged.call("--help")
    assert done.code == 0
    assert "greet     Added by greeter." in done.out
    assert "gone      Added by greeter." in done.out


def test_what_cannot_be_loaded_says_so_and_harms_nobody_else(plugged: Fleet) -> None:
    gone = plugged.call("gone")
    assert gone.code == 1
    assert "the command 'gone' of nowhere_to_be_found:greet cannot be loaded" in gone.err
    seven = plugged.call("seven")
    assert seven.code == 1
    assert "is no command: int" in seven.err
    assert "Traceback" not in gone.err + seven.err
    assert plugged.call("greet").code == 0


def test_a_command_of_ours_cannot_be_replaced(plugged: Fleet) -> None:
    assert "WORKFLOW" in plugged.call("run", "--help").out


def test_a_command_that_is_nowhere_is_a_mistake_of_usage(plugged: Fleet) -> None:
    done = plugged.call("nonsense")
    assert done.code == 2
    assert "No such command 'nonsense'" in done.err


@pytest.mark.parametrize("name", sorted(_LATE))
def test_the_help_tells_of_late_commands_what_they_say_themselves(name: str, fleet: Fleet) -> None:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    assert command.name == name
    line = command.get_short_help_str(200)
    assert line == _LATE[name][1]
    assert f"  {name:<9} {line}\n" in fleet.call("--help").out
    assert line in fleet.call(name, "--help").out


@pytest.mark.parametrize("arguments", [["--help"], ["lease", "--help"], ["store", "--help"]])
def test_no_other_command_loads_the_late_ones(arguments: list[str]) -> None:
    loaded = loaded_by(arguments)
    assert "federlib.cli.store_group" in loaded
    assert not loaded & {"federlib.causal", "federlib.dmn", "federlib.testing"}


def test_chaos_tells_its_options_without_the_simulator() -> None:
    loaded = loaded_by(["chaos", "--help"])
    assert "federlib.testing.chaos.command" in loaded
    assert not loaded & {"federlib.testing.sim", "federlib.testing.history", "hypothesis", "trio"}


def loaded_by(arguments: list[str]) -> set[str]:
    code = (
        "import sys\nfrom federlib.cli import main\n"
        f"sys.argv = ['federlib', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())
