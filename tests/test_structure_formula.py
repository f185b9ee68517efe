"""Formulas as people write them, messages for invalid ones, and the order of elements in output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition as PymatgenComposition

from lcoms.core.errors import FormulaError
from lcoms.structure.crystal import Composition
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.formula import ordered_approximation, parse_formula
from lcoms.structure.formula_order import formula_text

SHOWN = (
    "BaTiO3", "PbTiO3", "BiFeO3", "SrTiO3", "LiCoO2", "LiFePO4", "ZnFe2O4", "NiFe2O4", "CoAl2O4", "MgAl2O4", "FeTiO3",
    "CuFeS2", "CuInSe2", "AgGaS2", "NH3", "CH4", "H2O", "HCl", "LiOH", "NaHCO3", "KH2PO4", "H2SO4", "NaBH4", "KClO3",
    "BiOCl", "MnBi2Te4", "GeSb2Te4", "La2CuO4", "CsPbI3", "GaAs", "SiC", "B4C", "Si3N4", "ZrW2O8", "C2H6O", "NaCl",
    "Fe2O3", "XeF2", "TiNi", "LiNH2",
)  # fmt: skip
VITRIOL = {29: 1, 16: 1, 8: 9, 1: 10}


@pytest.mark.parametrize(
    "text",
    [
        "CuSO4·5H2O", "CuSO4.5H2O", "CuSO4*5H2O", "CuSO₄·5H₂O", "CuSO4•5H2O", "5H2O.CuSO4", "CuSO4 · 5H2O",
        "CuSO4 · 5 H2O", "CuSO4 * 5 H2O", r"\ce{CuSO4*5H2O}", r"CuSO$_4$ $\cdot$ 5 H$_2$O",
        "CuSO4.5(H2O)", "CuSO4.5[H2O]", "CuSO4·5(H2O)",
    ],
)  # fmt: skip
def test_hydrates(text: str) -> None:
    assert parse_formula(text).counts == VITRIOL


def test_a_decimal_before_water_in_brackets_is_no_hydrate() -> None:
    assert ordered_approximation("Li0.5(H2O)", 20).formula == ordered_approximation("LiO2H4", 20).formula


@pytest.mark.parametrize("half", ["0.5", "1/2", "½", " 1/2 "])
def test_fractions_of_water_and_of_elements(half: str) -> None:
    for dot in "·.":
        assert ordered_approximation(f"CaSO4{dot}{half.strip()}H2O", 60).counts == {20: 2, 16: 2, 8: 9, 1: 2}
    assert ordered_approximation(f"CaSO4·{half}H2O", 60).counts == {20: 2, 16: 2, 8: 9, 1: 2}
    assert ordered_approximation(f"Li{half.strip()}CoO2", 20).formula == "LiCo2O4"


def test_a_vulgar_fraction_after_a_count_is_not_part_of_its_digits() -> None:
    assert ordered_approximation("CaSO4½H2O", 60).counts == {20: 2, 16: 2, 8: 9, 1: 2}
    assert ordered_approximation("Li2½Cl5", 60).formula == "LiCl2"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("K4[Fe(CN)6].3H2O", "K4FeC6N6H6O3"),
        ("3CaO.Al2O3", "Ca3Al2O6"),
        ("Fe_2O_3", "Fe2O3"),
        ("Fe$_2$O$_{3}$", "Fe2O3"),
        ("Fe<sub>2</sub>O<sub>3</sub>", "Fe2O3"),
        ("{Ca(OH)2}2", "Ca2O4H4"),
        (r"$\mathrm{Al_2O_3}$", "Al2O3"),
        (r"\ch{Al2O3}", "Al2O3"),
        ("Al~2~O~3~", "Al2O3"),
        ("Fe<SUB>2</SUB>O<SUB>3</SUB>", "Fe2O3"),
        ("\ufeffFe2O3\u200b", "Fe2O3"),
        ("\uff26\uff45\uff12O\uff13", "Fe2O3"),
        ('"NaCl"', "NaCl"),
        ("Dy2O3", "Dy2O3"),
    ],
)
def test_ways_of_writing(text: str, plain: str) -> None:
    assert parse_formula(text).counts == parse_formula(plain).counts


def test_deuterium_is_read_as_hydrogen_and_said(caplog: pytest.LogCaptureFixture) -> None:
    assert Composition.from_formula("D2O") == Composition.from_formula("H2O")
    assert [record.getMessage() for record in caplog.records] == ["D2O: D is read as H."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NaC1", "NaC1 holds carbon; did you mean NaCl?"),
        ("CaCI2", "CaCI2 holds carbon; did you mean CaCl2?"),
        ("H20", "H20 is an element; did you mean H2O?"),
        ("SIC", "SIC is read letter by letter; did you mean SiC?"),
        ("HFO2", "HFO2 is read letter by letter; did you mean HfO2?"),
        ("MgCl2·6H20", "MgCl2·6H20 holds 20 hydrogen atoms; did you mean MgCl2·6H2O?"),
        ("TiO2(B)", "TiO2(B) is read with the element in brackets; if that names a polymorph, type TiO2."),
        ("Pb(OAc)2", "Pb(OAc)2 holds actinium; write acetate as CH3COO."),
        ("MnIVO2", "MnIVO2 holds vanadium and iodine; if IV is an oxidation state, type MnO2."),
        ("CrVIO3", "CrVIO3 holds vanadium and iodine; if VI is an oxidation state, type CrO3."),
    ],
)
def test_formulas_that_look_like_others_get_a_question(text: str, said: str) -> None:
    assert parse_formula(text).notes == (said,)


@pytest.mark.parametrize(
    "text",
    [
        "C60",
        "Na1C1N1",
        "CO",
        "KNO3",
        "C12H22O11",
        "CSI",
        "Li0.5C6",
        "Ca10P6O26H2",
        "H2SO4",
        "CHCl3",
        "CI4",
        "CsVI3",
        "VIO3",
        "AcOH",
    ],
)
def test_formulas_that_look_like_no_other_get_none(text: str) -> None:
    assert not any("did you mean" in note for note in parse_formula(text, ordered=True).notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Na+", "charges are not part of a formula, since a crystal is neutral; type Na."),
        ("Fe3+2O3", "type Fe2O3."),
        ("Na⁺Cl⁻", "type NaCl."),
        ("Fe(III)2O3", "oxidation states in brackets are not part of a formula"),
        ("YBa2Cu3O7-x", "has a variable in place of a count"),
        ("LixCoO2", "has a variable in place of a count"),
        ("CaSO4·xH2O", "has a variable in place of a count"),
        ("Ba-Ti-O", "names elements without their counts"),
        ("iron", "is a name, not a formula; did you mean Fe?"),
        ("Iron", "is a name, not a formula; did you mean Fe?"),
        ("quartz", "did you mean SiO2?"),
        ("Li0.5CoO2", "LiCo2O4 has the composition of Li0.5CoO2. Type LiCo2O4, or use --ordered-approximation."),
        (
            "La0.7Sr0.3MnO3",
            "SrLa2Mn3O9 is the ordered approximation of La0.7Sr0.3MnO3, off by 0.033 (La 0.667 for 0.7).",
        ),
        ("CuSO4·", "a part of it is empty"),
        ("CuSO4 5H2O", "did you mean CuSO4·5H2O?"),
        ("CuSO4-5H2O", "did you mean CuSO4·5H2O?"),
        ("MgCl2 - 6 H2O", "did you mean MgCl2·6H2O?"),
        ("NH4+", "a crystal is neutral; type NH4."),
        ("SO42-", "a crystal is neutral; type SO4."),
        ("Fe3+", "a crystal is neutral; type Fe."),
        ("CoO2-d", "has a variable in place of a count"),
        ("FeIII2O3", "oxidation states are not part of a formula"),
        ("α-Al2O3", "the name of a polymorph is not part of a formula; type Al2O3."),
        ("alpha-Al2O3", "type Al2O3."),
        ("h-BN", "type BN."),
        ("4H-SiC", "type SiC."),
        ("TiO2 (anatase)", "type TiO2."),
        ("rutile TiO2", "type TiO2."),
        ("Na cl", "did you mean NaCl?"),
        ("sr TiO3", "did you mean SrTiO3?"),
        ("Fe2O3(s)", "type Fe2O3."),
        ("mp-22862", "is the identifier of a database entry; type its formula."),
        ("Na1/0Cl", "a count of 0 is not possible"),
        ("[Fe(CN)6]4-", "type [Fe(CN)6]."),
        ("alpha-quartz", "did you mean SiO2?"),
        ("TiO2-rutile", "type TiO2."),
        ("MgO-Al2O3", "did you mean MgO·Al2O3?"),
        ("Al2O3+SiO2", "did you mean Al2O3·SiO2?"),
        ("Al2O3 + SiO2", "did you mean Al2O3·SiO2?"),
        ("Fe3+2O2-3", "charges are not part of a formula"),
        ("NaCl.", "there is a dot where a count should be"),
        ("Si02", "a count begins with 0; did you mean SiO2?"),
        ("Al2(S04)3", "a count begins with 0; did you mean Al2(SO4)3?"),
        ("Al203", "has too many atoms; did you mean Al2O3?"),
        ("Na200Cl", "has too many atoms; at most 200"),
        ("Ti-6Al-4V", "names an alloy by percentages"),
        ("50Fe-50Pt", "names an alloy by percentages"),
        ("Al30%Ga70%As", "names an alloy by percentages"),
        ("CuSO4+5H2O", "did you mean CuSO4·5H2O?"),
        ("CuSO4 x 5H2O", "did you mean CuSO4·5H2O?"),
        ("CuSO4×5H2O", "did you mean CuSO4·5H2O?"),
        ("CuSO4,5H2O", "did you mean CuSO4·5H2O?"),
        ("3Al2O3-2SiO2", "did you mean 3Al2O3·2SiO2?"),
        ("Fe+2O", "a crystal is neutral; leave them out."),
        ("Fe³⁺₂O²⁻₃", "a crystal is neutral; type Fe2O3."),
        ("Fe(0)", "oxidation states in brackets are not part of a formula"),
        ("αAl2O3", "the name of a polymorph is not part of a formula; type Al2O3."),
        ("γ''-Ni3Nb", "type Ni3Nb."),
        ("T_d-WTe2", "type WTe2."),
        ("bcc Fe", "type Fe."),
        ("cBN", "did you mean BN or CBN?"),
        ("ZnO_wurtzite", "type ZnO."),
        ("MoS2 monolayer", "type MoS2."),
        ("CaCO3, R-3c", "a space group is not part of a formula; type CaCO3 --space-group R-3c."),
        ("NaCl [Fm-3m]", "a space group is not part of a formula; type NaCl --space-group Fm-3m."),
        ("Y3Al5O12:Ce3+", "names a dopant; type Y3Al5O12, or a formula with"),
        ("1% Nb:SrTiO3", "names a dopant; type SrTiO3, or a formula with"),
        ("Cr-doped Al2O3", "names a dopant; type Al2O3, or a formula with"),
        ("(Mg,Fe)SiO3", "elements that share a site"),
        ("Ca5(PO4)3(OH,F)", "elements that share a site"),
        ("⁷LiF", "isotopes are not part of a formula; type LiF."),
        ("U-235", "type U."),
        ("NH4+Cl-", "a crystal is neutral; type NH4Cl."),
        ("Li\u2081\u208a\u2093Mn2O4", "has a variable in place of a count"),
        ("YBCO", "is a name, not a formula; did you mean YBa2Cu3O7?"),
        ("O3-LiCoO2", "type LiCoO2."),
        ("L1_0-FePt", "type FePt."),
        ("TiO2-B", "type TiO2."),
        ("VO2(M1)", "type VO2."),
        ("half-Heusler TiNiSn", "words are not part of a formula; type TiNiSn."),
        ("MgCu2 (Laves)", "type MgCu2."),
        ("2Fe2O3", "a number before a formula is not part of it; type Fe2O3."),
        ("[]Fe2O4", "vacancies and empty brackets are not part of a formula; type Fe2O4."),
        ("Li0,5CoO2", "decimals are written with a point; type Li0.5CoO2."),
        ("Na\u0421l", "a letter of the Cyrillic alphabet; type Latin letters."),
    ],
)
def test_what_is_no_formula_gets_a_sentence(text: str, said: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert said in str(caught.value)


def test_words_are_not_answered_with_other_compounds() -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula("iron")
    assert "IrON" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "max_atoms", "formula", "deviation"),
    [
        ("Li0.5CoO2", 20, "LiCo2O4", 0.0),
        ("La0.7Sr0.3MnO3", 20, "SrLa2Mn3O9", 1 / 30),
        ("La0.7Sr0.3MnO3", 12, "SrLaMn2O6", 0.2),
        ("Fe0.95O", 20, "FeO", 0.05),
        ("Ga0.5As0.5", 20, "GaAs", 0.0),
        ("Fe2O3", 20, "Fe2O3", 0.0),
    ],
)
def test_ordered_approximations(text: str, max_atoms: int, formula: str, deviation: float) -> None:
    found = ordered_approximation(text, max_atoms)
    assert found.formula == formula
    assert found.deviation == pytest.approx(deviation)


def test_an_approximation_that_needs_more_atoms_is_refused() -> None:
    with pytest.raises(FormulaError, match="no ordered formula of at most 3 atoms"):
        ordered_approximation("La0.7Sr0.3MnO3", 3)


@given(
    st.dictionaries(st.integers(1, 90), st.fractions(1, 4, max_denominator=20), min_size=1, max_size=4),
    st.integers(20, 60),
)
def test_approximations_are_small_and_say_how_far_off_they_are(amounts: dict[int, float], max_atoms: int) -> None:
    text = "".join(f"{SYMBOLS[z]}{float(n):.4f}" for z, n in amounts.items())
    found = ordered_approximation(text, max_atoms)
    assert sum(found.counts.values()) <= max_atoms
    assert found.counts.keys() == amounts.keys()
    assert bool(found.instead) == (found.deviation > 0)


@pytest.mark.parametrize("formula", SHOWN)
def test_formulas_are_shown_as_chemists_write_them(formula: str) -> None:
    counts = parse_formula(formula).counts
    assert formula_text(counts) == formula
    assert formula_text(dict(reversed(list(counts.items())))) == formula


@pytest.mark.parametrize(
    ("formula", "key"), [("PbTiO3", "TiPbO3"), ("BiFeO3", "FeBiO3"), ("NH3", "H3N"), ("Na2Cl2", "NaCl")]
)
def test_the_key_that_seeds_and_splits_hash_stays_as_it_was(formula: str, key: str) -> None:
    assert Composition.from_formula(formula).key == key


def test_compositions_of_pymatgen_are_taken() -> None:
    assert Composition.of(PymatgenComposition("LiFePO4")) == Composition.of("LiFePO4")
    assert Composition.of(Composition.from_formula("NaCl")).formula == "NaCl"
    with pytest.raises(FormulaError, match="LiCo2O4"):
        Composition.of(PymatgenComposition("Li0.5CoO2"))
    with pytest.raises(FormulaError, match="not int"):
        Composition.of(3)  # type: ignore[arg-type]


def test_a_formula_that_spells_a_name_is_the_formula() -> None:
    assert Composition.from_formula("TiN").counts == (1, 1)
    for name in ("tin", "Tin"):
        with pytest.raises(FormulaError, match="did you mean Sn"):
            Composition.from_formula(name)
