"""The command line finds its commands quickly and turns every error of the user into one sentence."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import typer

import lcoms
from lcoms.cli import main as main_module
from lcoms.cli.main import COMMANDS, LazyCommand, load_command, run
from lcoms.core.errors import FormulaError

HELP_BUDGET = 0.7  # seconds


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lcoms", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def add_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Make a function or a Typer app the sub-command `try`."""

    def add(target: Any) -> None:
        monkeypatch.setitem(COMMANDS, "try", LazyCommand(main_module.__name__, "target", "For a test."))
        monkeypatch.setattr(main_module, "target", target, raising=False)

    return add


def test_help_lists_every_command_within_its_budget() -> None:
    for _ in range(5):  # other work on the machine may slow down some calls, but not all
        started = time.perf_counter()
        result = call("--help")
        seconds = time.perf_counter() - started
        if seconds < HELP_BUDGET:
            break
    assert result.returncode == 0
    assert all(name in result.stdout and lazy.help in result.stdout for name, lazy in COMMANDS.items())
    assert seconds < HELP_BUDGET


def test_version() -> None:
    result = call("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"lcoms {lcoms.__version__}\n", "")


def test_no_command_shows_the_help() -> None:
    result = call()
    assert result.returncode == 2
    assert "predict" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predikt", "NaCl"], "lcoms: no such command 'predikt'; did you mean 'predict'?\n"),
        (["xyzzy"], "lcoms: no such command 'xyzzy'; type lcoms --help to see what there is.\n"),
        (["--versoin"], "lcoms: no such option: --versoin (Possible options: --version)"),
    ],
)
def test_usage_errors_are_one_sentence(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1


def test_a_missing_argument_names_the_commands_help(
    add_command: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def target(formula: str) -> None:
        raise AssertionError(formula)

    add_command(target)
    assert run(["try"]) == 2
    assert capsys.readouterr().err == "lcoms: missing argument 'formula'; type lcoms try --help to see what there is.\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FormulaError("'Nacl': did you\nmean NaCl?"), 2, "lcoms: 'Nacl': did you mean NaCl?\n"),
        (FileNotFoundError(2, "No such file or directory", "a.cif"), 2, "lcoms: a.cif: no such file or directory.\n"),
        (KeyboardInterrupt(), 130, "lcoms: stopped before it was done.\n"),
        (typer.Abort(), 130, "lcoms: stopped before it was done.\n"),
        (typer.Exit(2), 2, ""),
        (typer.Exit(), 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_errors_of_the_user_end_in_one_sentence(
    error: BaseException,
    code: int,
    message: str,
    add_command: Callable[[Any], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def target() -> None:
        raise error

    add_command(target)
    assert run(["try"]) == code
    assert capsys.readouterr().err == message


def test_errors_of_ours_are_not_hidden(add_command: Callable[[Any], None]) -> None:
    def target() -> None:
        raise ZeroDivisionError

    add_command(target)
    with pytest.raises(ZeroDivisionError):
        run(["try"])


def test_groups_and_functions_run(add_command: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    group = typer.Typer()

    @group.command()
    def one(count: int = 3) -> str:
        typer.echo(f"count {count}")
        return "no exit code"

    add_command(group)
    assert run(["try", "one", "--count", "4"]) == 0
    add_command(one)
    assert run(["try"]) == 0
    assert capsys.readouterr().out == "count 4\ncount 3\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_can_be_loaded_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_command(name).help
    assert run([name, "--help"]) == 0
    assert f"lcoms {name}" in capsys.readouterr().out
