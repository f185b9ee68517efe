"""Density layers: scalars are invariant, vectors rotate, the order of atoms is irrelevant, and depth is stable."""

from __future__ import annotations

import pytest
import torch
from symmetry_cases import random_rotation
from torch import Tensor

from lcoms.nn.density import DensityLayer, DensityTrunk, PairReadout, _bent, by_group
from lcoms.nn.geometry import DensityBasis, densities, quadrupole_matrix

BASIS = DensityBasis(cutoff=4.5, n_scalar=6, n_vector=5, n_tensor=4, n_coarse=3)
SIZES = {"channels": 12, "filters": 4, "vectors": 6}
CLOSE = {"atol": 1e-5, "rtol": 1e-4}  # vectors are normalised and read out in single precision


class Network(torch.nn.Module):
    """A trunk and its readout, without the initial zero weights."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trunk = DensityTrunk(BASIS, layers=layers, condition=3, **SIZES)
            self.readout = PairReadout(BASIS, **SIZES)
            for parameter in self.parameters():
                parameter.data.add_(torch.randn_like(parameter) * 0.2)
        self.double()

    def forward(self, h: Tensor, frac: Tensor, lattice: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        groups = [densities(frac, lattice, BASIS)]
        h, v = self.trunk(h.flatten(0, 1), groups, condition)
        return tuple(by_group(x, groups)[0] for x in (h, v, self.readout(h, v, groups)))


def test_quadrupoles_bend_vectors_by_their_matrices() -> None:
    generator = torch.Generator().manual_seed(4)
    t, u = torch.randn(7, 5, 6, generator=generator), torch.randn(7, 3, 6, generator=generator)
    quadrupole = quadrupole_matrix(torch.float32)
    expected = torch.einsum("nmc,mxy,nyc->nxc", t, quadrupole.view(5, 3, 3), u)
    torch.testing.assert_close(_bent(t, quadrupole, u), expected)
    along_z = torch.zeros(1, 5, 1)
    along_z[0, 2] = 1.0  # the third component is the quadrupole along z: diagonal (-1/2, -1/2, 1)
    torch.testing.assert_close(
        _bent(along_z, quadrupole, torch.ones(1, 3, 1)).flatten(), torch.tensor([-0.5, -0.5, 1.0])
    )


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    lattice = torch.eye(3, dtype=torch.float64) * 4 + 0.4 * random(3, 3, 3)
    return {"h": random(3, 4, 12), "frac": random(3, 4, 3), "lattice": lattice, "condition": random(3, 3)}


def test_scalars_stay_and_vectors_turn(inputs: dict[str, Tensor]) -> None:
    network, rotation = Network(), random_rotation()
    h, v, moves = network(**inputs)
    h2, v2, moves2 = network(**{**inputs, "lattice": inputs["lattice"] @ rotation, "frac": inputs["frac"] + 0.3})
    torch.testing.assert_close(h2, h, **CLOSE)
    torch.testing.assert_close(v2, torch.einsum("bnxc,xy->bnyc", v, rotation), **CLOSE)
    torch.testing.assert_close(moves2, (moves.double() @ rotation).float(), **CLOSE)
    assert moves.abs().mean() > 0.01
    assert (moves - moves2).abs().max() > 0.1


def test_inversion_turns_vectors_round(inputs: dict[str, Tensor]) -> None:
    network = Network()
    h, v, moves = network(**inputs)
    h2, v2, moves2 = network(**{**inputs, "frac": -inputs["frac"]})
    torch.testing.assert_close(h2, h, **CLOSE)
    torch.testing.assert_close(v2, -v, **CLOSE)
    torch.testing.assert_close(moves2, -moves, **CLOSE)


def test_atoms_in_another_order_and_in_another_basis_of_the_lattice(inputs: dict[str, Tensor]) -> None:
    network, order = Network(), torch.tensor([2, 0, 3, 1])
    change = torch.tensor([[1, 1, 0], [0, 1, 0], [-1, 2, 1]], dtype=torch.float64)
    h, v, moves = network(**inputs)
    other = {"h": inputs["h"][:, order], "frac": inputs["frac"][:, order] @ torch.linalg.inv(change)}
    h2, v2, moves2 = network(**{**inputs, **other, "lattice": change @ inputs["lattice"]})
    torch.testing.assert_close(h2, h[:, order], **CLOSE)
    torch.testing.assert_close(v2, v[:, order], **CLOSE)
    torch.testing.assert_close(moves2, moves[:, order], **CLOSE)


def test_crystals_of_a_group_do_not_see_each_other(inputs: dict[str, Tensor]) -> None:
    network = Network()
    together = network(**inputs)
    for row in range(3):
        alone = network(**{name: value[row : row + 1] for name, value in inputs.items()})
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[row], **CLOSE)


def test_groups_of_different_sizes_do_not_see_each_other(inputs: dict[str, Tensor]) -> None:
    network = Network()
    pairs = {"h": inputs["h"][:2, :3], "frac": inputs["frac"][:2, :3], "lattice": inputs["lattice"][1:]}
    some = [inputs, {**pairs, "condition": inputs["condition"][:2] + 1}]
    groups = [densities(one["frac"], one["lattice"], BASIS) for one in some]
    h, v = network.trunk(
        torch.cat([one["h"].flatten(0, 1) for one in some]), groups, torch.cat([one["condition"] for one in some])
    )
    together = (h, v, network.readout(h, v, groups))
    for at, one in enumerate(some):
        for found, alone in zip(together, network(**one), strict=True):
            torch.testing.assert_close(by_group(found, groups)[at], alone, **CLOSE)


def test_every_parameter_gets_a_gradient_and_the_condition_matters(inputs: dict[str, Tensor]) -> None:
    network = Network()
    h, v, moves = network(**inputs)
    (h.square().sum() + v.square().sum() + moves.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # The first layer has no vectors yet to pass on.
        assert (parameter.grad.abs().max() > 0) != ("layers.0.pass_" in name), name
    other, _, _ = network(**{**inputs, "condition": inputs["condition"] + 1})
    assert (other - h).abs().max() > 1e-3


def test_a_fresh_layer_leaves_scalars_alone_and_ignores_the_condition(inputs: dict[str, Tensor]) -> None:
    layer = DensityLayer(BASIS, condition=3, **SIZES).double()
    g = [densities(inputs["frac"], inputs["lattice"], BASIS)]
    before, v = inputs["h"].flatten(0, 1), torch.zeros(12, 3, 6, dtype=torch.float64)
    h, v1 = layer(before, v, g, inputs["condition"])
    torch.testing.assert_close(h, before + layer.contract.bias)
    _, v2 = layer(before, v, g, inputs["condition"] + 1)
    torch.testing.assert_close(v1, v2)


def test_vectors_stay_bounded_in_depth(inputs: dict[str, Tensor]) -> None:
    _, v, _ = Network(layers=12)(**inputs)
    assert v.square().sum(2).mean(2).max() <= 1  # their mean square length
