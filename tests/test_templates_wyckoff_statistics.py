"""Statistics of Wyckoff positions: counting, lookup for other elements, saving."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import caesium_chloride, fluorite, nickel_arsenide, perovskite, rock_salt, wurtzite, zinc_blende

from lcoms.core.errors import WeightsError
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.wyckoff import wyckoff_orbits
from lcoms.templates.wyckoff_statistics import OrbitStatistics, described, in_sequence_order


def statistics() -> OrbitStatistics:
    found = []
    for crystal, times in ((perovskite(), 3), (perovskite(numbers=(56, 22, 8)), 1), (fluorite(), 2)):
        described_orbits = wyckoff_orbits(crystal, symprec=0.01)
        assert described_orbits is not None
        found += [(crystal.composition, *described_orbits)] * times
    return OrbitStatistics.count(found)


def test_orbits_of_other_elements_take_the_same_positions() -> None:
    ((orbits, share),) = statistics().orbits(225, Composition((17, 82), (2, 1)))
    assert orbits == (("a", 82), ("c", 17))
    assert share == 1.0


def test_elements_of_equal_counts_stand_along_the_chemical_scale() -> None:
    counted = statistics().orbits(221, Composition((9, 11, 28), (3, 1, 1)))
    assert sum(share for _, share in counted) == pytest.approx(1.0)
    assert {letter for letter, z in counted[0][0] if z == 9} <= {"c", "d"}


def test_codes_follow_the_elements_they_were_given_with() -> None:
    described_orbits = wyckoff_orbits(wurtzite(), symprec=0.01)
    assert described_orbits == (186, (("b", 8), ("b", 30)))
    oxide = Composition((8, 30), (2, 2))
    counted = OrbitStatistics.count([(oxide, *described_orbits)])
    codes = in_sequence_order(oxide, described_orbits[1], (7, 9))
    assert counted.coded_orbits(186, oxide, 0, codes) == (described_orbits[1], (7, 9))
    beryllium = Composition((4, 8), (2, 2))  # now the metal comes first by its number
    assert counted.coded_orbits(186, beryllium, 0, codes) == ((("b", 4), ("b", 8)), (9, 7))
    assert counted.coded_orbits(186, beryllium, 1, codes) is None
    assert counted.coded_orbits(186, beryllium, -1, codes) is None
    assert counted.coded_orbits(186, beryllium, 0, (7,)) is None
    assert counted.coded_orbits(187, beryllium, 0, codes) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rock_salt(numbers=(11, 17)), rock_salt(numbers=(19, 9))),  # the anion is the lighter one in KF
        (zinc_blende(numbers=(30, 34)), zinc_blende(numbers=(30, 8))),
        (caesium_chloride(numbers=(55, 53)), caesium_chloride(numbers=(55, 35))),
        (nickel_arsenide(numbers=(28, 33)), nickel_arsenide(numbers=(28, 16))),
    ],
)
def test_crystals_of_one_structure_have_one_pattern_whichever_atom_is_lighter(one: Crystal, other: Crystal) -> None:
    found = [(crystal.composition, described(crystal, symprec=0.01)) for crystal in (one, other)]
    counted = OrbitStatistics.count(
        (composition, sites.space_group, sites.orbits) for composition, sites in found if sites is not None
    )
    ((pattern, n),) = [pair for seen in counted.sequences.values() for pair in seen.items()]
    assert n == 2
    assert {place for _, place in pattern} == {0, 1}


def test_unknown_cells_have_no_orbits_and_rare_patterns_can_be_left_out() -> None:
    assert statistics().orbits(225, Composition((17, 82), (3, 1))) == []
    assert statistics().orbits(62, Composition((17, 82), (2, 1))) == []
    described_orbits = wyckoff_orbits(fluorite(), symprec=0.01)
    assert described_orbits is not None
    rare = OrbitStatistics.count([(fluorite().composition, *described_orbits)], at_least=2)
    assert rare.orbits(225, fluorite().composition) == []


def test_they_are_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "orbits.json"
    statistics().save(path)
    assert OrbitStatistics.load(path).sequences == statistics().sequences


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format":1}', '{"format":9,"groups":{}}', '{"format":1,"groups":{"x":{"1":{}}}}']
)
def test_damaged_files_are_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "orbits.json"
    if text:
        path.write_text(text)
    with pytest.raises(WeightsError, match=r"orbits\.json"):
        OrbitStatistics.load(path)
