"""From a formula to ranked crystals: seeds, starts, duplicates, ranking, and formulas that cannot be handled."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import KnownDecoder, candidate_of, perovskite, rock_salt, shaken, wurtzite, zinc_blende

from lcoms.core.errors import ConfigError, FormulaError
from lcoms.models.weights import Weights, load_weights
from lcoms.prediction.pipeline import (
    PredictConfig,
    Prediction,
    RefineConfig,
    check_composition,
    crystal_energies,
    drop_duplicates,
    for_relaxing,
    predict_crystals,
)
from lcoms.prediction.propose import find_starts, load_library, recast
from lcoms.prediction.random_symmetric import ExploreConfig
from lcoms.prediction.scoring import OrderWeights
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches

SALT = Composition.from_formula("NaCl")
QUICK = PredictConfig(n_starts=6, steps=3)
FREE = replace(QUICK, symmetry=False)


@pytest.fixture(scope="module")
def weights(tiny_weights: Path) -> Weights:
    return load_weights(tiny_weights)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def figures(prediction: Prediction) -> list[tuple[object, ...]]:
    return [
        (c.energy_per_atom, c.score, c.space_group, c.count, c.crystal.frac_coords.tolist(), c.crystal.lattice.tolist())
        for c in prediction.candidates
    ]


def test_the_same_seed_gives_the_same_answer_whatever_stands_beside_it(weights: Weights) -> None:
    alone = predict_crystals(SALT, weights, QUICK)
    assert alone.candidates
    predict_crystals(Composition.from_formula("SrTiO3"), weights, QUICK)
    torch.manual_seed(99)
    assert figures(predict_crystals(SALT, weights, QUICK)) == figures(alone)
    assert figures(predict_crystals(Composition.from_formula("Cl4Na4"), weights, QUICK)) == figures(alone)
    assert figures(predict_crystals(SALT, weights, replace(QUICK, seed=1))) != figures(alone)


@pytest.mark.parametrize("start", ["library", "prior", "random"])
def test_every_start_is_accounted_for(weights: Weights, start: str) -> None:
    config = replace(QUICK, start=start, n_starts=9, n_candidates=4)
    prediction = predict_crystals(SALT, weights, config)
    assert prediction.composition == SALT
    assert prediction.n_starts == 9
    distinct = 9 - prediction.n_invalid - prediction.n_too_close - prediction.n_duplicates
    assert len(prediction.candidates) == min(4, distinct)
    assert sum(c.count for c in prediction.candidates) <= 9
    scores = [c.score for c in prediction.candidates]
    assert scores == sorted(scores)
    assert prediction.weights_digest == weights.digest
    for candidate in prediction.candidates:
        assert candidate.crystal.composition.reduced == SALT
        assert candidate.crystal.n_atoms <= weights.max_atoms


ANSWERS = [
    shaken(rock_salt(), 0.03, 1),
    None,
    shaken(rock_salt(), 0.03, 2),
    zinc_blende(5.9, (11, 17)),
    Crystal(5 * np.eye(3), np.array([[0.0, 0, 0], [0.1, 0, 0]]), np.array([11, 17])),  # 0.5 angstrom apart
    rock_salt(),
]


def test_crystals_are_symmetrised_counted_and_ranked(weights: Weights) -> None:
    known = replace(weights, cdvae=KnownDecoder(ANSWERS))
    prediction = predict_crystals(SALT, known, FREE)
    assert (prediction.n_starts, prediction.n_invalid, prediction.n_too_close, prediction.n_duplicates) == (6, 1, 1, 2)
    by_group = {candidate.space_group: candidate for candidate in prediction.candidates}
    assert set(by_group) == {225, 216}
    assert (by_group[225].count, by_group[216].count) == (3, 1)
    assert matches(by_group[225].crystal, rock_salt(), STRICT)
    for candidate in prediction.candidates:
        assert candidate.energy_per_atom == pytest.approx(crystal_energies([candidate.crystal], known)[0], abs=1e-5)
        expected = candidate.energy_per_atom + FREE.order.distance * candidate.latent_distance
        expected -= FREE.order.symmetry * np.log({225: 192, 216: 96}[candidate.space_group])
        expected -= FREE.order.count * np.log(candidate.count)
        expected -= FREE.order.support * np.log(candidate.support + 0.01)
        assert candidate.score == pytest.approx(expected)
        bond = {225: 0.5**0.5, 216: 0.375**0.5}[candidate.space_group]  # in edges of the primitive cell
        edge = np.linalg.norm(candidate.crystal.lattice, axis=1).min()
        assert candidate.shortest_distance == pytest.approx(bond * edge, rel=1e-6)
    assert len(predict_crystals(SALT, known, replace(FREE, n_candidates=1)).candidates) == 1


def test_the_weight_of_the_latent_distance_decides_the_rank(weights: Weights) -> None:
    known = replace(weights, cdvae=KnownDecoder(ANSWERS))
    by_energy = predict_crystals(SALT, known, replace(FREE, order=OrderWeights(0.0, 0.0, 0.0, 0.0))).candidates
    assert [c.energy_per_atom for c in by_energy] == sorted(c.energy_per_atom for c in by_energy)
    by_distance = predict_crystals(SALT, known, replace(FREE, order=OrderWeights(1e6, 0.0, 0.0, 0.0))).candidates
    assert [c.latent_distance for c in by_distance] == sorted(c.latent_distance for c in by_distance)
    # Those distances are from where descent ended to the crystal that came out, not to its symmetrised form.
    mu = known.cdvae.encode(CrystalBatch.from_crystals([zinc_blende(5.9, (11, 17))]))[0][0]
    ended = predict_crystals(SALT, known, replace(FREE, steps=0))
    (blende,) = (c for c in ended.candidates if c.space_group == 216)
    assert blende.latent_distance == pytest.approx(float((mu - blende.start.latent).norm()), abs=1e-4)


def test_descent_lowers_what_the_surrogate_promises(weights: Weights) -> None:
    prediction = predict_crystals(SALT, weights, replace(QUICK, steps=20, n_starts=12))
    assert all(c.latent_energy < c.start_energy for c in prediction.candidates)
    for c in prediction.candidates:
        assert len(c.descent_energies) == 21
        assert (c.descent_energies[0], c.descent_energies[-1]) == (c.start_energy, c.latent_energy)
    still = predict_crystals(SALT, weights, replace(QUICK, steps=0))
    assert all(c.latent_energy == pytest.approx(c.start_energy) for c in still.candidates)


def test_starts_come_from_the_library_first_and_then_from_the_prior(weights: Weights) -> None:
    starts = find_starts(SALT, weights, replace(QUICK, n_starts=7), generator())
    assert {start.source for start in starts[:4]} == {"rock salt", "caesium chloride", "zinc blende", "wurtzite"}
    assert starts[0].source == "rock salt"
    assert starts[0].distance == 0
    assert (starts[0].formula, starts[0].n_formula_units) == ("NaCl", 1)
    torch.testing.assert_close(starts[0].latent, load_library(weights.folder).latents()[0])
    assert [start.source for start in starts[4:]] == ["prior"] * 3
    assert all(math.isnan(start.distance) for start in starts[4:])
    assert [start.n_formula_units for start in starts[4:]] == [1, 2, 3]
    without = find_starts(SALT, weights, replace(QUICK, exclude_same=True), generator())
    assert "rock salt" not in {start.source for start in without}
    assert {s.source for s in find_starts(SALT, weights, replace(QUICK, start="prior"), generator())} == {"prior"}
    few = find_starts(SALT, weights, replace(QUICK, n_starts=2), generator())
    assert len(few) == 2


def test_formula_units_are_kept_to(weights: Weights) -> None:
    for units in ((2, 2), (1, 3), (5, 9)):
        starts = find_starts(SALT, weights, replace(QUICK, n_starts=12, formula_units=units), generator())
        assert len(starts) == 12
        assert all(units[0] <= start.n_formula_units <= min(units[1], 6) for start in starts)  # 12 atoms at most
        cells = {c.start.n_formula_units for c in predict_crystals(SALT, weights, replace(
            QUICK, formula_units=units)).candidates}  # fmt: skip
        assert cells <= set(range(units[0], min(units[1], 6) + 1))
    library = find_starts(SALT, weights, replace(QUICK, formula_units=(2, 2)), generator())
    assert [start.source for start in library if start.source != "prior"] == ["wurtzite"]
    with pytest.raises(FormulaError, match="NaCl: 7 formula units make 14 atoms; cells of up to 12"):
        find_starts(SALT, weights, replace(QUICK, formula_units=(7, 8)), generator())


def test_random_starts_are_encoded_random_crystals(weights: Weights) -> None:
    config = replace(QUICK, start="random")
    starts = find_starts(SALT, weights, config, generator())
    assert {start.source for start in starts} == {"random"}
    assert [start.n_formula_units for start in starts] == [1, 2, 3, 4, 1, 2]
    latents = torch.stack([start.latent for start in starts])
    assert torch.pdist(latents).min() > 1e-3
    again = torch.stack([start.latent for start in find_starts(SALT, weights, config, generator(5))])
    torch.testing.assert_close(again, latents)


def test_compositions_have_random_numbers_of_their_own(weights: Weights) -> None:
    config = replace(QUICK, start="prior", steps=0)

    def latents(formula: str) -> set[tuple[float, ...]]:
        prediction = predict_crystals(Composition.from_formula(formula), weights, config)
        return {tuple(candidate.start.latent.tolist()) for candidate in prediction.candidates}

    assert latents("NaCl")
    assert latents("NaCl") == latents("NaCl")
    assert not latents("NaCl") & latents("CsCl")


def test_recast_latents_are_those_of_the_decoded_crystals(weights: Weights) -> None:
    known = replace(weights, cdvae=KnownDecoder([rock_salt(), None, zinc_blende(numbers=(11, 17))]))
    z = torch.randn(3, 8, generator=generator())
    moved = recast(z, [SALT] * 3, known, generator())
    mu = known.cdvae.encode(CrystalBatch.from_crystals([rock_salt(), zinc_blende(numbers=(11, 17))]))[0]
    torch.testing.assert_close(moved[[0, 2]], mu)
    assert torch.equal(moved[1], z[1])
    one, two = (predict_crystals(SALT, weights, replace(QUICK, recast=n)) for n in (0, 1))
    assert figures(one) != figures(two)


def test_a_start_structure_is_the_only_start(weights: Weights) -> None:
    prediction = predict_crystals(SALT, weights, QUICK, structure=wurtzite())
    assert prediction.n_starts == 1
    (candidate,) = prediction.candidates
    assert (candidate.start.source, candidate.start.n_formula_units) == ("given", 2)
    mu = weights.cdvae.encode(CrystalBatch.from_crystals([wurtzite()]))[0][0]
    torch.testing.assert_close(candidate.start.latent, mu)
    big = Composition.from_formula("SrTi2Zn2O3")
    with pytest.raises(FormulaError, match="2 formula units, which make 16 atoms; cells of up to 12"):
        predict_crystals(big, weights, QUICK, structure=wurtzite())


def test_exploring_adds_crystals_that_are_no_candidates_and_changes_nothing_else(weights: Weights) -> None:
    composition, config = Composition.from_formula("NaCl"), PredictConfig(n_starts=3, seed=4)
    plain = predict_crystals(composition, weights, config)
    wider = for_relaxing(config, RefineConfig(n_relax=5, explore=ExploreConfig(n=6, drawn=20)))
    found, again = (predict_crystals(composition, weights, wider) for _ in range(2))
    assert figures(replace(found, candidates=found.candidates[: len(plain.candidates)])) == figures(plain)
    assert plain.explored == ()
    assert 0 < len(found.explored) <= 6
    assert {c.start.source for c in found.explored} == {"symmetric"}
    assert all(c.support == 0 and c.crystal.composition.reduced == composition for c in found.explored)
    energies = [c.energy_per_atom for c in found.explored]
    assert energies == sorted(energies) == [c.energy_per_atom for c in again.explored]
    given = predict_crystals(composition, weights, wider, structure=rock_salt())
    assert given.explored == ()


def test_formulas_that_cannot_be_handled(weights: Weights) -> None:
    check_composition(SALT, weights)
    with pytest.raises(FormulaError, match="no crystal with Fe or Au"):
        check_composition(Composition.from_formula("FeAu2"), weights)
    with pytest.raises(FormulaError, match=r"13 atoms in its formula unit; these weights .* cells of up to 12"):
        predict_crystals(Composition.from_formula("Na12Cl"), weights, QUICK)


def test_options_that_make_no_sense_are_refused() -> None:
    for name in ("n_candidates", "n_starts", "max_polymorphs"):
        with pytest.raises(ConfigError, match=f"{name} must be at least 1"):
            PredictConfig(**{name: 0})
    for name, value in (("steps", -1), ("recast", -1)):
        with pytest.raises(ConfigError, match=f"{name} must not be negative"):
            PredictConfig(**{name: value})
    with pytest.raises(ConfigError, match="4-1 make no range"):
        PredictConfig(formula_units=(4, 1))
    with pytest.raises(ConfigError, match="0-2 make no range"):
        PredictConfig(formula_units=(0, 2))


def test_duplicates_are_counted_by_the_first() -> None:
    crystals = [rock_salt(), zinc_blende(5.6, (11, 17)), rock_salt(5.7), shaken(rock_salt(), 0.05), perovskite()]
    candidates = [candidate_of(crystal, energy_per_atom=float(i)) for i, crystal in enumerate(crystals)]
    candidates[3] = replace(candidates[3], space_group=1)  # the same to the matcher, but not the same symmetry: kept
    distinct = drop_duplicates(candidates)
    assert [(c.energy_per_atom, c.count) for c in distinct] == [(0, 2), (1, 1), (3, 1), (4, 1)]
    assert drop_duplicates([]) == []


def test_no_crystals_have_no_energies(weights: Weights) -> None:
    assert crystal_energies([], weights) == []
    nothing = replace(weights, cdvae=KnownDecoder([None] * 6))
    prediction = predict_crystals(SALT, nothing, FREE)
    assert (prediction.candidates, prediction.n_invalid) == ((), 6)
