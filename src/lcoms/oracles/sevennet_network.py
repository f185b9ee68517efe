"""SevenNet's energies and their slopes along bonds, from its own weights, without e3nn.

Park et al., Journal of Chemical Theory and Computation 20, 4857 (2024), after Batzner et al., Nature Communications 13,
2453 (2022). Features of an atom are lists of tensors by degree l, each (n, 2l + 1, channels). A message is the product
of a neighbour's features with the spherical harmonics of the bond, coupled by 3j symbols, with weights that depend on
the bond length. The harmonics are coupled first, once for all channels, and all products of features of one degree are
one product of matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import silu

CUTOFF = 5.0  # angstrom
CHANNELS = (128, 64, 32, 32)  # of degrees 0 to 3
N_LAYERS = 5
ENVELOPE_POWER = 6
EDGES_AT_ONCE = 128  # edges whose messages are computed at once, so that they fit into the processor's caches
SILU_SCALE = 1.6791768074035645  # 1 / sqrt(<silu(x)^2>) over normal x, as e3nn draws it

Features = list[Float[Tensor, "n _ _"]]


@dataclass(frozen=True, eq=False)
class _Couplings:
    """All products of features of one degree with harmonics; each path takes them, with one degree, to one degree.

    Attributes:
        matrices: map from the 16 harmonics to the matrices, one below the other, that multiply the features.
        rights: degree to which each path leads.
        path_of_row: path to which each row of the matrices belongs.
    """

    matrices: Float[Tensor, "16 rows a"]
    rights: tuple[int, ...]
    path_of_row: Int[Tensor, " rows"]


@dataclass(frozen=True, eq=False)
class _Layer:
    own: list[Tensor]  # one (channels in, channels out) per degree
    before: list[Tensor]
    radial: list[Tensor]  # three matrices of the network on the bond length
    couplings: list[_Couplings]  # one per degree of the features
    after: list[Tensor]
    denominator: float


@runtime_checkable
class Equal(Protocol):
    """What the symmetry of crystals makes equal (`lcoms.oracles.sevennet_orbits.Orbits`)."""

    @property
    def of(self) -> Tensor: ...

    @property
    def turns(self) -> tuple[Tensor, ...]: ...

    @property
    def averages(self) -> tuple[Tensor, ...]: ...

    @property
    def weights(self) -> Tensor: ...


class SevenNet:
    """The network, without gradients with respect to its weights.

    Args:
        state: SevenNet's state_dict.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        w = {name: value.detach().float() for name, value in state.items()}
        self._frequencies = w["edge_embedding.basis_function.coeffs"]
        n_species = len(w["rescale_atomic_energy.shift"])
        self._embedding = w["onehot_to_feature_x.linear.weight"].reshape(n_species, -1) / sqrt(n_species)
        self._layers = [_layer(w, t) for t in range(N_LAYERS)]
        hidden = w["reduce_input_to_hidden.linear.weight"].reshape(CHANNELS[0], -1)
        self._hidden = hidden / sqrt(CHANNELS[0])
        self._out = w["reduce_hidden_to_energy.linear.weight"].reshape(-1, 1) / sqrt(hidden.shape[1])
        self._scale, self._shift = w["rescale_atomic_energy.scale"], w["rescale_atomic_energy.shift"].double()

    def atom_energies(
        self,
        species: Int[Tensor, " n_atoms"],
        center: Int[Tensor, " n_edges"],
        neighbor: Int[Tensor, " n_edges"],
        vectors: Float[Tensor, "n_edges 3"],
        equal: Equal | None = None,
    ) -> Float[Tensor, " n_atoms"]:
        """Return the energy of each atom, eV, in float64.

        Args:
            species: indices of the elements in SevenNet's own list.
            vectors: from the center to its neighbour, angstrom.
            equal: what the symmetry makes equal, if atoms and edges are independent ones; neighbours are then indices
                of all atoms.
        """
        lengths = vectors.norm(dim=-1, keepdim=True)
        harmonics = torch.cat(spherical_harmonics(vectors / lengths), dim=-1)
        basis = self._radial_basis(lengths)
        x: Features = [self._embedding[species][:, None, :]]
        for layer in self._layers:
            x = _interact(layer, x, center, neighbor, harmonics, basis, equal)
        scaled = (x[0][:, 0] @ self._hidden @ self._out)[:, 0]
        return (scaled * self._scale[species]).double() + self._shift[species]

    def _radial_basis(self, r: Float[Tensor, "n_edges 1"]) -> Float[Tensor, "n_edges 8"]:
        """Return Bessel functions times a polynomial that takes them smoothly to zero."""
        p, u = ENVELOPE_POWER, r / CUTOFF
        envelope = 1 - u**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * u + p * (p + 1) / 2 * u**2)
        return 2 / CUTOFF * torch.sin(self._frequencies * r) / r * envelope


def spherical_harmonics(unit: Float[Tensor, "n 3"]) -> list[Float[Tensor, "n _"]]:
    """Return real spherical harmonics of degrees 0 to 3 in e3nn's order, y the polar axis; their mean square is 1."""
    x, y, z = unit.unbind(-1)
    flat, second = x * x + z * z, torch.stack([sqrt(15) * x * z, 0.5 * sqrt(15) * (z * z - x * x)])
    third = [
        sqrt(42) / 6 * (second[0] * z + second[1] * x),
        sqrt(7) * second[0] * y,
        sqrt(168) / 8 * (4 * y * y - flat) * x,
        sqrt(7) / 2 * y * (2 * y * y - 3 * flat),
        sqrt(168) / 8 * (4 * y * y - flat) * z,
        sqrt(7) * second[1] * y,
        sqrt(42) / 6 * (second[1] * z - second[0] * x),
    ]
    middle = [second[0], sqrt(15) * x * y, sqrt(5) * (y * y - flat / 2), sqrt(15) * y * z, second[1]]
    return [torch.ones_like(unit[:, :1]), sqrt(3) * unit, torch.stack(middle, -1), torch.stack(third, -1)]


def _interact(
    layer: _Layer,
    x: Features,
    center: Tensor,
    neighbor: Tensor,
    harmonics: Float[Tensor, "n_edges 16"],
    basis: Tensor,
    equal: Equal | None,
) -> Features:
    """Pass messages once, then apply a gate: silu on scalars, while higher degrees are scaled by their own scalars."""
    told, weights = _mixed(x, layer.before), _radial_weights(layer, basis)
    if equal is not None:
        told = [torch.bmm(turn, values[equal.of]) for turn, values in zip(equal.turns, told, strict=False)]
        weights = weights * equal.weights[:, None]
    sums: list[list[Tensor]] = [[] for _ in layer.after]
    start = 0
    for couplings, values in zip(layer.couplings, told, strict=True):
        end = start + len(couplings.rights) * values.shape[-1]
        total = _messages(couplings, values, center, neighbor, harmonics, weights[:, start:end], len(x[0]))
        start = end
        sizes = [2 * right + 1 for right in couplings.rights]
        for right, part in zip(couplings.rights, total.split(sizes, dim=1), strict=True):
            sums[right].append(part)
    heard = _mixed([torch.cat(parts, dim=-1) / layer.denominator for parts in sums], layer.after)
    if equal is not None:
        heard = [torch.bmm(average, values) for average, values in zip(equal.averages, heard, strict=False)]
    own = _mixed(x, layer.own)
    new = [a + own[degree] if degree < len(own) else a for degree, a in enumerate(heard)]
    scalars = SILU_SCALE * silu(new[0])
    gates = scalars[..., CHANNELS[0] :].split(CHANNELS[1 : len(new)], dim=-1) if len(new) > 1 else ()
    return [scalars[..., : CHANNELS[0]], *(gate * values for gate, values in zip(gates, new[1:], strict=True))]


def _messages(
    couplings: _Couplings,
    values: Float[Tensor, "n a channels"],
    center: Tensor,
    neighbor: Tensor,
    harmonics: Tensor,
    weights: Float[Tensor, "n_edges k"],
    n_atoms: int,
) -> Float[Tensor, "n_atoms rows channels"]:
    """Return the messages of all paths from features of one degree, summed over the edges of each atom."""
    n_rows, channels = len(couplings.path_of_row), values.shape[-1]
    total = values.new_zeros(n_atoms, n_rows, channels)
    weights = weights.unflatten(1, (-1, channels))
    for start in range(0, max(1, len(center)), EDGES_AT_ONCE):  # without edges too, so that slopes exist
        part = slice(start, start + EDGES_AT_ONCE)
        matrices = (harmonics[part] @ couplings.matrices.flatten(1)).unflatten(1, (n_rows, -1))
        message = torch.bmm(matrices, values[neighbor[part]]) * weights[part].index_select(1, couplings.path_of_row)
        total = total.index_add(0, center[part], message)
    return total


def _mixed(x: Features, matrices: Sequence[Tensor]) -> Features:
    """Mix the channels within each degree."""
    return [values @ matrix for values, matrix in zip(x, matrices, strict=False)]


def _radial_weights(layer: _Layer, basis: Float[Tensor, "n_edges 8"]) -> Float[Tensor, "n_edges k"]:
    hidden = SILU_SCALE * silu(basis @ layer.radial[0])
    hidden = SILU_SCALE * silu(hidden @ layer.radial[1])
    return hidden @ layer.radial[2]


def _layer(w: Mapping[str, Tensor], t: int) -> _Layer:
    """Return the weights of one layer; the first takes only scalars, the last gives only scalars."""
    degrees_in = range(1) if t == 0 else range(len(CHANNELS))
    degrees_out = range(1) if t == N_LAYERS - 1 else range(len(CHANNELS))
    couplings = [_couplings(w, left, degrees_out) for left in degrees_in]
    n_in = [CHANNELS[degree] for degree in degrees_in]
    n_out = [CHANNELS[degree] for degree in degrees_out]
    n_out[0] = sum(n_out)  # a gate for each channel of the higher degrees
    n_heard = [sum(CHANNELS[k] * c.rights.count(degree) for k, c in enumerate(couplings)) for degree in degrees_out]
    radial = [w[f"{t}_convolution.weight_nn.layer{i}.weight"] for i in range(3)]
    return _Layer(
        own=_matrices(w[f"{t}_self_connection_intro.linear.weight"], n_in, n_out),
        before=_matrices(w[f"{t}_self_interaction_1.linear.weight"], n_in, n_in),
        radial=[matrix / sqrt(len(matrix)) for matrix in radial],
        couplings=couplings,
        after=_matrices(w[f"{t}_self_interaction_2.linear.weight"], n_heard, n_out),
        denominator=float(w[f"{t}_convolution.denominator"]),
    )


def _couplings(w: Mapping[str, Tensor], left: int, degrees_out: range) -> _Couplings:
    """Return the paths from features of degree `left`, by the degree of the harmonics and of the result."""
    pairs = [(m, right) for m in range(len(CHANNELS)) for right in degrees_out if abs(left - m) <= right <= left + m]
    blocks = []
    for middle, right in pairs:
        block = torch.zeros(16, 2 * right + 1, 2 * left + 1)
        block[middle**2 : (middle + 1) ** 2] = _coupling(w, left, middle, right).permute(1, 2, 0)
        blocks.append(block)
    path_of_row = torch.repeat_interleave(torch.arange(len(pairs)), torch.tensor([2 * right + 1 for _, right in pairs]))
    return _Couplings(torch.cat(blocks, dim=1), tuple(right for _, right in pairs), path_of_row)


def _matrices(flat: Tensor, n_in: Sequence[int], n_out: Sequence[int]) -> list[Tensor]:
    """Return matrices of the degrees that both sides have, scaled by the number of input channels."""
    sizes = [a * b for a, b in zip(n_in, n_out, strict=False)]
    parts = flat.split(sizes)
    return [part.reshape(a, -1) / sqrt(a) for part, a in zip(parts, n_in, strict=False)]


def _coupling(w: Mapping[str, Tensor], left: int, middle: int, right: int) -> Float[Tensor, "a b c"]:
    """Return 3j symbols times the square root of the output dimension."""
    identity = torch.eye(2 * max(left, middle) + 1)
    if left == 0:
        return identity[None]
    if middle == 0:
        return identity[:, None]
    if right == 0:
        return identity[:, :, None] / sqrt(2 * left + 1)
    symbols = w[f"1_convolution.convolution._compiled_main_left_right._w3j_{left}_{middle}_{right}"]
    return symbols * sqrt(2 * right + 1)
