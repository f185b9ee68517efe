"""Structures in rows of JSON: every layout is read rightly or refused, and what is left out is counted."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcoms.core.errors import DataError
from lcoms.data.formats import open_reader
from lcoms.data.records import (
    NO_NUMBER,
    NO_RANK,
    OTHER_HULL,
    OTHER_NAME,
    OTHER_TOTAL,
    OTHER_UNIT,
    TWO_VALUES,
    Reason,
    Record,
    RowError,
)
from lcoms.structure.reading import Topic

CELL = (np.eye(3) * 4.1).tolist()
HALF, PLACES = [[0.0] * 3, [0.5] * 3], [[0.0] * 3, [2.05] * 3]
ARRAYS = {"numbers": [55, 17], "frac_coords": HALF, "lattice": CELL}
PYMATGEN = {
    "@class": "Structure",
    "lattice": {"matrix": CELL},
    "sites": [
        {"species": [{"element": symbol, "occu": 1}], "abc": place}
        for symbol, place in zip(("Cs", "Cl"), HALF, strict=True)
    ],
}
SPECIES = [{"name": name, "chemical_symbols": [name[:2]], "concentration": [1.0]} for name in ("Cs1", "Cl1")]
ATTRIBUTES = {
    "dimension_types": [1, 1, 1],
    "lattice_vectors": CELL,
    "cartesian_site_positions": PLACES,
    "species_at_sites": ["Cs1", "Cl1"],
    "species": SPECIES,
}
ASE = {"numbers": [55, 17], "positions": PLACES, "cell": CELL, "pbc": [True, True, True]}
JARVIS = {"lattice_mat": CELL, "coords": PLACES, "elements": ["Cs", "Cl"], "cartesian": 1}


def read(folder: Path, content: Any) -> list[Record | Reason]:
    path = folder / "rows.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    reader, found = open_reader(path), []
    for row in reader.rows():
        try:
            found.append(reader.parse(row))
        except RowError as error:
            found.append(error.reason)
    return found


@pytest.mark.parametrize(
    "content",
    [
        [ARRAYS],
        [PYMATGEN],
        [{"structure": PYMATGEN}],
        {"mp-1": PYMATGEN},
        {"data": [{"id": "x", "type": "structures", "attributes": ATTRIBUTES}], "meta": {}},
        {"data": {"id": "x", "type": "structures", "attributes": ATTRIBUTES}, "meta": {}},
        {"1": ASE, "ids": [1], "nextid": 2},
        {"1": {**ASE, "positions": {"__ndarray__": [[2, 3], "float64", [0, 0, 0, 2.05, 2.05, 2.05]]}}, "ids": [1]},
        [{"atoms": JARVIS}],
        {"entries": [{"structure": PYMATGEN, "correction": -7.0}]},
    ],
)
def test_layouts_give_the_same_crystal(tmp_path: Path, content: Any) -> None:
    (record,) = read(tmp_path, content)
    assert isinstance(record, Record)
    assert record.crystal.composition.formula == "CsCl"
    np.testing.assert_allclose(record.crystal.lattice, CELL)
    np.testing.assert_allclose(record.crystal.frac_coords, HALF)
    assert record.remarks == ()


def with_species(**kind: Any) -> dict[str, Any]:
    return {"attributes": {**ATTRIBUTES, "species": [{**SPECIES[0], **kind}, SPECIES[1]]}}


@pytest.mark.parametrize(("functional", "is_read"), [("gga_gga+u", True), ("r2scan", False)])
def test_the_formation_energies_of_one_functional_are_read_from_the_materials_project(
    tmp_path: Path, functional: str, *, is_read: bool
) -> None:
    values = {"formation_energy_per_atom": -1.9, "energy_above_hull": 0.02, "last_updated": "2025-01-01"}
    row = with_attributes(_mp_stability={functional: values})
    (found,) = read(tmp_path, [row])
    assert isinstance(found, Record)
    energies = found.formation_energy_per_atom, found.e_above_hull
    assert energies == (-1.9, 0.02) if is_read else np.isnan(energies).all()
    assert found.remarks == (() if is_read else (Topic.LEFT_OUT.value,))


def with_attributes(**values: Any) -> dict[str, Any]:
    return {"attributes": {**ATTRIBUTES, **values}}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**PYMATGEN, "lattice": {"matrix": CELL, "pbc": [True, True, False]}}, Reason.CELL),
        ({**ASE, "pbc": [True, True, False]}, Reason.CELL),
        ({"attributes": {**ATTRIBUTES, "dimension_types": [1, 1, 0]}}, Reason.CELL),
        (with_species(chemical_symbols=["Cs", "K"], concentration=[0.5, 0.5]), Reason.PARTLY_OCCUPIED),
        (with_species(chemical_symbols=["Cs", "vacancy"], concentration=[0.9, 0.1]), Reason.PARTLY_OCCUPIED),
        (with_species(concentration=[0.9]), Reason.PARTLY_OCCUPIED),
        (with_species(chemical_symbols=["X"]), Reason.UNKNOWN_ELEMENT),
        (with_species(attached=["H"], nattached=[1]), Reason.COORDINATES),
        (with_species(attached=["H"]), Reason.COORDINATES),
        (with_attributes(structure_features=["implicit_atoms"]), Reason.COORDINATES),
        (with_attributes(structure_features=["disorder", "assemblies"]), Reason.PARTLY_OCCUPIED),
        (with_attributes(dimension_types=None, nperiodic_dimensions=2), Reason.CELL),
        ({**ARRAYS, "numbers": [55.7, 17.2]}, Reason.UNREADABLE),
        ("a row of text", Reason.UNREADABLE),
        ([ARRAYS, -1.0], Reason.UNREADABLE),  # values without the names of their columns
        (None, Reason.UNREADABLE),
    ],
)
def test_what_is_no_ordered_crystal_is_counted_and_not_skipped(tmp_path: Path, row: Any, reason: Reason) -> None:
    found = read(tmp_path, [row, ARRAYS])
    assert found[0] == reason
    assert isinstance(found[1], Record)


@pytest.mark.parametrize(
    ("row", "topic"),
    [
        ({**PYMATGEN, "charge": 1.0}, Topic.LEFT_OUT),
        ({"structure": json.loads(json.dumps(PYMATGEN).replace('"abc"', '"properties": {"magmom": 1.0}, "abc"'))},
         Topic.LEFT_OUT),
        (json.loads(json.dumps(PYMATGEN).replace('"occu"', '"spin": 5, "occu"')), Topic.LEFT_OUT),
        (json.loads(json.dumps(PYMATGEN).replace('"occu"', '"properties": {"spin": 5}, "occu"')), Topic.LEFT_OUT),
        ({"atoms": {**JARVIS, "elements": ["D", "Cl"]}}, Topic.ELEMENT),
        ({**ASE, "initial_magmoms": [1.0, 0.0]}, Topic.LEFT_OUT),
        ({**ASE, "constraints": [{"name": "FixAtoms", "kwargs": {"indices": [0]}}]}, Topic.LEFT_OUT),
        ({**ARRAYS, "formula": "KCl"}, Topic.FORMULA),
        ({"structure": PYMATGEN, "formula_pretty": "KCl"}, Topic.FORMULA),
        ({**ARRAYS, "formula": "Cs0.7Rb0.3Cl"}, Topic.FORMULA),
        ({**ASE, "energy": "unknown"}, NO_NUMBER),
        ({"structure": PYMATGEN, "nsites": 3}, Topic.FORMULA),
        (with_attributes(chemical_formula_reduced="Cl2Cs"), Topic.FORMULA),
        ({**PYMATGEN, "lattice": {"matrix": CELL, "a": 5.0, "b": 4.1, "c": 4.1}}, Topic.CELL),
        (json.loads(json.dumps(PYMATGEN).replace('"abc"', '"xyz": [0.5, 0.5, 0.5], "abc"')), Topic.CELL),
        ({**ARRAYS, "e_form": "-1,5"}, NO_NUMBER),
        ({**ARRAYS, "e_form": "-1.5 eV"}, NO_NUMBER),
        ({**ARRAYS, "e_form": -1.5, "delta_e": -2.5}, TWO_VALUES),
        ({**ARRAYS, "e_form": True}, NO_NUMBER),
        ({**ARRAYS, "formation_energy": -1.5}, OTHER_NAME),
        ({**ARRAYS, "Enthalpy of formation (eV)": -1.5}, OTHER_NAME),
        ({**ARRAYS, "ΔHf": -1.5}, OTHER_NAME),
        ({**ARRAYS, "e_form (kJ/mol)": -193.0}, OTHER_UNIT),
        ({**ARRAYS, "E form [meV/atom]": -1500}, OTHER_UNIT),
        ({**ARRAYS, "E_form (eV/f.u.)": -3.0}, OTHER_UNIT),
        ({**ARRAYS, "energy_per_atom (Ry)": -20.0}, OTHER_UNIT),
        ({**ARRAYS, "Energy per atom (Hartree)": -20.0}, OTHER_UNIT),
        ({**ARRAYS, "ehull (meV)": 12}, OTHER_UNIT),
        ({**ARRAYS, "hull_distance": 0.01}, OTHER_HULL),
        ({**ARRAYS, "final_energy_per_atom": -3.0}, OTHER_TOTAL),
        ({"structure": PYMATGEN, "energy": -7.0}, OTHER_TOTAL),
        ({**ARRAYS, "rank": 0}, NO_RANK),
        ({**ARRAYS, "rank": "first"}, NO_RANK),
    ],
)  # fmt: skip
def test_what_is_left_out_is_counted(tmp_path: Path, row: Any, topic: str) -> None:
    (record,) = read(tmp_path, [row])
    assert isinstance(record, Record)
    assert record.remarks == (str(topic),)
    if topic == OTHER_UNIT:
        assert np.isnan([record.formation_energy_per_atom, record.energy_per_atom, record.e_above_hull]).all()


@pytest.mark.parametrize(
    "row",
    [
        {**ARRAYS, "formula": "ClCs", "formula_pretty": "CsCl", "nsites": 2},
        {**ARRAYS, "formula": "Cs0.5Cl0.5", "composition": {"Cs": 1}, "natoms": None},
        with_attributes(chemical_formula_reduced="ClCs", nsites=2, nperiodic_dimensions=3, structure_features=[]),
        {**PYMATGEN, "lattice": {"matrix": CELL, "a": 4.1, "b": 4.1, "c": 4.1}},
    ],
)
def test_statements_that_agree_need_no_word(tmp_path: Path, row: Any) -> None:
    (record,) = read(tmp_path, [row])
    assert isinstance(record, Record)
    assert record.remarks == ()


def test_energies_are_read_by_the_names_of_their_databases(tmp_path: Path) -> None:
    rows = [{"structure": PYMATGEN, "energy_above_hull": 0.1}, with_attributes(_oqmd_stability=0.1, _oqmd_delta_e=-2)]
    first, second = read(tmp_path, rows)
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert (first.e_above_hull, second.e_above_hull, second.formation_energy_per_atom) == (0.1, 0.1, -2.0)


def test_rows_of_alexandria_have_their_own_ids_and_energies(tmp_path: Path) -> None:
    data = {"e_above_hull": 0.1, "formation": -2.0}
    rows = [{"structure": PYMATGEN, "entry_id": None, "data": {**data, "mat_id": name}} for name in ("agm1", "agm2")]
    records = read(tmp_path, {"entries": rows})
    assert [record.material_id for record in records if isinstance(record, Record)] == ["agm1", "agm2"]
    assert isinstance(records[0], Record)
    assert (records[0].e_above_hull, records[0].formation_energy_per_atom) == (0.1, -2.0)


def test_a_page_of_an_answer_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read(tmp_path, {"data": [{"structure": PYMATGEN}], "links": {"next": "https://example.org/2"}})
        assert "is one page of an answer" in caplog.text
        caplog.clear()
        reader = open_reader(tmp_path / "rows.json")
        assert [*reader.rows()] == [*reader.rows()]
        assert caplog.text.count("is one page of an answer") == 1  # by each reader, even if an earlier one has said it
        caplog.clear()
        (tmp_path / "last").mkdir()
        read(tmp_path / "last", {"data": [{"structure": PYMATGEN}], "links": {"next": None}})
        assert caplog.text == ""


def test_names_of_energies_may_have_capitals_and_units(tmp_path: Path) -> None:
    for name in ("Formation Energy Per Atom", "delta_e (eV/atom)", "E_form"):
        (record,) = read(tmp_path, [{**ARRAYS, name: -2.0}])
        assert isinstance(record, Record)
        assert (record.formation_energy_per_atom, record.remarks) == (-2.0, ())


@pytest.mark.parametrize("missing", ["", "NaN", float("nan"), None])
def test_a_missing_value_does_not_hide_that_under_another_name(tmp_path: Path, missing: Any) -> None:
    names = {"material_id": missing, "id": "salt", "e_form": missing, "delta_e": -1.5}
    (record,) = read(tmp_path, [{**ARRAYS, **names}])
    assert isinstance(record, Record)
    assert (record.material_id, record.formation_energy_per_atom, record.remarks) == ("salt", -1.5, ())


def test_the_energy_of_a_row_of_ase_is_that_of_the_cell(tmp_path: Path) -> None:
    first, second = read(tmp_path, [{**ASE, "energy": -7.0}, {**ASE, "energy": -7.0, "energy_per_atom": -3.4}])
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert (first.energy_per_atom, second.energy_per_atom, first.remarks) == (-3.5, -3.4, ())


def test_objects_without_a_structure_among_rows_by_id_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"mp-1": ARRAYS, "mp-2": {"error": "not found"}, "ids": [1, 2], "n": 2}))
    reader = open_reader(path)
    first, second = reader.rows()
    assert reader.parse(first).material_id == "mp-1"
    with pytest.raises(RowError, match=Reason.UNREADABLE.value):
        reader.parse(second)


@pytest.mark.parametrize("value", ["", "na", "N/A", None, "nan", -1.5, "-1.5"])
def test_missing_energies_need_no_word(tmp_path: Path, value: Any) -> None:
    (record,) = read(tmp_path, [{**ARRAYS, "e_form": value}])
    assert isinstance(record, Record)
    assert record.remarks == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps([ARRAYS]) + json.dumps([ARRAYS]), "goes on after the end of its JSON"),
        (json.dumps({"x": ARRAYS}) + "\n" + json.dumps({"y": ARRAYS}), "goes on after the end of its JSON"),
        (json.dumps({"structure": PYMATGEN, "e_form": -2.0}), "is a single row"),
        (json.dumps({"@class": "Structure", "charge": 0}), "holds no rows in a known layout"),
    ],
)
def test_files_of_which_a_part_would_be_lost_are_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, content)
