"""Refinement reaches the latent, keeps symmetry, turns with the crystal and never moves away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from symmetry_cases import random_rotation
from tiny import perovskite, rock_salt, tiny_cdvae, wurtzite, zinc_blende
from torch import Tensor

from lcoms.models.fast_layers import Cells
from lcoms.models.refinement import refine_crystals, refined
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import space_group_number


def coordinates(frac_coords: Tensor, lattice: Tensor) -> Tensor:
    """Return a latent that holds where atoms are and how large the cell is."""
    cartesian = frac_coords @ lattice
    bonds = cartesian[:, 1:] - cartesian[:, :1]
    return torch.cat([bonds.flatten(1), lattice.flatten(1)], dim=1)


def stacked(crystals: list[Crystal]) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(np.stack([c.frac_coords for c in crystals])),
        torch.from_numpy(np.stack([c.lattice for c in crystals])),
    )


def strained(crystal: Crystal, size: float, seed: int = 0) -> Crystal:
    random = np.random.default_rng(seed)
    strain = random.normal(size=(3, 3)) * size / 10
    moves = random.normal(size=crystal.frac_coords.shape) * size
    lattice = crystal.lattice @ (np.eye(3) + (strain + strain.T) / 2)
    return Crystal(lattice, crystal.frac_coords + moves @ np.linalg.inv(lattice), crystal.atomic_numbers)


def latents(crystals: list[Crystal]) -> Tensor:
    with torch.no_grad():
        return tiny_cdvae().encode(CrystalBatch.from_crystals(crystals))[0]


def test_a_latent_of_coordinates_is_reached() -> None:
    truth = [rock_salt(), zinc_blende(), rock_salt(5.9)]
    moved = [strained(crystal, 0.1, seed) for seed, crystal in enumerate(truth)]
    z, (x, cell) = coordinates(*stacked(truth)), stacked(moved)
    start = torch.linalg.norm(coordinates(x, cell) - z, dim=1)
    found, lattice, apart = refined(coordinates, z, x, cell, steps=60)
    assert torch.allclose(apart, torch.linalg.norm(coordinates(found, lattice) - z, dim=1), atol=1e-9)
    assert bool((apart < 0.02 * start).all())
    _, _, few = refined(coordinates, z, x, cell, steps=3)
    assert bool(((apart < few) & (few < start)).all())


def test_the_start_is_returned_where_nothing_is_nearer() -> None:
    def flat(frac_coords: Tensor, lattice: Tensor) -> Tensor:
        return 0 * coordinates(frac_coords, lattice) + 1

    x, cell = stacked([rock_salt()])
    found, lattice, apart = refined(flat, torch.zeros(1, 12), x, cell)
    assert torch.equal(found, x)
    assert torch.equal(lattice, cell)
    assert float(apart[0]) == pytest.approx(12**0.5)


def test_refined_crystals_are_nearer_in_any_orientation_and_order() -> None:
    truth = [wurtzite(), rock_salt(), perovskite(), zinc_blende()]
    moved, z = [strained(crystal, 0.05) for crystal in truth], latents(truth)
    found, apart = tiny_cdvae().refine(z, moved)
    assert torch.allclose(torch.linalg.norm(latents(found) - z, dim=1), apart, atol=1e-4)
    assert bool((apart < 0.5 * torch.linalg.norm(latents(moved) - z, dim=1)).all())
    rotation = random_rotation().double().numpy()
    turned = [Crystal(c.lattice @ rotation, c.frac_coords, c.atomic_numbers) for c in moved]
    again, distances = tiny_cdvae().refine(z.flip(0), turned[::-1])
    assert torch.allclose(distances.flip(0), apart, atol=2e-3)
    for one, other in zip(found, again[::-1], strict=True):
        assert np.allclose(one.lattice @ rotation, other.lattice, atol=5e-3)


def test_symmetry_is_kept() -> None:
    z = latents([rock_salt(5.7), perovskite(4.1)])
    found, _ = tiny_cdvae().refine(z, [rock_salt(5.5), perovskite(3.9)])
    assert [space_group_number(c, symprec=1e-3) for c in found] == [225, 221]
    assert found[0].volume > rock_salt(5.5).volume


def test_latents_that_are_not_finite_leave_the_crystal_as_it_is() -> None:
    z = torch.stack([torch.full((tiny_cdvae().latent_dim,), torch.nan), latents([rock_salt()])[0]])
    found, apart = refine_crystals(
        lambda cells: tiny_cdvae()._encode([Cells(*cells)], exact=True)[0], z, [rock_salt(5.5), rock_salt(5.5)]
    )
    assert np.array_equal(found[0].lattice, rock_salt(5.5).lattice)
    assert torch.isinf(apart[0])
    assert bool(torch.isfinite(apart[1]))


def test_a_cell_that_is_not_valid_leaves_the_crystal_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def collapsed(_: object, z: Tensor, frac_coords: Tensor, lattice: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return frac_coords, torch.zeros_like(lattice), torch.zeros(len(z))

    monkeypatch.setattr("lcoms.models.refinement.refined", collapsed)
    found, apart = tiny_cdvae().refine(latents([rock_salt()]), [rock_salt(5.5)])
    assert np.array_equal(found[0].lattice, rock_salt(5.5).lattice)
    assert torch.isinf(apart[0])
