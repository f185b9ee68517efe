"""A prediction in Python: a sequence of structures, a table, a repeatable record, a folder of files."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from importlib.resources import files
from math import nan
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure
from tiny import caesium_chloride, decoded_of, decoded_set, proposal_of, relaxed_of, rock_salt

import lcoms
from lcoms.core.errors import LcomsError
from lcoms.oracles.hull import HullPlace, Part
from lcoms.prediction.model_options import RankingSpec
from lcoms.prediction.result import Prediction, is_finished
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.prediction.stages import Candidate, Decoded, Relaxed
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import from_pymatgen
from lcoms.structure.matching import STRICT, matches

SPEC = PredictionSpec(
    3, SearchSpec(formula_units=(1, 2), steps=7, step_size=0.25, exclude_same=True),
    RelaxationSpec("one"), RankingSpec(("two",)), seed=11,
)  # fmt: skip
TEMPLATE = proposal_of("mp-22862", "KCl", 1.5, n_formula_units=2, space_group=225, prototype_probability=0.4)
ALONE = (Part(rock_salt().composition, 1.0, "mp-1"),)


def salt(**changes: object) -> Prediction:
    """Return a relaxed candidate, one whose relaxation failed, and an unrelaxed one."""
    decoded = (
        decoded_of(rock_salt(), energy_per_atom=-1.234567, proposal=TEMPLATE, n_found=4),
        decoded_of(caesium_chloride(3.4, (11, 17)), energy_per_atom=-1.1),
        decoded_of(rock_salt(9.0), energy_per_atom=-0.5, others=(proposal_of("prior"),)),
    )
    figures = {"formation_energy": -2.0, "further_energies": (-9.1,), "energies": (-3.0, -3.4)}
    good, failed = relaxed_of(decoded[0], -3.4, **figures), relaxed_of(decoded[1], nan, status="exploded")
    candidates = (
        replace(
            Candidate.of_relaxed(good, -3.5, 0.0),
            hull=HullPlace(0.25, ALONE, 0.03),
            probability=0.83,
        ),
        replace(Candidate.of_decoded(decoded[1]), relaxed=failed),
        Candidate.of_decoded(decoded[2]),
    )
    made = Prediction(
        rock_salt().composition.reduced, candidates, decoded_set(*decoded), SPEC, "0123abcd", ("one", "two"), 5,
        ("a crystal in space group 221 from mp-1: exploded",),
    )  # fmt: skip
    return replace(made, **changes)


def test_a_prediction_is_a_sequence_of_pymatgen_structures() -> None:
    found = salt()
    assert len(found) == 3
    assert all(isinstance(structure, Structure) for structure in found)
    assert list(found) == [found[0], found[1], found[2]] == [*found[:2], found[-1]]
    assert from_pymatgen(found[0]).n_atoms == 2
    assert matches(from_pymatgen(found[0]), rock_salt(), STRICT)
    first = found[0].properties
    assert (first["rank"], first["space_group"], first["source"]) == (1, 225, "mp-22862")
    assert (first["formation_energy"], first["surrogate_energy"], first["energy_above_lowest"]) == (-2.0, -1.234567, 0)
    table = found.to_dataframe()
    assert set(first) <= set(table.columns)
    assert first["score"] == table["score"][0]
    relaxed_only = {"formation_energy", "energy_above_lowest", "e_above_hull"}
    assert set(first) - set(found[2].properties) == relaxed_only
    assert [structure.properties["rank"] for structure in found] == [1, 2, 3]
    with pytest.raises(IndexError):
        found[3]
    assert list(salt(candidates=())) == []


def test_the_table_has_a_row_a_candidate_and_numbers_to_work_with() -> None:
    frame = salt().to_dataframe()
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["space_group"].tolist() == [225, 221, 225]
    assert frame["space_group_symbol"].tolist() == ["Fm-3m", "Pm-3m", "Fm-3m"]
    assert frame["formation_energy"].tolist() == pytest.approx([-2.0, nan, nan], nan_ok=True)
    assert frame["energy_above_lowest"].tolist() == pytest.approx([0.0, nan, nan], nan_ok=True)
    assert frame["e_above_hull"].tolist() == pytest.approx([0.25, nan, nan], nan_ok=True)
    assert frame["volume_per_atom"].tolist() == pytest.approx([5.64**3 / 8, 3.4**3 / 2, 9.0**3 / 8])
    assert frame["prototype_probability"].tolist() == [0.4, 0.0, 0.0]
    assert frame["n_found"].tolist() == [4, 1, 1]
    assert frame["probability"].dropna().tolist() == [0.83]
    assert frame["source_formula"].tolist() == ["KCl", "", ""]
    assert salt(candidates=()).to_dataframe().empty


def test_notebooks_show_the_table() -> None:
    html = salt()._repr_html_()
    assert "<b>NaCl</b>: 3 candidates; rank 1 with a probability of 83%" in html
    assert html.count("<tr") == 1 + 3
    assert "Fm-3m" in html
    assert "-2.000" in html
    assert "nan" not in html.lower()
    assert "probability of" not in salt(candidates=salt().candidates[2:])._repr_html_()
    assert repr(salt()) == "Prediction(NaCl: 3 candidates, first 225)"
    assert repr(salt(candidates=())) == "Prediction(NaCl: 0 candidates)"


def test_what_stands_in_a_table_of_a_notebook_is_only_text() -> None:
    nasty = proposal_of("<script>alert(1)</script>", "<b>", 1.0)
    html = salt(candidates=(Candidate.of_decoded(decoded_of(rock_salt(), proposal=nasty)),))._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_results_hold_every_option_and_figure() -> None:
    content = salt().to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert PredictionSpec.from_dict(content["spec"]) == SPEC
    assert (content["formula"], content["lcoms_version"], content["weights"]) == ("NaCl", lcoms.__version__, "0123abcd")
    assert (content["n_proposals"], content["ranked_by"], content["probability"]) == (9, ["one", "two"], 0.83)
    assert [one["probability"] for one in content["candidates"]] == [0.83, None, None]
    assert content["dropped"] == {"invalid": 1, "atoms too close": 2, "duplicates": 5}
    assert content["failed_relaxations"] == ["a crystal in space group 221 from mp-1: exploded"]
    assert [entry["rank"] for entry in content["candidates"]] == [1, 2, 3]
    entry, failed, plain = content["candidates"]
    assert entry["proposal"] == {"source": "mp-22862", "formula": "KCl", "chemical_distance": 1.5, "formula_units": 2}
    assert plain["proposal"]["chemical_distance"] is None
    assert plain["others"] == [{"source": "prior", "formula": ""}]
    assert (entry["energy_per_atom"], entry["n_found"], entry["cif"]) == (-1.234567, 4, "rank-01.cif")
    assert (entry["space_group"], entry["space_group_symbol"]) == (225, "Fm-3m")
    assert entry["shortest_distance"] == 2.82
    assert entry["volume_per_atom"] == pytest.approx(5.64**3 / 8, abs=1e-4)
    cell = entry["primitive_cell"]
    back = Crystal(np.array(cell["lattice"]), np.array(cell["frac_coords"]), np.array(cell["atomic_numbers"]))
    assert matches(back, rock_salt(), STRICT)
    assert cell["angles"] == [60, 60, 60]
    relaxation = {name: value for name, value in entry["relaxation"].items() if name != "decoded_cell"}
    assert relaxation == {
        "status": "converged", "total_energy_per_atom": -3.4, "formation_energy_per_atom": -2.0,
        "committee_energies_per_atom": [-9.1], "energy_above_lowest": 0.0, "e_above_hull": 0.25, "n_steps": 5,
        "energies": [-3.0, -3.4], "e_above_hull_spread": 0.03, "enthalpy_per_atom": None,
        "hull": "known phases", "decomposition": [{"formula": "NaCl", "share_of_atoms": 1.0, "id": "mp-1"}],
    }  # fmt: skip
    assert (failed["relaxation"]["status"], failed["relaxation"]["total_energy_per_atom"]) == ("exploded", None)
    assert plain["relaxation"] is None


def test_whatever_a_candidate_knows_is_told() -> None:
    """These fields have other names in the record."""
    told = {
        "crystal": "primitive_cell", "latent_energy": "latent_energy_per_atom", "relaxed": "relaxation",
        "decoded": "proposal", "formation_energy": "formation_energy_per_atom",
        "further_energies": "committee_energies_per_atom", "hull": "decomposition",
        "pressure": "enthalpy_per_atom",
    }  # fmt: skip
    entry = salt().to_dict()["candidates"][0]
    inside = entry["relaxation"]
    for kind, record in ((Candidate, entry | inside), (Decoded, entry), (Relaxed, entry | inside)):
        for field in fields(kind):
            assert told.get(field.name, field.name) in record, field.name
    assert inside["total_energy_per_atom"] == -3.4  # its energy_per_atom; the candidate's own is the surrogate's


def test_a_cell_without_symmetry_is_told_as_it_is() -> None:
    frac = np.array([[0.0, 0, 0], [0.31, 0.22, 0.43], [0.62, 0.57, 0.14]])
    crystal = Crystal(np.array([[4.1, 0, 0], [0.7, 4.9, 0], [0.5, 0.9, 5.6]]), frac, np.array([3, 14, 8]))
    (entry,) = salt(candidates=(Candidate.of_decoded(decoded_of(crystal)),)).to_dict()["candidates"]
    np.testing.assert_allclose(entry["primitive_cell"]["lattice"], crystal.lattice)
    np.testing.assert_allclose(entry["primitive_cell"]["frac_coords"], frac)
    assert entry["primitive_cell"]["atomic_numbers"] == [3, 14, 8]


def test_a_prediction_is_written_into_a_folder_of_its_formula(tmp_path: Path) -> None:
    found = salt()
    folder = found.write(str(tmp_path / "deeper"))
    assert folder == tmp_path / "deeper" / "NaCl"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == found.files()
    assert list(found.files()) == ["rank-01.cif", "rank-02.cif", "rank-03.cif", "results.json"]
    assert json.loads(found.files()["results.json"]) == found.to_dict()
    (tmp_path / "file").write_text("")
    with pytest.raises(LcomsError, match=r"file/NaCl: cannot be written .*; choose another folder with --out"):
        found.write(tmp_path / "file")


@pytest.mark.parametrize(
    "changes",
    [
        {"formula": None}, {"formula": "KCl"}, {"lcoms_version": "0"}, {"candidates": None}, {"candidates": [{}]},
        {"candidates": [{"cif": None}]}, {"weights": []}, {"spec": {}}, {"options": {"pattern": "measured.xy"}},
        {"options": {"hull": "predicted"}}, {"options": {"start_structure": "start.cif"}}, {"options": {"budget": 48}},
        {"options": None},
    ],
    ids=str,
)  # fmt: skip
def test_only_whole_results_of_the_very_prediction_count_as_finished(
    changes: dict[str, object], tmp_path: Path
) -> None:
    found = salt()
    folder = found.write(tmp_path)

    def finished(*formats: str) -> bool:
        wanted = formats or ("cif",)
        return is_finished(tmp_path, found.composition, found.spec, found.weights_digest, wanted)

    assert finished()
    assert not finished("cif", "poscar")
    found.write(tmp_path, ["cif", "poscar"])
    assert finished("cif", "poscar")
    assert finished("poscar")
    (folder / "rank-02.cif").rename(tmp_path / "elsewhere")
    assert not finished()
    (tmp_path / "elsewhere").rename(folder / "rank-02.cif")
    content = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(content | changes))
    assert not finished()
    (folder / "results.json").write_text("[" * 100_000)
    assert not finished()


def test_results_follow_the_schema_that_ships() -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads(files("lcoms.prediction").joinpath("results.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    content = salt().to_dict()
    assert schema["properties"]["schema_version"]["const"] == content["schema_version"]
    for made in (content, salt(candidates=()).to_dict()):
        assert [error.message for error in validator.iter_errors(made)] == []
    told = schema["properties"]["candidates"]["items"]["properties"]
    energies = {name for name in content["candidates"][0] if "energ" in name}
    assert energies <= {name for name, facts in told.items() if "description" in facts}
    assert content["candidates"][0]["surrogate_energy"] == content["candidates"][0]["energy_per_atom"]
    assert set(told["relaxation"]["properties"]) == set(content["candidates"][0]["relaxation"])
    content["candidates"][0]["space_group"] = 231
    assert not validator.is_valid(content)
