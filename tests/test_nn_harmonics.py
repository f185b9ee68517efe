"""Harmonics about an axis are orthonormal and obey the addition theorem."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lcoms.nn.harmonics import associated_legendre, axis_frames, azimuth_powers, parts_of
from lcoms.nn.layers import legendre_harmonics

N = 5


def harmonics(unit: Tensor) -> list[Tensor]:
    """Return all Y_lm (n, l - m + 1 by parts) of unit vectors, one tensor for each m."""
    x, y, z = unit.unbind(-1)
    parts = azimuth_powers(x, y, N)
    return [
        (q[..., :, None] * parts[..., None, parts_of(m)]).flatten(-2) for m, q in enumerate(associated_legendre(z, N))
    ]


def test_orthonormal_on_the_sphere() -> None:
    nodes, weights = (torch.from_numpy(t) for t in np.polynomial.legendre.leggauss(12))
    azimuth = torch.arange(24, dtype=torch.float64) * 2 * torch.pi / 24
    z, phi = torch.meshgrid(nodes, azimuth, indexing="ij")
    sine = (1 - z * z).sqrt()
    values = torch.cat(harmonics(torch.stack([sine * phi.cos(), sine * phi.sin(), z], dim=-1)), dim=-1).flatten(0, 1)
    assert values.shape[1] == N * N
    products = torch.einsum("pi,pj,p->ij", values, values, weights.repeat_interleave(24) * 2 * torch.pi / 24)
    assert torch.allclose(products, torch.eye(N * N, dtype=torch.float64), atol=1e-12)


def test_addition_theorem() -> None:
    """sum over m of Y_lm(u) Y_lm(v) = sqrt((2l+1) / 4 pi) Y_l0(u . v)."""
    u, v = torch.nn.functional.normalize(
        torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0)).double(), dim=2
    )
    expected = legendre_harmonics((u * v).sum(1), N)
    summed = torch.zeros(9, N, dtype=torch.float64)
    for m, (first, second) in enumerate(zip(harmonics(u), harmonics(v), strict=True)):
        summed[:, m:] += (first * second).unflatten(1, (N - m, -1)).sum(2)
    factor = ((2 * torch.arange(N) + 1) / (4 * torch.pi)).sqrt()
    assert torch.allclose(summed, expected * factor, atol=1e-7)


def test_frames_are_right_handed_for_every_axis() -> None:
    axes = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)).double()
    special = torch.cat([torch.eye(3), -torch.eye(3), torch.tensor([[1.0, -1.0, 0.0], [0.0, 1e-9, -1.0]])]).double()
    axes = torch.nn.functional.normalize(torch.cat([axes, special]), dim=1)
    frames = axis_frames(axes)
    assert torch.equal(frames[:, 2], axes)
    assert torch.allclose(frames @ frames.transpose(1, 2), torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(torch.linalg.det(frames), torch.ones(58, dtype=torch.float64))
