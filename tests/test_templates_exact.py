"""Exact templates are read back within the stated error, and substitution keeps group and positions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_structure_exact_sites import GROUPS, MORE_GROUPS, made

from lcoms.core.errors import DataError, FormulaError, WeightsError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import atomic_volume
from lcoms.structure.exact_sites import ExactSites, exact_sites
from lcoms.structure.matching import STRICT, rmsd
from lcoms.structure.symmetry import space_group_number
from lcoms.structure.wyckoff import wyckoff_orbits
from lcoms.templates.exact import ExactTemplates
from lcoms.templates.exact_build import KnownCrystal, as_known, build_templates, structure_id
from lcoms.templates.exact_codes import CELL_LEVELS, COORD_LEVELS, LONGEST, SHORTEST, decoded_cell, encoded_cell
from lcoms.templates.heights import least_heights
from lcoms.templates.placing import (
    ChosenTemplate,
    TemplateChoice,
    choose_templates,
    known_entries,
    prototype_shares,
    substitute,
)
from lcoms.templates.similarity import ElementSimilarity
from lcoms.templates.stoichiometry import elements_in_order

VOLUMES = np.array([1.0] + [atomic_volume(z) for z in range(1, 104)])
FCC = np.ones((3, 3)) - np.eye(3)


def pair(first: int, second: int, length: float, at: float = 0.5) -> Crystal:
    """Return rock salt, or zinc blende if the second atom is at a quarter."""
    return Crystal(length * FCC, np.array([[0.0] * 3, [at] * 3]), np.array([first, second]))


def caesium_chloride(first: int, second: int, length: float) -> Crystal:
    return Crystal(length * np.eye(3), np.array([[0.0] * 3, [0.5] * 3]), np.array([first, second]))


def known(name: str, crystal: Crystal, hull: float = 0.0, energy: float = -1.0) -> KnownCrystal:
    elements = elements_in_order(crystal.composition)
    sites, orbits = (
        exact_sites(crystal, symprec=0.01, elements=elements),
        wyckoff_orbits(crystal, symprec=0.1, elements=elements),
    )
    assert sites is not None
    assert orbits is not None
    return KnownCrystal(name, sites, structure_id(crystal.composition, *orbits), hull, energy)


def library() -> ExactTemplates:
    return build_templates(
        [
            known("NaCl", pair(11, 17, 2.8)),
            known("NaCl-CsCl", caesium_chloride(11, 17, 3.4), hull=0.0312),
            known("NaCl-ZnS", pair(11, 17, 3.1, 0.25), hull=float("nan"), energy=float("nan")),
            known("KCl", pair(19, 17, 3.15)),
            known("CsCl", caesium_chloride(55, 17, 4.1)),
            known("ZnS", pair(30, 16, 2.7, 0.25)),
            known("Cu", Crystal(1.8 * FCC, np.zeros((1, 3)), np.array([29]))),
        ],
        VOLUMES,
        metadata={"made": "here"},
    )


def close(first: ExactSites, second: ExactSites) -> bool:
    apart = first.coords - second.coords
    coords = np.abs(apart - np.round(apart)).max(initial=0.0) <= 0.5 / COORD_LEVELS + 1e-12
    lengths = (
        np.abs(np.log(first.lengths / second.lengths)).max()
        <= 0.5 * np.log(LONGEST / SHORTEST) / (CELL_LEVELS - 1) + 1e-12
    )
    return bool(coords and lengths and np.abs(first.angles - second.angles).max() <= 90 / CELL_LEVELS + 1e-9)


def test_crystals_of_many_groups_come_back_within_the_rounding(tmp_path: Path) -> None:
    crystals = {f"g{number}": made(number) for number in GROUPS + MORE_GROUPS}
    entries = {name: known(name, crystal) for name, crystal in crystals.items()}
    build_templates(entries.values(), VOLUMES).save(tmp_path / "t.safetensors")
    again = ExactTemplates.load(tmp_path / "t.safetensors")
    assert len(again) == len(crystals)
    for name, crystal in crystals.items():
        row = again.row_of(name)
        assert row is not None
        template = again[row]
        assert template.id == name
        assert template.sites.space_group == entries[name].sites.space_group
        assert template.sites.orbits == entries[name].sites.orbits
        assert close(template.sites, entries[name].sites)
        assert template.crystal.composition == crystal.composition
        apart = rmsd(template.crystal, crystal, STRICT)
        assert apart is not None
        assert apart * (crystal.volume / crystal.n_atoms) ** (1 / 3) < np.sqrt(3) * 13 / COORD_LEVELS


def test_cells_are_rounded_by_so_little_that_it_does_not_matter() -> None:
    lengths, angles = np.array([3.1, 41.7, 9.3]), np.array([71.3, 101.9, 118.2])
    again = decoded_cell(2, encoded_cell(2, lengths, angles))
    np.testing.assert_allclose(again[0], lengths, rtol=6e-5)
    np.testing.assert_allclose(again[1], angles, atol=2e-3)
    assert decoded_cell(14, encoded_cell(14, lengths, np.array([90, 101.9, 90])))[1][[0, 2]].tolist() == [90, 90]


def test_packing_again_changes_nothing() -> None:
    first = build_templates([known(f"g{number}", made(number)) for number in GROUPS], VOLUMES)
    again = build_templates([as_known(first[row]) for row in range(len(first))], VOLUMES)
    for name, column in first.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], column)


def test_energies_and_ids_come_back(tmp_path: Path) -> None:
    library().save(tmp_path / "t.safetensors")
    again = ExactTemplates.load(tmp_path / "t.safetensors")
    assert again.metadata == {"made": "here"}
    found = {one.id: one for one in (again[row] for row in range(len(again)))}
    assert found["NaCl-CsCl"].e_above_hull == pytest.approx(0.0312, abs=5e-5)
    assert np.isnan(found["NaCl-ZnS"].e_above_hull)
    assert np.isnan(found["NaCl-ZnS"].formation_energy)
    assert again.row_of("nothing") is None
    np.testing.assert_allclose(again.element_volumes, VOLUMES, rtol=1e-6)
    with pytest.raises(IndexError, match="7 templates"):
        again[7]


def test_known_crystals_of_a_composition_come_in_the_order_of_their_energies() -> None:
    found = known_entries(library(), Composition.from_formula("Na4Cl4"))
    assert [one.id for one in found] == ["NaCl", "NaCl-CsCl", "NaCl-ZnS"]
    assert [space_group_number(one.crystal) for one in found] == [225, 221, 216]
    assert known_entries(library(), Composition.from_formula("ClNa2")) == []
    assert [one.id for one in known_entries(library(), Composition.from_formula("Cu"))] == ["Cu"]


def test_an_unknown_height_is_told_from_other_crystals_of_the_composition() -> None:
    nan = float("nan")
    hull = np.array([0.02, nan, nan, nan, nan, nan, nan])
    energies = np.array([-1.0, -1.01, -0.9, -0.5, -0.3, 0.2, nan])
    heights = least_heights(hull, energies, np.array([0, 0, 0, 1, 1, 2, 3]))
    np.testing.assert_allclose(heights, [0.02, 0.01, 0.12, 0.0, 0.2, 0.2, 0.0], atol=1e-12)


def test_structures_are_told_apart_by_group_and_positions() -> None:
    structures = {one.id: one.structure for one in (library()[row] for row in range(7))}
    assert structures["NaCl"] == structures["KCl"]
    assert structures["NaCl-CsCl"] == structures["CsCl"]
    assert structures["NaCl-ZnS"] == structures["ZnS"]
    assert len(set(structures.values())) == 4


@pytest.mark.parametrize("number", GROUPS + MORE_GROUPS)
def test_substitution_keeps_group_positions_and_shape(number: int) -> None:
    crystal = made(number)
    entry = known("one", crystal)
    template = build_templates([entry], VOLUMES)[0]
    to = {8: 34, 26: 50}
    target = Composition.from_atoms([to[z] for z in crystal.atomic_numbers.tolist()])
    new = substitute(target, template, VOLUMES)
    assert new.composition.reduced == target.reduced
    assert space_group_number(new, symprec=1e-3) == entry.sites.space_group
    before, after = (wyckoff_orbits(one, symprec=1e-3) for one in (crystal, new))
    assert before is not None
    assert after is not None
    assert sorted(letter for letter, _ in before[1]) == sorted(letter for letter, _ in after[1])
    expected = sum(VOLUMES[new.atomic_numbers]) / sum(VOLUMES[crystal.atomic_numbers])
    assert new.volume / crystal.volume == pytest.approx(expected, rel=1e-3)


def test_elements_are_paired_along_the_chemical_scale() -> None:
    template = known_entries(library(), Composition.from_formula("ZnS"))[0]
    new = substitute(Composition.from_formula("GaAs"), template, VOLUMES)
    assert sorted(new.atomic_numbers.tolist()) == [31, 33]
    assert space_group_number(new, symprec=1e-3) == 216


def test_an_element_takes_all_sites_of_a_pair() -> None:
    template = known_entries(library(), Composition.from_formula("ZnS"))[0]
    diamond = substitute(Composition.from_formula("C"), template, VOLUMES)
    assert diamond.atomic_numbers.tolist() == [6, 6]
    assert space_group_number(diamond, symprec=1e-3) == 227
    assert diamond.volume == pytest.approx(2 * VOLUMES[6] / (VOLUMES[30] + VOLUMES[16]) * template.crystal.volume)


def test_a_template_of_another_stoichiometry_is_refused() -> None:
    template = known_entries(library(), Composition.from_formula("ZnS"))[0]
    with pytest.raises(FormulaError, match="ZnS; it is not a template for CaF2"):
        substitute(Composition.from_formula("CaF2"), template, VOLUMES)


def chosen(formula: str, choice: TemplateChoice) -> list[str]:
    composition = Composition.from_formula(formula)
    found = choose_templates(composition, library(), ElementSimilarity.mendeleev(), choice)
    return [one.template.id for one in found]


def test_entries_of_the_very_composition_are_left_out_on_demand() -> None:
    assert chosen("NaCl", TemplateChoice())[0] == "NaCl"
    assert not any(name.startswith("NaCl") for name in chosen("NaCl", TemplateChoice(exclude_same=True)))
    assert chosen("Na3Cl3", TemplateChoice(exclude_same=True))[0] == "KCl"


def test_choices_hold() -> None:
    assert len(chosen("KBr", TemplateChoice(n=2))) == 2
    assert "NaCl-CsCl" not in chosen("KBr", TemplateChoice(max_hull=0.01))
    alike = chosen("KBr", TemplateChoice(max_per_structure=1))
    assert len(alike) == 3
    assert chosen("KBr", TemplateChoice(units=(2, 4))) == []
    assert chosen("Ag", TemplateChoice(units=(1, 1))) == ["Cu"]
    assert set(chosen("Ag", TemplateChoice())) >= {"Cu", "ZnS"}
    assert chosen("Fe3O4", TemplateChoice()) == []


def chosen_of(*structures: int) -> list[ChosenTemplate]:
    """Return chosen templates, one for each structure number; 0 is the most probable."""
    template = library()[0]
    return [
        ChosenTemplate(row, replace(template, structure=structure), 1, 0.0, 1 / (1 + structure))
        for row, structure in enumerate(structures)
    ]


def test_a_structure_that_is_the_only_one_has_all_of_the_probability() -> None:
    assert prototype_shares(chosen_of(7, 7)) == {7: 1.0}
    assert prototype_shares(chosen_of(0, 1, 3)) == {0: pytest.approx(0.75), 1: pytest.approx(0.25), 3: 0.0}
    assert prototype_shares([]) == {}


def test_what_cannot_be_packed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one"):
        build_templates([], VOLUMES)
    with pytest.raises(DataError, match="line feeds"):
        build_templates([known("a\nb", pair(11, 17, 2.8))], VOLUMES)
    with pytest.raises(DataError, match="1024 angstrom"):
        build_templates([known("long", pair(11, 17, 800.0))], VOLUMES)
    with pytest.raises(WeightsError, match="no file"):
        ExactTemplates.load(tmp_path / "none.safetensors")
