"""Candidates after a relaxation: order, counts, failures and what is kept of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log, nan
from typing import Any

import numpy as np
import pytest
import torch
from tiny import (
    breathing_perovskite,
    caesium_chloride,
    candidate_of,
    nickel_arsenide,
    perovskite,
    rock_salt,
    shaken,
    zinc_blende,
)

from lcoms.core.errors import ConfigError
from lcoms.oracles.hull import Hull, Phase
from lcoms.prediction.calibrate import FEATURES, ConfidenceModel
from lcoms.prediction.candidate import Candidate
from lcoms.prediction.output import results, table
from lcoms.prediction.pipeline import PredictConfig, Prediction, RefineConfig
from lcoms.prediction.propose import Start
from lcoms.prediction.random_symmetric import ExploreConfig
from lcoms.prediction.refine import finished, found_phases, more_symmetric, ranked_by, refine, with_hull
from lcoms.prediction.scoring import OrderWeights
from lcoms.relax.result import RelaxResult, Status, Trajectory
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import space_group_number

SALT = (11, 17)

BARE = OrderWeights(0.0, 0.0, 0.0, 0.0)


def relaxed(crystal: Crystal, energy: float, status: Status = Status.CONVERGED) -> RelaxResult:
    return RelaxResult(crystal, energy, status, 7, 0.05)


def prediction_of(*candidates: Candidate) -> Prediction:
    composition = Composition.from_formula("NaCl")
    return Prediction(composition, candidates, PredictConfig(), "digest", 9, 1, 2, 3)


def run(
    prediction: Prediction,
    results: Sequence[RelaxResult],
    n: int = 10,
    second: Callable[[Sequence[Crystal]], Sequence[float]] | None = None,
    **options: Any,
) -> Prediction:
    def relax(crystals: Sequence[Crystal]) -> Sequence[RelaxResult]:
        assert len(crystals) == len(results)
        return results

    def formation(_: Composition, energy: float) -> float | None:
        return energy + 3.0

    config = RefineConfig(**options)
    return refine(prediction, config, relax, formation_energy=formation, n_candidates=n, energies=second)


def test_the_oracle_decides_the_order() -> None:
    salt, caesium, blende = rock_salt(), caesium_chloride(3.4, SALT), zinc_blende(6.0, SALT)
    before = prediction_of(*(candidate_of(c) for c in (blende, caesium, salt)))
    found = run(before, [relaxed(blende, -6.6), relaxed(caesium, -6.7), relaxed(salt, -6.8)])
    assert [c.space_group for c in found.candidates] == [225, 221, 216]
    relaxations = [c.relaxation for c in found.candidates]
    assert [r.energy_per_atom for r in relaxations if r] == pytest.approx([-3.4, -3.35, -3.3])
    assert [r.formation_energy for r in relaxations if r] == pytest.approx([-0.4, -0.35, -0.3])
    assert [r.energy_above_lowest for r in relaxations if r] == pytest.approx([0, 0.05, 0.1])
    assert found.n_duplicates == 3
    assert found.failures == ()


def test_explored_crystals_are_relaxed_and_ranked_among_the_others_and_gone_where_they_fail() -> None:
    salt, caesium, blende = rock_salt(), caesium_chloride(3.4, SALT), zinc_blende(6.0, SALT)
    before = replace(prediction_of(candidate_of(caesium)), explored=(candidate_of(salt), candidate_of(blende)))
    found = run(before, [relaxed(caesium, -6.7), relaxed(salt, -6.8), relaxed(blende, nan, Status.EXPLODED)])
    assert [c.space_group for c in found.candidates] == [225, 221]
    assert (found.explored, found.failures) == ((), ())
    assert (found.n_relaxations, found.n_oracle_calls) == (3, 24)


def test_an_explored_crystal_far_below_all_others_is_distrusted() -> None:
    salt, caesium = candidate_of(rock_salt()), candidate_of(caesium_chloride(3.4, SALT))
    before = replace(prediction_of(caesium), explored=(replace(salt, count=0),))
    results = [relaxed(caesium.crystal, -6.7), relaxed(salt.crystal, -8.1)]
    found = run(before, results)
    assert [c.space_group for c in found.candidates] == [221]
    assert found.failures == ("an explored crystal: 0.7 eV/atom below all others; the oracle is wrong about it.",)
    assert len(run(prediction_of(caesium, salt), results).candidates) == 2
    assert len(run(before, [results[0], relaxed(salt.crystal, -7.6)]).candidates) == 2


def test_an_explored_crystal_that_a_descent_also_led_to_tells_of_the_descent() -> None:
    explored = replace(candidate_of(rock_salt(), latent_distance=0.0), count=0, descent_energies=(-1.0,))
    decoded = replace(candidate_of(rock_salt(), latent_distance=0.7), count=2, descent_energies=(-1.0, -1.1))
    for both in (explored.with_others(decoded), decoded.with_others(explored)):
        assert (both.count, both.latent_distance, both.descent_energies) == (2, 0.7, (-1.0, -1.1))
        assert len(both.others) == 1


def test_energies_along_the_way_are_kept_by_the_atom() -> None:
    salt, caesium = rock_salt(), caesium_chloride(3.4, SALT)
    way = replace(relaxed(salt, -6.8), trajectory=Trajectory((-6.0, -6.5, -6.8)))
    failed = replace(relaxed(caesium, float("nan"), Status.EXPLODED), trajectory=Trajectory((-6.0,)))
    found = run(prediction_of(candidate_of(salt), candidate_of(caesium)), [way, failed])
    assert [c.relaxation.energies for c in found.candidates if c.relaxation] == [(-3.0, -3.25, -3.4), (-3.0,)]


def test_what_relaxes_into_the_same_crystal_is_counted_together() -> None:
    near = shaken(rock_salt(), 0.01)
    before = prediction_of(candidate_of(near, count=2, space_group=1), candidate_of(rock_salt(), count=3))
    found = run(before, [relaxed(near, -6.8), relaxed(rock_salt(), -6.8)])
    assert len(found.candidates) == 1
    best = found.candidates[0]
    assert (best.count, best.space_group) == (5, 225)
    assert found.n_duplicates == 4
    # The relaxed crystal stands on its symmetry, what was decoded is kept beside it.
    assert best.relaxation is not None
    assert best.relaxation.decoded in (before.candidates[0].crystal, before.candidates[1].crystal)


def test_one_structure_at_the_end_of_different_paths_keeps_its_best_symmetry() -> None:
    squeezed = Crystal(rock_salt().lattice @ np.diag([1.0, 1.0, 1.04]), *rock_salt_sites())
    before = prediction_of(candidate_of(squeezed), candidate_of(rock_salt()))
    near = run(before, [relaxed(squeezed, -6.803), relaxed(rock_salt(), -6.8)])
    assert [(c.space_group, c.count) for c in near.candidates] == [(225, 2)]
    assert near.candidates[0].relaxation.energy_above_lowest == 0
    far = run(before, [relaxed(squeezed, -6.9), relaxed(rock_salt(), -6.8)])
    assert [(c.space_group, c.count) for c in far.candidates] == [(139, 1), (225, 1)]


def rock_salt_sites() -> tuple[np.ndarray, np.ndarray]:
    return rock_salt().frac_coords, rock_salt().atomic_numbers


def test_failures_are_said_and_stand_behind() -> None:
    salt, caesium, nickeline = rock_salt(), caesium_chloride(3.4, SALT), nickel_arsenide(3.9, 6.2, SALT)
    before = prediction_of(*(candidate_of(c) for c in (caesium, nickeline, salt)))
    found = run(before, [relaxed(caesium, nan, Status.EXPLODED), relaxed(nickeline, -13.0)], n_relax=2)
    assert [c.space_group for c in found.candidates] == [194, 221, 225]
    assert len(found.failures) == 1
    assert "candidate 1" in found.failures[0]
    assert "exploded" in found.failures[0]
    assert found.candidates[1].crystal is caesium
    assert found.candidates[2].relaxation is None
    text = json.dumps(results(found), allow_nan=False)
    assert "exploded" in text
    assert len(table(found).rows) == 3
    assert len(run(before, [relaxed(caesium, -6.0)], n=1, n_relax=1).candidates) == 1


@pytest.mark.parametrize(("weight", "first"), [(0.0, 221), (0.02, 225)])
def test_symmetry_can_be_worth_energy(weight: float, first: int) -> None:
    salt, caesium = rock_salt(), caesium_chloride(3.4, SALT)
    gap = 0.02 * log(192 / 48) * 0.9
    before = prediction_of(candidate_of(caesium), candidate_of(salt))
    found = run(before, [relaxed(caesium, -6.8), relaxed(salt, -6.8 + 2 * gap)], order=replace(BARE, symmetry=weight))
    assert found.candidates[0].space_group == first
    # The lowest stays the lowest, whatever is ranked first.
    assert min(c.relaxation.energy_above_lowest for c in found.candidates if c.relaxation) == 0


@pytest.mark.parametrize("option", [{"n_relax": 0}, {"max_steps": 0}, {"fmax": 0.0}])
def test_options_that_make_no_sense(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        RefineConfig(**option)  # type: ignore[arg-type]


def test_nothing_to_relax() -> None:
    assert run(prediction_of(), []).candidates == ()


def test_energy_above_a_hull_of_elements_and_found_phases() -> None:
    salt, caesium = rock_salt(), caesium_chloride(3.4, SALT)
    before = prediction_of(candidate_of(salt), candidate_of(caesium), candidate_of(zinc_blende(6.0, SALT)))
    found = run(before, [relaxed(salt, -6.8), relaxed(caesium, -6.6)], n_relax=2)
    elements = [Phase(Composition.from_formula("Na"), -1.0), Phase(Composition.from_formula("Cl"), -2.0)]
    (phase,) = found_phases([found, prediction_of()])
    assert (phase.composition.reduced_formula, phase.energy_per_atom) == ("NaCl", -3.4)
    judged = with_hull(found, Hull([*elements, phase], None))
    above = [c.relaxation.e_above_hull if c.relaxation else None for c in judged.candidates]
    assert above == [pytest.approx(0, abs=1e-9), pytest.approx(0.1), None]
    # Without the compound among the phases the hull is the mixture of the elements.
    lower = with_hull(found, Hull(elements, None)).candidates[0].relaxation
    assert lower is not None
    assert lower.e_above_hull == pytest.approx(-3.4 + 1.5)
    assert "hull" in [column.header for column in table(judged).columns]
    assert with_hull(found, Hull(elements[:1], None)).candidates[0].relaxation.e_above_hull is None


def test_holes_of_the_oracle_are_no_ground_states() -> None:
    before = prediction_of(candidate_of(rock_salt()), candidate_of(caesium_chloride(3.4, SALT)))
    found = run(before, [relaxed(rock_salt(), -6.8), relaxed(caesium_chloride(3.4, SALT), -190.0)])
    assert [c.space_group for c in found.candidates] == [225, 221]
    assert len(found.failures) == 1
    assert "-92.0 eV/atom" in found.failures[0]


def test_votes_for_a_structure_can_be_worth_energy() -> None:
    def start(distance: float, pattern: int = 0, support: float = nan) -> Start:
        return Start("id", "KCl", distance, 1, torch.zeros(1), 225, pattern, support)

    salt, caesium = rock_salt(), caesium_chloride(3.4, SALT)
    before = prediction_of(
        candidate_of(caesium, start=start(9.0, 1, 0.1)),
        candidate_of(salt, start=start(nan)),
        candidate_of(salt, start=start(4.0, 0, 0.6)),
    )
    energies = [relaxed(caesium, -6.8), relaxed(salt, -6.78), relaxed(salt, -6.78)]
    assert run(before, energies, order=BARE).candidates[0].space_group == 221
    found = run(before, energies, order=replace(BARE, support=0.02))
    assert [c.space_group for c in found.candidates] == [225, 221]
    assert [c.start.distance for c in found.candidates] == [4.0, 9.0]  # the nearest of those that were merged
    assert [c.support for c in found.candidates] == [pytest.approx(0.6), 0.1]
    strict = replace(BARE, support=0.02, limit=0.004, excess=30.0)
    assert [c.space_group for c in run(before, energies, order=strict).candidates] == [225, 221]
    found = run(before, energies, order=strict, explore=ExploreConfig(n=1))
    assert [c.space_group for c in found.candidates] == [221, 225]  # rock salt lies too high for its votes


def second(energies: Sequence[float]) -> Callable[[Sequence[Crystal]], Sequence[float]]:
    return lambda crystals: [energy * crystal.n_atoms for energy, crystal in zip(energies, crystals, strict=True)]


def test_the_mean_of_two_oracles_makes_the_order() -> None:
    salt, caesium, blende = rock_salt(), caesium_chloride(3.4, SALT), zinc_blende(6.0, SALT)
    before = prediction_of(*(candidate_of(c) for c in (blende, caesium, salt)))
    energies = [relaxed(blende, -6.8), relaxed(caesium, -6.7), relaxed(salt, -6.6)]  # -3.4, -3.35, -3.3 an atom
    config = {"oracle": "one", "second_oracle": "two", "order": BARE}
    found = run(before, energies, second=second([-9.0, -9.0, -9.2]), **config)
    assert [c.space_group for c in found.candidates] == [225, 216, 221]
    relaxations = [c.relaxation for c in found.candidates if c.relaxation is not None]
    assert [r.energy_above_lowest for r in relaxations] == pytest.approx([0, 0.05, 0.075])
    assert [r.second_energy for r in relaxations] == pytest.approx([-9.2, -9.0, -9.0])
    assert [r.energy_per_atom for r in relaxations] == pytest.approx([-3.3, -3.4, -3.35])
    assert ranked_by(found) == "one, two"
    # One that the second oracle cannot handle: it counts for none, as the two have different zeros.
    found = run(before, energies, second=second([nan, -9.0, -9.2]), **config)
    assert [c.space_group for c in found.candidates] == [216, 221, 225]
    assert ranked_by(found) == "one"
    assert results(found)["candidates"][0]["relaxation"]["second_energy_per_atom"] is None


def test_a_hole_of_one_oracle_is_none_of_the_other() -> None:
    salt, caesium, blende = rock_salt(), caesium_chloride(3.4, SALT), zinc_blende(6.0, SALT)
    before = prediction_of(*(candidate_of(c) for c in (blende, caesium, salt)))
    energies = [relaxed(blende, -6.8), relaxed(caesium, -9.4), relaxed(salt, -6.6)]  # -3.4, -4.7, -3.3 an atom
    config = {"oracle": "one", "second_oracle": "two", "order": BARE}
    found = run(before, energies, second=second([-9.4, -9.2, -9.3]), **config)
    assert [c.space_group for c in found.candidates] == [216, 225]
    assert found.failures == ("a relaxed crystal: the oracles differ by 1.5 eV/atom; one of them is wrong about it.",)
    for other in (-9.8, nan):  # less than 1 eV/atom apart from the others; no second opinion
        found = run(before, energies, second=second([-9.4, other, -9.3]), **config)
        assert (found.candidates[0].space_group, found.failures) == (221, ())
    two = run(prediction_of(candidate_of(caesium), candidate_of(salt)), energies[1:], second=second([-9.2, -9.3]))
    assert (len(two.candidates), two.failures) == (2, ())  # nobody can tell which of two is usual


def test_the_confidence_is_that_of_the_oracles_that_ranked() -> None:
    candidate = candidate_of(rock_salt())
    models = {
        name: ConfidenceModel((0.0,) * len(FEATURES), (1.0,) * len(FEATURES), (0.0,) * len(FEATURES), bias, 9, name)
        for name, bias in (("one", 0.0), ("one, two", 9.0))
    }
    config = {"oracle": "one", "second_oracle": "two"}
    for energy, probability in ((-9.0, 1.0), (nan, 0.5)):
        found = run(prediction_of(candidate), [relaxed(rock_salt(), -6.8)], second=second([energy]), **config)
        assert finished(found, models, 5).confidence == pytest.approx(probability, abs=1e-3)
        assert finished(found, {}, 5).confidence is None


def test_lost_translations_make_a_crystal_less_symmetric() -> None:
    whole, halved = perovskite(), breathing_perovskite(0.04)
    before = prediction_of(candidate_of(halved, space_group=225), candidate_of(whole, space_group=221))
    found = run(before, [relaxed(halved, -40.01), relaxed(whole, -20.0)])
    assert [(c.space_group, c.crystal.n_atoms, c.count) for c in found.candidates] == [(221, 5, 2)]


def test_a_distortion_that_gains_energy_is_a_structure_of_its_own() -> None:
    whole, halved = perovskite(), breathing_perovskite(0.04)
    before = prediction_of(candidate_of(halved, space_group=225), candidate_of(whole, space_group=221))
    found = run(before, [relaxed(halved, -40.05), relaxed(whole, -20.0)])
    assert [(c.space_group, c.count) for c in found.candidates] == [(225, 1), (221, 1)]
    assert found.n_duplicates == prediction_of().n_duplicates


def test_a_crystal_beside_a_more_symmetric_one_as_low_becomes_that() -> None:
    salt = rock_salt()
    beside = shaken(salt, 0.06)
    path = Trajectory((-4.0, -6.79))
    asked: list[Crystal] = []

    def relax_to(energy: float, status: Status = Status.CONVERGED) -> list[RelaxResult]:
        def relax(crystals: Sequence[Crystal]) -> Sequence[RelaxResult]:
            asked.extend(crystals)
            return [replace(relaxed(c, energy, status), trajectory=Trajectory((energy,))) for c in crystals]

        first = [relaxed(salt, -6.8), replace(relaxed(beside, -6.79), trajectory=path)]
        return more_symmetric(first, relax)

    found = relax_to(-6.788)
    assert [space_group_number(crystal) for crystal in asked] == [225]
    assert space_group_number(found[1].crystal, symprec=0.01) == 225
    assert (found[1].n_steps, found[1].energy) == (14, -6.788)
    assert found[1].trajectory is not None
    assert found[1].trajectory.energies == (-4.0, -6.79, -6.788)
    assert relax_to(-6.7)[1].crystal is beside  # the symmetry costs 45 meV/atom
    assert relax_to(-6.9, Status.EXPLODED)[1].crystal is beside
