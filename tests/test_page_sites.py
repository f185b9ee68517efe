"""Wyckoff positions of known structure types equal those in International Tables."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import perovskite, rock_salt, wurtzite

from lcoms.page.sites import occupied_sites
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import conventional


def test_rock_salt_and_perovskite_have_their_positions() -> None:
    salt = occupied_sites(conventional(rock_salt()))
    assert sorted((s.symbol, s.wyckoff) for s in salt) in ([("Cl", "4a"), ("Na", "4b")], [("Cl", "4b"), ("Na", "4a")])
    assert {s.symmetry for s in salt} == {"m-3m"}
    sites = occupied_sites(conventional(perovskite()))
    assert sorted(s.wyckoff[0] for s in sites) == ["1", "1", "3"]
    assert {s.symbol: s.wyckoff[0] for s in sites} == {"Sr": "1", "Ti": "1", "O": "3"}


def test_free_coordinates_are_those_of_the_atom() -> None:
    cell = conventional(wurtzite(3.25, 5.2, numbers=(30, 8)))
    sites = occupied_sites(cell)
    assert {s.wyckoff for s in sites} == {"2b"}
    for site in sites:
        assert site.coords[:2] in ((pytest.approx(1 / 3, abs=1e-4), pytest.approx(2 / 3, abs=1e-4)),
                                   (pytest.approx(2 / 3, abs=1e-4), pytest.approx(1 / 3, abs=1e-4)))  # fmt: skip
        assert any(np.allclose(site.coords, f % 1, atol=1e-4) for f in cell.frac_coords)


def test_a_cell_without_symmetry_lists_every_atom() -> None:
    coords = np.array([[0.01, 0.02, 0.03], [0.31, 0.44, 0.17], [0.72, 0.18, 0.55]])
    crystal = Crystal(np.array([[5, 0, 0], [0.4, 6, 0], [0.2, 0.7, 7.0]]), coords, np.array([3, 8, 9]))
    assert [(s.symbol, s.wyckoff) for s in occupied_sites(crystal)] == [("Li", "1a"), ("O", "1a"), ("F", "1a")]
