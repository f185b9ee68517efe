"""Sums over quadruplets equal those over an explicit list, and distinguish what triplets cannot."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import lpmv
from symmetry_cases import as_batch, some_crystals
from torch import Tensor

from lcoms.nn.gemnet import GemNetConfig, GemNetDenoiser
from lcoms.nn.gemnet_quadruplets import CIRCULAR_SCALE, GATE_SCALE, SUM_SCALE, QuadrupletConfig
from lcoms.nn.layers import segment_sum
from lcoms.structure.crystal import Crystal
from lcoms.structure.neighbors import Edges, neighbor_list

SMALL = GemNetConfig(
    atom=12, edge=14, n_blocks=2, triplet=6, bilinear=5, basis=4, n_radial=16, n_spherical=4, n_neighbors=6,
    quadruplets=True,
    quadruplet_sizes=QuadrupletConfig(
        channels=5, bilinear=7, circular_basis=3, spherical_basis=6, cutoff=8.0, n_neighbors=4
    ),
)  # fmt: skip
Site = tuple[int, tuple[int, ...]]


def sites(edges: Edges) -> list[tuple[int, Site]]:
    """Return for each edge the target in the home cell and the site of the source."""
    return [
        (target, (source, tuple(image)))
        for (source, target), image in zip(edges.edge_index.T.tolist(), edges.edge_images.tolist(), strict=True)
    ]


def moved(site: Site, image: tuple[int, ...]) -> Site:
    return site[0], tuple(np.add(site[1], image).tolist())


def explicit_quadruplets(edges: Edges, pairs: Edges) -> list[tuple[int, int, int, Site, Site, Site, Site]]:
    """Return edge c->a, interaction b->a, edge d->b, and the four different sites c, a, b, d; a in the home cell."""
    found, all_edges, home = [], sites(edges), (0, 0, 0)
    into: dict[int, list[tuple[int, Site]]] = {}
    for number, (target, source) in enumerate(all_edges):
        into.setdefault(target, []).append((number, source))
    for (ca, (a, c)), (ab, (other, b)) in product(enumerate(all_edges), enumerate(sites(pairs))):
        if other != a:
            continue
        for db, source in into[b[0]]:
            d = moved(source, b[1])
            if len({c, (a, home), b, d}) == 4:
                found.append((ca, ab, db, c, (a, home), b, d))
    return found


def real_harmonics(cosine: np.ndarray, dihedral: np.ndarray, n: int) -> np.ndarray:
    """Return Y_lm with the cosine of m times the dihedral angle, for each m."""
    columns = []
    for m in range(n):
        for degree in range(m, n):
            norm = (2 * degree + 1) / (4 * np.pi) * math.factorial(degree - m) / math.factorial(degree + m)
            legendre = (-1) ** m * lpmv(m, degree, cosine)
            columns.append(np.sqrt(norm * (2 if m else 1)) * legendre * np.cos(m * dihedral))
    return np.stack(columns, axis=1)


def messages(denoiser: GemNetDenoiser, crystals: list[Crystal]) -> dict[str, Any]:
    """Return input and output of the first layer, with condition 0."""
    seen: dict[str, Any] = {}
    layer = denoiser.blocks[0].quadruplets
    hook = layer.register_forward_hook(lambda _, inputs, output: seen.update(m=inputs[0], out=output))
    denoiser(as_batch(crystals), torch.zeros(len(crystals), 3, dtype=torch.float64))
    hook.remove()
    return seen


@pytest.fixture(scope="module")
def denoiser() -> GemNetDenoiser:
    torch.manual_seed(0)
    return GemNetDenoiser(SMALL, 3).double()


def angles(crystal: Crystal, c: Site, a: Site, b: Site, d: Site) -> tuple[float, float, float, float]:
    """Return cos(cab), cos(abd), sin(abd), and the dihedral angle from 0 to pi, arbitrary for straight lines."""
    at_c, at_a, at_b, at_d = ((crystal.frac_coords[n] + image) @ crystal.lattice for n, image in (c, a, b, d))
    normals = [np.cross(at_b - at_a, at_c - at_a), np.cross(at_b - at_a, at_d - at_b)]
    cosines = [
        np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v)
        for u, v in ((at_c - at_a, at_b - at_a), (at_a - at_b, at_d - at_b))
    ]
    dihedral = np.arctan2(np.linalg.norm(np.cross(*normals)), np.dot(*normals))
    sine = np.linalg.norm(normals[1]) / np.linalg.norm(at_b - at_a) / np.linalg.norm(at_d - at_b)
    return cosines[0], cosines[1], sine, dihedral


@pytest.mark.parametrize("number", range(5))
def test_sum_equals_the_sum_over_an_explicit_list(denoiser: GemNetDenoiser, number: int) -> None:
    crystal = some_crystals()[number]
    batch, layer, basis = as_batch([crystal]), denoiser.blocks[0].quadruplets, denoiser.quadruplet_basis
    sizes = SMALL.quadruplet_sizes
    edges = neighbor_list(batch, cutoff=SMALL.cutoff, k=SMALL.n_neighbors, symmetric=True)
    pairs = neighbor_list(batch, cutoff=sizes.cutoff, k=sizes.n_neighbors)
    found = explicit_quadruplets(edges, pairs)
    assert len(found) >= 100
    ca, ab, db = torch.tensor([q[:3] for q in found]).T
    near, far, sine, dihedral = np.array([angles(crystal, *q[3:]) for q in found]).T
    smooth = sine[:, None] ** np.repeat(np.arange(4), [4, 3, 2, 1])
    spherical = torch.from_numpy(real_harmonics(np.clip(near, -1, 1), dihedral, 4) * smooth)
    circular = torch.from_numpy(real_harmonics(far, np.zeros_like(far), 4)[:, :4])
    gaussians = denoiser.radial(edges.vectors(batch).norm(dim=1))
    wide = basis.interaction_radial(pairs.vectors(batch).norm(dim=1))
    seen = messages(denoiser, [crystal])
    x = layer.down(layer.source(seen["m"]) * layer.gate(basis.radial(gaussians)) * GATE_SCALE)[db]
    x = x * layer.circular(torch.einsum("qr,ql,lrb->qb", wide[ab], circular, basis.circular)) * CIRCULAR_SCALE
    projected = torch.einsum("qr,qh,hrb->qb", gaussians[ca], spherical, basis.spherical)
    terms = torch.einsum("qt,qb,tbu->qu", x, projected, layer.bilinear)
    summed = segment_sum(terms, ca, len(gaussians)) * SUM_SCALE
    expected = (layer.up(summed) + layer.up_reverse(summed)[edges.reverse()]) / 2**0.5
    assert expected.abs().max() > 1e-2
    assert (expected - seen["out"]).abs().max() < 1e-9 * (1 + expected.abs().max())


def test_the_list_has_triangles_and_straight_lines_to_leave_out() -> None:
    """Otherwise the test above would not detect that they are treated wrongly."""
    batch = as_batch(some_crystals()[1:2])  # face-centred cubic: 12 neighbours of each atom, 4 common to neighbours
    edges = neighbor_list(batch, cutoff=SMALL.cutoff, k=SMALL.n_neighbors, symmetric=True)
    pairs = neighbor_list(batch, cutoff=SMALL.quadruplet_sizes.cutoff, k=4)
    found = explicit_quadruplets(edges, pairs)
    assert len(found) == 12 * (11 * 11 - 4)
    cosines = np.array([angles(some_crystals()[1], *q[3:])[:2] for q in found])
    assert (np.abs(cosines) > 1 - 1e-9).any()


def twisted(degrees: float) -> Crystal:
    """Return a chain c-a-b-d in a large box, with bonds of 1.5 angstrom, right angles, and a dihedral angle."""
    turn = np.radians(degrees)
    cart = np.array([[1.5, 0, 0], [0, 0, 0], [0, 0, 1.5], [1.5 * np.cos(turn), 1.5 * np.sin(turn), 1.5]])
    return Crystal(np.eye(3) * 14.0, cart / 14.0 + 0.4, np.array([1, 8, 16, 17]))


def forces(config: GemNetConfig, crystals: list[Crystal]) -> Tensor:
    torch.manual_seed(1)
    denoiser = GemNetDenoiser(config, 3).double()
    return denoiser(as_batch(crystals), torch.zeros(len(crystals), 3, dtype=torch.float64)).view(len(crystals), 4, 3)


def test_dihedral_angles_are_seen_by_quadruplets_only() -> None:
    """Only bonds are edges, so distances and angles of edges do not depend on the dihedral angle."""
    bonds = replace(SMALL, cutoff=2.0, n_neighbors=3)
    chains = [twisted(angle) for angle in (70.0, 130.0, -70.0)]
    blind = forces(replace(bonds, quadruplets=False), chains).norm(dim=2)
    assert blind.min() > 1e-3
    assert torch.allclose(blind, blind[:1].expand(3, 4), atol=1e-9)
    seeing = forces(bonds, chains)
    size = seeing.norm(dim=2)
    assert (size[0] - size[1]).abs().min() > 1e-5
    mirror = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    assert torch.allclose(seeing[0] * mirror, seeing[2], atol=1e-9)  # the same twist the other way round


def test_straight_lines_are_no_edge_to_fall_off() -> None:
    """If c, a and b are collinear, the dihedral angle is undefined; slight bending changes forces slightly."""
    bonds = replace(SMALL, cutoff=2.0, n_neighbors=3)

    def bent(azimuth: float, angle: float) -> Crystal:
        tip = [np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), 1 + np.cos(angle)]
        cart = np.array([[1.5, 0, 0], [0, 0, 0], [0, 0, 1.5], 1.5 * np.array(tip)])
        return Crystal(np.eye(3) * 14.0, cart / 14.0 + 0.4, np.array([1, 8, 16, 17]))

    straight, *others = forces(bonds, [bent(0.0, 0.0), *(bent(azimuth, 1e-4) for azimuth in (0.0, 1.0, 3.0))])
    for other in others:
        assert (other - straight).abs().max() < 1e-2 * straight.abs().max()


def test_full_size_starts_with_messages_like_those_of_triplets() -> None:
    torch.manual_seed(0)
    crystals = some_crystals()[3:]
    denoiser = GemNetDenoiser(GemNetConfig(quadruplets=True), 3).double()
    sizes: dict[str, list[float]] = {"triplets": [], "quadruplets": []}
    for block, name in product(denoiser.blocks, sizes):
        getattr(block, name).register_forward_hook(
            lambda _, __, out, name=name: sizes[name].append(out.square().mean().sqrt().item())
        )
    denoiser(as_batch(crystals), torch.zeros(2, 3, dtype=torch.float64))
    for three, four in zip(sizes["triplets"], sizes["quadruplets"], strict=True):
        assert 0.2 < four / three < 5


@pytest.mark.parametrize("quadruplets", [False, True])
def test_messages_that_are_added_keep_their_variance(quadruplets: bool) -> None:
    torch.manual_seed(0)
    denoiser = GemNetDenoiser(replace(SMALL, quadruplets=quadruplets), 3).double()
    block = denoiser.blocks[0]
    names = ["own", "triplets", "quadruplets"] if quadruplets else ["own", "triplets"]
    seen: list[Tensor] = []
    for name in names:
        getattr(block, name).register_forward_hook(lambda _, __, out: torch.randn_like(out))
    block.before.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    denoiser(as_batch(some_crystals() * 4), torch.zeros(20, 3, dtype=torch.float64))
    assert seen[0].std().item() == pytest.approx(1, abs=0.05)
