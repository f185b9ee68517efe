"""The local page: formulas give reports, bad input the messages of the command line, and others have no access."""

from __future__ import annotations

import dataclasses
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("flask", reason="the extra app is not installed")

from lcoms.app import Settings, make_app
from lcoms.app import server as module
from lcoms.app.desk import Run
from lcoms.app.fields import FIXED, RELAXATION, form_fields, read_fields
from lcoms.app.server import read_form
from lcoms.app.working import work_for
from lcoms.core.errors import ConfigError
from lcoms.models.fast import FastCDVAE
from lcoms.prediction.answer import answer
from lcoms.prediction.found import Found
from lcoms.prediction.pipeline import Predictor, Progress
from lcoms.prediction.presets import Options, spec_for

SECONDS = 120.0
NASTY = "\"'><script>alert(1)</script>"


def settings(weights: Path, options: Options = Options(relax=False)) -> Settings:  # noqa: B008 - frozen
    return Settings(Predictor.load(weights, spec=spec_for(options), processes=1), options)


@pytest.fixture
def client(tiny_weights: Path):
    return make_app(settings(tiny_weights)).test_client()


def plain(text: str) -> str:
    """Return the text without tags and entities."""
    from html import unescape

    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


def wait(client, address: str) -> dict:
    """Return the progress of a run after its end."""
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
    ended = {"complaint": "", "ended": True, "progress": "writing the page", "fraction": 1.0}
    assert wait(client, "/runs/1") == ended
    report = client.get("/runs/1").text
    assert '<h1 id="title-NaCl">NaCl</h1>' in report
    assert "seed 3" in report
    assert "none was used as a template, but the weights were trained on them" in report
    assert 1 <= report.count("<article") <= 2
    assert '<a href="/">New prediction</a>' in report
    assert "done" in plain(client.get("/").text)


def test_a_doubtful_prediction_is_said_to_be_so_before_and_in_its_report(client, monkeypatch) -> None:
    for where in ("app.working", "prediction.answer"):
        monkeypatch.setattr(f"lcoms.{where}.doubts", lambda *_: ["it is doubtful."])
    started = threading.Event()
    monkeypatch.setattr(module, "work_for", lambda order: lambda tell: started.wait(SECONDS) and work_for(order)(tell))
    client.post("/predict", data={"formula": "Na2Cl2", "n_candidates": "1"})
    waiting = plain(client.get("/runs/1").text)
    assert "Na2Cl2 is predicted as NaCl." in waiting
    assert "NaCl: it is doubtful." in waiting
    started.set()
    wait(client, "/runs/1")
    assert "NaCl is doubtful." in plain(client.get("/runs/1").text)


# The command line says the same of the same formulas, see test_cli_predict.
BAD = {
    "Nacl": "did you mean NaCl?",
    "H2O)": "a closing bracket has no opening one",
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
        ("n_candidates", "0", '"Candidates to keep" must be at least 1, not 0.'),
        ("n_candidates", "many", "expected a whole number, not 'many'"),
        ("n_candidates", "51", "Candidates to keep: at most 50 here, not 51."),
        ("seed", "1.5", "expected a whole number"),
        ("formula_units", "two", "Formula units in the primitive cell 'two' is not a number or a range"),
        ("formula_units", "4-1", "are not a range"),
        ("effort", "extreme", "Effort: choose one of fast, normal, thorough."),
        ("space_groups", "Xyz", "'Xyz' is not a space group"),
        ("space_groups", "cubi", "'cubi' is not a space group"),
        ("volume", "big", "Volume of a formula unit, Å³: expected a number, not 'big'."),
        ("density", "nan", "Density, g/cm³: expected a number, not 'nan'."),
        ("density", "-1", '"Density, g/cm³" must be positive'),
        ("max_atoms", "100000", "Largest primitive cell, atoms: at most 400 here"),
        ("steps", "9" * 300, "the limit is 100 characters"),
        ("hull", "BaO TiO2", "the hull needs relaxed energies; start lcoms app with --relax."),
        ("hull", " ".join(f"NaCl{n}" for n in range(2, 11)), "at most 8 further phases are allowed, not 9."),
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


def test_formulas_queue_and_are_cancelled(client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object, progress, **__: object):
        progress(Progress("NaCl", "relaxing", 3, 20))
        begun.set()
        assert go_on.wait(SECONDS)
        progress(Progress("NaCl", "relaxing", 4, 20))
        raise module.FormulaError("enough.")

    monkeypatch.setattr(Predictor, "predict", slow)
    client.post("/predict", data={"formula": "NaCl"})
    assert begun.wait(SECONDS)
    told = client.get("/runs/1/progress").get_json()
    assert told["progress"] == "relaxing: 3 of 20"
    assert 0.3 < told["fraction"] < 0.5
    assert "relaxing: 3 of 20" in client.get("/runs/1").text
    for number, formula in ((2, "ZnO"), (3, "NaCl")):
        assert client.post("/predict", data={"formula": formula}).status_code == 303
        assert client.get(f"/runs/{number}/progress").get_json()["progress"] == f"queued, {number - 1} ahead"
    for number in (1, 2):
        assert client.post(f"/runs/{number}/cancel").headers["Location"] == "/"
        assert client.get(f"/runs/{number}/progress").get_json()["complaint"] == "cancelled."
    assert plain(client.get("/").text).count("cancelled") == 2
    go_on.set()
    assert wait(client, "/runs/3")["complaint"] == "enough."
    assert client.get("/runs/1/progress").get_json()["complaint"] == "cancelled."
    assert client.post("/runs/9/cancel").status_code == 404
    assert client.get("/runs/1/cancel").status_code == 405


def test_a_prediction_is_cancelled_while_it_searches(client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, later = threading.Event(), threading.Event(), []
    decode = FastCDVAE.decode_within

    def slow(self: FastCDVAE, *arguments: object, **options: object) -> object:
        begun.set()
        assert go_on.wait(SECONDS)
        return decode(self, *arguments, **options)  # type: ignore[arg-type]

    def noted(found: Found, *arguments: object) -> object:
        later.append(found.decoded.composition.reduced_formula)
        return answer(found, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FastCDVAE, "decode_within", slow)
    monkeypatch.setattr("lcoms.prediction.pipeline.answer", noted)
    client.post("/predict", data={"formula": "NaCl"})
    client.post("/predict", data={"formula": "ZnO"})
    assert begun.wait(SECONDS)
    told = client.get("/runs/1/progress").get_json()
    assert re.fullmatch(r"searching: 0 of \d+", told["progress"])
    assert not told["ended"]
    assert "Cancel" in client.get("/runs/1").text
    client.post("/runs/1/cancel")
    assert client.get("/runs/1/progress").get_json()["complaint"] == "cancelled."
    go_on.set()
    assert wait(client, "/runs/2")["complaint"] == ""
    assert later == ["ZnO"]  # the search for NaCl came to no candidates


def test_a_full_queue_says_so(client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.app.desk.MOST_WAITING", 0)
    answer = client.post("/predict", data={"formula": "ZnO"})
    assert answer.status_code == 503
    assert "predictions are queued; wait until one of them is done, or cancel it." in answer.text


def test_the_form_has_a_field_for_every_option_that_a_page_may_choose(client, tiny_weights: Path) -> None:
    names = {field.name for field in form_fields(Options(relax=True))}
    assert names | set(FIXED) == {field.name for field in dataclasses.fields(Options)}
    shown = set(re.findall(r'id="\w+" name="(\w+)"', client.get("/").text))
    assert shown == {"formula", *names} - set(RELAXATION)  # nothing is relaxed there
    relaxed = make_app(settings(tiny_weights, Options(oracle="toy_oracles:Raises"))).test_client()
    assert {"hull", *RELAXATION} <= set(re.findall(r'id="\w+" name="(\w+)"', relaxed.get("/").text))


def test_fields_become_the_options_that_the_command_line_has() -> None:
    form = {
        "effort": "fast", "space_groups": "225, Pnma, triclinic", "volume": "40.5", "tolerance": "0.2",
        "max_atoms": "24", "formula_units": "2-4", "symmetry": "no", "start": "prior", "steps": "0",
    }  # fmt: skip
    read = read_fields(form, Options(relax=False, seed=3))
    assert read == Options(
        effort="fast", space_groups=(225, 62, 1, 2), volume=40.5, tolerance=0.2, max_atoms=24, formula_units=(2, 4),
        symmetry=False, start="prior", steps=0, relax=False, seed=3,
    )  # fmt: skip
    assert read_fields({}, Options(seed=3)) == Options(seed=3)


def test_phases_of_a_hull_are_free_of_the_constraints_of_the_compound(tiny_weights: Path) -> None:
    asked = settings(tiny_weights, Options(oracle="toy_oracles:Raises"))
    order = read_form(
        {
            "formula": "NaCl", "hull": "Na2Cl, NaCl NaCl3 Na Cl", "space_groups": "225", "formula_units": "1",
            "cell": "5.64 5.64 5.64 90 90 90", "prototypes": "B1", "phonons": "1",
        },
        asked,
    )  # fmt: skip
    assert [phase.reduced_formula for phase in order.phases[:2]] == ["Na2Cl", "NaCl3"]
    assert order.predictor_of(order.composition).spec.constraints.space_groups == (225,)
    assert not order.predictor_of(order.phases[0]).spec.constraints.any
    assert order.predictor_of(order.phases[0]).spec.search.formula_units is None
    assert (order.predictor.spec.phonons.n, order.predictor_of(order.phases[0]).spec.phonons.n) == (1, 0)


def test_a_limit_above_the_hull_of_predicted_phases_is_refused_at_once(tiny_weights: Path) -> None:
    asked = settings(tiny_weights, Options(oracle="toy_oracles:Raises"))
    with pytest.raises(ConfigError, match='"Highest energy above the hull, eV/atom" cannot refer to the hull'):
        read_form({"formula": "NaCl", "hull": "NaCl3", "max_e_above": "0.1"}, asked)
    assert read_form({"formula": "NaCl", "max_e_above": "0.1"}, asked).phases == ()


def test_a_hull_without_its_elements_is_refused_at_once(tiny_weights: Path) -> None:
    asked = settings(tiny_weights, Options(oracle="toy_oracles:Raises"))  # has no references
    with pytest.raises(ConfigError, match="the hull needs the elements, too; add Cl to the further phases"):
        read_form({"formula": "NaCl", "hull": "NaCl3 Na"}, asked)
    assert len(read_form({"formula": "NaCl", "hull": "Cl2 NaCl3 Na"}, asked).phases) == 3


def test_elements_that_the_oracle_does_not_know_are_refused_at_once(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app(settings(tiny_weights, Options(oracle="toy_oracles:Raises"))).test_client()
    assert "relaxed with toy_oracles:Raises" in plain(client.get("/").text)
    monkeypatch.setattr("lcoms.prediction.pipeline.check_composition", lambda *_: None)
    answer = client.post("/predict", data={"formula": "LrCl"})
    assert answer.status_code == 400
    assert "no lawrencium here." in plain(answer.text)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5:8060", "localhost.evil:80"])
def test_other_names_are_not_answered_to(host: str, client) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert "lcoms does not answer this address or request" in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8060", "localhost:8060", "localhost"])
def test_its_own_names_are(host: str, client) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_names_are_free_where_it_was_asked_for(tiny_weights: Path) -> None:
    client = make_app(replace(settings(tiny_weights), names=None)).test_client()
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
