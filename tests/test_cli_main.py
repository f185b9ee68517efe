"""The command line finds its commands quickly and reports every user error in one sentence."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from faults import QUICK, write_table
from tiny import rock_salt

import lcoms
from lcoms.cli import main as main_module
from lcoms.cli.main import COMMANDS, LazyCommand, load_command, run
from lcoms.core.errors import FormulaError
from lcoms.structure.io import to_cif

HELP_BUDGET = 0.7  # seconds of a core


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lcoms", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def add_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Add a function or a Typer app as the subcommand `try`."""

    def add(target: Any) -> None:
        monkeypatch.setitem(COMMANDS, "try", LazyCommand(main_module.__name__, "target", "For a test."))
        monkeypatch.setattr(main_module, "target", target, raising=False)

    return add


def test_help_lists_every_command_within_its_budget() -> None:
    for _ in range(5):  # the first call may have to read from a slow disk
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = call("-h")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
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
        (["xyzzy"], "lcoms: no such command 'xyzzy'; see lcoms --help.\n"),
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
    assert capsys.readouterr().err == "lcoms: missing argument 'formula'; see lcoms try --help.\n"


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
    for option in ("--help", "-h"):
        assert run([name, option]) == 0
        assert f"lcoms {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "completed"), [("lcoms pre", ["predict"]), ("lcoms predict --form", ["--format", "--formula-units"])]
)
def test_shells_complete_commands_and_options(typed: str, completed: list[str]) -> None:
    asked = {"_LCOMS_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    command = [sys.executable, "-m", "lcoms"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | asked)
    assert result.stdout.split() == completed


INTERRUPTS = """
import os, runpy, signal, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
sys.argv = ["lcoms", *{arguments!r}]
runpy.run_module("lcoms", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["lcoms.cli.main", "typer", "lcoms.core.errors", "numpy", "torch", "scipy.optimize"])
def test_ctrl_c_while_libraries_are_loaded_is_one_sentence(module: str, tmp_path: Path) -> None:
    arguments = ["predict", "NaCl", "--no-relax", "--weights", str(tmp_path), "--out", str(tmp_path / "out")]
    code = INTERRUPTS.format(module=module, arguments=arguments)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (130, "lcoms: stopped before it was done.\n")


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ((resource.RLIMIT_AS, 700_000_000), "1.4 GB of address space"),
        ((resource.RLIMIT_AS, 1_000_000_000), "1.4 GB of address space"),
        ((resource.RLIMIT_NOFILE, 8), "32 open files"),
    ],
    ids=["0.7 GB", "1 GB", "few handles"],
)
def test_too_small_limits_are_one_sentence_before_the_work(limit: tuple[int, int], said: str, tmp_path: Path) -> None:
    kind, value = limit
    command = [sys.executable, "-m", "lcoms", "predict", "NaCl", "--no-relax", "--out", str(tmp_path / "out")]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300,
        preexec_fn=lambda: resource.setrlimit(kind, (value, value)),
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        ImportError("libx.so: failed to map segment from shared object"),
    ],
    ids=repr,
)
def test_what_the_machine_lacks_is_one_sentence(add_command, error: Exception, capsys) -> None:
    def lacks() -> None:
        raise error

    add_command(lacks)
    assert run(["try"]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "ulimit" in complaint


def test_a_defect_is_not_called_a_want_of_the_machine(add_command) -> None:
    def broken() -> None:
        raise RuntimeError("a defect")

    add_command(broken)
    with pytest.raises(RuntimeError, match="a defect"):
        run(["try"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "NaCl", "--threads", "100000"],
        ["train", "cdvae", "store", "--threads", "100000"],
        ["relax", "x.cif", "--processes", "100000"],
        ["campaign", "x.txt", "--processes", "100000"],
        ["app", "--threads", "100000"],
        ["predict", "NaCl", "--out", "\udcff"],
        ["rank", "a\udc80b.cif"],
    ],
    ids=lambda arguments: repr(" ".join(arguments)),
)
def test_what_would_end_badly_after_the_work_is_told_before(
    arguments: list[str], capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_brackets_in_names_are_shown_as_they_are(tiny_weights: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Rich would interpret them as markup: [/b] closes a tag that was never opened, [red] disappears."""
    monkeypatch.chdir(tmp_path)
    for name in ("[/b]", "[red]", "a[bold]b"):
        folder = Path(name)
        folder.mkdir(parents=True)
        cif = folder / f"{name.replace('/', '|')}.cif"
        cif.write_text(to_cif(rock_salt()))
        write_table(folder / "t.parquet", [rock_salt()])
        for arguments in (
            ["predict", "NaCl", "--no-relax", *QUICK, "--weights", str(tiny_weights), "--out", f"{name}/p"],
            ["rank", str(cif), str(cif), "--oracle", "analytic"],
            ["data", "ingest", f"{name}/t.parquet", "--out", f"{name}/store"],
            ["data", "info", f"{name}/store"],
        ):
            assert run(arguments) == 0, capsys.readouterr()
            said = "".join(capsys.readouterr().out.split())  # lines may be wrapped anywhere
            assert (cif.name if arguments[0] == "rank" else name) in said, arguments
