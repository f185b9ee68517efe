"""Candidates after relaxation: their order, equality of structures, and the mean of several energy models."""

from __future__ import annotations

from dataclasses import replace
from math import isnan, log, nan

import numpy as np
import pytest
from tiny import (
    breathing_perovskite,
    caesium_chloride,
    decoded_of,
    perovskite,
    proposal_of,
    relaxed_of,
    rock_salt,
    zinc_blende,
)

from lcoms.oracles.hull import Hull, Phase
from lcoms.prediction.rank import lowest_phase, mean_energies, rank_decoded, rank_relaxed, ranking_models, with_hull
from lcoms.prediction.scoring import ScoreWeights
from lcoms.prediction.stages import Candidate, Relaxed
from lcoms.structure.crystal import Composition, Crystal
from lcoms.templates.structure_probability import StructureProbabilities, signature

SALT = (11, 17)
BARE = ScoreWeights(0.0, 0.0, 0.0, floor=0.01)
ROCK_SALT, CAESIUM, BLENDE = rock_salt(), caesium_chloride(3.4, SALT), zinc_blende(6.0, SALT)


def relaxed(crystal: Crystal, energy: float, committee: tuple[float, ...] = (), **decoded: object) -> Relaxed:
    return relaxed_of(decoded_of(crystal, **decoded), energy, further_energies=committee)


def groups(candidates: list[Candidate]) -> list[int]:
    return [candidate.space_group for candidate in candidates]


def test_the_energy_model_decides_the_order() -> None:
    found = rank_relaxed([relaxed(BLENDE, -3.3), relaxed(CAESIUM, -3.35), relaxed(ROCK_SALT, -3.4)], BARE)
    assert groups(found) == [225, 221, 216]
    assert [c.energy_above_lowest for c in found] == pytest.approx([0, 0.05, 0.1])
    assert [c.score for c in found] == pytest.approx([-3.4, -3.35, -3.3])
    assert all(candidate.is_relaxed for candidate in found)
    assert rank_relaxed([], BARE) == []


def test_decoded_crystals_stand_by_their_score_and_have_no_energy_above_the_lowest() -> None:
    decoded = [decoded_of(BLENDE, score=-1.0), decoded_of(ROCK_SALT, score=-3.0)]
    found = rank_decoded(decoded)
    assert [c.decoded for c in found] == decoded[::-1]
    assert all(isnan(c.energy_above_lowest) and not c.is_relaxed for c in found)


def test_what_relaxes_into_the_same_crystal_is_counted_together() -> None:
    found = rank_relaxed([relaxed(ROCK_SALT, -3.4, n_found=2), relaxed(ROCK_SALT, -3.4, n_found=3)], BARE)
    assert [(c.n_found, c.space_group) for c in found] == [(5, 225)]


def test_one_structure_at_the_end_of_different_paths_keeps_its_best_symmetry() -> None:
    squeezed = replace(ROCK_SALT, lattice=ROCK_SALT.lattice @ np.diag([1.0, 1.0, 1.04]))
    near = rank_relaxed([relaxed(squeezed, -3.4015), relaxed(ROCK_SALT, -3.4)], BARE)
    assert [(c.space_group, c.n_found) for c in near] == [(225, 2)]
    assert near[0].energy_above_lowest == 0
    far = rank_relaxed([relaxed(squeezed, -3.45), relaxed(ROCK_SALT, -3.4)], BARE)
    assert [(c.space_group, c.n_found) for c in far] == [(139, 1), (225, 1)]


def test_lost_translations_make_a_crystal_less_symmetric() -> None:
    halved = relaxed(breathing_perovskite(0.04), -4.001)
    found = rank_relaxed([halved, relaxed(perovskite(), -4.0)], BARE)
    assert [(c.space_group, c.crystal.n_atoms, c.n_found) for c in found] == [(221, 5, 2)]


def test_a_distortion_that_gains_energy_is_a_structure_of_its_own() -> None:
    halved = relaxed(breathing_perovskite(0.04), -4.005)
    found = rank_relaxed([halved, relaxed(perovskite(), -4.0)], BARE)
    assert [(c.space_group, c.n_found) for c in found] == [(225, 1), (221, 1)]


def test_the_prototype_probability_can_be_worth_energy() -> None:
    templates = [
        proposal_of("a", "KCl", 9.0, space_group=225, wyckoff_sequence=1, prototype_probability=0.1),
        proposal_of("b", "KCl", 4.0, space_group=225, wyckoff_sequence=0, prototype_probability=0.6),
    ]
    every = [
        relaxed(CAESIUM, -3.4, proposal=templates[0]),
        relaxed(ROCK_SALT, -3.39, proposal=proposal_of()),
        relaxed(ROCK_SALT, -3.39, proposal=templates[1]),
    ]
    assert rank_relaxed(every, BARE)[0].space_group == 221
    found = rank_relaxed(every, replace(BARE, prototype_probability=0.02))
    assert groups(found) == [225, 221]
    assert [c.proposal.distance for c in found] == [4.0, 9.0]  # the nearest of those that were merged
    assert [c.prototype_probability for c in found] == [pytest.approx(0.6), 0.1]
    # The lowest stays the lowest, whatever is ranked first.
    assert [c.energy_above_lowest for c in found] == pytest.approx([0.01, 0.0])
    strict = replace(BARE, prototype_probability=0.02, limit=0.004, excess=30.0)
    assert groups(rank_relaxed(every, strict)) == [225, 221]
    untemplated = relaxed(BLENDE, -3.0, n_found=0)
    # Rock salt lies too high for its probability once crystals without a template compete.
    assert groups(rank_relaxed([*every, untemplated], strict)) == [221, 225, 216]


def test_the_structure_after_relaxation_can_be_worth_energy() -> None:
    every = [relaxed(CAESIUM, -3.4), relaxed(ROCK_SALT, -3.39)]
    weights = replace(BARE, structure_probability=0.02)
    structures = StructureProbabilities({signature(225, (("a", 0), ("b", 1))): 0.5})
    assert groups(rank_relaxed(every, weights)) == [221, 225]  # where no known crystals are there, all are alike
    found = rank_relaxed(every, weights, structures)
    assert groups(found) == [225, 221]
    assert found[1].score - found[0].score == pytest.approx(-0.01 + 0.02 * log(0.51 / 0.01))


def test_the_mean_of_all_models_makes_the_order() -> None:
    every = [relaxed(BLENDE, -3.4, (-9.0,)), relaxed(CAESIUM, -3.35, (-9.0,)), relaxed(ROCK_SALT, -3.3, (-9.2,))]
    found = rank_relaxed(every, BARE)
    assert groups(found) == [225, 216, 221]
    assert [c.energy_above_lowest for c in found] == pytest.approx([0, 0.05, 0.075])
    assert ranking_models(every, ("one", "two")) == ("one", "two")
    # One that the second model cannot handle: it counts for none, as the two have different zeros.
    lacking = [replace(every[0], further_energies=(nan,)), *every[1:]]
    assert groups(rank_relaxed(lacking, BARE)) == [216, 221, 225]
    assert ranking_models(lacking, ("one", "two")) == ("one",)


def test_a_model_that_lacks_an_energy_leaves_the_others_their_vote() -> None:
    every = [relaxed(BLENDE, -3.4, (nan, -5.0)), relaxed(ROCK_SALT, -3.3, (-9.0, -5.3))]
    assert mean_energies(every) == pytest.approx([-4.2, -4.3])
    assert ranking_models(every, ("one", "two", "three")) == ("one", "three")
    assert mean_energies([]) == []
    assert ranking_models([], ("one", "two")) == ("one",)


def test_energy_above_a_hull_of_elements_and_found_phases() -> None:
    salt = Composition.from_formula("NaCl")
    found = [*rank_relaxed([relaxed(ROCK_SALT, -3.4), relaxed(CAESIUM, -3.3)], BARE)]
    found.append(Candidate.of_decoded(decoded_of(BLENDE)))
    elements = [Phase(Composition.from_formula("Na"), -1.0), Phase(Composition.from_formula("Cl"), -2.0)]
    phase = lowest_phase(salt, found)
    assert phase == Phase(salt, -3.4)
    assert lowest_phase(salt, found[2:]) is None
    judged = with_hull(found, Hull([*elements, phase], None))
    assert [c.e_above_hull for c in judged] == [pytest.approx(0, abs=1e-9), pytest.approx(0.1), None]
    # Without the compound among the phases the hull is the mixture of the elements.
    assert with_hull(found, Hull(elements, None))[0].e_above_hull == pytest.approx(-3.4 + 1.5)
    assert with_hull(found, Hull(elements[:1], None))[0].e_above_hull is None
