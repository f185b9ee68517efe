"""`lcoms predict`: its output, and one sentence with exit code 2 for everything that is impossible."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gemmi
import pytest
from ase.io import read as ase_read
from tiny import KnownDecoder, rock_salt, wurtzite

from lcoms.cli.main import run
from lcoms.core.errors import DataError
from lcoms.oracles.hull import read_entries
from lcoms.prediction import bundle as bundle_module
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import from_cif, read_crystal, to_cif
from lcoms.structure.matching import STRICT, matches

QUICK = ("--starts", "4", "--steps", "2")
UNRELAXED = ("--no-relax",)


@pytest.fixture
def predict(tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command with tiny weights into a new folder; return exit code, output and error lines."""

    def call(*arguments: str, out: Path | None = None, weights: Path | None = None) -> tuple[int, str, list[str]]:
        folders = ["--weights", str(weights or tiny_weights), "--out", str(out or tmp_path / "results")]
        relaxing = () if {"--relax", "--no-relax"} & set(arguments) else UNRELAXED
        quick = QUICK[2:] if "--start-structure" in arguments else QUICK
        code = run(["predict", *arguments, *relaxing, *quick, *folders])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return call


def results(tmp_path: Path, formula: str) -> dict:
    return json.loads((tmp_path / "results" / formula / "results.json").read_text())


def test_a_formula_alone_is_enough(predict, tmp_path: Path) -> None:
    code, output, complaints = predict("NaCl")
    assert (code, complaints) == (0, [])
    folder = tmp_path / "results" / "NaCl"
    content = results(tmp_path, "NaCl")
    assert [entry["cif"] for entry in content["candidates"]] == sorted(path.name for path in folder.glob("*.cif"))
    assert content["spec"]["search"]["n_starts"] == 4
    assert "not by DFT" in output
    assert output.splitlines()[-1] == f"Next: open {folder / 'rank-01.cif'} in a crystal viewer."
    assert "NaCl" in output.splitlines()[0]


def test_the_same_seed_gives_the_same_files_also_beside_others(predict, tmp_path: Path) -> None:
    predict("NaCl", "--seed", "3", "--no-symmetry", out=tmp_path / "alone")
    predict("SrTiO3", "KCl", "NaCl", "ZnO", "--seed", "3", "--no-symmetry", out=tmp_path / "beside")
    predict("NaCl", "--seed", "4", "--no-symmetry", out=tmp_path / "other")
    alone, beside, other = (
        {path.name: path.read_text() for path in (tmp_path / name / "NaCl").iterdir()}
        for name in ("alone", "beside", "other")
    )
    assert alone == beside
    assert alone["rank-01.cif"] != other["rank-01.cif"]


BAD = {
    "Nacl": "did you mean NaCl?",
    "H2O)": "a closing bracket has no opening one",
    "": "the formula is empty",
    "Na0": "a count of 0",
    "Xx2": "is not an element",
    "Na500": "too many atoms",
    "AuCl": "no crystal with Au",
    "Na9Cl8": "17 atoms in its formula unit",
}


@pytest.mark.parametrize("formula", BAD)
def test_a_bad_formula_gets_one_sentence_and_exit_code_2(formula: str, predict, tmp_path: Path) -> None:
    code, output, complaints = predict(formula)
    assert code == 2
    assert output == ""
    assert len(complaints) == 1
    assert complaints[0].startswith("lcoms: ")
    assert BAD[formula] in complaints[0]
    assert not list(tmp_path.glob("results/*"))


def test_a_file_of_something_else_gets_one_sentence(predict, tmp_path: Path) -> None:
    path = tmp_path / "pattern.xy"
    path.write_text("\n".join(f"{10 + number / 10:.1f},{number}" for number in range(100)))
    code, output, complaints = predict("-f", str(path))
    assert (code, output, len(complaints)) == (2, "", 1)
    assert "none of 100 texts is a formula that can be read; the first: '10.0,0'" in complaints[0]
    assert "decimals" not in complaints[0]


def test_good_formulas_beside_bad_ones_still_run(predict, tmp_path: Path) -> None:
    code, output, complaints = predict("Nacl", "AuCl", "NaCl", "Na0", "H2O)", "NaCl", "ClNa")
    assert code == 2
    again = complaints.pop(3)
    assert again == "lcoms: given more than once: NaCl and 1 more; each formula is predicted once."
    assert [next(key for key, text in BAD.items() if text in line) for line in complaints] == [
        "Nacl", "Na0", "H2O)", "AuCl"
    ]  # fmt: skip
    assert results(tmp_path, "NaCl")["candidates"]
    assert output.count("Next:") == 1
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["NaCl"]


def test_a_formula_that_the_energy_model_does_not_know_does_not_end_the_others(predict, tmp_path: Path) -> None:
    options = ("--relax", "--oracle", "toy_oracles:NoZinc", "--n-relax", "1", "--processes", "1")
    code, _, complaints = predict("NaCl", "ZnO", "CsCl", *options)
    assert (code, complaints) == (2, ["lcoms: ZnO: no zinc here."])
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["CsCl", "NaCl"]


def test_fractions_are_predicted_as_an_ordered_formula_when_asked(predict, tmp_path: Path) -> None:
    code, _, complaints = predict("Na0.5Cl0.5", "Zn0.7O")
    assert code == 2
    assert all("--ordered-approximation" in line for line in complaints)
    code, _, complaints = predict("Na0.5Cl0.5", "Zn0.67Sr0.33O", "--ordered-approximation")
    assert code == 0
    assert complaints == [
        "lcoms: Na0.5Cl0.5: NaCl has the composition of Na0.5Cl0.5.",
        (
            "lcoms: Zn0.67Sr0.33O: SrZn2O3 is the ordered approximation of Zn0.67Sr0.33O, off by 0.003 "
            "(Zn 0.667 for 0.67)."
        ),
    ]
    assert results(tmp_path, "NaCl")["formula"] == "NaCl"
    assert results(tmp_path, "SrZn2O3")["formula"] == "SrZn2O3"


def test_a_formula_that_is_read_as_a_smaller_one_is_named(predict, tmp_path: Path) -> None:
    code, _, complaints = predict("Na4Cl4", "ZnO")
    assert code == 0
    assert complaints == [
        "lcoms: Na4Cl4 is predicted as NaCl; --formula-units limits the size of the cells that are tried."
    ]
    assert results(tmp_path, "NaCl")["formula"] == "NaCl"
    assert predict("Na4Cl4", "--quiet")[2] == []


def test_formulas_from_a_file(predict, tmp_path: Path) -> None:
    file = tmp_path / "formulas.txt"
    file.write_text("NaCl  # table salt\n\n# nothing\nKx\n")
    code, _, complaints = predict("ZnO", "--from-file", str(file))
    assert code == 2
    assert len(complaints) == 1
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"ZnO", "NaCl"}
    file.write_text("# nothing\n")
    for formulas in ((), ("NaCl",)):
        code, _, complaints = predict(*formulas, "--from-file", str(file))
        assert (code, complaints) == (2, [f"lcoms: {file} holds no formula; write one per line, such as NaCl."])
    code, _, complaints = predict("--from-file", str(tmp_path / "none.txt"))
    assert code == 2
    assert "none.txt: cannot be read" in complaints[0]
    file.write_bytes(b"\xff\xfe\xff")
    assert predict("--from-file", str(file))[0] == 2


def test_formula_units_are_kept_to(predict, tmp_path: Path) -> None:
    assert predict("NaCl", "--formula-units", "2")[0] == 0
    assert results(tmp_path, "NaCl")["spec"]["search"]["formula_units"] == [2, 2]
    assert {entry["proposal"]["formula_units"] for entry in results(tmp_path, "NaCl")["candidates"]} == {2}
    assert predict("NaCl", "--formula-units", "1-3")[0] == 0
    assert results(tmp_path, "NaCl")["spec"]["search"]["formula_units"] == [1, 3]
    for text, complaint in (
        ("two", "'two' is not a number or a range"),
        ("4-1", "are not a range"),
        ("0", "are not a range"),
    ):
        code, _, complaints = predict("NaCl", "--formula-units", text)
        assert code == 2
        assert len(complaints) == 1
        assert complaint in complaints[0]
    code, _, complaints = predict("NaCl", "ZnO", "--formula-units", "9")
    assert code == 2
    assert len(complaints) == 2
    assert "NaCl: 9 formula units make 18 atoms" in complaints[0]


def test_a_start_structure_replaces_the_library(predict, tmp_path: Path) -> None:
    (tmp_path / "start.cif").write_text(to_cif(wurtzite()))
    assert predict("NaCl", "--start-structure", str(tmp_path / "start.cif"))[0] == 0
    content = results(tmp_path, "NaCl")
    assert content["n_proposals"] == 1
    assert content["candidates"][0]["proposal"]["source"] == "given"
    for name in ("none.cif", "start.txt"):
        code, _, complaints = predict("NaCl", "--start-structure", str(tmp_path / name))
        assert code == 2
        assert len(complaints) == 1
        assert name in complaints[0]


@pytest.mark.parametrize("option", ["--starts 4", "--start prior", "--formula-units 2", "--max-atoms 40"])
def test_options_of_other_starts_are_refused_beside_a_start_structure(option: str, predict, tmp_path: Path) -> None:
    (tmp_path / "start.cif").write_text(to_cif(wurtzite()))
    code, _, complaints = predict("NaCl", "--start-structure", str(tmp_path / "start.cif"), *option.split())
    assert code == 2
    assert complaints == [f"lcoms: {option.split()[0]} has no effect with --start-structure; omit one of them."]


def test_other_options_reach_the_results(predict, tmp_path: Path) -> None:
    assert predict("NaCl", "-n", "2", "--without-same", "--seed", "9", "--start", "prior")[0] == 0
    spec = results(tmp_path, "NaCl")["spec"]
    assert (spec["n_candidates"], spec["seed"], spec["relaxation"]) == (2, 9, None)
    assert (spec["search"]["exclude_same"], spec["search"]["start"], spec["search"]["steps"]) == (True, "prior", 2)
    assert len(results(tmp_path, "NaCl")["candidates"]) <= 2
    code, _, complaints = predict("NaCl", "-n", "0")
    assert (code, complaints) == (2, ["lcoms: -n must be at least 1, not 0."])


def test_missing_weights_are_named_but_formulas_are_read_first(predict, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    code, _, complaints = predict("NaCl", weights=nowhere)
    assert code == 2
    assert len(complaints) == 1
    assert "there is no file" in complaints[0]
    code, _, complaints = predict("Nacl", weights=nowhere)
    assert code == 2
    assert len(complaints) == 1
    assert "did you mean NaCl?" in complaints[0]
    code, _, complaints = predict("Nacl", "NaCl", weights=nowhere)
    assert code == 2
    assert ["did you mean" in complaints[0], "there is no file" in complaints[1], len(complaints)] == [True, True, 2]
    assert not (tmp_path / "results").exists()


def test_an_out_folder_that_cannot_be_made_is_named_before_anything_is_computed(
    predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("lcoms.prediction.pipeline.decode", never)
    (tmp_path / "file").write_text("")
    code, output, complaints = predict("NaCl", out=tmp_path / "file" / "results")
    assert (code, output) == (2, "")
    assert len(complaints) == 1
    assert "cannot be written" in complaints[0]
    assert "--out" in complaints[0]


@pytest.mark.parametrize(("answer", "code"), [(rock_salt(), 0), (None, 2)])
def test_formulas_without_any_crystal_are_named(
    answer: Crystal | None, code: int, predict, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(bundle_module.WeightBundle.load(tiny_weights), cdvae=KnownDecoder([answer] * 4))
    monkeypatch.setattr(bundle_module, "_load", lambda _: known)
    found, output, complaints = predict("NaCl", "--no-symmetry")
    assert found == code
    if answer is None:
        assert complaints == ["lcoms: NaCl: none of 4 proposals gave a valid crystal."]
        assert "Next:" not in output
    else:
        assert "Fm-3m (225)" in output


def test_the_command_itself(tiny_weights: Path, tmp_path: Path) -> None:
    """Run without the type checks of the tests, as by a user."""
    command = [sys.executable, "-m", "lcoms", "predict", "NaCl", "Nacl", *QUICK, "--threads", "1"]
    command += ["--weights", str(tiny_weights), "--out", str(tmp_path / "r")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("lcoms: ")
    assert (tmp_path / "r" / "NaCl" / "rank-01.cif").exists()


def test_a_start_that_does_not_exist_is_one_sentence(predict) -> None:
    sentence = "lcoms: option --start: 'moon' is not among library, prior, random."
    assert predict("NaCl", "--start", "moon") == (2, "", [sentence])


def test_candidates_are_relaxed_and_ranked_by_the_oracle(predict, tmp_path: Path) -> None:
    options = ("--relax", "--oracle", "analytic", "--n-relax", "3", "--processes", "1", "-n", "2")
    code, out, complaints = predict("NaCl", *options)
    assert (code, complaints) == (0, [])
    assert "analytic" in out
    assert "*" in out  # there are no reference elements for it, and the table says so
    content = results(tmp_path, "NaCl")
    assert content["spec"]["relaxation"]["oracle"] == "analytic"
    assert content["ranked_by"] == ["analytic"]
    scores = [c["score"] for c in content["candidates"]]
    assert scores == sorted(scores)
    assert 1 <= len(scores) <= 2
    assert all(c["relaxation"]["total_energy_per_atom"] is not None for c in content["candidates"])
    assert content["candidates"][0]["relaxation"]["energy_above_lowest"] == 0


@pytest.mark.parametrize("option", [("--oracle",), ("--oracle", "analytic", "--committee")])
def test_an_unknown_energy_model_is_said_before_any_work(option: tuple[str, ...], predict, tmp_path: Path) -> None:
    code, _, complaints = predict("NaCl", "--relax", *option, "crystal ball")
    assert code == 2
    assert len(complaints) == 1
    assert "crystal ball" in complaints[0]
    assert not (tmp_path / "results").exists()


def test_a_committee_ranks_with_the_model_that_relaxed(predict, tmp_path: Path) -> None:
    options = ("--relax", "--oracle", "analytic", "--n-relax", "2", "--processes", "1")
    code, out, complaints = predict("NaCl", *options, "--committee", "toy_oracles:Springs,toy_oracles:Slow")
    assert (code, complaints) == (0, [])
    content = results(tmp_path, "NaCl")
    assert content["ranked_by"] == ["analytic", "toy_oracles:Springs", "toy_oracles:Slow"]
    assert len(content["candidates"][0]["relaxation"]["committee_energies_per_atom"]) == 2
    assert "the mean of analytic and toy_oracles:Springs and toy_oracles:Slow" in " ".join(out.split())
    assert predict("NaCl", *options, "--committee", "none")[0] == 0
    assert results(tmp_path, "NaCl")["ranked_by"] == ["analytic"]


@pytest.mark.parametrize(
    "option",
    [
        ("--oracle", "analytic"),
        ("--committee", "analytic"),
        ("--n-relax", "3"),
        ("--random-symmetric", "3"),
        ("--fmax", "1"),
    ],
    ids=lambda option: option[0],
)
def test_options_of_the_relaxation_are_refused_without_it(option: tuple[str, str], predict, tmp_path: Path) -> None:
    code, output, complaints = predict("NaCl", *option, "--no-relax")
    sentence = f"lcoms: {option[0]} has no effect without relaxation; omit it, or relax."
    assert (code, output, complaints) == (2, "", [sentence])
    assert not (tmp_path / "results").exists()


def test_a_run_is_repeated_from_its_results(tiny_weights: Path, tmp_path: Path, capsys) -> None:
    def go(out: str, *options: str) -> dict[str, bytes]:
        folders = ["--weights", str(tiny_weights), "--processes", "1", "--out", str(tmp_path / out)]
        assert run(["predict", "NaCl", *options, *folders]) == 0
        files = {path.name: path.read_text() for path in (tmp_path / out / "NaCl").iterdir()}
        content = json.loads(files.pop("results.json"))
        typed.append(content.pop("options"))
        return files | content

    typed: list[dict] = []
    options = ("--oracle", "analytic", "--n-relax", "2", "-n", "3", "--seed", "5", "--committee", "toy_oracles:Springs")
    first = go("first", *options, *QUICK)
    file = str(tmp_path / "first" / "NaCl" / "results.json")
    assert go("again", "--spec", file) == first
    toml = tmp_path / "mine.toml"
    toml.write_text(
        'n_candidates = 3\nseed = 5\n[search]\nn_starts = 4\nsteps = 2\n[relaxation]\noracle = "analytic"\n'
        'n_relax = 2\nn_least = 2\n[ranking]\ncommittee = ["toy_oracles:Springs"]\n'
    )
    assert go("from toml", "--spec", str(toml)) == first
    assert typed[0] == {
        "n_candidates": 3, "starts": 4, "steps": 2, "oracle": "analytic", "committee": ["toy_oracles:Springs"],
        "n_relax": 2, "seed": 5,
    }  # fmt: skip
    assert typed[1] == {"spec": file}
    capsys.readouterr()
    for beside in (("--seed", "6"), ("--effort", "fast"), ("--no-relax",)):
        assert run(["predict", "NaCl", "--spec", file, *beside, "--weights", str(tiny_weights)]) == 2
        assert "--spec already sets all search options" in capsys.readouterr().err
    (tmp_path / "bad.toml").write_text("[search]\nn_startz = 3\n")
    assert run(["predict", "NaCl", "--spec", str(tmp_path / "bad.toml"), "--weights", str(tiny_weights)]) == 2
    assert "did you mean search.n_starts" in capsys.readouterr().err


def test_an_earlier_prediction_is_kept_or_said_to_be_replaced(predict, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "NaCl"
    assert "NaCl: " not in predict("NaCl")[1]
    made = (folder / "results.json").read_bytes()
    assert f"NaCl: {folder} already holds this prediction; --overwrite repeats it." in predict("NaCl")[1].splitlines()
    assert (folder / "results.json").read_bytes() == made
    output = predict("NaCl", "--seed", "1")[1].splitlines()
    assert f"NaCl: {folder} holds an earlier prediction, which this one replaces." in output
    assert (folder / "results.json").read_bytes() != made


def test_energies_above_the_hull(predict, tmp_path: Path) -> None:
    options = ("--relax", "--oracle", "analytic", "--n-relax", "2", "--processes", "1")
    entries = [{"formula": formula, "energy_per_atom": 0.0} for formula in ("Na", "Cl")]
    (tmp_path / "phases.json").write_text(json.dumps({"oracle": "analytic", "entries": entries}))
    code, out, complaints = predict("NaCl", *options, "--hull", str(tmp_path / "phases.json"))
    assert (code, complaints) == (0, [])
    assert "hull" in out
    relaxation = results(tmp_path, "NaCl")["candidates"][0]["relaxation"]
    assert relaxation["e_above_hull"] == pytest.approx(relaxation["total_energy_per_atom"])
    # The closed form has no reference elements, so that what is predicted here makes no hull.
    code, _, complaints = predict("NaCl", *options, "--hull", "predicted")
    assert code == 0
    assert len(complaints) == 1
    assert complaints[0].endswith("the hull needs a phase of Na and Cl; predict them in the same command.")
    assert results(tmp_path, "NaCl")["candidates"][0]["relaxation"]["e_above_hull"] is None
    for wrong, sentence in (
        (("--hull", str(tmp_path / "none.json"), "--relax", "--oracle", "analytic"), "none.json"),
        (("--hull", "predicted", "--no-relax"), "the hull needs relaxed energies"),
        (("--hull", "predicted", *options, "--max-e-above", "0.1"), "--max-e-above cannot refer to the hull"),
        (("--hull", str(tmp_path / "phases.json"), "--no-relax"), "the hull needs relaxed energies"),
    ):
        code, _, complaints = predict("NaCl", *wrong)
        assert code == 2
        assert len(complaints) == 1
        assert sentence in complaints[0]


def test_the_report_holds_all_formulas_and_their_energies(predict, tmp_path: Path) -> None:
    relaxing = ("--relax", "--oracle", "analytic", "--n-relax", "2", "--random-symmetric", "0", "--processes", "1")
    options = (*relaxing, "-n", "2", "--report")
    code, out, _ = predict("NaCl", "KCl", "ZnO", *options)
    assert code == 2  # no training crystal holds potassium
    page = tmp_path / "results" / "report.html"
    assert " ".join(out.split()).endswith(f"Next: open {page} in a browser.")
    text = page.read_text(encoding="utf-8")
    for formula in ("NaCl", "ZnO"):
        candidates = results(tmp_path, formula)["candidates"]
        assert len(re.findall(f'<article class="candidate" data-anchor="{formula}/', text)) == len(candidates) > 0
        assert len(candidates[0]["descent_energies"]) == 3
        assert candidates[0]["relaxation"]["energies"]
    assert "KCl" not in re.findall('<h1 id="title-([^"]*)"', text)
    assert "The training data hold 1 crystal of NaCl itself" in text
    predict("NaCl", out=tmp_path / "other")
    assert not (tmp_path / "other" / "report.html").exists()


def test_results_are_reference_phases_of_the_model_that_made_them(predict, tmp_path: Path) -> None:
    options = ("--relax", "--oracle", "analytic", "--n-relax", "2", "--processes", "1")
    predict("NaCl", *options, out=tmp_path / "first")
    phases = tmp_path / "first" / "NaCl" / "results.json"
    lowest = min(
        one["relaxation"]["total_energy_per_atom"]
        for one in json.loads(phases.read_text())["candidates"]
        if one["relaxation"]
    )
    (tmp_path / "elements.json").write_text(
        json.dumps([{"formula": formula, "energy_per_atom": 0.0} for formula in ("Na", "Cl")])
    )
    found = read_entries(phases, lambda crystals: [0.0 for _ in crystals], None, "analytic")
    assert {phase.composition.reduced_formula for phase in found} == {"NaCl"}
    assert min(phase.energy_per_atom for phase in found) == lowest
    cif, springs = str(tmp_path / "first" / "NaCl" / "rank-01.cif"), ("--oracle", "toy_oracles:Springs")
    assert run(["rank", cif, "--oracle", "analytic", "--hull", str(phases)]) == 0
    assert run(["rank", cif, *springs, "--hull", str(phases)]) == 2
    predict("NaCl", out=tmp_path / "decoded")
    with pytest.raises(DataError, match="none of its crystals was relaxed"):
        read_entries(tmp_path / "decoded" / "NaCl" / "results.json", lambda _: [], None, "analytic")


def test_cifs_say_what_they_are(predict, tmp_path: Path) -> None:
    predict("NaCl", "--relax", "--oracle", "analytic", "--n-relax", "2", "--processes", "1", "--format", "cif,qe")
    folder = tmp_path / "results" / "NaCl"
    content = results(tmp_path, "NaCl")
    for entry in content["candidates"]:
        text = (folder / entry["cif"]).read_text()
        block = gemmi.cif.read_string(text).sole_block()
        names = (
            "_publ_section_title", "_computing_structure_solution", "_computing_structure_refinement", "_lcoms_rank",
            "_lcoms_prototype_probability", "_citation_title",
        )  # fmt: skip
        value = {name: gemmi.cif.as_string(block.find_value(name)) for name in names}
        rank, n = entry["rank"], len(content["candidates"])
        assert value["_publ_section_title"] == f"Predicted crystal structure of NaCl, rank {rank} of {n}"
        assert value["_computing_structure_solution"].startswith("lcoms ")
        how = "relaxed with analytic" if entry["relaxation"] else "not relaxed"
        assert value["_computing_structure_refinement"].startswith(how)
        assert value["_lcoms_rank"] == str(rank)
        assert float(value["_lcoms_prototype_probability"]) == entry["prototype_probability"]
        assert value["_citation_title"].startswith("Latent Conservative Objective Models")
        assert matches(from_cif(text), read_crystal(folder / entry["cif"]), STRICT)
        atoms = ase_read(folder / entry["cif"].replace(".cif", ".pwi"), format="espresso-in")
        assert atoms.get_chemical_formula(empirical=True) == "ClNa"
        assert atoms.get_volume() == pytest.approx(from_cif(text).volume, rel=1e-4)


def test_the_terminal_says_more_when_asked(predict) -> None:
    code, _, complaints = predict("NaCl", "-v")
    assert code == 0
    assert complaints[0] == "lcoms: NaCl: searching"
    assert re.fullmatch(r"lcoms: NaCl: \d+ latents, .* duplicates; 0 relaxed with 0 evaluations\.", complaints[-1])
