import importlib.metadata
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from reviewpulse.cli import app
from reviewpulse.settings import unknown_variables

COMMANDS = ["demo", "broker", "publish", "download", "work", "tail", "dashboard", "eda", "train", "compare", "evaluate"]
COMMANDS += ["verify", "rejected list", "rejected show", "rejected replay"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_a_meaning_for_each_option(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})

    assert shown.exit_code == 0
    options = [line for line in shown.output.splitlines() if line.strip(" │").startswith("--")]
    assert options
    assert [line for line in options if len(line.split()) < 5] == []


def test_without_a_command_the_commands_are_listed() -> None:
    shown = CliRunner().invoke(app, [])

    assert all(command.split()[0] in shown.output for command in COMMANDS)


def test_the_version_is_that_of_the_installed_package() -> None:
    shown = CliRunner().invoke(app, ["--version"])

    assert (shown.exit_code, shown.output) == (0, f"reviewpulse {importlib.metadata.version('reviewpulse')}\n")


def test_a_misspelt_setting_is_noticed() -> None:
    assert unknown_variables(["REVIEWPULSE_BROKERS", "REVIEWPULSE_BROKER", "PATH"]) == ["REVIEWPULSE_BROKERS"]


def test_nothing_in_an_error_or_a_log_line_commands_the_terminal() -> None:
    hostile = "./no\x1b[31m\x9b2J[/].jsonl"
    command = [sys.executable, "-m", "reviewpulse", "eda", hostile]

    done = subprocess.run(
        command, capture_output=True, timeout=60, check=False, env=os.environ | {"REVIEWPULSE_\x1b[31m": "1"}
    )

    said = done.stderr.decode()
    assert (done.returncode, all(letter.isprintable() or letter == "\n" for letter in said)) == (1, True), said
    assert r"error: cannot read no\x1b[31m\x9b2J[/].jsonl" in said
    assert r"REVIEWPULSE_\x1b[31m is no setting" in said
