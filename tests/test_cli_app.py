"""`lcoms app` listens where it is told, and says in a sentence why it cannot."""

from __future__ import annotations

import socket
import threading
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("waitress", reason="the extra app is not installed")

from lcoms.cli.main import run


def test_a_real_server_answers_at_loopback_only(
    tiny_weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import waitress

    made: list = []
    create = waitress.create_server

    def remember(*arguments: object, **options: object):
        made.append(create(*arguments, **options))
        answers: list[str] = []

        def visit() -> None:
            port = made[0].effective_port
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                answers.append(answer.read().decode())

        def serve() -> None:
            visitor = threading.Thread(target=visit)
            visitor.start()
            while visitor.is_alive():
                made[0].asyncore.poll(0.05, made[0]._map)
            made.append(answers)

        made[0].run = serve
        return made[0]

    monkeypatch.setattr(waitress, "create_server", remember)
    assert run(["app", "--port", "0", "--no-relax", "--weights", str(tiny_weights)]) == 0
    server, (answer,) = made
    assert 'name="formula"' in answer
    assert server.effective_host == "127.0.0.1"
    output = capsys.readouterr()
    assert output.out == f"Open http://127.0.0.1:{server.effective_port}/ in a browser; Ctrl-C ends it.\n"
    assert output.err == ""


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["app", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_what_cannot_be_is_said_in_a_sentence(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = ("--weights", str(tiny_weights))
    assert "there is no file" in complaint(capsys, "--no-relax", "--weights", str(tmp_path))
    assert "cannot listen at nowhere.invalid:8060" in complaint(
        capsys, "--no-relax", "--host", "nowhere.invalid", *weights
    )
    assert "nonsense" in complaint(capsys, "--oracle", "nonsense", *weights)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        told = complaint(capsys, "--no-relax", "--port", port, *weights)
    assert f"cannot listen at 127.0.0.1:{port}" in told
    assert "change --host or --port" in told


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from lcoms.cli import app as module

    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "flask" else object())
    assert complaint(capsys) == "lcoms: lcoms app needs flask; type pip install 'lcoms[app]' first."
