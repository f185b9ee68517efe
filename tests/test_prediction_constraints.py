"""What the user knows: contradictions are told before any work, and what contradicts is left out and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import caesium_chloride, candidate_of, rock_salt, zinc_blende

from lcoms.core.errors import ConfigError, FormulaError
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.constraints import (
    check_constraints,
    groups_of_system,
    read_space_groups,
    satisfying,
    volume_of_density,
)
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.spec import ConstraintSpec
from lcoms.structure.crystal import Composition

SALT = Composition.from_formula("NaCl")


def test_space_groups_are_read_as_numbers_and_symbols() -> None:
    assert read_space_groups(["62", "Pnma", "P6_3/mmc", " F m -3 m "]) == (62, 194, 225)
    for wrong in ("0", "231", "Foo", "", "2.5"):
        with pytest.raises(ConfigError, match="is no space group"):
            read_space_groups([wrong])


def test_systems_cover_all_groups_once() -> None:
    names = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "Cubic")
    assert [g for name in names for g in groups_of_system(name)] == list(range(1, 231))
    with pytest.raises(ConfigError, match="rhombic"):
        groups_of_system("rhombic")


def test_the_density_of_rock_salt_gives_its_volume() -> None:
    assert volume_of_density(2.163, SALT) == pytest.approx(44.87, abs=0.05)


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        (ConstraintSpec(space_groups=(230,)), "Ia-3d"),
        (ConstraintSpec(volume=0.5), "formula unit"),
        (ConstraintSpec(volume=5000.0), "formula unit"),
        (ConstraintSpec(density=900.0), "density"),
    ],
)
def test_what_no_crystal_can_satisfy_is_told_before_any_work(constraints: ConstraintSpec, said: str) -> None:
    with pytest.raises(FormulaError, match=said):
        check_constraints(constraints, SALT, 10)
    check_constraints(ConstraintSpec(space_groups=(230, 225)), SALT, 10)


def test_values_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        ConstraintSpec(volume=40.0, density=2.0)
    with pytest.raises(ConfigError, match="positive"):
        ConstraintSpec(volume=-1.0)
    with pytest.raises(ConfigError, match="no space group"):
        ConstraintSpec(space_groups=(231,))


def test_candidates_that_contradict_are_left_out_and_counted() -> None:
    salt = candidate_of(rock_salt())
    caesium, zinc = candidate_of(caesium_chloride(3.2, (11, 17))), candidate_of(zinc_blende(6.1, (11, 17)))
    kept, left = satisfying([salt, caesium, zinc], ConstraintSpec(space_groups=(225, 216)), SALT)
    assert kept == [salt, zinc]
    assert left.sentences() == ["1 candidates of other space groups were left out."]
    kept, left = satisfying([salt, caesium, zinc], ConstraintSpec(volume=44.9, tolerance=0.05), SALT)
    assert kept == [salt]
    assert (left.space_group, left.volume) == (0, 2)
    assert satisfying([salt], ConstraintSpec(), SALT)[0] == [salt]


def test_a_prediction_within_a_group_has_no_other(tiny_weights: Path) -> None:
    bundle = WeightBundle.load(tiny_weights)
    spec = spec_for(Options(starts=6, steps=1, relax=False, space_groups=(225,)))
    found = Predictor(bundle, spec).predict("NaCl")
    assert found.candidates
    assert {candidate.space_group for candidate in found.candidates} == {225}
    with pytest.raises(FormulaError, match="Ia-3d"):
        Predictor(bundle, spec_for(Options(relax=False, space_groups=(230,), max_atoms=10))).check(SALT)
