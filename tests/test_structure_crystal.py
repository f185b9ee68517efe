"""Formulas are read correctly or rejected with one helpful sentence; crystals are checked, wrapped and immutable."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcoms.core.errors import CrystalError, FormulaError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS

counts_strategy = st.dictionaries(st.integers(1, len(SYMBOLS) - 1), st.integers(1, 20), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("formula", "counts"),
    [
        ("NaCl", {11: 1, 17: 1}),
        ("SrTiO3", {38: 1, 22: 1, 8: 3}),
        ("Ca(OH)2", {20: 1, 8: 2, 1: 2}),
        ("K4[Fe(CN)6]", {19: 4, 26: 1, 6: 6, 7: 6}),
        ("CH3CH3", {6: 2, 1: 6}),
        ("Al₂O₃", {13: 2, 8: 3}),
        ("  Si\n", {14: 1}),
        ("Co", {27: 1}),
        ("CO", {6: 1, 8: 1}),
        ("Si200", {14: 200}),
    ],
)
def test_formulas(formula: str, counts: dict[int, int]) -> None:
    assert Composition.from_formula(formula) == Composition.from_counts(counts)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("Nacl", "'Nacl': cannot read 'cl'; did you mean NaCl?"),
        ("nacl", "'nacl': cannot read 'nacl'; did you mean NaCl?"),
        ("NACL", "'NACL': A is not an element; did you mean NaCl?"),
        ("srtio3", "'srtio3': cannot read 'srtio3'; did you mean SrTiO3?"),
        ("Na Cl", "'Na Cl': cannot read ' Cl'; did you mean NaCl?"),
        ("ca(oh)2", "'ca(oh)2': cannot read 'ca(oh)2'; did you mean Ca(OH)2?"),
        ("co2", "'co2': cannot read 'co2'; did you mean CO2 or Co2?"),
        ("2nacl", "'2nacl': cannot read '2nacl'; type a formula such as SrTiO3 or Ca(OH)2."),
        ("(nacl", "'(nacl': cannot read 'nacl'; type a formula such as SrTiO3 or Ca(OH)2."),
        ("no" * 30, f"'{'no' * 30}': cannot read '{'no' * 30}'; type a formula such as SrTiO3 or Ca(OH)2."),
        ("Xx2O", "'Xx2O': Xx is not an element; check the spelling and the capitals."),
        ("H2O)", "'H2O)': a closing bracket has no opening one."),
        ("Ca(OH]2", "'Ca(OH]2': a closing bracket has no opening one."),
        ("(H2O", "'(H2O': an opening bracket has no closing one."),
        ("", "the formula is empty: type one such as NaCl."),
        (" \t", "the formula is empty: type one such as NaCl."),
        ("()", "'()' holds no element; type one such as NaCl."),
        ("Na0", "'Na0': a count of 0 is not possible; omit the element."),
        (
            "Na0.5Cl",
            (
                "'Na0.5Cl' has fractional counts, and an ordered crystal needs integers; NaCl2 has the composition "
                "of Na0.5Cl. Type NaCl2, or use --ordered-approximation."
            ),
        ),
        ("NaCl+", "'NaCl+': charges are not part of a formula, since a crystal is neutral; type NaCl."),
        ("NaCl500", "'NaCl500' has too many atoms; at most 200 can be handled."),
        ("H" + "9" * 400, f"'H{'9' * 400}' has too many atoms; at most 200 can be handled."),
    ],
)
def test_bad_formulas_get_one_sentence(formula: str, message: str) -> None:
    with pytest.raises(FormulaError) as caught:
        Composition.from_formula(formula)
    assert str(caught.value) == message


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        composition = Composition.from_formula(text)
    except FormulaError:
        return
    assert 1 <= composition.n_atoms <= 200


@given(counts_strategy)
def test_the_formula_written_is_the_formula_read(counts: dict[int, int]) -> None:
    composition = Composition.from_counts(counts)
    assert Composition.from_formula(composition.formula) == composition


@given(counts_strategy, st.integers(1, 5))
def test_formula_units(counts: dict[int, int], n_units: int) -> None:
    composition = Composition.from_counts(counts)
    cell = composition.scaled(n_units)
    assert cell.reduced == composition.reduced
    assert cell.n_formula_units == n_units
    assert cell.n_atoms == n_units * composition.reduced.n_atoms
    assert Counter(cell.expand().tolist()) == dict(zip(cell.atomic_numbers, cell.counts, strict=True))


def test_names_and_fractions() -> None:
    cell = Composition.from_formula("O12Ti4Sr4")
    assert (cell.formula, cell.reduced_formula, str(cell)) == ("Sr4Ti4O12", "SrTiO3", "Sr4Ti4O12")
    assert cell.stoichiometry == (1, 1, 3)
    assert cell.n_formula_units == 4
    assert {cell: 1}[Composition.from_formula("Ti4Sr4O12")] == 1


@pytest.mark.parametrize(
    ("atomic_numbers", "counts"), [((), ()), ((8, 1), (1, 1)), ((8, 8), (1, 1)), ((8,), (0,)), ((8,), (1, 2))]
)
def test_compositions_that_make_no_sense(atomic_numbers: tuple[int, ...], counts: tuple[int, ...]) -> None:
    with pytest.raises(FormulaError):
        Composition(atomic_numbers, counts)


@pytest.mark.parametrize("number", [0, -1, len(SYMBOLS)])
def test_elements_that_do_not_exist(number: int) -> None:
    with pytest.raises(FormulaError, match="atomic numbers must lie between"):
        Composition.from_counts({number: 1})


def rock_salt() -> Crystal:
    lattice = 2.82 * np.array([[0, 1.0, 1.0], [1.0, 0, 1.0], [1.0, 1.0, 0]])
    return Crystal(lattice, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([11, 17]))


def test_rock_salt() -> None:
    crystal = rock_salt()
    assert crystal.composition.formula == "NaCl"
    assert crystal.n_atoms == 2
    assert crystal.volume == pytest.approx(2 * 2.82**3)
    np.testing.assert_allclose(crystal.cart_coords[1], 2.82)


def test_coordinates_are_wrapped_and_the_input_is_not_touched() -> None:
    frac = np.array([[-0.25, 1.0, 3.5]])
    crystal = Crystal(np.eye(3) * 3, frac, np.array([14]))
    assert crystal.frac_coords.tolist() == [[0.75, 0.0, 0.5]]
    frac[0, 0] = 0.1
    assert crystal.frac_coords[0, 0] == 0.75


def test_crystals_are_frozen() -> None:
    crystal = rock_salt()
    with pytest.raises(ValueError, match="read-only"):
        crystal.frac_coords[0, 0] = 0.3
    with pytest.raises(dataclasses.FrozenInstanceError):
        crystal.lattice = np.eye(3)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("lattice", "frac_coords", "atomic_numbers", "message"),
    [
        (np.eye(2), np.zeros((1, 3)), np.array([1]), "a lattice must have shape"),
        (np.eye(3), np.zeros((2, 3)), np.array([1]), "frac_coords must have shape"),
        (np.eye(3), np.zeros((0, 3)), np.array([], dtype=int), "frac_coords must have shape"),
        (np.eye(3), np.zeros((1, 3)), np.array([[1]]), "frac_coords must have shape"),
        (np.eye(3), np.full((1, 3), np.nan), np.array([1]), "finite numbers"),
        (np.zeros((3, 3)), np.zeros((1, 3)), np.array([1]), "span a volume"),
        (np.full((3, 3), np.inf), np.zeros((1, 3)), np.array([1]), "span a volume"),
        (np.eye(3), np.zeros((1, 3)), np.array([0]), "atomic numbers must lie"),
        (np.eye(3), np.zeros((1, 3)), np.array([len(SYMBOLS)]), "atomic numbers must lie"),
    ],
)
def test_what_is_no_crystal_is_refused(
    lattice: np.ndarray, frac_coords: np.ndarray, atomic_numbers: np.ndarray, message: str
) -> None:
    with pytest.raises(CrystalError, match=message):
        Crystal(lattice, frac_coords, atomic_numbers)
