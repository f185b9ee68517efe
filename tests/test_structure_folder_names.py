"""No two formulas have folder names that are equal if case is ignored."""

from __future__ import annotations

from itertools import product

from lcoms.structure.elements import SYMBOLS
from lcoms.structure.folder_names import folder_name


def test_common_formulas_are_their_own_names() -> None:
    for formula in ("NaCl", "SrTiO3", "SiO2", "Co", "CoO", "Li3PO4", "LiFePO4", "Ca(NO3)2", "CsCl", "HfO2", "BN"):
        assert folder_name(formula) == formula


def test_formulas_that_differ_by_case_have_other_names() -> None:
    assert folder_name("CO") == "C-O"
    assert folder_name("CaCO3") == "Ca-C-O3"
    assert [folder_name(f) for f in ("PrN", "CoN", "CON")] == ["Pr-N", "Co-N", "C-O-N"]  # Windows has no such files
    assert folder_name("Po") == "Po-"
    names = [folder_name(f).casefold() for f in ("CO", "Co", "PO", "Po", "CaCO3", "CaCo3", "CSi", "Csi", "NO", "No")]
    assert len(set(names)) == len(names)


def test_all_pairs_and_triples_of_elements_that_meet_have_names_of_their_own() -> None:
    light = [symbol for symbol in SYMBOLS[1:] if set(symbol.lower()) <= set("bcfhinops")]
    formulas = ["".join(chosen) for n in (1, 2, 3) for chosen in product(light, repeat=n)]
    formulas += [f"{a}2{b}" for a, b in product(light, repeat=2)]
    formulas += [f"{a}{b}2" for a, b in product(light, repeat=2)]
    assert len({formula.casefold() for formula in set(formulas)}) < len(set(formulas))  # else nothing would meet
    assert len({folder_name(formula).casefold() for formula in set(formulas)}) == len(set(formulas))
