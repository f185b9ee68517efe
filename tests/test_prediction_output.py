"""What a prediction leaves behind can be read back, and nothing of an earlier one stays."""

from __future__ import annotations

import json
import warnings
from dataclasses import fields, replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from rich.console import Console
from tiny import TINY, caesium_chloride, candidate_of, prototypes, rock_salt, shaken, wurtzite

import lcoms
from lcoms.core.config import from_dict
from lcoms.core.errors import LcomsError
from lcoms.prediction.candidate import Candidate
from lcoms.prediction.output import make_folder, results, table, write_prediction
from lcoms.prediction.pipeline import PredictConfig, Prediction
from lcoms.prediction.propose import Start
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import from_pymatgen
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import symmetrise

OPTIONS = PredictConfig(n_candidates=3, formula_units=(1, 2), steps=7, step_size=0.25, seed=11, exclude_same=True)


def prediction(*candidates: Candidate) -> Prediction:
    return Prediction(candidates[0].crystal.composition.reduced, candidates, OPTIONS, "0123abcd", 9, 1, 2, 3)


def low_symmetry() -> Crystal:
    frac = np.array([[0.0, 0, 0], [0.31, 0.22, 0.43], [0.62, 0.57, 0.14]])
    return Crystal(np.array([[4.1, 0, 0], [0.7, 4.9, 0], [0.5, 0.9, 5.6]]), frac, np.array([3, 14, 8]))


def read(path: Path) -> Structure:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Structure.from_file(path)


@pytest.mark.parametrize("name", [*prototypes(), "low symmetry"])
def test_cifs_read_back_as_the_same_structure_with_the_stated_space_group(name: str, tmp_path: Path) -> None:
    crystal = (prototypes() | {"low symmetry": low_symmetry()})[name]
    found = symmetrise(shaken(crystal, 0.03, 4))
    candidate = candidate_of(found.crystal, space_group=found.space_group, symprec=found.symprec)
    folder = write_prediction(prediction(candidate), tmp_path)
    assert folder == tmp_path / crystal.composition.reduced_formula
    structure = read(folder / "rank-01.cif")
    assert matches(from_pymatgen(structure), found.crystal, STRICT)
    assert structure.volume / len(structure) == pytest.approx(found.crystal.volume / found.crystal.n_atoms, rel=1e-4)
    entry = json.loads((folder / "results.json").read_text())["candidates"][0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number() == entry["space_group"]
    text = (folder / "rank-01.cif").read_text()
    assert f"_symmetry_Int_Tables_number   {found.space_group}" in text
    if found.space_group == 225:
        assert len(structure) == 8  # the conventional cell


def test_results_hold_every_option_and_figure(tmp_path: Path) -> None:
    start = Start("mp-22862", "NaCl", 1.5, 2, torch.zeros(TINY.latent_dim))
    one = candidate_of(rock_salt(), energy_per_atom=-1.234567, start=start, count=4)
    two = candidate_of(caesium_chloride(3.4, (11, 17)), energy_per_atom=-1.1)
    folder = write_prediction(prediction(one, two), tmp_path)
    content = json.loads((folder / "results.json").read_text())
    assert content == results(prediction(one, two))
    assert from_dict(PredictConfig, content["options"]) == OPTIONS
    assert (content["formula"], content["lcoms_version"], content["weights"]) == ("NaCl", lcoms.__version__, "0123abcd")
    assert content["starts"] == 9
    assert content["dropped"] == {"invalid": 1, "atoms too close": 2, "duplicates": 3}
    assert [entry["rank"] for entry in content["candidates"]] == [1, 2]
    entry = content["candidates"][0]
    assert entry["start"] == {"source": "mp-22862", "formula": "NaCl", "chemical_distance": 1.5, "formula_units": 2}
    assert content["candidates"][1]["start"]["chemical_distance"] is None
    assert (entry["energy_per_atom"], entry["times_found"], entry["cif"]) == (-1.234567, 4, "rank-01.cif")
    assert (entry["space_group"], entry["space_group_symbol"]) == (225, "Fm-3m")
    assert entry["shortest_distance"] == 2.82
    assert entry["volume_per_atom"] == pytest.approx(5.64**3 / 8, abs=1e-4)
    cell = entry["primitive_cell"]
    back = Crystal(np.array(cell["lattice"]), np.array(cell["frac_coords"]), np.array(cell["atomic_numbers"]))
    assert matches(back, rock_salt(), STRICT)
    assert cell["angles"] == [60, 60, 60]
    low = results(prediction(candidate_of(low_symmetry())))["candidates"][0]["primitive_cell"]
    np.testing.assert_allclose(low["lattice"], low_symmetry().lattice)
    np.testing.assert_allclose(low["frac_coords"], low_symmetry().frac_coords)
    assert low["atomic_numbers"] == [3, 14, 8]
    # Whatever a candidate knows is told; other names stand for these.
    told = {"crystal": "primitive_cell", "count": "times_found", "latent_energy": "latent_energy_per_atom",
            "start_energy": "start_energy_per_atom"}  # fmt: skip
    for field in fields(Candidate):
        assert told.get(field.name, field.name) in entry, field.name


def test_files_of_an_earlier_prediction_are_removed(tmp_path: Path) -> None:
    three = [candidate_of(rock_salt(a)) for a in (5.5, 5.6, 5.7)]
    folder = write_prediction(prediction(*three), tmp_path)
    (folder / "notes.txt").write_text("mine")
    write_prediction(prediction(three[0]), tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "rank-01.cif", "results.json"]


def test_folders_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LcomsError, match=r"file/NaCl: cannot be written .*; choose another folder with --out"):
        write_prediction(prediction(candidate_of(rock_salt())), tmp_path / "file")
    with pytest.raises(LcomsError, match="choose another folder"):
        make_folder(tmp_path / "file" / "deeper")
    (tmp_path / "NaCl" / "rank-01.cif").mkdir(parents=True)
    with pytest.raises(LcomsError, match="cannot be written"):
        write_prediction(prediction(candidate_of(rock_salt())), tmp_path)


def test_the_table_shows_what_a_reader_needs() -> None:
    start = Start("mp-1", "KCl", 1.0, 1, torch.zeros(TINY.latent_dim), 225, 0, 0.43)
    made = [
        candidate_of(rock_salt(), energy_per_atom=-1.2345, start=start, count=7),
        candidate_of(caesium_chloride(3.4, (11, 17))),
        replace(candidate_of(wurtzite(numbers=(11, 17))), start=replace(start, formula="", source="prior")),
    ]
    console = Console(width=100, record=True, file=StringIO())
    console.print(table(prediction(*made)))
    lines = console.export_text().splitlines()
    assert lines[0].strip() == "NaCl"
    (first,) = (line.split() for line in lines if line.split()[:1] == ["1"])
    assert first == ["1", "-1.234", "Fm-3m", "(225)", "5.64", "5.64", "5.64", "2.82", "43%", "KCl"]
    assert any("P6_3mc (186)" in line and line.split()[-1] == "prior" for line in lines)


def test_triclinic_cells_show_their_angles() -> None:
    console = Console(width=120, record=True, file=StringIO())
    console.print(table(prediction(candidate_of(low_symmetry()))))
    assert " / " in console.export_text()
