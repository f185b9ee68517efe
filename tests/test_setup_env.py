"""The environment is created once, with the CPU build of PyTorch if there is no GPU and that build is available."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "setup_env.py"
NOT_FOUND = "ERROR: No matching distribution found for torch==0+cpu"


@pytest.fixture
def setup_env() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_env", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asked(setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the arguments of pip on Linux without GPU and PyTorch; pip is not run and finds everything."""
    requests: list[list[str]] = []
    monkeypatch.setattr(setup_env, "pip", lambda _python, arguments: requests.append(list(arguments)))
    monkeypatch.setattr(setup_env, "has_gpu", lambda: False)
    monkeypatch.setattr(setup_env, "_succeeds", lambda _command: False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    return requests


def test_cpu_build_without_a_gpu(setup_env: ModuleType, asked: list[list[str]]) -> None:
    setup_env.install_torch(Path("python"))
    assert asked == [[f"torch=={setup_env.TORCH_VERSION}+cpu"]]


def test_default_build_with_a_gpu(
    setup_env: ModuleType, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_env, "has_gpu", lambda: True)
    setup_env.install_torch(Path("python"))
    assert asked == [[f"torch=={setup_env.TORCH_VERSION}"]]


def test_the_index_of_the_environment_variable_is_asked(
    setup_env: ModuleType, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_INDEX_URL", "file:///somewhere")
    setup_env.install_torch(Path("python"))
    assert asked == [["--index-url", "file:///somewhere", f"torch=={setup_env.TORCH_VERSION}+cpu"]]


def test_without_a_cpu_build_the_usual_one_is_taken_and_the_way_out_is_named(
    setup_env: ModuleType,
    asked: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pip(_python: Path, arguments: list[str]) -> None:
        asked.append(list(arguments))
        if arguments[-1].endswith("+cpu"):
            raise subprocess.CalledProcessError(1, "pip", output=NOT_FOUND)

    monkeypatch.setattr(setup_env, "pip", pip)
    setup_env.install_torch(Path("python"))
    assert [arguments[-1] for arguments in asked] == [
        f"torch=={setup_env.TORCH_VERSION}+cpu",
        f"torch=={setup_env.TORCH_VERSION}",
    ]
    assert "TORCH_INDEX_URL" in capsys.readouterr().out


def test_a_broken_network_is_not_taken_for_a_missing_build(
    setup_env: ModuleType, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(_python: Path, arguments: list[str]) -> None:
        asked.append(list(arguments))
        raise subprocess.CalledProcessError(1, "pip", output="ReadTimeoutError")

    monkeypatch.setattr(setup_env, "pip", pip)
    with pytest.raises(subprocess.CalledProcessError):
        setup_env.install_torch(Path("python"))
    assert len(asked) == 1


def test_what_is_there_is_not_installed_again(
    setup_env: ModuleType, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_env, "_succeeds", lambda _command: True)
    setup_env.install_torch(Path("python"))
    assert asked == []


def test_pip_that_fails_shows_what_it_said_and_one_sentence(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "pip" / "__main__.py").write_text("print('no space left'); raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(setup_env, "make_environment", lambda _folder: Path(sys.executable))
    monkeypatch.setattr(setup_env, "install_torch", lambda python: setup_env.pip(python, ["torch"]))
    assert setup_env.main([str(tmp_path / "env")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("no space left\n")
    assert error.endswith("Run the command again to go on.\n")


def test_an_extra_that_cannot_be_had_is_named_and_left_out(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def pip(_python: Path, arguments: list[str]) -> None:
        asked.append(arguments[-1])
        if arguments[-1].endswith("[first]"):
            raise subprocess.CalledProcessError(1, "pip", output="no compiler")

    monkeypatch.setattr(setup_env, "pip", pip)
    setup_env.install_wishes(Path("python"), Path("/here"), ["first", "second"])
    assert asked == ["/here[first]", "/here[second]"]
    assert "first cannot be installed here" in capsys.readouterr().out


@pytest.mark.parametrize("compiler", [True, False])
def test_an_extra_without_a_wheel_for_this_python_is_told_before_it_is_built(
    setup_env: ModuleType,
    asked: list[list[str]],
    compiler: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(setup_env, "has_compiler", lambda: compiler)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    setup_env.install_wishes(Path("python"), Path("root"), ["chgnet", "sevennet"])
    assert [arguments[-1] for arguments in asked] == ["root[chgnet]"] * compiler + ["root[sevennet]"]
    said = capsys.readouterr().out
    assert "chgnet has no wheel for Python 3.13; with Python 3.12" in said
    assert ("goes without chgnet" in said) != compiler
    assert "sevennet has no wheel" not in said
