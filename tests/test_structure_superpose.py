"""The search gives the verdicts and displacements of StructureMatcher; its shortcuts reject nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice
from symmetry_cases import other_cell, shuffled, supercell
from tiny import made_crystals, shaken

from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_pymatgen
from lcoms.structure.matching import LOOSE, STRICT, Tolerance, matches, rmsd
from lcoms.structure.primitive import ReducedCell, exact_volume
from lcoms.structure.superpose import _parameters, _surely_reduced, can_be_laid, matching_bases


def pairs() -> Iterator[tuple[Crystal, Crystal]]:
    """Return pairs of polymorphs, and of crystals with distorted copies in other settings; about half of them match."""
    crystals = made_crystals()[::3]
    told = [lambda c: c, lambda c: supercell([c])[0], lambda c: other_cell([c])[0], lambda c: shuffled([c])[0][0]]
    for i, crystal in enumerate(crystals):
        for j, size in enumerate((0.05, 0.3, 0.6)):
            yield crystal, told[(i + j) % 4](shaken(crystal, size, seed=i + 7 * j))
    for i, one in enumerate(made_crystals()[:32]):
        for other in made_crystals()[i + 1 : 4 * (i // 4) + 4]:
            yield one, shaken(other, 0.1, i)


@pytest.mark.parametrize("tolerance", [LOOSE, STRICT, Tolerance(ltol=0.05, stol=0.1, angle_tol=2.0)])
def test_verdicts_and_displacements_are_those_of_pymatgen(tolerance: Tolerance) -> None:
    judge = StructureMatcher(ltol=tolerance.ltol, stol=tolerance.stol, angle_tol=tolerance.angle_tol)
    verdicts = []
    for one, two in pairs():
        expected = judge.get_rms_dist(to_pymatgen(one), to_pymatgen(two))
        found = rmsd(one, two, tolerance)
        assert (found is None) == (expected is None)
        if expected is not None:
            assert found == float(expected[0])  # to the last bit, which may decide between equal assignments
        verdicts.append(matches(one, two, tolerance))
        assert verdicts[-1] == bool(judge.fit(to_pymatgen(one), to_pymatgen(two)))
    assert len(verdicts) > 100
    assert 10 < sum(verdicts) < len(verdicts) - 10


def random_lattices(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 4 * (np.eye(3) + rng.normal(size=(n, 3, 3)) * 0.25)


def test_bases_are_those_of_pymatgen() -> None:
    n_found = 0
    for lattice, target in zip(random_lattices(20, 0), random_lattices(20, 1), strict=True):
        target = target * abs(np.linalg.det(lattice) / np.linalg.det(target)) ** (1 / 3)
        for one, two in ((lattice, target), (lattice, lattice @ np.diag([1.02, 0.99, 1.0]))):
            found = matching_bases(one, two, ltol=0.3, angle_tol=10.0)
            mappings = Lattice(one).find_all_mappings(Lattice(two), ltol=0.3, atol=10.0, skip_rotation_matrix=True)
            expected = [basis.matrix for basis, _, scale in mappings if abs(abs(np.linalg.det(scale)) - 1) < 0.5]
            assert found.shape == (len(expected), 3, 3)
            np.testing.assert_allclose(found, np.array(expected).reshape(-1, 3, 3), atol=1e-12)
            n_found += len(expected)
    assert n_found > 40


def cell(lattice: np.ndarray) -> ReducedCell:
    return ReducedCell(lattice, np.zeros((1, 3)), np.array([29]))


def test_lengths_refuse_only_lattices_without_a_basis_in_reach() -> None:
    refused = 0
    for one, two in zip(random_lattices(60, 2), random_lattices(60, 3), strict=True):
        first, second = (Lattice(lattice).get_niggli_reduced_lattice().matrix.copy() for lattice in (one, two))
        first = first * (abs(np.linalg.det(second) / np.linalg.det(first)) ** (1 / 3))
        shortest = cell(first).shortest_vectors
        assert shortest is not None
        if (shortest > np.sort(np.linalg.norm(second, axis=1)) * 1.05).any():
            refused += 1
            assert not len(matching_bases(first, second, ltol=0.05, angle_tol=180.0))
    assert refused > 10


def test_a_cell_that_hides_shorter_vectors_is_not_judged_by_its_lengths() -> None:
    skewed = np.array([[1, 0, 0], [5, 1, 0], [0, 0, 1.0]])
    assert cell(skewed).shortest_vectors is None
    np.testing.assert_allclose(cell(np.diag([3.0, 1.0, 2.0])).shortest_vectors, [1, 2, 3])
    # The same simple cubic lattice; the screen must not refuse it.
    assert can_be_laid(cell(skewed), cell(np.eye(3)), ltol=0.2, stol=0.3, angle_tol=5.0)


@pytest.mark.parametrize(("stretch", "match"), [(1.15, True), (1.25, True), (1.4, False)])
def test_a_cell_may_be_longer_by_the_whole_tolerance(stretch: float, match: bool) -> None:
    cubic, stretched = np.eye(3), np.diag([1.0, 1.0, stretch])  # the edge is longer by stretch^(2/3) at one volume
    for first, second in ((stretched, cubic), (cubic, stretched)):
        assert can_be_laid(cell(first), cell(second), ltol=0.2, stol=0.3, angle_tol=5.0) == match


def test_lengths_angles_and_volumes_are_those_of_pymatgen_to_the_last_bit() -> None:
    for matrix in random_lattices(100, 5):
        lattice = Lattice(matrix)
        assert _parameters(matrix).tolist() == list(lattice.parameters)
        assert exact_volume(matrix) == lattice.volume


def test_lattices_taken_for_reduced_are_left_alone_by_the_reduction() -> None:
    lattices = random_lattices(200, 4)
    sure = _surely_reduced(lattices)
    assert 20 < sure.sum() < 180
    for lattice in lattices[sure]:
        np.testing.assert_array_equal(Lattice(lattice).lll_matrix, lattice)
    face_centred = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])  # a tie: rounding would decide
    assert not _surely_reduced(face_centred[None])[0]
