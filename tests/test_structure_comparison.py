"""Comparison of two crystals: matches, distances, atom mapping, volumes and groups."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import perovskite, rock_salt, wurtzite, zinc_blende

from lcoms.cli.main import run
from lcoms.structure.comparison import compare
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_cif
from lcoms.structure.symmetry import conventional


def test_a_crystal_and_itself_in_another_order() -> None:
    crystal = perovskite()
    order = np.array([4, 2, 0, 1, 3])
    other = Crystal(crystal.lattice, crystal.frac_coords[order] + 0.25, crystal.atomic_numbers[order])
    found = compare(crystal, other)
    assert found.strict
    assert found.loose
    assert found.rms == pytest.approx(0, abs=1e-6)
    assert found.space_groups == (221, 221)
    for pair in found.mapping:
        assert crystal.atomic_numbers[pair.first - 1] == other.atomic_numbers[pair.second - 1]
        assert pair.distance == pytest.approx(0, abs=1e-6)
    assert sorted(pair.second for pair in found.mapping) == [1, 2, 3, 4, 5]


def test_a_displaced_atom_is_the_one_that_is_far() -> None:
    crystal = perovskite()
    moved = crystal.frac_coords.copy()
    moved[1, 2] += 0.1 / 3.905
    found = compare(crystal, Crystal(crystal.lattice, moved, crystal.atomic_numbers))
    far = max(found.mapping, key=lambda pair: pair.distance)
    assert (far.symbol, far.first, far.second) == ("Ti", 2, 2)
    assert found.rms_angstrom == pytest.approx(0.1 * (1 / 5 * (1 - 1 / 5)) ** 0.5, abs=1e-4)  # about the centre


def test_displacements_are_those_at_the_mean_volume_whichever_crystal_is_first() -> None:
    crystal = perovskite()
    moved = crystal.frac_coords.copy()
    moved[1, 2] += 0.03
    larger = Crystal(1.04 * crystal.lattice, moved, crystal.atomic_numbers)
    volume = crystal.volume * (1 + 1.04**3) / 2
    expected = 0.03 * volume ** (1 / 3) * (1 / 5 * (1 - 1 / 5)) ** 0.5
    assert compare(crystal, larger).rms_angstrom == pytest.approx(expected, rel=1e-3)
    assert compare(larger, crystal).rms_angstrom == pytest.approx(expected, rel=1e-3)


def test_a_primitive_and_a_conventional_cell() -> None:
    small, large = rock_salt(), conventional(rock_salt(5.8))
    for found, first in ((compare(small, large), small), (compare(large, small), large)):
        assert found.strict
        assert len(found.mapping) == 8
        assert {pair.first for pair in found.mapping} == set(range(1, first.n_atoms + 1))
    assert compare(small, large).volume_per_atom == pytest.approx((5.64**3 / 8, 5.8**3 / 8))


def test_other_structures_and_compositions() -> None:
    found = compare(zinc_blende(), wurtzite())
    assert not found.same_composition
    assert (found.strict, found.loose, found.rms, found.mapping) == (False, False, None, ())
    other = compare(rock_salt(4.2, (12, 8)), wurtzite(3.3, 5.3, numbers=(12, 8)))
    assert not other.strict
    assert not other.same_space_group


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, out = tmp_path / "a.cif", tmp_path / "b.cif", tmp_path / "out.json"
    first.write_text(to_cif(rock_salt()))
    second.write_text(to_cif(conventional(rock_salt(5.8))))
    assert run(["compare", str(first), str(second), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "match: strict" in printed
    assert "volume per atom +8.75%; space groups alike" in printed
    content = json.loads(out.read_text())
    assert content["match_strict"]
    assert content["space_groups"] == [225, 225]
    assert len(content["mapping"]) == 8
    assert run(["compare", str(first), str(tmp_path / "none.cif")]) == 2
    assert "none.cif: cannot be read" in capsys.readouterr().err
