"""Decoding within space groups: the results have the symmetry, and latents without symmetry are decoded freely."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from test_structure_wyckoff import built
from tiny import fluorite, perovskite, wurtzite

from lcoms.models.base import GroupStart
from lcoms.models.fast import FastCDVAE
from lcoms.models.schedule import Symmetry
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decoder import Constraint, decode_latents, decode_within_groups
from lcoms.prediction.spec import DecoderSpec
from lcoms.structure.bravais import fitting_lattices
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.site_codes import coded_coords, describe_sites
from lcoms.structure.wyckoff import primitive_operations, symmetric_cell, wyckoff_orbits
from lcoms.templates.wyckoff_statistics import OrbitStatistics, in_sequence_order


@pytest.fixture(scope="module")
def weights(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


def asymmetry(crystal: Crystal, number: int) -> float:
    """Return the largest distance (angstrom) from a transformed atom to the nearest one of its species."""
    worst = 0.0
    for linear, shift in zip(*primitive_operations(number), strict=True):
        metric = crystal.lattice @ crystal.lattice.T
        worst = max(worst, float(np.abs(linear.T @ metric @ linear - metric).max()))
        apart = (crystal.frac_coords @ linear.T + shift)[:, None] - crystal.frac_coords[None]
        distance = np.linalg.norm((apart - np.round(apart)) @ crystal.lattice, axis=-1)
        same = crystal.atomic_numbers[:, None] == crystal.atomic_numbers[None]
        worst = max(worst, float(np.where(same, distance, np.inf).min(1).max()))
    return worst


@pytest.mark.parametrize(("crystal", "number"), [(wurtzite(), 186), (perovskite(), 221), (fluorite(), 225)])
def test_decodes_have_the_symmetry_of_their_group_exactly(weights: WeightBundle, crystal: Crystal, number: int) -> None:
    described = wyckoff_orbits(crystal, symprec=0.01)
    assert described is not None
    statistics = OrbitStatistics.count([(crystal.composition, *described)])
    z = weights.encode([crystal]).repeat(3, 1)
    decoded = decode_within_groups(
        weights.cdvae,  # type: ignore[arg-type]
        z + 0.1 * torch.randn(z.shape, generator=torch.Generator().manual_seed(1)),
        [crystal.composition] * 3,
        [[Constraint(number)]] * 3,
        statistics,
        torch.Generator().manual_seed(0),
        config=DecoderSpec(max_misfit=9.0),
    )
    for some in decoded:
        assert some
        for one in some:
            assert one.space_group == number
            assert one.crystal.composition == crystal.composition
            assert asymmetry(one.crystal, number) < 1e-3


def test_the_symmetry_is_kept_by_projection_and_lost_without_it() -> None:
    cell = symmetric_cell(186, (("b", 16), ("b", 30)))
    symmetry = Symmetry.of([cell])
    moves = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    start = torch.from_numpy(cell.shifts + cell.directions @ np.array([0.1, 0.7])).float()
    lattice = torch.from_numpy(fitting_lattices(cell, np.diag([3.8, 3.9, 6.2]))[0].lattice).float()

    def crystal(displacement: torch.Tensor) -> Crystal:
        moved = (start + 0.05 * displacement[0]).double().numpy() % 1.0
        return Crystal(lattice.double().numpy(), moved, cell.atomic_numbers)

    assert asymmetry(crystal(symmetry.kept(moves)), 186) < 1e-4
    assert asymmetry(crystal(moves), 186) > 0.1
    once = symmetry.kept(moves)
    torch.testing.assert_close(symmetry.kept(once), once)


def test_lattices_are_averaged_to_what_the_group_allows() -> None:
    symmetry = Symmetry.of([symmetric_cell(221, (("a", 1),))])
    (averaged,) = symmetry.averaged(torch.diag(torch.tensor([3.0, 4.0, 5.0]))[None])
    torch.testing.assert_close(averaged, torch.eye(3) * (50 / 3) ** 0.5)


def test_without_a_group_or_a_setting_the_decode_is_free(weights: WeightBundle) -> None:
    crystals = [wurtzite(), perovskite()]
    contents = [crystal.composition for crystal in crystals]
    z = weights.encode(crystals)
    decoded = decode_latents(weights, z, contents, [[], [Constraint(1)]], torch.Generator().manual_seed(0))
    freely = weights.cdvae.decode(z, contents, torch.Generator().manual_seed(0))
    for (one,), crystal in zip(decoded, freely, strict=True):
        assert crystal is not None
        assert one.space_group == 0
        np.testing.assert_array_equal(one.crystal.frac_coords, crystal.frac_coords)


def test_same_seed_same_crystals(weights: WeightBundle) -> None:
    crystal = wurtzite()
    z, groups = weights.encode([crystal]), [[Constraint(186)]]
    first, second = (
        decode_latents(weights, z, [crystal.composition], groups, torch.Generator().manual_seed(3))[0] for _ in range(2)
    )
    assert len(first) == len(second) > 0
    for one, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.crystal.frac_coords, again.crystal.frac_coords)


def test_contents_without_positions_in_the_group_give_nothing(weights: WeightBundle) -> None:
    z = weights.encode([wurtzite()])
    statistics = OrbitStatistics.count([])
    (none,) = decode_within_groups(
        weights.cdvae,  # type: ignore[arg-type]
        z,
        [Composition((8, 30), (2, 2))],
        [[Constraint(186)]],
        statistics,
        torch.Generator().manual_seed(0),
    )
    assert none == []


def test_the_nearest_distinct_crystals_are_kept(weights: WeightBundle) -> None:
    crystal = wurtzite()
    z = weights.encode([crystal])
    given = (weights, z, [crystal.composition], [[Constraint(186)]])
    one, three = (
        decode_latents(
            *given, torch.Generator().manual_seed(3), config=DecoderSpec(max_misfit=9.0, kept=n), also_freely=True
        )[0]
        for n in (1, 3)
    )
    assert [d.distance for d in three] == sorted(d.distance for d in three)
    assert one[0].distance == three[0].distance
    assert len(three) > 1
    assert not any(matches(a.crystal, b.crystal, STRICT) for a, b in combinations(three, 2))
    latent = weights.encode([three[1].crystal])
    assert float((latent - z).norm()) == pytest.approx(three[1].distance, rel=1e-3)


def test_annealing_begins_where_the_sites_are_known(weights: WeightBundle) -> None:
    model = weights.cdvae
    assert isinstance(model, FastCDVAE)
    crystal = wurtzite()
    described = wyckoff_orbits(crystal, symprec=0.01)
    assert described is not None
    cell = symmetric_cell(*described)
    z = weights.encode([crystal]).repeat(6, 1)
    lattice = np.linalg.cholesky(crystal.lattice @ crystal.lattice.T)
    apart = np.array([[0.0, 0.374], [0.1, 0.474]]).repeat(3, axis=0)  # of the two species along c
    starts = [GroupStart(cell, lattice, coords) for coords in apart]
    found, _ = model.decode_within(z, starts, torch.Generator().manual_seed(0), 0.01)
    for one, z_of in zip(found, apart, strict=True):
        assert one is not None
        begun = cell.shifts + cell.directions @ z_of
        moved = one.frac_coords - begun
        assert np.abs((moved - np.round(moved)) @ one.lattice).max() < 0.1
    anywhere, _ = model.decode_within(z, [GroupStart(cell, lattice)] * 6, torch.Generator().manual_seed(0), 0.01)
    heights = [one.frac_coords[2, 2] - one.frac_coords[0, 2] for one in anywhere if one is not None]
    assert np.std(heights) > 0.01


def test_codes_of_sites_are_tried_instead_of_random_places(weights: WeightBundle) -> None:
    crystal = wurtzite()
    described = describe_sites(crystal, symprec=0.01)
    assert described is not None
    number, orbits, codes, shape = described
    statistics = OrbitStatistics.count([(crystal.composition, number, orbits)])
    sites = in_sequence_order(crystal.composition, orbits, codes)
    z = weights.encode([crystal])
    for config, counts in (
        (DecoderSpec(max_misfit=9.0, coded_samples=2, max_lattices=1), {2}),
        (DecoderSpec(max_misfit=9.0, coded_samples=1, max_lattices=1), {1}),
        (DecoderSpec(max_misfit=9.0, coded_samples=2, max_lattices=1, beside_codes=True, more_samples=0), {7}),
    ):
        found = decode_within_groups(
            weights.cdvae,  # type: ignore[arg-type]
            z,
            [crystal.composition],
            [[Constraint(number, wyckoff_sequence=0, sites=sites, cell_code=shape)]],
            statistics,
            torch.Generator().manual_seed(0),
            config=config,
        )
        assert len(found[0]) in counts, "two samples with codes; 1 + 2 x 2 without them"


def test_crystals_without_symmetry_begin_where_their_codes_say(weights: WeightBundle) -> None:
    random = np.random.default_rng(5)
    cell = symmetric_cell(1, (("a", 8), ("a", 13), ("a", 30)))
    crystal = built(cell, random)
    found = describe_sites(crystal, symprec=1e-3)
    assert found is not None
    assert found.space_group == 1
    statistics = OrbitStatistics.count([(crystal.composition, 1, found.orbits)])
    constraint = Constraint(
        1, wyckoff_sequence=0, sites=in_sequence_order(crystal.composition, found.orbits, found.codes)
    )
    z = weights.encode([crystal])
    config = DecoderSpec(max_misfit=9.0, coded_samples=3, known_to=0.01)
    arguments = ([crystal.composition], [[constraint._replace(cell_code=found.cell_code)]], statistics)
    within = decode_within_groups(weights.cdvae, z, *arguments, torch.Generator().manual_seed(0), config=config)  # type: ignore[arg-type]
    assert len(within[0]) == 3
    begun = coded_coords(1, found.orbits, found.codes).reshape(3, 3)
    for one in within[0]:
        moved = one.crystal.frac_coords - begun
        assert np.abs((moved - np.round(moved)) @ one.crystal.lattice).max() < 0.15


def test_cells_with_different_numbers_of_free_coordinates_decode_together(weights: WeightBundle) -> None:
    model = weights.cdvae
    assert isinstance(model, FastCDVAE)
    cells = [symmetric_cell(186, (("b", 8), ("b", 30))), symmetric_cell(194, (("b", 8), ("c", 30)))]
    lattice = np.linalg.cholesky(wurtzite().lattice @ wurtzite().lattice.T)
    coords = [np.array([0.0, 0.4]), np.zeros(0), None, None]
    starts = [GroupStart(cell, lattice, given) for cell, given in zip(cells * 2, coords, strict=True)]
    z = weights.encode([wurtzite()]).repeat(4, 1)
    generator = torch.Generator().manual_seed(0)
    found, distances = model.decode_within(z, starts, generator, 0.5)
    assert [one is not None for one in found] == [True] * 4
    assert distances.isfinite().all()
