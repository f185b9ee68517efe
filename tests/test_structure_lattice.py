"""Lattice arithmetic compared with textbook cells, and its consistency on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lcoms.structure.lattice import (
    is_valid_lattice,
    lattice_from_parameters,
    niggli_reduce,
    parameters_from_lattice,
    plane_spacings,
    volume,
    wrap,
)

lengths_strategy = st.lists(st.floats(1.5, 30.0), min_size=3, max_size=3).map(np.array)
angles_strategy = st.lists(st.floats(60.0, 115.0), min_size=3, max_size=3).map(np.array)


def random_lattice(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    while True:
        lattice = generator.normal(size=(3, 3)) * 4
        if volume(lattice) > 10:
            return lattice


def test_cubic_and_hexagonal_cells() -> None:
    np.testing.assert_allclose(lattice_from_parameters(np.full(3, 4.0), np.full(3, 90.0)), 4.0 * np.eye(3), atol=1e-12)
    hexagonal = lattice_from_parameters(np.array([3.0, 3.0, 5.0]), np.array([90.0, 90.0, 120.0]))
    assert volume(hexagonal) == pytest.approx(3.0**2 * 5.0 * np.sin(np.radians(120.0)))
    assert hexagonal[0] @ hexagonal[1] == pytest.approx(-4.5)


def test_volume_by_the_triclinic_formula() -> None:
    lengths, angles = np.array([3.0, 4.0, 5.0]), np.array([80.0, 95.0, 105.0])
    ca, cb, cg = np.cos(np.radians(angles))
    expected = np.prod(lengths) * np.sqrt(1 - ca**2 - cb**2 - cg**2 + 2 * ca * cb * cg)
    assert volume(lattice_from_parameters(lengths, angles)) == pytest.approx(expected)


@given(lengths_strategy, angles_strategy)
def test_parameters_survive_the_round_trip(lengths: np.ndarray, angles: np.ndarray) -> None:
    lattice = lattice_from_parameters(lengths, angles)
    if not is_valid_lattice(lattice):
        return
    back_lengths, back_angles = parameters_from_lattice(lattice)
    np.testing.assert_allclose(back_lengths, lengths, rtol=1e-9)
    np.testing.assert_allclose(back_angles, angles, rtol=1e-6)
    assert np.linalg.det(lattice) > 0


def test_many_cells_at_once_equal_one_at_a_time() -> None:
    lattices = np.stack([random_lattice(seed) for seed in range(5)])
    lengths, angles = parameters_from_lattice(lattices)
    rebuilt = lattice_from_parameters(lengths, angles)
    for i, lattice in enumerate(lattices):
        np.testing.assert_allclose(rebuilt[i], lattice_from_parameters(*parameters_from_lattice(lattice)))
    np.testing.assert_allclose(volume(rebuilt), volume(lattices))
    np.testing.assert_allclose(
        np.einsum("nij,nkj->nik", rebuilt, rebuilt), np.einsum("nij,nkj->nik", lattices, lattices)
    )


def test_plane_spacings_are_volume_over_face_area() -> None:
    lattice = random_lattice(3)
    for i in range(3):
        area = np.linalg.norm(np.cross(lattice[(i + 1) % 3], lattice[(i + 2) % 3]))
        assert plane_spacings(lattice)[i] == pytest.approx(volume(lattice) / area)


def test_left_handed_cells_have_positive_volume() -> None:
    assert volume(np.diag([-2.0, 3.0, 4.0])) == pytest.approx(24.0)


@pytest.mark.parametrize(
    ("lattice", "valid"),
    [
        (np.eye(3), True),
        (-np.eye(3), True),
        (np.diag([2.0, 2.0, 200.0]), True),
        (np.zeros((3, 3)), False),
        (np.array([[1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0]]), False),
        (np.diag([1.0, 1.0, np.nan]), False),
        (np.diag([1.0, 1.0, np.inf]), False),
        (np.eye(2), False),
        (lattice_from_parameters(np.full(3, 3.0), np.array([60.0, 60.0, 120.0])), False),
        (lattice_from_parameters(np.full(3, 3.0), np.array([40.0, 40.0, 150.0])), False),
    ],
)
def test_valid_lattices(lattice: np.ndarray, valid: bool) -> None:
    assert is_valid_lattice(lattice) is valid


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_wrapped_coordinates_lie_in_the_cell(values: list[float]) -> None:
    wrapped = wrap(np.array(values))
    assert ((wrapped >= 0) & (wrapped < 1)).all()
    shift = np.array(values) - wrapped
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-9)


def test_wrap_of_the_smallest_negative_is_zero() -> None:
    assert wrap(np.array([-1e-20, 1.0, -0.25])).tolist() == [0.0, 0.0, 0.75]


def test_niggli_cell_of_fcc_written_as_a_skewed_cell() -> None:
    primitive = np.array([[0, 2.0, 2.0], [2.0, 0, 2.0], [2.0, 2.0, 0]])
    skewed = np.array([[1, 0, 0], [3, 1, 0], [-2, 5, 1]]) @ primitive
    reduced, _, succeeded = niggli_reduce(skewed, np.zeros((1, 3)))
    lengths, angles = parameters_from_lattice(reduced)
    assert succeeded
    np.testing.assert_allclose(lengths, 2 * np.sqrt(2))
    np.testing.assert_allclose(angles, 60.0)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_niggli_reduction_keeps_all_distances(seed: int) -> None:
    lattice = random_lattice(seed)
    frac = np.random.default_rng(seed).random((4, 3))
    reduced, reduced_frac, succeeded = niggli_reduce(lattice, frac)
    assert succeeded
    assert volume(reduced) == pytest.approx(float(volume(lattice)))
    assert np.linalg.norm(reduced, axis=1).max() <= np.linalg.norm(lattice, axis=1).max() * (1 + 1e-6)
    np.testing.assert_allclose(
        nearest_distances(reduced, reduced_frac, 2), nearest_distances(lattice, frac, 12), atol=1e-6
    )


def nearest_distances(lattice: np.ndarray, frac: np.ndarray, reach: int) -> np.ndarray:
    """Return the shortest distance of each pair of atoms over all images within `reach` cells."""
    steps = np.arange(-reach, reach + 1)
    images = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    first, second = np.triu_indices(len(frac), 1)
    vectors = (frac[second] - frac[first])[:, None] + images
    return np.asarray(np.linalg.norm(vectors @ lattice, axis=-1).min(axis=1))


def test_where_niggli_fails_minkowski_steps_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spglib.niggli_reduce", lambda *_args, **_kwargs: None)
    skewed = np.array([[1.0, 0, 0], [7.0, 1.0, 0], [0, 0, 1.0]]) * 3
    reduced, frac, succeeded = niggli_reduce(skewed, np.array([[0.1, 0.2, 0.3]]))
    assert not succeeded
    np.testing.assert_allclose(parameters_from_lattice(reduced)[0], 3.0)
    assert frac.shape == (1, 3)
