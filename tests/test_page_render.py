"""The page contains what readers need, is safe against injected content, and needs no network."""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import re
import weakref
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from page_cases import fitted, overlap_of, proposal, relaxed, salt, titanate
from tiny import decoded_of, rock_salt

from lcoms.core.errors import LcomsError
from lcoms.page import PageWriter, page_html
from lcoms.page.columns import table_columns
from lcoms.page.facts import notes, origin_facts, source_address, summary
from lcoms.page.render import LICENCES, SCRIPTS, STYLES, asset
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.overlap import training_overlap
from lcoms.prediction.reach import doubts
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec
from lcoms.prediction.stages import Known
from lcoms.structure.crystal import Composition
from lcoms.structure.io import from_cif, from_poscar
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import EXACT_SYMPREC

SOURCE = "https://next-gen.materialsproject.org/materials/"
VOID = {"meta", "link", "br", "img", "input"}
VENDOR = Path(__file__).parent.parent / "src" / "lcoms" / "page" / "vendor"
NASTY = "\"'></td></script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}<!--\u2028&amp;"


class Page(HTMLParser):
    """Elements with their attributes and text; reports unclosed elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self.open[-1:] != ["style"] and data.strip():
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def having(self, attribute: str) -> list[str | None]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


@pytest.fixture(scope="module")
def html() -> str:
    return page_html(salt(), overlap_of(salt()))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def written(folder: Path, bundle: WeightBundle, *predictions: Prediction) -> Path:
    with PageWriter(folder, bundle) as page:
        for prediction in predictions:
            page.add(prediction)
    return page.path


def test_figures_of_every_candidate_are_there(page: Page) -> None:
    for text in (
        "Rank 1 is the known ground state with a probability of 83%.",
        "First of 3: Fm-3m (225), formation energy -2.020 eV/atom after relaxation with chgnet:r2scan.",
        "The training data (1000 crystals) hold no crystal of NaCl.",
        "5.640, 5.640, 5.640 Å",
        "90.00, 90.00, 90.00°",
        "8 conventional, 2 primitive",
        "2.16 g/cm³",
        "Cl-Na 2.820 6 Na at Cl, 6 Cl at Na",
        "template mp-22862, KCl",
        "1.50 (learned distance)",
        "converged, 5 steps with chgnet:r2scan",
        "a crystal in space group 186 from mp-1: hopeless",
        f"48 (library), {salt().spec.search.steps} steps each, seed 0",
        "1 without a valid crystal, 2 with atoms too close, 3 duplicates",
        "Close to the training data:",
        "As far from the training data as training crystals are from each other:",
        "Far from the training data:",
        "31.73 2.820 100 (2 0 0)",
        "Na 4a m-3m 0.0000 0.0000 0.0000",
        "Cl 4b m-3m 0.5000 0.5000 0.5000",
    ):
        assert text in page.text, text
    unrelaxed = Page(page_html(titanate())).text
    assert "a random crystal of this composition" in unrelaxed
    assert "No probability is stated for candidates that are not relaxed." in unrelaxed


def test_the_page_says_what_determined_the_order() -> None:
    def said(prediction: Prediction) -> dict[str, str]:
        return {fact.name: fact.text for fact in notes(prediction)}

    assert said(salt())["Ranked by"] == "energy after relaxation (chgnet:r2scan), prototype probability"
    assert said(titanate())["Ranked by"] == "energy by the surrogate, prototype probability"
    assert said(fitted())["Ranked by"].endswith(", prototype probability, fit to the powder pattern")
    pressed = salt(spec=PredictionSpec(relaxation=RelaxationSpec(pressure=5.0)), ranked_by=("one", "two"))
    assert said(pressed)["Ranked by"] == "enthalpy after relaxation (one and two, mean)"
    (first, *_) = salt().candidates
    given = replace(first, decoded=replace(first.decoded, proposal=proposal("given", "", float("nan"))))
    assert said(salt(candidates=(given,)))["Descents"].startswith("48 (given structure), ")


def test_the_page_says_why_a_prediction_is_doubtful() -> None:
    dioxide = Composition.from_formula("CO2")
    said = "CO2 probably forms molecules; molecular crystals are out of scope: trust only candidates marked known."
    assert said in summary(replace(salt(), composition=dioxide, doubts=tuple(doubts(None, dioxide))), None)
    assert not any("molecules" in one for one in summary(salt(), None))
    short = replace(salt(), doubts=("the nearest neighbours of Cs lie near the cutoff.",))
    assert "The nearest neighbours of Cs lie near the cutoff." in summary(short, None)


def test_a_template_on_exact_sites_is_not_said_to_come_from_a_descent() -> None:
    (first, *_) = salt().candidates

    def said(symprec: float, n_found: int) -> dict[str, str]:
        made = replace(first, decoded=replace(first.decoded, symprec=symprec, n_found=n_found))
        return {fact.name: fact.text for fact in origin_facts(made, None, None)}

    exact, decoded = said(EXACT_SYMPREC, 1), said(0.1, 3)
    assert "Descent from" not in exact
    assert exact["Origin"] == decoded["Descent from"]
    assert (exact["Found"], decoded["Found"]) == ("from one template or descent", "from 3 templates or descents")


def test_ids_lead_to_their_source(page: Page) -> None:
    links = {address for address in page.having("href") if address and address.startswith("https://")}
    assert links == {f"{SOURCE}mp-22862", f"{SOURCE}mp-1"}
    known = replace(salt().candidates[0], known=Known("mp-22851", 0.123, 0.123))
    told = Page(page_html(salt(candidates=(known,))))
    assert "Known crystal mp-22851, 0.123 eV/atom above its hull" in told.text
    assert "Rank 1 is the known crystal mp-22851, 0.123 eV/atom above the hull in its source" in told.text
    assert told.having("href").count(f"{SOURCE}mp-22851") == 2  # in the table and beside the candidate


@pytest.mark.parametrize("crystal_id", ["wbm-1-2", "own-3", "mp-1/../../x", "mp-", "mp-1 ", NASTY, ""])
def test_other_ids_lead_nowhere(crystal_id: str) -> None:
    assert source_address(crystal_id) == ""


def test_a_measured_pattern_is_there_with_its_fit() -> None:
    prediction = fitted()
    page = Page(page_html(prediction))
    measured = json.loads(page.scripts[0])["NaCl/1"]["measured"]
    fit = prediction.candidates[0].pattern
    assert fit is not None
    assert len(measured["two_theta"]) == len(measured["observed"]) == len(measured["fit"]) == len(fit.fit.observed)
    np.testing.assert_allclose(measured["fit"], fit.fit.profile, rtol=1e-3, atol=1e-6)
    assert [line[2] for line in measured["lines"][:2]] == ["(1 1 1)", "(2 0 0)"]
    for text in ("Probability by pattern", "Rwp", "Fitted a, b, c", "Zero shift", "Rank 1 gave the pattern with"):
        assert text in page.text, text


def test_the_known_composition_is_told_honestly() -> None:
    told = Page(page_html(salt(), overlap_of(salt(), n_same=3))).text
    assert "hold 3 crystals of NaCl itself, so this answer may be recalled rather than predicted." in told
    left_out = salt(spec=salt().spec.with_options({"search": {"exclude_same": True}}))
    told = Page(page_html(left_out, overlap_of(left_out, n_same=1))).text
    assert "hold 1 crystal of NaCl itself; none was used as a template, but the weights were trained on them." in told


def test_scripts_get_crystals_curves_and_files(page: Page) -> None:
    drawings = json.loads(page.scripts[0])
    assert list(drawings) == ["NaCl/1", "NaCl/2", "NaCl/3"]
    first = drawings["NaCl/1"]
    cell, primitive = first["cells"]["conventional"], first["cells"]["primitive"]
    for crystal in (from_cif(first["cif"]), from_poscar(cell["poscar"]), from_poscar(primitive["poscar"])):
        assert matches(crystal, rock_salt(), STRICT)
    assert "_symmetry_Int_Tables_number   225" in first["cif"]
    assert first["name"] == "NaCl-rank-01"
    np.testing.assert_allclose(cell["lattice"], 5.64 * np.eye(3), atol=1e-4)
    assert (len(cell["symbols"]), len(cell["frac"]), len(cell["bonds"])) == (8, 8, 24)
    assert (len(primitive["symbols"]), len(primitive["bonds"])) == (2, 6)
    assert [cell["symbols"][site] for site in cell["centres"]] == ["Na"] * 4
    assert drawings["NaCl/2"]["cells"]["primitive"] is None  # its primitive cell is the conventional one
    assert first["descent"] == [round(energy, 5) for energy in salt().candidates[0].decoded.descent_energies]
    found = salt().candidates[0].relaxed
    assert found is not None
    assert first["relaxation"] == [round(energy, 5) for energy in found.energies]
    assert drawings["NaCl/3"]["relaxation"] == []
    assert [line[2] for line in first["pattern"][:2]] == ["(1 1 1)", "(2 0 0)"]


def test_tables_can_be_sorted_by_what_they_show(page: Page) -> None:
    headings = page.having("aria-sort")
    assert headings == ["ascending"]
    values = [value for value in page.having("data-value") if value is not None]
    assert values[:4] == ["1", "0.83", "-2.02", "0.0"]
    assert "" in values  # the candidate that was not relaxed


def test_the_score_that_ranks_is_shown_above_that_of_rank_1() -> None:
    made = salt()
    told = Page(page_html(made)).text
    above = f"{made.candidates[1].score - made.candidates[0].score:.3f} eV/atom"
    assert "Score above rank 1 0.000 eV/atom" in " ".join(told.split())
    assert f"Score above rank 1 {above}" in " ".join(told.split())
    (column,) = (one for one in table_columns(made) if one.heading == "Score")
    assert [column.text(one) for one in made.candidates] == ["0.000", above.split()[0], "-"]  # the last is not relaxed


def test_a_structure_type_named_after_the_compound_is_no_secret() -> None:
    named = decoded_of(rock_salt(), proposal=proposal("AB_cF8_225_a_b", "NaCl", 0.0), descent_energies=(-1.0,))
    made = salt(candidates=(relaxed(named, -2.02, 0.0),))
    told = " ".join(Page(page_html(made, overlap_of(made))).text.split())
    assert "rank 1 comes from AB_cF8_225_a_b, a structure type that is named after NaCl." in told


def test_columns_without_values_are_left_out() -> None:
    unrelaxed = Page(page_html(titanate())).text
    assert "Above lowest" not in unrelaxed
    assert "Relaxation" not in unrelaxed
    bare = relaxed(decoded_of(rock_salt()), None, 0.0)
    told = Page(page_html(salt(candidates=(bare,)))).text
    assert "Total eV/atom" in told
    assert "E form" not in told


def test_nothing_is_asked_of_the_network(html: str, page: Page) -> None:
    for attribute in ("src", "srcset", "action", "poster", "data", "style"):
        assert page.having(attribute) == [], attribute
    for tag, attributes in page.elements:
        address = attributes.get("href") or "#"
        followed = tag == "a" and attributes.get("rel") == "noreferrer" and address.startswith(SOURCE)
        assert address.startswith("#") or address == "data:," or followed
    assert not [tag for tag, _ in page.elements if tag in ("iframe", "object", "embed", "form", "base", "img")]
    for name in STYLES:
        assert not re.search(r"@import|url\(", asset(name))
    (policy,) = [a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "'unsafe-eval'" not in policy
    assert "script-src 'sha256-" in policy
    for script in page.scripts[1:]:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert len(page.scripts) == 1 + len(SCRIPTS)
    assert html.index("Content-Security-Policy") < html.index("<style") < html.index("<script")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_cannot_end_early(name: str) -> None:
    text = asset(name).lower()
    assert "</script" not in text
    assert "<!--" not in text
    assert "\r" not in text  # a browser would change it, and then its hash would be another


def test_what_comes_from_outside_is_only_text() -> None:
    clean = Page(page_html(salt(), overlap_of(salt())))
    first = salt().candidates[0]
    assert first.relaxed is not None
    decoded = replace(first.decoded, proposal=proposal(NASTY, NASTY))
    found = replace(first.relaxed, decoded=decoded, status=NASTY)
    dirty = salt(
        candidates=(replace(first, decoded=decoded, relaxed=found), *salt().candidates[1:]),
        weights_digest=NASTY,
        spec=salt().spec.with_options({"relaxation": {"oracle": NASTY}}),
        ranked_by=(NASTY,),
        failures=(NASTY,),
    )
    near = overlap_of(dirty)
    near = replace(near, crystals=tuple(replace(c, nearest=NASTY, formula=NASTY) for c in near.crystals))
    page = Page(page_html(dirty, near, home=NASTY))
    assert page.text.count("alert(1)") >= 8
    tags = [tag for tag, _ in page.elements]
    # The link that leads home stands for that to the template, whose id is none of the source's any more.
    assert sorted(tags) == sorted(tag for tag, _ in clean.elements)
    assert {name for _, a in page.elements for name in a} == {name for _, a in clean.elements for name in a}
    assert "49" not in page.having("href")
    assert page.scripts[1:] == clean.scripts[1:]
    assert "<" not in page.scripts[0]


def test_the_page_is_written_beside_the_results(bundle: WeightBundle, tmp_path: Path) -> None:
    path = written(tmp_path / "deeper", bundle, salt())
    assert path == tmp_path / "deeper" / "report.html"
    overlap = training_overlap(salt().composition, [c.crystal for c in salt().candidates], bundle)
    assert path.read_text(encoding="utf-8") == page_html(salt(), overlap)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(LcomsError, match=r"report\.html: cannot be written .*; choose another folder with --out"):
        written(tmp_path / "file", bundle, salt())


def test_a_page_of_several_formulas_has_a_section_and_the_drawings_of_each(
    bundle: WeightBundle, tmp_path: Path
) -> None:
    page = Page(written(tmp_path, bundle, salt(), titanate(), replace(salt(), candidates=())).read_text("utf-8"))
    assert [name for name in page.having("id") if name and name.startswith("title-") and "/" not in name] == [
        "title-NaCl", "title-SrTiO3", "title-NaCl"
    ]  # fmt: skip
    assert list(json.loads(page.scripts[0])) == ["NaCl/1", "NaCl/2", "NaCl/3", "SrTiO3/1"]
    assert "None of 48 proposals gave a valid crystal." in page.text
    assert page.having("aria-sort") == ["ascending"] * 3


def test_without_a_prediction_no_page_is_written(bundle: WeightBundle, tmp_path: Path) -> None:
    assert not written(tmp_path, bundle).exists()


def test_a_page_holds_what_there_is_when_a_later_formula_fails(bundle: WeightBundle, tmp_path: Path) -> None:
    def fail() -> None:
        with PageWriter(tmp_path, bundle) as page:
            page.add(salt())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(json.loads(Page((tmp_path / "report.html").read_text("utf-8")).scripts[0])) == [
        "NaCl/1", "NaCl/2", "NaCl/3"
    ]  # fmt: skip


def test_what_was_added_to_a_page_is_let_go(bundle: WeightBundle, tmp_path: Path) -> None:
    with PageWriter(tmp_path, bundle) as page:
        prediction = salt()
        kept = weakref.ref(prediction)
        page.add(prediction)
        size = _size_of(page)
        for _ in range(5):
            page.add(prediction)
        assert _size_of(page) - size < 2_000
        del prediction
        gc.collect()
        assert kept() is None


def _size_of(page: PageWriter) -> int:
    """Return the number of characters that a page holds in memory."""
    return sum(len(repr(value)) for value in vars(page).values() if isinstance(value, list | str | dict | tuple))


def test_a_candidate_more_costs_little(html: str) -> None:
    libraries = sum(len(asset(name)) for name in SCRIPTS)
    assert len(html) < libraries + 150_000


def test_bundled_files_are_those_that_are_stated() -> None:
    stated = dict(re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (VENDOR / "README.md").read_text(), re.MULTILINE))
    bundled = [path for path in VENDOR.iterdir() if path.suffix in (".js", ".css")]
    assert {path.name for path in bundled} == set(stated)
    for path in bundled:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == stated[path.name]


def test_licences_go_with_the_page(page: Page) -> None:
    for path in LICENCES.values():
        assert " ".join(asset(path).split()) in page.text
