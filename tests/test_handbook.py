"""The table of known structures gives the crystals described in its rows."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

from lcoms.structure.crystal import Composition
from lcoms.structure.lattice import shortest_distance

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "handbook.py"


@pytest.fixture(scope="module")
def handbook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("handbook", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["handbook"] = module
    spec.loader.exec_module(module)
    return module


def test_every_row_makes_a_crystal_with_atoms_well_apart(handbook: ModuleType) -> None:
    made = handbook.crystals()  # raises where the symmetry is not that of the table
    assert len(made) > 300
    for name, crystal in made.items():
        assert 1.1 < shortest_distance(crystal.lattice, crystal.frac_coords) < 4.7, name
        assert crystal.n_atoms <= 14, name


def test_no_compound_of_the_paper_is_among_them(handbook: ModuleType) -> None:
    table = tomllib.loads(handbook.TABLE.read_text())
    paper = json.loads(files("lcoms.evaluate").joinpath("compounds.json").read_text())["compounds"]
    formulas = {Composition.from_formula(row["formula"]).reduced for row in paper}
    assert len(formulas) == 26
    for structure in table["structure"]:
        if structure["name"] in ("rock salt", "CsCl", "zinc blende", "wurtzite", "diamond"):
            for compound in structure["compounds"].split(";"):
                assert handbook.crystal(structure, compound).composition.reduced not in formulas, compound


def test_cells_of_known_content(handbook: ModuleType) -> None:
    table = {structure["name"]: structure for structure in tomllib.loads(handbook.TABLE.read_text())["structure"]}
    for name, compound, formula, n_atoms in (
        ("spinel", "Mg Al O 8.08 0.263", "MgAl2O4", 14),
        ("zircon", "Zr Si O 6.61 5.98 0.184 0.320", "ZrSiO4", 12),
        ("corundum", "Al O 4.76 12.99 0.306", "Al2O3", 10),
        ("MgCu2", "Mg Cu 7.03", "MgCu2", 6),
    ):
        crystal = handbook.crystal(table[name], compound)
        assert (crystal.composition.reduced_formula, crystal.n_atoms) == (formula, n_atoms)


def test_symmetry_that_is_not_that_of_the_table_is_told(handbook: ModuleType) -> None:
    rock_salt = {"name": "rock salt", "space_group": 225, "lattice": "cubic", "sites": ["0 0 0", "1/2 1/2 1/2"]}
    with pytest.raises(ValueError, match=r"^rock salt Na Na 5\.6: space group 221$"):
        handbook.crystal(rock_salt, "Na Na 5.6")
