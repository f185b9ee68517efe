"""Operations map a crystal onto itself, and are kept by every change that has its symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import perovskite, rock_salt, shaken, wurtzite

from lcoms.oracles.analytic import AnalyticOracle
from lcoms.structure.crystal import Crystal
from lcoms.structure.exact_sites import ExactSites, crystal_of
from lcoms.structure.operations import keep_operations, operations_of


def doubled(crystal: Crystal) -> Crystal:
    """Return a cell of twice the size, with lost translations."""
    half = crystal.frac_coords * [0.5, 1, 1]
    lattice, numbers = crystal.lattice * np.array([[2.0], [1.0], [1.0]]), np.tile(crystal.atomic_numbers, 2)
    return Crystal(lattice, np.concatenate([half, half + np.array([0.5, 0, 0])]), numbers)


@pytest.mark.parametrize(
    ("crystal", "n"), [(rock_salt(), 48), (wurtzite(), 12), (perovskite(), 48), (shaken(rock_salt(), 0.1), 1)]
)
def test_each_operation_moves_every_atom_onto_its_image(crystal: Crystal, n: int) -> None:
    found = operations_of(crystal)
    assert len(found) == n
    for rotation, translation, images, shifts in zip(
        found.rotations, found.translations, found.images, found.shifts, strict=True
    ):
        moved = crystal.frac_coords @ rotation.T + translation
        np.testing.assert_allclose((moved - shifts - crystal.frac_coords[images]) @ crystal.lattice, 0, atol=1e-5)
        assert (crystal.atomic_numbers[images] == crystal.atomic_numbers).all()
    for turn in found.cartesian(crystal.lattice):
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)


def test_lost_translations_are_operations() -> None:
    found = operations_of(doubled(rock_salt()))
    [at] = np.flatnonzero(
        (found.rotations == np.eye(3)).all((1, 2))
        & (np.abs(found.translations - np.round(found.translations)).max(1) > 0.1)
    )
    assert found.images[at].tolist() == [2, 3, 0, 1]


def test_operations_are_kept_where_the_symmetry_is() -> None:
    crystal = wurtzite()
    known = operations_of(crystal)
    strained = Crystal(crystal.lattice * 1.01, crystal.frac_coords + np.array([0, 0, 0.7]), crystal.atomic_numbers)
    keep_operations(crystal, strained)
    assert operations_of(strained).rotations is known.rotations
    broken = Crystal(crystal.lattice, crystal.frac_coords + 1e-3 * np.eye(4, 3), crystal.atomic_numbers)
    keep_operations(crystal, broken)
    assert len(operations_of(broken)) < len(known)
    sheared = Crystal(
        crystal.lattice @ (np.eye(3) + 1e-3 * np.eye(3, k=1)), crystal.frac_coords, crystal.atomic_numbers
    )
    keep_operations(crystal, sheared)
    assert len(operations_of(sheared)) < len(known)


def test_averages_have_the_symmetry_and_leave_what_has_it() -> None:
    crystal, random = wurtzite(), np.random.default_rng(0)
    found = operations_of(crystal)
    vectors, tensor = random.normal(size=(4, 3)), random.normal(size=(3, 3))
    once = found.averaged(crystal.lattice, vectors, tensor)
    twice = found.averaged(crystal.lattice, *once)
    np.testing.assert_allclose(twice[0], once[0], atol=1e-6)
    np.testing.assert_allclose(twice[1], once[1], atol=1e-6)
    np.testing.assert_allclose(once[0][:, :2], 0, atol=1e-6)  # on threefold axes along z
    assert np.abs(once[0][:, 2]).max() > 0.1
    np.testing.assert_allclose(once[1], np.diag(np.diag(once[1])), atol=1e-6)
    assert once[1][0, 0] == pytest.approx(once[1][1, 1])


def quartz() -> Crystal:
    free = np.array([0.47, 0.413, 0.267, 0.119])
    return crystal_of(
        ExactSites(154, (("a", 14), ("c", 8)), free, np.array([4.91, 4.91, 5.4]), np.array([90.0, 90, 120]))
    )


def test_averages_leave_forces_and_stress_of_a_crystal_with_screw_axes() -> None:
    crystal = quartz()
    found, [exact] = operations_of(crystal), AnalyticOracle().evaluate([crystal])
    assert len(found) == 6
    forces, stress = found.averaged(crystal.lattice, exact.forces, exact.stress)
    assert np.abs(exact.forces).max() > 0.1
    np.testing.assert_allclose(forces, exact.forces, atol=1e-4)
    np.testing.assert_allclose(stress, exact.stress, atol=1e-5)


def test_proper_operations_are_the_rotations() -> None:
    assert len(operations_of(quartz()).proper) == 6
    half = operations_of(wurtzite()).proper
    assert len(half) == len(half.images) == len(half.shifts) == len(half.translations) == 6
    np.testing.assert_allclose(np.linalg.det(half.cartesian(wurtzite().lattice)), 1)
