"""Lattices allowed by a group that fit a lattice in any basis."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.structure.bravais import fitting_lattices, vector_lengths
from lcoms.structure.wyckoff import symmetric_cell, wyckoff_positions

BASES = ([[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[1, 0, 0], [1, -1, 0], [0, 1, 1]])


def allowed(number: int, random: np.random.Generator) -> tuple[np.ndarray, object]:
    """Return a lattice of 60 cubic angstrom that a group allows, and a cell of the group."""
    cell = symmetric_cell(number, ((next(iter(wyckoff_positions(number))), 1),))
    metric = (cell.metric_projector @ np.diag(random.uniform(0.5, 2.0, 3)).reshape(9)).reshape(3, 3)
    lattice = np.linalg.cholesky(metric)
    return lattice * np.cbrt(60 / np.linalg.det(lattice)), cell


@pytest.mark.parametrize("number", [12, 38, 62, 72, 139, 166, 194, 216, 225, 229])
@pytest.mark.parametrize("basis", BASES)
def test_the_lattice_is_found_again_from_another_basis_and_orientation(number: int, basis: list[list[int]]) -> None:
    random = np.random.default_rng(number)
    lattice, cell = allowed(number, random)
    turned = np.array(basis) @ lattice @ np.linalg.qr(random.normal(size=(3, 3)))[0]
    fits = fitting_lattices(cell, turned)  # type: ignore[arg-type]
    lengths = vector_lengths(lattice @ lattice.T)
    np.testing.assert_allclose(vector_lengths(fits[0].lattice @ fits[0].lattice.T), lengths, rtol=0.03)
    assert fits[0].misfit < 0.01
    for fit in fits:
        metric = fit.lattice @ fit.lattice.T
        np.testing.assert_allclose(cell.metric_projector @ metric.reshape(9), metric.reshape(9), rtol=1e-6)  # type: ignore[attr-defined]
        assert np.linalg.det(fit.lattice) == pytest.approx(60)
        assert np.allclose(fit.lattice, np.tril(fit.lattice))


def test_an_orthorhombic_cell_can_be_laid_along_the_axes_in_six_ways() -> None:
    cell = symmetric_cell(47, (("a", 1),))
    fits = fitting_lattices(cell, np.diag([3.0, 4.0, 5.5]))
    edges = {tuple(np.round(np.linalg.norm(fit.lattice, axis=1), 0).astype(int).tolist()) for fit in fits}
    assert len(fits) == len(edges) == 6


def test_a_lattice_that_the_group_does_not_allow_has_a_large_misfit() -> None:
    cubic = symmetric_cell(221, (("a", 1),))
    assert fitting_lattices(cubic, np.diag([3.0, 3.0, 9.0]))[0].misfit > 0.1
    assert fitting_lattices(cubic, np.diag([3.0, 3.0, 3.03]))[0].misfit < 0.02


def test_a_triclinic_group_takes_the_lattice_as_it_is() -> None:
    cell = symmetric_cell(2, (("a", 1),))
    target = np.array([[3.0, 0.4, 0.1], [0.2, 4.0, 0.0], [-0.5, 0.3, 5.0]])
    (fit,) = fitting_lattices(cell, target)
    np.testing.assert_allclose(vector_lengths(fit.lattice @ fit.lattice.T), vector_lengths(target @ target.T))


@pytest.mark.parametrize(("number", "ratio"), [(139, 7.0), (166, 9.0), (71, 6.0)])
def test_long_centred_cells_are_found_again(number: int, ratio: float) -> None:
    cell = symmetric_cell(number, (("a", 1),))
    hexagonal = [[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, ratio]]
    conventional = 4.0 * np.array(hexagonal if number == 166 else np.diag([1.0, 1.0, ratio]))
    lattice = cell.primitive @ conventional
    best = fitting_lattices(cell, lattice)[0]
    assert best.misfit < 0.004
    np.testing.assert_allclose(
        np.linalg.norm(best.lattice, axis=1).max(), np.linalg.norm(lattice, axis=1).max(), rtol=0.01
    )
