"""CHGNet's energies and their slopes along bonds from its own weights, several times faster than its own code.

Deng et al., Nature Machine Intelligence 5, 1031 (2023). The same function, rearranged: linear layers on concatenated
features are split, so that each part is computed once per atom or once per bond; bonds longer than the angle cutoff,
which message passing between bonds never changes, are projected for all layers at once; angles are expanded once for
both orders; the mean that layer normalisation subtracts is subtracted from the weights before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi, sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import layer_norm, linear, silu

from lcoms.oracles.chgnet_graph import ANGLE_CUTOFF, BOND_CUTOFF
from lcoms.oracles.chgnet_orbits import OrbitGraph, ballast, join

N_LAYERS = 4
WIDTH = 64
ENVELOPE_POWER = 8
_COSINE_SHRINK = 1 - 1e-6  # CHGNet's, so that the arc cosine keeps a finite slope


@dataclass(frozen=True, eq=False)
class _Gated:
    """Weights of silu(norm(core)) * sigmoid(norm(gate)), core and gate side by side."""

    inputs: list[Tensor]  # one (width, 128) for each part of the concatenated features
    bias: Tensor  # (128,)
    hidden: Tensor | None  # (2, 64, 64), the second layer of core and of gate
    hidden_bias: Tensor | None  # (2, 1, 64)
    scale: Tensor  # (2, 1, 64)
    shift: Tensor  # (2, 1, 64)
    out: Tensor  # (64, 64); empty if features do not change size


class FastCHGNet:
    """The network, without gradients with respect to its weights.

    Args:
        state: CHGNet's state_dict.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        w = {name: value.detach().float() for name, value in state.items()}
        self.reference = w["composition_model.fc.weight"][0].double()
        self.embedding = w["atom_embedding.embedding.weight"]
        self.bond_frequencies = w["bond_basis_expansion.rbf_expansion_ag.frequencies"]
        self.angle_bond_frequencies = w["bond_basis_expansion.rbf_expansion_bg.frequencies"]
        self.angle_frequencies = w["angle_basis_expansion.fourier_expansion.frequencies"]
        self.atom_layers = [_gated(w, f"atom_conv_layers.{i}", "twoBody_atom", 3) for i in range(N_LAYERS)]
        self.bond_layers = [_gated(w, f"bond_conv_layers.{i}", "twoBody_bond", 4) for i in range(N_LAYERS - 1)]
        # The last angle update is never used.
        self.angle_layers = [_gated(w, f"angle_layers.{i}", "twoBody_bond", 4) for i in range(N_LAYERS - 2)]
        bond_embedding = w["bond_embedding.weight"].T
        self.bond_embedding = bond_embedding
        self.bond_projections = torch.cat(
            [bond_embedding @ layer.inputs[1] for layer in self.atom_layers] + [w["bond_weights_ag.weight"].T], dim=1
        )
        self.bond_bias = torch.cat([layer.bias for layer in self.atom_layers] + [self.embedding.new_zeros(WIDTH)])
        self.angle_bond_weights = w["bond_weights_bg.weight"].T
        self.angle_embedding = w["angle_embedding.weight"].T / sqrt(pi)
        self.readout_norm = (w["readout_norm.weight"], w["readout_norm.bias"])
        self.readout = [(w[f"mlp.layers.{i}.weight"], w[f"mlp.layers.{i}.bias"]) for i in (0, 2, 4, 7)]

    def energies_and_slopes(
        self, graphs: Sequence[OrbitGraph]
    ) -> tuple[Float[Tensor, " n_crystals"], Float[Tensor, "n_vectors 3"]]:
        """Return the energy of each cell in eV and its derivative by each vector in eV/angstrom, as float64.

        The numbers of each crystal are the same to the last bit alone and among others.
        """
        graph = join([*graphs, ballast()])
        vectors = torch.from_numpy(graph.vectors).float().requires_grad_(True)
        with torch.enable_grad():
            per_atom = self._atom_energies(vectors, graph)
            (slopes,) = torch.autograd.grad((per_atom * torch.from_numpy(graph.atom_counts)).sum(), vectors)
        n_vectors = sum(len(g.vectors) for g in graphs)
        return self._totals(per_atom.detach(), graph)[:-1], slopes[:n_vectors].double()

    @torch.no_grad()
    def energies(self, graphs: Sequence[OrbitGraph]) -> Float[Tensor, " n_crystals"]:
        """Return the same energies without slopes, in less than half the time."""
        graph = join([*graphs, ballast()])
        return self._totals(self._atom_energies(torch.from_numpy(graph.vectors).float(), graph), graph)[:-1]

    def _totals(self, per_atom: Float[Tensor, " n_atoms"], graph: OrbitGraph) -> Float[Tensor, " n_crystals"]:
        """Return the energy of each cell from those of its independent atoms without the reference."""
        numbers = torch.from_numpy(graph.atomic_numbers) - 1
        every = (per_atom.double() + self.reference[numbers]) * torch.from_numpy(graph.atom_counts)
        totals = every.new_zeros(int(graph.crystal_idx[-1]) + 1)
        return totals.index_add_(0, torch.from_numpy(graph.crystal_idx), every)

    def _atom_energies(self, vectors: Float[Tensor, "n_vectors 3"], graph: OrbitGraph) -> Float[Tensor, " n_atoms"]:
        all_lengths = vectors.norm(dim=1)
        lengths = all_lengths[torch.from_numpy(graph.bond_vector)]
        basis = _radial_basis(lengths, self.bond_frequencies, BOND_CUTOFF)
        first, second = torch.from_numpy(graph.first), torch.from_numpy(graph.second)
        projected = torch.addmm(self.bond_bias, basis, self.bond_projections)
        *bond_parts, bond_weights = projected.split([2 * WIDTH] * N_LAYERS + [WIDTH], dim=1)
        ends, starts = torch.cat([first, second]), torch.cat([second, first])
        atoms = self.embedding[torch.from_numpy(graph.atomic_numbers) - 1]
        bond_weights = bond_weights * torch.from_numpy(graph.bond_shares)[:, :, None]
        bends = _Bends(self, graph, vectors / all_lengths[:, None], lengths, basis)
        for number, layer in enumerate(self.atom_layers):
            part = bond_parts[number]
            if number > 0:
                part = part.index_add(0, bends.short, bends.change @ layer.inputs[1])
            hidden = _gather(atoms @ layer.inputs[0], ends) + _gather(atoms @ layer.inputs[2], starts)
            hidden = (hidden.view(2, -1, 2 * WIDTH) + part).view(-1, 2 * WIDTH)
            messages = (_gate(hidden, layer).view(2, -1, WIDTH) * bond_weights).view(-1, WIDTH)
            atoms = atoms + _sum_by(messages, ends, len(atoms)) @ layer.out
            if number < N_LAYERS - 1:
                bends.update(atoms, self.bond_layers[number])
            if number < N_LAYERS - 2:
                bends.update_angles(atoms, self.angle_layers[number])
        atoms = layer_norm(atoms, (WIDTH,), *self.readout_norm)
        for weight, bias in self.readout[:-1]:
            atoms = silu(linear(atoms, weight, bias))
        weight, bias = self.readout[-1]
        return (atoms * weight).sum(dim=1) + bias


class _Bends:
    """Short bonds and the angles between them during message passing.

    Angles are listed twice, once in each order of their bonds; before the first update their features are the same in
    both and are stored once.
    """

    def __init__(self, network: FastCHGNet, graph: OrbitGraph, units: Tensor, lengths: Tensor, basis: Tensor) -> None:
        first, second, short = (torch.from_numpy(x) for x in (graph.first, graph.second, graph.short))
        left, right = torch.from_numpy(graph.angle_left), torch.from_numpy(graph.angle_right)
        self.short, self.n_short = short, len(short)
        self.left = torch.cat([left, right])
        self.left_bond, self.right_bond = self.left % self.n_short, torch.cat([right, left]) % self.n_short
        self.centers = torch.cat([first[short], second[short]])
        short_lengths = lengths[short]
        one, other = torch.from_numpy(graph.angle_vectors)
        signs = torch.from_numpy(graph.angle_signs) * _COSINE_SHRINK
        cosine = (_gather(units, one) * _gather(units, other)).sum(dim=1) * signs
        phase = torch.outer(torch.acos(cosine), network.angle_frequencies)
        constant = phase.new_full((len(phase), 1), sqrt(0.5))
        self.angles = torch.cat([constant, phase.sin(), phase.cos()], dim=1) @ network.angle_embedding
        self.start = self.bonds = basis[short] @ network.bond_embedding
        weights = (
            _radial_basis(short_lengths, network.angle_bond_frequencies, ANGLE_CUTOFF) @ network.angle_bond_weights
        )
        weights = _gather(weights, left % self.n_short) * _gather(weights, right % self.n_short)
        self.weights = weights * torch.from_numpy(graph.angle_shares)[:, :, None]

    def _hidden(self, atoms: Tensor, layer: _Gated) -> Tensor:
        """Apply the first linear layer to left bond, right bond, angle and centre atom."""
        left = (self.bonds @ layer.inputs[0]).repeat(2, 1) + _gather(atoms @ layer.inputs[3], self.centers)
        hidden = _gather(left, self.left) + _gather(self.bonds @ layer.inputs[1], self.right_bond)
        angles = torch.addmm(layer.bias, self.angles, layer.inputs[2])
        if len(angles) < len(hidden):
            return (hidden.view(2, -1, 2 * WIDTH) + angles).view(-1, 2 * WIDTH)
        return hidden + angles

    def update(self, atoms: Tensor, layer: _Gated) -> None:
        """Pass messages from angles to short bonds."""
        messages = (_gate(self._hidden(atoms, layer), layer).view(2, -1, WIDTH) * self.weights).view(-1, WIDTH)
        self.bonds = self.bonds + _sum_by(messages, self.left_bond, self.n_short) @ layer.out
        self.change = self.bonds - self.start

    def update_angles(self, atoms: Tensor, layer: _Gated) -> None:
        """Update the features of angles."""
        new = _gate(self._hidden(atoms, layer), layer)
        old = self.angles if len(self.angles) == len(new) else self.angles.repeat(2, 1)
        self.angles = new + old


def _gate(hidden: Float[Tensor, "n 128"], layer: _Gated) -> Float[Tensor, "n 64"]:
    """Apply the second layers of core and gate, their normalisation, and the product."""
    if layer.hidden is None or layer.hidden_bias is None:
        halves = hidden.view(-1, 2, WIDTH).transpose(0, 1)
    else:
        halves = torch.baddbmm(layer.hidden_bias, silu(hidden).view(-1, 2, WIDTH).transpose(0, 1), layer.hidden)
    core, gate = torch.addcmul(layer.shift, layer_norm(halves, (WIDTH,)), layer.scale)
    return silu(core) * torch.sigmoid(gate)


def _gather(values: Float[Tensor, "n width"], rows: Int[Tensor, " m"]) -> Float[Tensor, "m width"]:
    return values.index_select(0, rows)


def _sum_by(values: Float[Tensor, "m width"], rows: Int[Tensor, " m"], n: int) -> Float[Tensor, "n width"]:
    return values.new_zeros(n, values.shape[1]).index_add(0, rows, values)


def _radial_basis(
    lengths: Float[Tensor, " n"], frequencies: Float[Tensor, " k"], cutoff: float
) -> Float[Tensor, "n k"]:
    """Return Bessel functions times a polynomial envelope up to the cutoff (Gasteiger et al., ICLR 2020, eqs 7, 8)."""
    x = (lengths / cutoff)[:, None]
    p = ENVELOPE_POWER
    square = x * x  # not pow(), which rounds its last elements differently from the rest
    power = (square * square) * (square * square)
    envelope = 1 + power * (-(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2)))
    envelope = torch.where(x < 1, envelope, torch.zeros_like(x))
    return (x * frequencies).sin() * (envelope * sqrt(2 / cutoff) / (x * cutoff))


def _gated(w: Mapping[str, Tensor], layer: str, gated: str, n_parts: int) -> _Gated:
    """Return weights of a layer, core and gate side by side, minus the means over outputs if a norm follows."""
    prefix = f"{layer}.{gated}"
    deep = f"{prefix}.mlp_core.layers.3.weight" in w
    first = 0 if deep else 1

    def read(number: int, kind: str, *, centred: bool) -> list[Tensor]:
        values = [w[f"{prefix}.{half}.layers.{number}.{kind}"] for half in ("mlp_core", "mlp_gate")]
        return [value - value.mean(dim=0, keepdim=True) for value in values] if centred else values

    weight = torch.cat([value.T for value in read(first, "weight", centred=not deep)], dim=1)
    hidden = torch.stack([value.T for value in read(3, "weight", centred=True)]) if deep else None
    hidden_bias = torch.stack(read(3, "bias", centred=True))[:, None] if deep else None
    out = w.get(f"{layer}.mlp_out.layers.1.weight")
    return _Gated(
        inputs=[part.contiguous() for part in weight.split(WIDTH)][:n_parts],
        bias=torch.cat(read(first, "bias", centred=not deep)),
        hidden=hidden,
        hidden_bias=hidden_bias,
        scale=torch.stack([w[f"{prefix}.bn{i}.weight"] for i in (1, 2)])[:, None],
        shift=torch.stack([w[f"{prefix}.bn{i}.bias"] for i in (1, 2)])[:, None],
        out=weight.new_zeros(0) if out is None else out.T.contiguous(),
    )
