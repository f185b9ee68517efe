"""From proposals to decoded crystals: symmetry, duplicates, order, and crystals without a template."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import KnownDecoder, decoded_of, perovskite, rock_salt, shaken, zinc_blende

from lcoms.oracles.analytic import AnalyticOracle
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.choice import worth_relaxing
from lcoms.prediction.decode import DecodedSet, drop_duplicates
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.scoring import ScoreWeights
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches

SALT = Composition.from_formula("NaCl")
QUICK = PredictionSpec(search=SearchSpec(n_starts=6, steps=3), relaxation=None)
FREE = QUICK.with_options({"search": {"symmetry": False}})


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


@pytest.fixture(scope="module")
def known(bundle: WeightBundle) -> WeightBundle:
    return replace(bundle, cdvae=KnownDecoder(ANSWERS))


def decoded(bundle: WeightBundle, spec: PredictionSpec) -> DecodedSet:
    return Predictor(bundle, spec).decode(SALT)


def with_weights(bundle: WeightBundle, weights: ScoreWeights) -> WeightBundle:
    return replace(bundle, ranking=replace(bundle.ranking, decoded=weights))


ANSWERS = [
    shaken(rock_salt(), 0.03, 1),
    None,
    shaken(rock_salt(), 0.03, 2),
    zinc_blende(5.9, (11, 17)),
    Crystal(5 * np.eye(3), np.array([[0.0, 0, 0], [0.1, 0, 0]]), np.array([11, 17])),  # 0.5 angstrom apart
    rock_salt(),
]


@pytest.mark.parametrize("start", ["library", "prior", "random"])
def test_every_proposal_is_accounted_for(bundle: WeightBundle, start: str) -> None:
    found = decoded(bundle, QUICK.with_options({"search": {"start": start, "n_starts": 9}}))
    assert (found.composition, found.n_proposals) == (SALT, 9)
    assert len(found.crystals) == 9 - found.n_invalid - found.n_too_close - found.n_duplicates
    assert sum(one.n_found for one in found.crystals) == 9 - found.n_invalid - found.n_too_close
    scores = [one.score for one in found.crystals]
    assert scores == sorted(scores)
    for one in found.crystals:
        assert one.crystal.composition.reduced == SALT
        assert one.crystal.n_atoms <= bundle.max_atoms


def test_crystals_are_symmetrised_counted_and_ordered(known: WeightBundle) -> None:
    found = decoded(known, FREE)
    assert (found.n_proposals, found.n_invalid, found.n_too_close, found.n_duplicates) == (6, 1, 1, 2)
    by_group = {one.space_group: one for one in found.crystals}
    assert set(by_group) == {225, 216}
    assert (by_group[225].n_found, by_group[216].n_found) == (3, 1)
    assert matches(by_group[225].crystal, rock_salt(), STRICT)
    weights = known.ranking.decoded
    for one in found.crystals:
        assert one.energy_per_atom == pytest.approx(known.energies([one.crystal])[0], abs=1e-5)
        expected = one.energy_per_atom + weights.distance * one.latent_distance
        expected -= weights.n_found * np.log(one.n_found)
        expected -= weights.prototype_probability * np.log(one.prototype_probability + 0.01)
        assert one.score == pytest.approx(expected)
        bond = {225: 0.5**0.5, 216: 0.375**0.5}[one.space_group]  # in edges of the primitive cell
        edge = np.linalg.norm(one.crystal.lattice, axis=1).min()
        assert one.shortest_distance == pytest.approx(bond * edge, rel=1e-6)


def test_the_weight_of_the_latent_distance_decides_the_order(known: WeightBundle) -> None:
    by_energy = decoded(with_weights(known, ScoreWeights(0.0, 0.0, 0.0, floor=0.01)), FREE).crystals
    assert [one.energy_per_atom for one in by_energy] == sorted(one.energy_per_atom for one in by_energy)
    by_distance = decoded(with_weights(known, ScoreWeights(1e6, 0.0, 0.0, floor=0.01)), FREE).crystals
    assert [one.latent_distance for one in by_distance] == sorted(one.latent_distance for one in by_distance)
    # Those distances are from where descent ended to the crystal that came out, not to its symmetrised form.
    mu = known.encode([zinc_blende(5.9, (11, 17))])[0]
    ended = decoded(known, FREE.with_options({"search": {"steps": 0}}))
    (blende,) = (one for one in ended.crystals if one.space_group == 216)
    assert blende.latent_distance == pytest.approx(float((mu - blende.proposal.latent).norm()), abs=1e-4)


def test_descent_lowers_what_the_surrogate_predicts(bundle: WeightBundle) -> None:
    found = decoded(bundle, QUICK.with_options({"search": {"steps": 20, "n_starts": 12}})).crystals
    assert found
    for one in found:
        assert one.latent_energy < one.start_energy
        assert len(one.descent_energies) == 21
        assert (one.descent_energies[0], one.descent_energies[-1]) == (one.start_energy, one.latent_energy)
    still = decoded(bundle, QUICK.with_options({"search": {"steps": 0}})).crystals
    assert all(one.latent_energy == pytest.approx(one.start_energy) for one in still)


def test_random_symmetric_crystals_are_no_answers_and_change_nothing_else(bundle: WeightBundle) -> None:
    spec = PredictionSpec(search=SearchSpec(n_starts=3), relaxation=RelaxationSpec("analytic"), seed=4)
    wider = spec.with_options({"search": {"random_symmetric": {"n": 6, "drawn": 20}}})
    plain = decoded(bundle, spec)
    found, again = (decoded(bundle, wider) for _ in range(2))
    assert [one.score for one in found.crystals] == [one.score for one in plain.crystals]
    assert plain.random_symmetric == ()
    assert 0 < len(found.random_symmetric) <= 6
    for one in found.random_symmetric:
        assert (one.proposal.source, one.n_found, one.prototype_probability) == ("symmetric", 0, 0)
        assert one.crystal.composition.reduced == SALT
    energies = [one.energy_per_atom for one in found.random_symmetric]
    assert energies == sorted(energies) == [one.energy_per_atom for one in again.random_symmetric]
    choice = worth_relaxing(found, AnalyticOracle(), bundle.ranking.unrelaxed, RelaxationSpec("analytic", n_relax=1))
    worth = choice.crystals
    assert len(worth) == 1 + len(found.random_symmetric)
    assert worth[1:] == list(found.random_symmetric)
    given = Predictor(bundle, wider).decode(SALT, structure=rock_salt())
    assert given.random_symmetric == ()


def test_duplicates_are_counted_by_the_first() -> None:
    crystals = [rock_salt(), zinc_blende(5.6, (11, 17)), rock_salt(5.7), shaken(rock_salt(), 0.05), perovskite()]
    every = [decoded_of(crystal, energy_per_atom=float(i)) for i, crystal in enumerate(crystals)]
    every[3] = replace(every[3], space_group=1)  # the same to the matcher, but not the same symmetry: kept
    distinct = drop_duplicates(every)
    assert [(one.energy_per_atom, one.n_found) for one in distinct] == [(0, 2), (1, 1), (3, 1), (4, 1)]
    assert drop_duplicates([]) == []


def test_no_crystals_have_no_energies(bundle: WeightBundle) -> None:
    assert bundle.energies([]) == []
    assert bundle.encode([]).shape == (0, bundle.cdvae.latent_dim)
    found = decoded(replace(bundle, cdvae=KnownDecoder([None] * 6)), FREE)
    assert (found.crystals, found.n_invalid) == ((), 6)


def test_decoding_leaves_the_random_numbers_of_others_alone(bundle: WeightBundle) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    decoded(bundle, QUICK)
    assert torch.equal(torch.random.get_rng_state(), before)
