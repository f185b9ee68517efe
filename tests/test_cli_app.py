"""`lcoms app` listens at the given address, or gives the reason in a sentence."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("waitress", reason="the extra app is not installed")

from lcoms.cli.main import run

PATIENCE = 120.0  # seconds, on a busy machine


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
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as answer:
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
    assert output.out == f"Open http://127.0.0.1:{server.effective_port}/ in a browser; Ctrl-C stops the server.\n"
    assert output.err == ""


@pytest.fixture
def served(
    tiny_weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[str, str]]]:
    """Start the command in a thread; return the printed address and the whole output."""
    import waitress

    made: list = []
    create = waitress.create_server
    monkeypatch.setattr(waitress, "create_server", lambda *a, **k: made.append(create(*a, **k)) or made[0])
    monkeypatch.setattr(socket, "getfqdn", lambda: "crystals.example.org")  # asks no name server
    threads: list[threading.Thread] = []

    def start(*arguments: str) -> tuple[str, str]:
        command = ["app", "--port", "0", "--no-relax", "--weights", str(tiny_weights), *arguments]
        threads.append(threading.Thread(target=run, args=(command,), daemon=True))
        threads[0].start()
        said, end = "", time.monotonic() + PATIENCE
        while "Open http" not in said and time.monotonic() < end:
            time.sleep(0.05)
            said += capsys.readouterr().out
        return said.split()[1], said

    yield start
    made[0].asyncore.close_all(made[0]._map)
    threads[0].join(PATIENCE)


def ask(address: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(
            request, timeout=PATIENCE
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_other_machines_need_the_address_with_its_token_and_a_name_of_this_machine(served) -> None:
    address, said = served("--host", "0.0.0.0", "--name", "lab.example.org")
    port = urllib.parse.urlsplit(address).port
    local = f"http://127.0.0.1:{port}/"
    assert "?token=" in address
    assert "Anyone with this address" in said
    token = urllib.parse.urlsplit(address).query
    assert ask(local)[0] == 401
    assert ask(f"{local}?token=guessed")[0] == 401
    status, page = ask(f"{local}?{token}")
    assert (status, 'name="formula"' in page) == (200, True)
    cookie = token.replace("token=", "lcoms-token=")
    for host, status in (
        (f"lab.example.org:{port}", 200), (f"crystals.example.org:{port}", 200), (f"evil.example.org:{port}", 400),
    ):  # fmt: skip
        assert ask(local, Cookie=cookie, Host=host)[0] == status
    form = urllib.request.Request(
        f"{local}predict", b"formula=NaCl", {"Cookie": cookie, "Origin": "http://evil.example.org"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(form, timeout=PATIENCE)


def test_slow_connections_do_not_keep_others_out(served) -> None:
    address, _ = served()
    port = urllib.parse.urlsplit(address).port
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        took = []
        for _ in range(3):  # a busy machine may be slow once
            clock = time.monotonic()
            assert ask(address)[0] == 200
            took.append(time.monotonic() - clock)
            if took[-1] < 15:
                break
        assert min(took) < 15  # it took 30 s where each kept a thread
    finally:
        for connection in slow:
            connection.close()


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
    assert "cannot listen on nowhere.invalid:8060" in complaint(
        capsys, "--no-relax", "--host", "nowhere.invalid", *weights
    )
    assert "nonsense" in complaint(capsys, "--oracle", "nonsense", *weights)
    local = complaint(capsys, "--no-relax", "--port", "0", "--name", "lab.example.org", *weights)
    assert "--name has no effect with --host 127.0.0.1" in local
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        told = complaint(capsys, "--no-relax", "--port", port, *weights)
    assert f"cannot listen on 127.0.0.1:{port}" in told
    assert "change --host or --port" in told


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from lcoms.cli import app as module

    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "flask" else object())
    assert complaint(capsys) == "lcoms: lcoms app needs flask; type pip install 'lcoms[app]' first."
