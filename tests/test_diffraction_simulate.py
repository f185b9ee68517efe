"""Lines lie where Bragg's law predicts them, and only where the lattice allows them."""

from __future__ import annotations

from math import asin, degrees

import numpy as np
import pytest
from tiny import caesium_chloride, fluorite, nickel_arsenide, perovskite, rock_salt, wurtzite, zinc_blende

from lcoms.core.errors import ConfigError
from lcoms.diffraction.lines import find_lines
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.scattering import scattering_factors
from lcoms.diffraction.simulate import Measurement, measured_pattern, powder_pattern
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.io import to_pymatgen
from lcoms.structure.symmetry import conventional

COPPER = read_radiation("CuKa")
ALL = (rock_salt(), caesium_chloride(), zinc_blende(), wurtzite(), perovskite(), nickel_arsenide(), fluorite())


def test_rock_salt_has_the_lines_of_a_face_centred_lattice() -> None:
    lines = powder_pattern(rock_salt())
    assert [line.planes for line in lines[:3]] == ["(1 1 1)", "(2 0 0)", "(2 2 0)"]
    for line in lines:
        indices = tuple(map(int, line.planes.split(")")[0].strip("(").split()))
        assert line.spacing == pytest.approx(5.64 / sum(i * i for i in indices) ** 0.5)
        assert line.two_theta == pytest.approx(2 * degrees(asin(COPPER.mean / 2 / line.spacing)))
        assert len({i % 2 for i in indices}) == 1
    assert max(line.intensity for line in lines) == pytest.approx(100)
    assert max(lines, key=lambda line: line.intensity).planes == "(2 0 0)"


def test_a_primitive_cubic_lattice_lets_all_lines_be() -> None:
    assert powder_pattern(caesium_chloride())[0].planes == "(1 0 0)"


@pytest.mark.parametrize("crystal", ALL, ids=lambda crystal: crystal.composition.formula)
def test_multiplicities_and_intensities_are_those_of_a_sum_over_all_planes(crystal: Crystal) -> None:
    lines = find_lines(crystal, read_radiation("neutron 1.5"), 1.2)
    cell = lines.crystal
    grid = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lengths = np.linalg.norm(grid @ np.linalg.inv(cell.lattice).T, axis=1)
    grid, lengths = grid[(lengths > 0) & (lengths <= 1.2)], lengths[(lengths > 0) & (lengths <= 1.2)]
    scattering = {11: 3.63, 17: 9.577, 55: 5.42, 30: 5.68, 16: 2.847, 8: 5.803, 38: 7.02, 22: -3.438,
                  28: 10.3, 33: 6.58, 20: 4.70, 9: 5.654}  # fm  # fmt: skip
    amplitudes = np.exp(2j * np.pi * grid @ cell.frac_coords.T) @ [scattering[z] for z in cell.atomic_numbers]
    for length in np.unique(lines.lengths.round(6)):
        here = np.abs(lines.lengths - length) < 1e-5
        there = np.abs(lengths - length) < 1e-5
        assert lines.strengths[here].sum() == pytest.approx(float((np.abs(amplitudes[there]) ** 2).sum()), rel=0.02)
        assert lines.multiplicities[here].sum() <= there.sum()


def test_absorption_makes_the_sides_of_polar_planes_unequal_and_both_count() -> None:
    """Complex factors f make |F(hkl)| and |F(-h-k-l)| differ (Friedel); a powder shows the mean of the squares."""
    lines = find_lines(zinc_blende(), COPPER, 0.6)
    cell = lines.crystal
    factors = scattering_factors((16, 30), COPPER, lines.lengths[:1] / 2)[:, 0]
    assert np.abs(factors.imag).max() > 0.5
    one_each = [factors[(16, 30).index(z)] for z in cell.atomic_numbers]
    plane = np.round(lines.vectors[0] @ cell.lattice.T)
    sides = [abs(np.exp(2j * np.pi * cell.frac_coords @ (s * plane)) @ one_each) ** 2 for s in (1, -1)]
    assert abs(sides[0] - sides[1]) > 1
    assert lines.strengths[0] == pytest.approx(lines.multiplicities[0] * np.mean(sides))


def test_x_ray_intensities_are_near_those_of_pymatgen() -> None:
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    cell = conventional(perovskite())
    theirs = XRDCalculator(wavelength="CuKa").get_pattern(to_pymatgen(cell), two_theta_range=(5, 90))
    ours = {round(line.two_theta, 2): line.intensity for line in powder_pattern(cell)}
    for angle, intensity in zip(theirs.x, theirs.y, strict=True):
        if intensity > 1:
            assert ours[round(float(angle), 2)] == pytest.approx(intensity, abs=3)  # they leave dispersion out


def test_negative_scattering_lengths_make_neutrons_see_other_lines() -> None:
    neutrons, x_rays = (powder_pattern(perovskite(), read_radiation(name)) for name in ("neutron 1.54", "1.54"))
    assert max(x_rays, key=lambda line: line.intensity).planes == "(1 1 0)"
    assert max(neutrons, key=lambda line: line.intensity).planes != "(1 1 0)"


@pytest.mark.parametrize(("symbol", "cross_section"), [("Gd", 29.3), ("Sm", 0.422), ("Cd", 3.04), ("Fe", 11.22)])
def test_neutron_lengths_give_the_coherent_cross_sections(symbol: str, cross_section: float) -> None:
    # In barn, as tabulated next to the lengths (Neutron News 3, 1992): 4 pi |b|^2, and 100 fm^2 is a barn.
    numbers, anywhere = (SYMBOLS.index(symbol),), np.array([0.3])
    length = scattering_factors(numbers, read_radiation("neutron 0.8"), anywhere)[0, 0]
    assert 4 * np.pi * abs(length) ** 2 / 100 == pytest.approx(cross_section, rel=0.003)


@pytest.mark.parametrize(("name", "length"), [("neutron 1.5", -3.739), ("neutron 1.5 D", 6.671)])
def test_hydrogen_of_deuterated_samples_scatters_as_deuterium(name: str, length: float) -> None:
    lengths = scattering_factors((1, 8), read_radiation(name), np.array([0.3]))[:, 0]
    np.testing.assert_allclose(lengths, [length, 5.803], atol=2e-3)


def test_plates_that_lie_flat_show_their_planes_more_often() -> None:
    def share(texture: float) -> float:
        pattern = measured_pattern(
            wurtzite(),
            read_radiation("1.0"),
            Measurement(texture=texture, background=0.0),
            np.random.default_rng(0),
        )
        first = 2 * degrees(asin(0.5 * 2 / 3**0.5 / 3.25))  # (1 0 0), along which they lie
        near = np.abs(pattern.two_theta - first) < 0.4
        return float(pattern.counts[near].sum() / pattern.counts.sum())

    assert share(0.6) > 1.5 * share(1.0) > 1.5 * share(1.6)


def test_an_element_without_a_table_is_named() -> None:
    with pytest.raises(ConfigError, match="Lr: no X-ray scattering factor is known"):
        powder_pattern(rock_salt(5, (103, 9)))
    with pytest.raises(ConfigError, match="Pu: no neutron scattering length is known"):
        powder_pattern(rock_salt(5, (94, 8)), read_radiation("neutron 1.5"))


def test_cells_with_too_many_lines_are_refused() -> None:
    huge = Crystal(564.0 * np.eye(3), rock_salt().frac_coords, rock_salt().atomic_numbers)
    with pytest.raises(ConfigError, match="has too many lines for a powder pattern"):
        powder_pattern(huge)


def test_structure_factors_do_not_depend_on_how_many_are_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together = find_lines(wurtzite(), COPPER, 0.9).strengths
    monkeypatch.setattr("lcoms.diffraction.lines.AT_ONCE", 8)
    np.testing.assert_allclose(find_lines(wurtzite(), COPPER, 0.9).strengths, together, rtol=1e-12)
