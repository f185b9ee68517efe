"""Real spherical harmonics about an axis, as polynomials of unit vectors, in a form suited to products over m.

Y_lm = q_lm(z) Re w^m or q_lm(z) Im w^m, with w = x + i y = sin(angle) exp(i azimuth) in a frame with its z on the axis.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def axis_frames(axes: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Return as rows two directions perpendicular to each unit axis and to each other, then the axis; right-handed.

    Duff et al. 2017 (Building an orthonormal basis, revisited). The azimuth is measured from the first direction, which
    is discontinuous where the axis is in the plane z = 0: use only differences of azimuths.
    """
    x, y, z = axes.unbind(1)
    sign = torch.ones_like(z).copysign(z)
    a = -1.0 / (sign + z)
    b = x * y * a
    first = torch.stack([1.0 + sign * x * x * a, sign * b, -sign * x], dim=1)
    second = torch.stack([b, sign + y * y * a, -y], dim=1)
    return torch.stack([first, second, axes], dim=1)


def azimuth_powers(x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"], n: int) -> Float[Tensor, "*shape n_parts"]:
    """Return real and imaginary parts of (x + i y)^m for m = 0 ... n - 1; m = 0 has only the real part."""
    real, imaginary = torch.ones_like(x), torch.zeros_like(x)
    parts = [real]
    for _order in range(1, n):
        real, imaginary = real * x - imaginary * y, real * y + imaginary * x
        parts += [real, imaginary]
    return torch.stack(parts, dim=-1)


def parts_of(order: int) -> slice:
    """Return the slice of the parts of one order m among those of `azimuth_powers`."""
    return slice(max(2 * order - 1, 0), 2 * order + 1)


def associated_legendre(cosine: Float[Tensor, "*shape"], n_spherical: int) -> list[Float[Tensor, "*shape _"]]:
    """Return for each m the functions q_lm, l = m ... n_spherical - 1, that make the Y_lm orthonormal on the sphere.

    sqrt((2l+1) / 4 pi (l-m)! / (l+m)!) P_lm / sin^m, without the phase (-1)^m, times sqrt 2 for m > 0. Recursion
    (l-m+1) P_(l+1)m = (2l+1) z P_lm - (l+m) P_(l-1)m from P_mm = (2m-1)!! sin^m.
    """
    rows = []
    for m in range(n_spherical):
        previous, value = torch.zeros_like(cosine), torch.full_like(cosine, math.prod(range(1, 2 * m, 2)))
        columns = []
        for degree in range(m, n_spherical):
            ratio = math.factorial(degree - m) / math.factorial(degree + m) * (2 if m else 1)
            columns.append(math.sqrt((2 * degree + 1) / (4 * math.pi) * ratio) * value)
            following = ((2 * degree + 1) * cosine * value - (degree + m) * previous) / (degree - m + 1)
            previous, value = value, following
        rows.append(torch.stack(columns, dim=-1))
    return rows
