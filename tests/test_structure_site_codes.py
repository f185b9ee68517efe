"""Site codes: the nearest of all codewords, on the correct positions, and decoded to the original crystal."""

from __future__ import annotations

import numpy as np
import pytest
from test_structure_wyckoff import built
from tiny import fluorite, perovskite, wurtzite

from lcoms.structure.cell_codes import codewords
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import LOOSE, matches
from lcoms.structure.site_codes import N_CODES, coded_coords, describe_sites
from lcoms.structure.symmetry import symmetrise
from lcoms.structure.wyckoff import Orbits, standard_cell, symmetric_cell, wyckoff_orbits, wyckoff_positions


@pytest.mark.parametrize(("n", "hole"), [(1, 0.006), (2, 0.09), (3, 0.2)])
def test_codewords_leave_no_large_holes(n: int, hole: float) -> None:
    words = codewords(n, N_CODES)
    assert words.shape == (N_CODES, n)
    assert (words >= 0).all()
    assert (words < 1).all()
    anywhere = np.random.default_rng(0).random((500, n))
    apart = anywhere[:, None] - words
    nearest = np.linalg.norm(apart - np.round(apart), axis=-1).min(1)
    assert nearest.max() < hole


@pytest.mark.parametrize(
    ("number", "orbits"),
    [
        (2, (("a", 5), ("i", 8), ("i", 8), ("i", 13))),
        (12, (("i", 8), ("i", 13), ("j", 30))),
        (62, (("c", 8), ("c", 13), ("d", 30))),
        (139, (("a", 5), ("e", 8), ("e", 13))),
        (166, (("c", 8), ("h", 13))),
        (186, (("b", 8), ("b", 13), ("c", 30))),
        (227, (("a", 5), ("e", 8))),
    ],
)
def test_each_code_is_the_one_whose_site_comes_nearest_to_an_atom_of_its_orbit(number: int, orbits: Orbits) -> None:
    crystal = built(symmetric_cell(number, orbits), np.random.default_rng(number))
    found, cell = describe_sites(crystal, symprec=1e-3), standard_cell(crystal, symprec=1e-3)
    assert found is not None
    assert cell is not None
    assert (found.space_group, found.orbits) == wyckoff_orbits(crystal, symprec=1e-3)
    assert found.space_group == number
    explained = set()
    for (letter, z), code in zip(found.orbits, found.codes, strict=True):
        position = wyckoff_positions(number)[letter]
        has = np.flatnonzero(np.abs(position.linear).sum(0))
        words = np.zeros((N_CODES, 3))
        words[:, has] = codewords(len(has), N_CODES)
        sites = words @ position.linear.T + position.shift
        atoms = [i for i in range(len(cell.letters)) if (cell.letters[i], cell.atomic_numbers[i]) == (letter, z)]
        apart = sites[:, None] - cell.coords[atoms]
        distances = np.linalg.norm((apart - np.round(apart)) @ cell.lattice, axis=-1)
        # with several orbits of a kind the best atom of all may belong to another of them
        assert distances[code].min() < (1e-6 if position.n_free == 0 else 0.2 * np.linalg.norm(cell.lattice))
        assert any(np.isclose(distances[code, k], distances[:, k].min()) for k in range(len(atoms))), (
            "a code is the nearest word to one of its atoms"
        )
        explained.add((letter, z, code))
    kinds = {pair for pair in found.orbits if wyckoff_positions(number)[pair[0]].n_free}
    assert len(explained) >= len(kinds)


@pytest.mark.parametrize("crystal", [wurtzite(), perovskite(), fluorite()])
def test_codes_rebuild_the_prototype_they_came_from(crystal: Crystal) -> None:
    found = describe_sites(crystal, symprec=0.01)
    assert found is not None
    cell, standard = symmetric_cell(found.space_group, found.orbits), standard_cell(crystal, symprec=0.01)
    assert standard is not None
    again = Crystal(
        cell.primitive @ standard.lattice,
        (cell.shifts + cell.directions @ coded_coords(*found[:3])) % 1.0,
        cell.atomic_numbers,
    )
    assert matches(again, crystal, LOOSE)
    assert symmetrise(again).space_group == found.space_group


def test_codes_follow_the_atoms_not_their_order_or_the_choice_of_cell() -> None:
    crystal = wurtzite()
    order = np.array([2, 0, 3, 1])
    shear = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    other = Crystal(
        shear @ crystal.lattice,
        (crystal.frac_coords @ np.linalg.inv(shear))[order] % 1.0,
        crystal.atomic_numbers[order],
    )
    one, two = describe_sites(crystal, symprec=0.01), describe_sites(other, symprec=0.01)
    assert one is not None
    assert two is not None
    assert one.orbits == two.orbits
    heights = []
    for found in (one, two):
        cell = symmetric_cell(found.space_group, found.orbits)
        z = (cell.shifts + cell.directions @ coded_coords(*found[:3]))[:, 2]
        between = abs(z[0] - z[2]) % 0.5  # the two species along the polar axis, whose origin is free
        heights.append(min(between, 0.5 - between))
    assert heights[0] == pytest.approx(heights[1], abs=0.01)
    assert heights[0] == pytest.approx(0.125, abs=0.01)
