"""The path between two latents, and a linear regression on latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import caesium_chloride, made_crystals, make_store, rock_salt, tiny_cdvae, zinc_blende

from lcoms.core.errors import DataError
from lcoms.evaluate.latents import (
    Pair,
    Way,
    interpolate,
    latent_shifts,
    pair_distances,
    pairs_of_one_composition,
    probe_energy,
)
from lcoms.models.fast import FastCDVAE
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.train.surrogate_data import SurrogateData

SALT = Pair(rock_salt(), caesium_chloride(4.1, (11, 17)))


class Straight(FastCDVAE):
    """Model that decodes the first half of a path to the first crystal, the middle to none, the rest to the second."""

    def __init__(self) -> None:
        super().__init__(tiny_cdvae().config)
        self.load_state_dict(tiny_cdvae().state_dict())

    def decode(self, z: torch.Tensor, compositions: list[Composition], generator: torch.Generator) -> list:
        assert isinstance(generator, torch.Generator)
        assert len(compositions) == len(z) == 5
        steps = (z[1:] - z[:-1]).norm(dim=1)
        assert torch.allclose(steps, steps[0].expand(4), rtol=1e-3)
        crushed = Crystal(SALT.first.lattice * 0.1, SALT.first.frac_coords, SALT.first.atomic_numbers)
        return [SALT.first, SALT.first, None, crushed, SALT.second]


def test_points_on_the_way_are_checked_and_judged() -> None:
    (way,) = interpolate(Straight(), [SALT], torch.Generator(), oracle=AnalyticOracle(), points=5)
    assert way.valid == (True, True, False, False, True)
    assert way.ends_match == (True, True)
    assert [energy is None for energy in way.energies] == [False, False, True, True, False]
    assert way.energies[0] == way.energies[1] != way.energies[4]
    (bare,) = interpolate(Straight(), [SALT], torch.Generator(), oracle=None, points=5)
    assert (bare.energies, bare.barrier) == ((None,) * 5, None)


def test_the_barrier_counts_from_the_line_between_the_ends() -> None:
    way = Way("NaCl", 2, (True,) * 5, (0.0, 0.5, None, 2.0, 2.0), (True, True))
    assert way.barrier == pytest.approx(0.5)
    straight = Way("NaCl", 2, (True,) * 3, (0.0, 1.0, 2.0), (True, True))
    assert straight.barrier == pytest.approx(0.0)


def test_pairs_are_two_structures_with_the_same_contents(tmp_path: Path) -> None:
    crystals = [rock_salt(), rock_salt(5.6), SALT.second, zinc_blende(), rock_salt(4.0, (3, 9))]
    store = make_store(tmp_path / "s", crystals, energies=[-1.0] * 5, hull=[0.0] * 5, splits=["val"] * 5)
    for seed in range(3):
        (pair,) = pairs_of_one_composition(store, np.arange(5), 10, np.random.default_rng(seed))
        assert pair.first.composition.formula == pair.second.composition.formula == "NaCl"
        assert sorted(round(c.volume) for c in pair)[1] > min(round(c.volume) for c in pair)
    with pytest.raises(DataError, match="has no two different crystals"):
        pairs_of_one_composition(store, np.array([0, 1, 3]), 10, np.random.default_rng(0))


def test_the_probe_tells_energies_that_stand_in_latents_from_those_that_do_not() -> None:
    generator = torch.Generator().manual_seed(0)
    latents, features = torch.randn(400, 4, generator=generator), torch.zeros(400, 103)
    groups = torch.arange(400) // 4
    features[torch.arange(400), groups % 20] = 0.25
    features[torch.arange(400), 20 + groups // 20] = 0.75
    energies = features @ torch.linspace(-4, 0, 103) + 0.3 * latents[:, 2]
    carried = probe_energy(SurrogateData(latents, features, energies, groups, groups % 7 == 0))
    assert carried.latent < 0.02 < 0.15 < carried.composition
    assert carried.within < 0.02 < 0.15 < carried.within_composition
    other = torch.randn(400, 4, generator=generator)
    lost = probe_energy(SurrogateData(other, features, energies, groups, groups % 7 == 0))
    assert lost.within > 0.15
    assert (lost.n_train, lost.n_unseen) == (340, 60)
    with pytest.raises(DataError, match="unseen composition"):
        probe_energy(SurrogateData(latents, features, energies, groups, groups < 0))


def test_a_real_decoder_goes_all_the_way() -> None:
    crystals = made_crystals()
    (way,) = interpolate(tiny_cdvae(), [Pair(crystals[0], crystals[0])], torch.Generator(), oracle=None, points=3)
    assert len(way.valid) == len(way.energies) == 3


class Places(FastCDVAE):
    """Model whose latents are Cartesian coordinates of the second atom."""

    def __init__(self) -> None:
        super().__init__(tiny_cdvae().config)

    def encode(self, batch: CrystalBatch) -> tuple[torch.Tensor, torch.Tensor]:
        second = torch.cumsum(batch.n_atoms, 0) - batch.n_atoms + 1
        mu = torch.einsum("bx,bxy->by", batch.frac_coords[second], batch.lattice)
        return mu, torch.zeros_like(mu)


def test_latents_that_are_coordinates_shift_with_the_atoms() -> None:
    """The length of a Gaussian vector of three components has the median 1.538 and the 90th percentile 2.500."""
    sizes = [1e-3, 0.05]
    shifts = latent_shifts(Places(), [rock_salt()] * 800, np.random.default_rng(0), displacements=sizes)
    for shift, size in zip(shifts, sizes, strict=True):
        assert shift.displacement == size
        assert shift.median == pytest.approx(1.538 * size, rel=0.06)
        assert shift.percentile_90 == pytest.approx(2.500 * size, rel=0.06)


def test_distances_are_those_between_the_latents_of_each_pair() -> None:
    apart = pair_distances(Places(), [Pair(rock_salt(), rock_salt()), SALT])
    first, second = (c.frac_coords[1] @ c.lattice for c in SALT)
    assert apart.tolist() == pytest.approx([0, float(np.linalg.norm(first - second))], abs=1e-5)
