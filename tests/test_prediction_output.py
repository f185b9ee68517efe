"""Candidate files can be read back, and no file of an earlier prediction remains."""

from __future__ import annotations

import warnings
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from tiny import candidate_of, decoded_of, prototypes, relaxed_of, rock_salt, shaken

from lcoms.core.errors import LcomsError
from lcoms.prediction.cif_record import Made, cif_items
from lcoms.prediction.output import candidate_files, candidate_record, make_folder, results_folder, write_files
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec
from lcoms.prediction.stages import Candidate
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import from_pymatgen
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import symmetrise


def write(folder: Path, *candidates: Candidate) -> Path:
    return write_files(
        folder, candidate_files(candidates, Made("NaCl", len(candidates), PredictionSpec())) | {"results.json": "{}"}
    )


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
    folder = write(tmp_path / "deeper" / "made", candidate)
    structure = read(folder / "rank-01.cif")
    assert matches(from_pymatgen(structure), found.crystal, STRICT)
    assert structure.volume / len(structure) == pytest.approx(found.crystal.volume / found.crystal.n_atoms, rel=1e-4)
    entry = candidate_record(1, candidate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number() == entry["space_group"]
    text = (folder / "rank-01.cif").read_text()
    assert f"_symmetry_Int_Tables_number   {found.space_group}" in text
    if found.space_group == 225:
        assert len(structure) == 8  # the conventional cell


def test_files_of_an_earlier_prediction_are_removed(tmp_path: Path) -> None:
    three = [candidate_of(rock_salt(a)) for a in (5.5, 5.6, 5.7)]
    folder = write(tmp_path, *three)
    (folder / "notes.txt").write_text("mine")
    write(tmp_path, three[0])
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "rank-01.cif", "results.json"]


def test_folders_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LcomsError, match=r"file/x: cannot be written .*; choose another folder with --out"):
        write(tmp_path / "file" / "x", candidate_of(rock_salt()))
    with pytest.raises(LcomsError, match="choose another folder"):
        make_folder(tmp_path / "file" / "deeper")


@pytest.mark.parametrize(
    "formulas", [("CO", "Co"), ("COS", "CoS", "COs"), ("CsI2", "CSi2"), ("CaCO3", "CaCo3"), ("Po", "PO")]
)
def test_folders_differ_by_more_than_case_in_whatever_order_they_are_made(
    formulas: tuple[str, ...], tmp_path: Path
) -> None:
    for number, order in enumerate(permutations(formulas)):
        out = tmp_path / str(number)
        made = []
        for formula in order:
            made.append(results_folder(out, formula))
            made[-1].mkdir(parents=True)
        assert made[0].name == order[0]
        assert len({folder.name.casefold() for folder in made}) == len(formulas)
        assert [results_folder(out, formula) for formula in order] == made


def test_the_cif_says_at_which_pressure_and_in_which_cell_a_crystal_was_relaxed() -> None:
    decoded = decoded_of(rock_salt())
    one = Candidate.of_relaxed(relaxed_of(decoded, -3.4), -3.4, 0.0)

    def refinement(spec: PredictionSpec) -> str:
        return cif_items(1, one, Made("NaCl", 1, spec))["_computing_structure_refinement"]

    plain = PredictionSpec(relaxation=RelaxationSpec("analytic"))
    assert refinement(plain) == "relaxed with analytic (converged)"
    pressed = plain.with_options({"relaxation": {"pressure": 12.5}})
    assert refinement(pressed) == "relaxed with analytic at 12.5 GPa (converged)"
    inside = plain.with_options({"constraints": {"cell": (5.64, 5.64, 5.64, 90.0, 90.0, 90.0)}})
    assert refinement(inside) == "relaxed with analytic in the given cell (converged)"
