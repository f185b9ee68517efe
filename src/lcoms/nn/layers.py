"""Radial and angular bases, smooth cutoffs, initialisations and small layers that the graph networks share."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import Tensor, nn

from lcoms.structure.neighbors import Slots

SILU_GAIN = 1.0 / 0.6  # keeps the variance of unit normal inputs (GemNet)
INV_SQRT_2 = 1.0 / math.sqrt(2.0)


@cache
def spherical_bessel_zeros(n_spherical: int, n_radial: int) -> NDArray[np.float64]:
    """Return the first positive zeros (n_spherical, n_radial) of the spherical Bessel functions j_l.

    Zeros of j_l lie between neighbouring zeros of j_(l-1), and those of j_0 are the multiples of pi.
    """
    rows = [np.arange(1, n_radial + n_spherical) * np.pi]
    for order in range(1, n_spherical):
        bounds = zip(rows[-1][:-1], rows[-1][1:], strict=True)
        rows.append(np.array([brentq(lambda x, n=order: spherical_jn(n, x), low, high) for low, high in bounds]))
    return np.stack([row[:n_radial] for row in rows])


def spherical_bessel(x: Float[Tensor, "*shape"], order: int) -> Float[Tensor, "*shape"]:
    """Return j_l of x >= 0 for one order l, in float64.

    Upward recursion j_(l+1) = (2l+1)/x j_l - j_(l-1); where it would lose digits (x < l), the power series, whose 14
    terms are exact to rounding error there.
    """
    x = x.double()
    safe = x.clamp_min(max(order, 1))
    previous, value = torch.cos(safe) / safe, torch.sin(safe) / safe
    for lower in range(order):
        previous, value = value, (2 * lower + 1) / safe * value - previous
    return torch.where(x < max(order, 1), _bessel_series(x, order), value)


def _bessel_series(x: Tensor, order: int) -> Tensor:
    """Return x^l / (2l+1)!! sum_m (-x^2/2)^m / (m! (2l+3)(2l+5)...(2l+2m+1))."""
    x = x.clamp_max(max(order, 1))
    total = term = torch.ones_like(x)
    for m in range(1, 15):
        term = term * (-0.5 * x.square()) / (m * (2 * order + 2 * m + 1))
        total = total + term
    return total * x**order / math.prod(range(1, 2 * order + 2, 2))


def polynomial_envelope(x: Float[Tensor, "*shape"], exponent: int) -> Float[Tensor, "*shape"]:
    """Return 1 + a x^p + b x^(p+1) + c x^(p+2) for x < 1, else 0; two derivatives vanish at 1 (DimeNet eq. 8).

    a = -(p+1)(p+2)/2, b = p(p+2), c = -p(p+1)/2.
    """
    p = exponent
    a, b, c = -(p + 1) * (p + 2) / 2, p * (p + 2), -p * (p + 1) / 2
    return torch.where(x < 1.0, 1.0 + x**p * (a + x * (b + x * c)), torch.zeros_like(x))


def legendre_harmonics(cosine: Float[Tensor, "*shape"], n_spherical: int) -> Float[Tensor, "*shape n_spherical"]:
    """Return real spherical harmonics Y_l0 of the cosine of an angle: sqrt((2l+1) / 4 pi) P_l(cosine)."""
    values = [torch.ones_like(cosine), cosine]
    for order in range(1, n_spherical - 1):
        values.append(((2 * order + 1) * cosine * values[-1] - order * values[-2]) / (order + 1))
    return torch.stack([math.sqrt((2 * n + 1) / (4 * math.pi)) * values[n] for n in range(n_spherical)], dim=-1)


def angular_table(
    slots: Slots, vectors: Float[Tensor, "n_edges 3"], n_spherical: int
) -> Float[Tensor, "n_atoms n_slots n_slots n_spherical"]:
    """Return Y_l0 of the angles between all pairs of edges into the same atom, zero for an edge with itself.

    Args:
        slots: edges by target atom.
        vectors: from each target to its neighbour, angstrom.
        n_spherical: number of l.
    """
    unit = slots.scatter(vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6))
    pairs = slots.filled[:, :, None] & slots.filled[:, None, :]
    pairs &= ~torch.eye(slots.filled.shape[1], dtype=torch.bool, device=unit.device)
    with torch.autocast(unit.device.type, enabled=False):  # to keep the precision of the geometry
        cosine = (unit @ unit.transpose(1, 2)).clamp(-1.0, 1.0)
    return legendre_harmonics(cosine, n_spherical) * pairs[..., None]


class SineBasis(nn.Module):
    """Radial basis sin(f_n x) / x times the envelope, x = d / cutoff, f_n trained from n pi (DimeNet eq. 7)."""

    def __init__(self, n_radial: int, cutoff: float, *, exponent: int) -> None:
        super().__init__()
        self.cutoff, self.exponent = cutoff, exponent
        self.frequencies = nn.Parameter(torch.arange(1, n_radial + 1) * math.pi)

    def forward(self, distance: Float[Tensor, " n_edges"]) -> Float[Tensor, "n_edges n_radial"]:
        x = distance[:, None] / self.cutoff
        return polynomial_envelope(x, self.exponent + 1) / x * torch.sin(self.frequencies * x)


class SphericalBesselBasis(nn.Module):
    """Radial part of the 2D basis: normalised j_l(z_ln x) times envelope / x, x = d / cutoff (DimeNet eq. 6)."""

    zeros: Tensor
    norms: Tensor

    def __init__(self, n_spherical: int, n_radial: int, cutoff: float, *, exponent: int) -> None:
        super().__init__()
        self.cutoff, self.exponent, self.n_spherical = cutoff, exponent, n_spherical
        zeros = spherical_bessel_zeros(n_spherical, n_radial)
        orders = np.arange(n_spherical)[:, None]
        norms = np.sqrt(2.0 / spherical_jn(orders + 1, zeros) ** 2)
        self.register_buffer("zeros", torch.from_numpy(zeros).float(), persistent=False)
        self.register_buffer("norms", torch.from_numpy(norms).float(), persistent=False)

    def forward(self, distance: Float[Tensor, " n_edges"]) -> Float[Tensor, "n_edges n_spherical n_radial"]:
        x = (distance / self.cutoff)[:, None, None]
        values = [spherical_bessel(x[:, 0] * zeros, order) for order, zeros in enumerate(self.zeros)]
        return polynomial_envelope(x, self.exponent + 1) / x * self.norms * torch.stack(values, dim=1).to(distance)


class GaussianBasis(nn.Module):
    """Gaussians exp(-(x - c)^2 / 2 D^2) on x = d / cutoff, D their spacing, times the envelope (GemNet in CDVAE)."""

    centres: Tensor

    def __init__(self, n_radial: int, cutoff: float, *, exponent: int) -> None:
        super().__init__()
        self.cutoff, self.exponent = cutoff, exponent
        self.width = 1.0 / (n_radial - 1)
        self.register_buffer("centres", torch.linspace(0.0, 1.0, n_radial), persistent=False)

    def forward(self, distance: Float[Tensor, " n_edges"]) -> Float[Tensor, "n_edges n_radial"]:
        x = distance[:, None] / self.cutoff
        return polynomial_envelope(x, self.exponent) * torch.exp(-0.5 * ((x - self.centres) / self.width).square())


def he_orthogonal_(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Fill with a random orthogonal matrix with rows of zero mean and unit variance, over sqrt(fan in) (GemNet).

    The fan in is the last axis, or the first two axes of a tensor of three.
    """
    nn.init.orthogonal_(weight)
    axes = tuple(range(weight.dim() - 1)) if weight.dim() == 3 else (1,)
    fan_in = math.prod(weight.shape[axis] for axis in axes)
    with torch.no_grad():
        if fan_in > 1:
            variance, mean = torch.var_mean(weight, dim=axes, keepdim=True, correction=1)
            weight.sub_(mean).div_((variance + 1e-6).sqrt())
        weight.mul_(fan_in**-0.5)
    return weight


def glorot_orthogonal_(weight: Float[Tensor, "n_out n_in"], scale: float = 2.0) -> Float[Tensor, "n_out n_in"]:
    """Fill with a random orthogonal matrix of variance scale / (fan in + fan out) (DimeNet)."""
    nn.init.orthogonal_(weight)
    with torch.no_grad():
        weight.mul_((scale / (sum(weight.shape) * weight.var())).sqrt())
    return weight


class ScaledSiLU(nn.Module):
    """SiLU over 0.6, so that the variance of the output is close to that of the input (GemNet)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return nn.functional.silu(x) * SILU_GAIN


def dense(n_in: int, n_out: int, *, activation: bool = False) -> nn.Sequential:
    """Return GemNet's layer: He-orthogonal weights without bias, then the scaled SiLU if requested."""
    linear = nn.Linear(n_in, n_out, bias=False)
    he_orthogonal_(linear.weight)
    return nn.Sequential(linear, ScaledSiLU()) if activation else nn.Sequential(linear)


class ScaledResidual(nn.Module):
    """(x + act(W2 act(W1 x))) / sqrt 2 (GemNet)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(dense(width, width, activation=True), dense(width, width, activation=True))

    def forward(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        result: Tensor = (x + self.inner(x)) * INV_SQRT_2
        return result


class Residual(nn.Module):
    """x + act(W2 act(W1 x)) with biases (DimeNet)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(glorot_linear(width, width), nn.SiLU(), glorot_linear(width, width), nn.SiLU())

    def forward(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        result: Tensor = x + self.inner(x)
        return result


def glorot_linear(n_in: int, n_out: int, *, bias: bool = True) -> nn.Linear:
    """Return DimeNet's layer: Glorot-orthogonal weights and zero bias."""
    linear = nn.Linear(n_in, n_out, bias=bias)
    glorot_orthogonal_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def segment_sum(
    values: Float[Tensor, "n ..."], index: Int[Tensor, " n"], n_segments: int
) -> Float[Tensor, "n_segments ..."]:
    """Return the sum of the rows of each segment; zero if a segment has none."""
    return values.new_zeros((n_segments, *values.shape[1:])).index_add(0, index, values)


def segment_mean(
    values: Float[Tensor, "n ..."], index: Int[Tensor, " n"], n_segments: int
) -> Float[Tensor, "n_segments ..."]:
    """Return the mean of the rows of each segment; zero if a segment has none."""
    counts = torch.bincount(index, minlength=n_segments).clamp_min(1).to(values)
    return segment_sum(values, index, n_segments) / counts.view(-1, *[1] * (values.dim() - 1))
