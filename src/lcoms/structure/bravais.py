"""Lattices compatible with a space group that are close to a given lattice, whatever basis it is given in.

Lattices are compared by the lengths of their shortest vectors, which need no common basis.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lcoms.structure.lattice import niggli_reduce
from lcoms.structure.wyckoff import SymmetricCell

N_LENGTHS = 24  # shortest lattice vectors that are compared
N_TRIED = 4000  # trial cells
SPREAD = 1.3  # standard deviation of the logarithm of the trial ratios of lengths
POLISH = 8  # Levenberg-Marquardt steps
MET = 0.01  # distance of two metric tensors of unit volume at which one of them is not polished further
STILL = 1e-9  # length of a step below which a metric tensor is polished
APART = 0.06  # norm of the strain between two lattices beyond which they count as different
_HALF = np.array([n for n in product(range(-3, 4), repeat=3) if n > (0, 0, 0)], dtype=np.float64)


class FittingLattice(NamedTuple):
    """A lattice and its misfit to the target.

    Attributes:
        lattice: (3, 3) primitive vectors as rows, lower triangular, with the volume of the target.
        misfit: root mean square difference of the logarithms of the lengths of the shortest vectors.
    """

    lattice: Float[NDArray[np.float64], "3 3"]
    misfit: float


def fitting_lattices(
    cell: SymmetricCell, target: Float[NDArray[np.float64], "3 3"], *, n: int = 6, slack: float = 0.02
) -> list[FittingLattice]:
    """Return the distinct lattices of the cell's space group that fit a target best, best first.

    There can be several: the axes of an orthorhombic cell can be assigned in six ways.

    Args:
        n: maximum number of lattices.
        slack: misfit allowed beyond that of the best lattice.
    """
    target, _, _ = niggli_reduce(target, np.zeros((1, 3)))
    if np.allclose(cell.metric_projector, np.eye(9)):  # triclinic: any basis will do
        own = np.asarray(np.linalg.cholesky(target @ target.T), dtype=np.float64)
        return [FittingLattice(own, 0.0)]
    lengths, volume = vector_lengths(target @ target.T), abs(np.linalg.det(target))
    aim = np.log(lengths / np.cbrt(volume))
    projector, pairs = cell.metric_projector, _pairs(cell.primitive.tobytes())
    tried, spectra = _bank(projector.tobytes(), cell.primitive.tobytes())
    misfits = np.sqrt(np.square(spectra - aim).mean(-1))
    wanted = _Wanted(aim, projector, _allowed_basis(projector), pairs)
    metrics, left = _polished(tried[np.argsort(misfits)[: 8 * n]], wanted)
    lattices = np.linalg.cholesky(metrics) * np.cbrt(volume)
    found = [FittingLattice(lattices[at], float(left[at])) for at in _distinct(lattices)]
    found.sort(key=lambda fit: round(fit.misfit, 9))  # equally good ones in the order of the bank
    return [fit for fit in found if fit.misfit <= found[0].misfit + slack][:n]


def vector_lengths(
    metric: Float[NDArray[np.float64], "... 3 3"], pairs: Float[NDArray[np.float64], "m 9"] | None = None
) -> Float[NDArray[np.float64], "... k"]:
    """Return the lengths of the shortest lattice vectors, ascending, one of each pair v, -v.

    Args:
        pairs: products of the coefficients of the candidate vectors; None is sufficient for reduced cells.
    """
    squares = metric.reshape(*metric.shape[:-2], 9) @ (_products(_HALF) if pairs is None else pairs).T
    shortest = np.partition(np.maximum(squares, 1e-12), N_LENGTHS, axis=-1)[..., :N_LENGTHS]
    return np.sqrt(np.sort(shortest, axis=-1))


class _Wanted(NamedTuple):
    """Target of a fit of metric tensors, and the tensors that are allowed.

    Attributes:
        aim: logarithms of the lengths of the shortest vectors at unit volume.
        projector: averages a flattened metric tensor over the group.
        basis: basis of the metric tensors that the group allows.
        pairs: products of the coefficients of the candidates for the shortest vectors.
    """

    aim: Float[NDArray[np.float64], " k"]
    projector: Float[NDArray[np.float64], "9 9"]
    basis: Float[NDArray[np.float64], "9 d"]
    pairs: Float[NDArray[np.float64], "p 9"]


def _polished(
    metrics: Float[NDArray[np.float64], "m 3 3"], wanted: _Wanted
) -> tuple[Float[NDArray[np.float64], "n 3 3"], Float[NDArray[np.float64], " n"]]:
    """Return allowed metric tensors of unit volume near the given ones with minimal misfits, and the misfits.

    Metric tensors that meet on the way are returned once, in the order of the first of each set.
    """
    basis = wanted.basis
    eye = np.eye(len(basis.T))
    theta, damping = metrics.reshape(-1, 9) @ np.linalg.pinv(basis).T, np.full(len(metrics), 1e-3)
    residuals, slopes = _residuals(theta, wanted)
    moving = np.ones(len(theta), dtype=bool)
    for _ in range(POLISH):
        met = np.sort(np.unique(np.round(theta / MET), axis=0, return_index=True)[1])
        theta, damping, residuals, slopes, moving = (x[met] for x in (theta, damping, residuals, slopes, moving))
        at = np.flatnonzero(moving)
        if not len(at):
            break
        normal = slopes[at].transpose(0, 2, 1) @ slopes[at]
        size = np.trace(normal, axis1=1, axis2=2) / len(eye) + 1e-12
        normal += (damping[at] * size)[:, None, None] * eye
        down = np.linalg.solve(normal, slopes[at].transpose(0, 2, 1) @ residuals[at][:, :, None])[:, :, 0]
        new_residuals, new_slopes = _residuals(theta[at] - down, wanted)
        better = np.square(new_residuals).sum(-1) < np.square(residuals[at]).sum(-1)
        won = at[better]
        theta[won] -= down[better]
        residuals[won], slopes[won] = new_residuals[better], new_slopes[better]
        damping[at] = np.where(better, damping[at] / 5, damping[at] * 8)
        moving[at] = np.abs(down).max(-1) > STILL
    return _allowed((theta @ basis.T).reshape(-1, 3, 3), wanted.projector), np.sqrt(np.square(residuals).mean(-1))


def _residuals(
    theta: Float[NDArray[np.float64], "m d"], wanted: _Wanted
) -> tuple[Float[NDArray[np.float64], "m k"], Float[NDArray[np.float64], "m k d"]]:
    """Return the logarithms of the shortest lengths at unit volume minus the target, and their derivatives.

    Residuals are infinite where the metric tensor is not positive definite.
    """
    basis, pairs = wanted.basis, wanted.pairs
    metrics = (theta @ basis.T).reshape(-1, 3, 3)
    proper = np.linalg.eigvalsh(metrics)[:, 0] > 1e-6
    metrics = np.where(proper[:, None, None], metrics, np.eye(3))
    squares = metrics.reshape(-1, 9) @ pairs.T
    near = np.argpartition(squares, N_LENGTHS, axis=-1)[:, :N_LENGTHS]
    shortest = np.take_along_axis(squares, near, -1)
    order = np.argsort(shortest, axis=-1)
    near, shortest = np.take_along_axis(near, order, -1), np.take_along_axis(shortest, order, -1)
    logs = np.log(shortest) / 2 - np.log(np.linalg.det(metrics))[:, None] / 6
    volume_slopes = np.linalg.inv(metrics).reshape(-1, 9) @ basis / 6
    slopes = (pairs @ basis)[near] / (2 * shortest[:, :, None]) - volume_slopes[:, None, :]
    return np.where(proper[:, None], logs - wanted.aim, np.inf), slopes


def _allowed_basis(projector: Float[NDArray[np.float64], "9 9"]) -> Float[NDArray[np.float64], "9 d"]:
    """Return an orthonormal basis of the metric tensors that a group allows."""
    symmetric = (np.eye(9) + np.eye(9).reshape(3, 3, 3, 3).transpose(0, 1, 3, 2).reshape(9, 9)) / 2
    vectors, sizes, _ = np.linalg.svd(projector @ symmetric)
    return vectors[:, sizes > 1e-8]


@cache
def _bank(
    projector: bytes, primitive: bytes
) -> tuple[Float[NDArray[np.float64], "m 3 3"], Float[NDArray[np.float64], "m k"]]:
    """Return metric tensors of unit volume that a group allows, and the logarithms of their shortest lengths."""
    random = np.random.default_rng(0)
    basis, average = np.frombuffer(primitive).reshape(3, 3), np.frombuffer(projector).reshape(9, 9)
    edges = np.exp(random.normal(0, SPREAD / 2, (N_TRIED, 3)))
    cosines = np.cos(np.radians(random.uniform(60, 120, (N_TRIED, 3))))
    metric = edges[:, :, None] * edges[:, None, :]
    for (i, j), cosine in zip(((1, 2), (0, 2), (0, 1)), cosines.T, strict=True):
        metric[:, i, j] *= cosine
        metric[:, j, i] *= cosine
    metric = metric[np.linalg.det(metric) > 1e-3 * edges.prod(1) ** 2]
    if np.linalg.matrix_rank(average) == 1:  # cubic: all have the same shape
        metric = metric[:1]
    metric = _allowed(basis @ metric @ basis.T, average)
    return metric, _spectra(metric, _pairs(primitive))


@cache
def _pairs(primitive: bytes) -> Float[NDArray[np.float64], "m 9"]:
    """Return the coefficient products of short vectors in the primitive and, for long cells, the conventional basis."""
    conventional = _HALF @ np.round(np.linalg.inv(np.frombuffer(primitive).reshape(3, 3)))
    ahead = np.array([tuple(row) > (0, 0, 0) for row in conventional])
    both = np.concatenate([_HALF, np.where(ahead[:, None], conventional, -conventional)])
    return _products(np.unique(both, axis=0))


def _products(vectors: Float[NDArray[np.float64], "m 3"]) -> Float[NDArray[np.float64], "m 9"]:
    return (vectors[:, :, None] * vectors[:, None, :]).reshape(-1, 9)


def _allowed(
    metric: Float[NDArray[np.float64], "m 3 3"], projector: Float[NDArray[np.float64], "9 9"]
) -> Float[NDArray[np.float64], "m 3 3"]:
    """Return metric tensors averaged over the group and scaled to unit volume."""
    averaged = (metric.reshape(-1, 9) @ projector.T).reshape(-1, 3, 3)
    return averaged / np.cbrt(np.linalg.det(averaged))[:, None, None]


def _spectra(
    metric: Float[NDArray[np.float64], "m 3 3"], pairs: Float[NDArray[np.float64], "p 9"]
) -> Float[NDArray[np.float64], "m k"]:
    return np.log(vector_lengths(metric, pairs))


def _distinct(lattices: Float[NDArray[np.float64], "m 3 3"]) -> list[int]:
    """Return the indices of the lattices that differ from all kept before them, in order."""
    inverses = np.asarray(np.linalg.inv(lattices), dtype=np.float64)
    kept, left = [], np.arange(len(lattices))
    while len(left):
        kept.append(int(left[0]))
        left = left[1:][_strains(inverses[left[1:]], lattices[left[0]]) > APART]
    return kept


def _strains(
    inverses: Float[NDArray[np.float64], "k 3 3"], other: Float[NDArray[np.float64], "3 3"]
) -> Float[NDArray[np.float64], " k"]:
    """Return the norms of the strains from lattices, given by their inverses, to another."""
    deformations = inverses @ other
    return np.asarray(np.linalg.norm(deformations @ deformations.transpose(0, 2, 1) - np.eye(3), axis=(1, 2)) / 2)
