"""The local page: formulas become reports, bad input gets the sentences of the command line, nobody else gets in."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

pytest.importorskip("flask", reason="the extra app is not installed")

from lcoms.app import Settings, make_app
from lcoms.app import server as module
from lcoms.app.desk import Run
from lcoms.prediction.pipeline import Predictor, Progress
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec

SECONDS = 30.0
NASTY = "\"'><script>alert(1)</script>"


def predictor(weights: Path, relaxation: RelaxationSpec | None = None) -> Predictor:
    return Predictor.load(weights, spec=PredictionSpec(relaxation=relaxation), processes=1)


@pytest.fixture
def client(tiny_weights: Path):
    return make_app(Settings(predictor(tiny_weights))).test_client()


def plain(text: str) -> str:
    """Without tags, entities undone."""
    from html import unescape

    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


def wait(client, address: str) -> dict:
    """Progress of a run once it has ended."""
    for _ in range(int(SECONDS * 20)):
        told = client.get(f"{address}/progress").get_json()
        if told["ended"]:
            return told
        threading.Event().wait(0.05)
    raise TimeoutError(told)


def test_a_formula_becomes_a_report(client) -> None:
    assert 'name="formula"' in client.get("/").text
    answer = client.post("/predict", data={"formula": " ClNa ", "n_candidates": "2", "seed": "3", "exclude_same": "1"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs/1")
    assert wait(client, "/runs/1") == {"complaint": "", "ended": True, "progress": "writing the page"}
    report = client.get("/runs/1").text
    assert '<h1 id="title-NaCl">NaCl</h1>' in report
    assert "seed 3" in report
    assert "none was used as a template, but the weights were trained on them" in report
    assert 1 <= report.count("<article") <= 2
    assert '<a href="/">New prediction</a>' in report
    assert "done" in plain(client.get("/").text)


# The command line says the same of the same formulas, see test_cli_predict.
BAD = {
    "Nacl": "did you mean NaCl?",
    "H2O)": "closed that was not opened",
    "": "the formula is empty",
    "Na500": "too many atoms",
    "AuCl": "no crystal with Au",
    "Na9Cl8": "17 atoms in its formula unit",
    "/etc/passwd": "cannot read",
    "Na" * 200: "the formula is too long",
    NASTY: "cannot read",
}


@pytest.mark.parametrize("formula", BAD)
def test_bad_formulas_get_a_sentence_and_are_only_text(formula: str, client) -> None:
    answer = client.post("/predict", data={"formula": formula})
    assert answer.status_code == 400
    assert BAD[formula] in plain(answer.text)
    assert "<script" not in answer.text
    assert client.get("/runs/1").status_code == 404


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("n_candidates", "0", "n_candidates must be at least 1, not 0."),
        ("n_candidates", "many", "expected a whole number, not 'many'"),
        ("n_candidates", "51", "n_candidates must be at most 50 here, not 51."),
        ("seed", "1.5", "expected a whole number"),
        ("formula_units", "two", "formula units 'two' makes no sense; write 2 or 1-4."),
        ("formula_units", "4-1", "make no range"),
    ],
)
def test_other_fields_are_read_as_strictly(field: str, value: str, sentence: str, client) -> None:
    answer = client.post("/predict", data={"formula": "NaCl", field: value})
    assert answer.status_code == 400
    assert sentence in plain(answer.text)
    assert 'value="NaCl"' in answer.text  # nothing has to be typed again


def test_fields_that_the_form_does_not_have_do_nothing(client, tmp_path: Path) -> None:
    extra = {"weights": str(tmp_path), "out": str(tmp_path), "start_structure": "/etc/passwd", "oracle": "os:system"}
    client.post("/predict", data={"formula": "NaCl"} | extra)
    assert wait(client, "/runs/1")["complaint"] == ""
    assert list(tmp_path.iterdir()) == []


def test_what_comes_to_nothing_is_told(client) -> None:
    client.post("/predict", data={"formula": "NaCl", "formula_units": "9"})
    assert "9 formula units make 18 atoms" in wait(client, "/runs/1")["complaint"]
    assert "9 formula units make 18 atoms" in plain(client.get("/runs/1").text)
    assert client.post("/predict", data={"formula": "NaCl", "n_candidates": "1"}).status_code == 303
    assert wait(client, "/runs/2")["complaint"] == ""


def test_a_second_formula_is_refused_while_one_runs(client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object, progress, **__: object):
        progress(Progress("NaCl", "relaxing", 3, 20))
        begun.set()
        assert go_on.wait(SECONDS)
        raise module.FormulaError("enough.")

    monkeypatch.setattr(Predictor, "predict", slow)
    client.post("/predict", data={"formula": "NaCl"})
    assert begun.wait(SECONDS)
    assert client.get("/runs/1/progress").get_json()["progress"] == "relaxing: 3 of 20"
    assert "relaxing: 3 of 20" in client.get("/runs/1").text
    answer = client.post("/predict", data={"formula": "ZnO"})
    assert answer.status_code == 503
    assert "NaCl is being predicted, one formula at a time" in answer.text
    go_on.set()
    assert wait(client, "/runs/1")["complaint"] == "enough."


def test_elements_that_the_oracle_does_not_know_are_refused_at_once(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relaxation = RelaxationSpec(oracle="toy_oracles:Raises")
    client = make_app(Settings(predictor(tiny_weights, relaxation))).test_client()
    assert "relaxed with toy_oracles:Raises" in plain(client.get("/").text)
    monkeypatch.setattr("lcoms.prediction.pipeline.check_composition", lambda *_: None)
    answer = client.post("/predict", data={"formula": "LrCl"})
    assert answer.status_code == 400
    assert "no lawrencium here." in plain(answer.text)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5:8060", "localhost.evil:80"])
def test_other_names_are_not_answered_to(host: str, client) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert "not one that lcoms answers to" in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8060", "localhost:8060", "localhost"])
def test_its_own_names_are(host: str, client) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_names_are_free_where_it_was_asked_for(tiny_weights: Path) -> None:
    client = make_app(Settings(predictor(tiny_weights), names=None)).test_client()
    assert client.get("/", headers={"Host": "lab.example"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 400),
        ({"Origin": "http://localhost"}, 400),
        ({}, 400),
    ],
)
def test_forms_of_other_sites_are_refused(headers: dict[str, str], status: int, client) -> None:
    assert client.post("/predict", data={"formula": ""}, headers=headers).status_code == status


def test_long_forms_and_unknown_pages_are_refused(client) -> None:
    assert client.post("/predict", data={"formula": "Na" * 10_000}).status_code == 413
    for address in ("/runs/7", "/static/../server.py", "/static/%2e%2e/server.py", "/../../etc/passwd", "/predict/x"):
        assert client.get(address).status_code == 404, address
    assert client.get("/predict").status_code == 405


def test_pages_run_no_scripts_but_their_own(client, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = client.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"<script(?![^>]* src=\"/static/)|style=|\son\w+=", answer.text)
    addresses = re.findall(r"(?:src|href|action)=\"([^\"]*)\"", answer.text)
    assert addresses
    assert all(address.startswith("/") or address == "data:," for address in addresses)
    for address in addresses:
        assert address == "data:," or client.get(address, buffered=True).status_code in (200, 405)
    ended = Run(1, NASTY, complaint=NASTY)
    ended.ended.set()
    monkeypatch.setattr(module.Desk, "find", lambda *_: ended)
    shown = client.get("/runs/1").text
    assert "<script" not in shown
    assert "alert(1)" in shown
