"""The correct crystal fits despite errors of its cell, others do not, and lines without a crystal are listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, nickel_arsenide, rock_salt, wurtzite, zinc_blende

from lcoms.core.errors import ConfigError
from lcoms.core.figures import check_figure, write_figure
from lcoms.diffraction.figure import pattern_figure
from lcoms.diffraction.fit import PatternFitter, fit_pattern
from lcoms.diffraction.lines import Lines, allowed_strains, find_lines
from lcoms.diffraction.posterior import (
    explained,
    explained_probability,
    features,
    log_likelihood,
    pattern_probabilities,
    verdict,
)
from lcoms.diffraction.prepare import Prepared, prepare
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.reading import PowderPattern
from lcoms.diffraction.refine import State, Window, evaluate, first_state, make_window
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.diffraction.texture import march_dollase
from lcoms.diffraction.weights import load_pattern_weights
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import primitive_standard

COPPER = read_radiation("CuKa")
ORTHORHOMBIC = Crystal(
    np.diag([4.2, 5.3, 7.1]),
    np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0, 0.4], [0, 0.5, 0.7]]),
    np.array([56, 56, 16, 16]),
)
MONOCLINIC = Crystal(
    np.array([[5.1, 0, 0], [0, 5.9, 0], [-1.1, 0, 6.3]]),
    np.array([[0.1, 0.1, 0.2], [0.9, 0.6, 0.8], [0.4, 0.3, 0.7], [0.6, 0.8, 0.3]]),
    np.array([82, 82, 8, 8]),
)


def simulated(crystal: Crystal, radiation: str = "CuKa", **how: float) -> PowderPattern:
    return measured_pattern(crystal, read_radiation(radiation), replace(Measurement(), **how), np.random.default_rng(1))


def strained(crystal: Crystal, *amounts: float) -> Crystal:
    """Return the crystal strained along a, b and c, as its symmetry allows."""
    cell = primitive_standard(crystal)
    strains = allowed_strains(cell.crystal.lattice, cell.rotations)
    strain = np.einsum("m,mij->ij", np.einsum("mij,ij->m", strains, np.diag(amounts)), strains)
    return Crystal(cell.crystal.lattice @ (np.eye(3) + strain), cell.crystal.frac_coords, cell.crystal.atomic_numbers)


def lengths(crystal: Crystal) -> np.ndarray:
    return np.sort(np.linalg.norm(primitive_standard(crystal).conventional, axis=1))


@pytest.mark.parametrize(
    ("crystal", "n"),
    [(rock_salt(), 1), (wurtzite(), 2), (ORTHORHOMBIC, 3), (MONOCLINIC, 4)],
    ids=["cubic", "hexagonal", "orthorhombic", "monoclinic"],
)
def test_strains_that_the_symmetry_allows(crystal: Crystal, n: int) -> None:
    cell = primitive_standard(crystal)
    strains = allowed_strains(cell.crystal.lattice, cell.rotations)
    assert len(strains) == n
    np.testing.assert_allclose(np.einsum("mij,nij->mn", strains, strains), np.eye(n), atol=1e-10)
    for number, strain in enumerate(strains):
        moved = cell.crystal.lattice @ (np.eye(3) + 0.02 * strain)
        again = primitive_standard(Crystal(moved, cell.crystal.frac_coords, cell.crystal.atomic_numbers))
        assert again.space_group == cell.space_group, number


@pytest.mark.parametrize("radiation", ["CuKa", "MoKa", "0.6", "neutron 1.8"])
@pytest.mark.parametrize(
    ("crystal", "error"),
    [(rock_salt(), (0.03,) * 3), (wurtzite(), (-0.02, -0.02, 0.02)), (ORTHORHOMBIC, (0.02, -0.02, 0.015))],
    ids=["cubic", "hexagonal", "orthorhombic"],
)
def test_the_cell_is_found_although_it_errs_in_each_direction(
    crystal: Crystal, error: tuple[float, float, float], radiation: str
) -> None:
    wave = read_radiation(radiation).wavelength
    last = 2 * float(np.degrees(np.arcsin(min(wave / 2 / 1.0, 0.7))))
    pattern = simulated(crystal, radiation, first=3.0, last=last, zero_shift=0.04, step=last / 4000, width=0.002 * last)
    fit = fit_pattern(strained(crystal, *error), pattern)
    np.testing.assert_allclose(lengths(fit.crystal), lengths(crystal), rtol=3e-4)
    assert fit.zero_shift == pytest.approx(0.04, abs=0.01)
    assert fit.rwp < 0.15
    assert fit.cosine > 0.98
    assert not fit.unexplained


def test_a_monoclinic_angle_is_fitted() -> None:
    pattern = simulated(MONOCLINIC)
    fit = fit_pattern(strained(MONOCLINIC, 0.02, -0.015, 0.01), pattern)
    np.testing.assert_allclose(lengths(fit.crystal), lengths(MONOCLINIC), rtol=5e-4)
    assert fit.crystal.volume == pytest.approx(MONOCLINIC.volume, rel=1e-3)


def test_the_right_one_of_five_structures_comes_first() -> None:
    rivals = [zinc_blende(5.9, (12, 8)), wurtzite(3.3, 5.3, numbers=(12, 8)), caesium_chloride(2.6, (12, 8)),
              nickel_arsenide(2.9, 4.9, (12, 8)), rock_salt(4.2 * 1.02, (12, 8))]  # fmt: skip
    fits = PatternFitter(simulated(rock_salt(4.2, (12, 8)))).fit_all(rivals)
    fitter = PatternFitter(simulated(rock_salt(4.2, (12, 8))))
    assert int(np.argmax([fitter.screen(rival) for rival in rivals])) == 4
    assert int(np.argmax(pattern_probabilities(fits))) == 4
    assert pattern_probabilities(fits)[4] > 0.9
    assert explained_probability(fits[4]) > 0.5
    assert max(map(explained_probability, fits[:4])) < 0.5
    assert explained(fits)
    assert not explained(fits[:4])
    assert verdict(fits) == ""
    assert verdict(fits[:4]).startswith("No crystal explains the pattern: ")


def test_strong_lines_that_the_crystal_lacks_are_named() -> None:
    impurity = simulated(wurtzite())
    salt = simulated(rock_salt())
    mixed = replace(salt, counts=salt.counts + 0.4 * impurity.counts)
    fit = fit_pattern(rock_salt(), mixed)
    assert len(fit.unexplained) == 2  # the third of the three strongest lies beneath one of the salt
    assert any(abs(peak.two_theta - 36.27) < 0.1 for peak in fit.unexplained)  # the strongest line of zinc oxide
    assert "2 strong lines unexplained (at 34." in verdict([fit])
    assert not fit_pattern(rock_salt(), salt).unexplained


def test_preferred_orientation_is_found() -> None:
    fit = fit_pattern(wurtzite(), simulated(wurtzite(), texture=0.5))
    assert fit.texture == pytest.approx(0.5, abs=0.12)
    assert fit.texture_axis is not None
    assert fit.rwp < 0.15
    assert fit_pattern(wurtzite(), simulated(wurtzite())).texture == 1.0


@pytest.mark.parametrize("seed", [2, 5])
def test_strong_preferred_orientation_does_not_lead_a_triclinic_cell_astray(seed: int) -> None:
    half = np.random.default_rng(seed).random((6, 3))
    lattice = np.array([[5.1, 0, 0], [0.9, 6.0, 0], [-1.1, 0.8, 7.4]])
    crystal = Crystal(lattice, np.concatenate([half, 1 - half]), np.array([29, 16, 8, 8, 8, 8] * 2))
    pattern = simulated(crystal, texture=2.4, counts=600.0, last=70.0)
    fit = fit_pattern(replace(crystal, lattice=lattice @ np.diag([1.02, 0.985, 1.01])), pattern)
    assert fit.texture == pytest.approx(2.4, rel=0.05)
    assert fit.rwp < 0.25
    assert fit.crystal.volume == pytest.approx(crystal.volume, rel=2e-3)


def test_with_free_intensities_wrong_atoms_fit_but_a_wrong_lattice_does_not() -> None:
    fitter = PatternFitter(simulated(rock_salt(4.2, (12, 8))))
    right, exchanged, other = fitter.fit_all(
        [rock_salt(4.2, (12, 8)), zinc_blende(4.2, (12, 8)), caesium_chloride(2.6, (12, 8))]
    )
    assert right.rwp_free == pytest.approx(right.rwp_noise, rel=0.2)
    assert exchanged.rwp_free == pytest.approx(right.rwp_free, rel=0.2)  # the same face-centred lattice
    assert exchanged.rwp_net > 5 * exchanged.rwp_free
    assert other.rwp_free > 5 * right.rwp_free
    assert features(right).intensities < features(exchanged).intensities
    for fit in (right, exchanged, other):
        assert fit.rwp_free <= fit.rwp_net


def test_a_tetragonal_crystal_far_from_cubic_is_found_from_a_cubic_one() -> None:
    long = rock_salt(4.2, (12, 8))
    truth = Crystal(long.lattice @ np.diag([1, 1, 1.2]), long.frac_coords, long.atomic_numbers)
    cubic = Crystal(long.lattice * np.cbrt(1.2) * 1.01, long.frac_coords, long.atomic_numbers)
    fitter = PatternFitter(simulated(truth))
    tetragonal, rhombohedral = fitter.fit_distorted(cubic)
    assert not explained([fitter.fit(cubic)])
    assert explained([tetragonal])
    assert lengths(tetragonal.crystal) == pytest.approx(lengths(truth), rel=1e-3)
    assert (tetragonal.n_cell, rhombohedral.n_cell) == (2, 2)
    assert not explained([rhombohedral])
    assert fitter.fit_distorted(MONOCLINIC)[0].n_cell == 6


def test_ticks_stand_where_the_lines_do() -> None:
    fit = fit_pattern(rock_salt(), simulated(rock_salt()))
    by_planes = {tick.planes: tick for tick in fit.ticks}
    assert by_planes[(2, 0, 0)].intensity == pytest.approx(100)
    assert by_planes[(2, 0, 0)].two_theta == pytest.approx(31.68, abs=0.03)
    place = int(np.argmax(fit.observed))
    assert fit.two_theta[place] == pytest.approx(by_planes[(2, 0, 0)].two_theta, abs=0.05)


def test_the_jacobian_is_the_slope_of_the_profile() -> None:
    pattern = prepare(simulated(ORTHORHOMBIC))
    lines = find_lines(ORTHORHOMBIC, COPPER, 1.05 * pattern.reach)
    for broadening in (0.0, 0.5):
        window = make_window(pattern, broadening)
        state = first_state(lines, np.array([0.01, -0.02, 0.01]), pattern)
        model = evaluate(lines, pattern, window, state)
        for place in range(len(state.values)):
            if broadening and place in (4, 5, 6, 7):
                continue  # not fitted to broad lines
            sides = []
            for sign in (1, -1):
                values = state.values.copy()
                values[place] += sign * 1e-5
                moved = evaluate(lines, pattern, window, replace(state, values=values))
                sides.append(moved.profile + moved.polynomial)
            slope = (sides[0] - sides[1]) / 2e-5
            size = float(np.abs(slope).max())
            wrong = np.abs(model.jacobian[:, place] - slope) > 0.03 * size
            assert wrong.mean() < 0.015, place  # but where a line's tail is cut


def test_background_is_not_lines() -> None:
    how = Measurement(background=0.3)
    pattern = measured_pattern(rock_salt(), COPPER, how, np.random.default_rng(2))
    ready = prepare(pattern)
    beside = np.abs(ready.two_theta - 38) < 2  # between two lines
    assert abs(float(ready.net[beside].mean())) < 0.02
    assert 0.15 < ready.width < 0.27  # the doublet widens it


def test_units_of_counts_do_not_matter() -> None:
    pattern = simulated(wurtzite())
    plain, normalised = (
        fit_pattern(wurtzite(3.3), one)
        for one in (pattern, replace(pattern, counts=pattern.counts / pattern.counts.max()))
    )
    assert normalised.rwp == pytest.approx(plain.rwp, rel=0.02)
    assert log_likelihood(normalised) == pytest.approx(log_likelihood(plain), abs=0.3)


def test_worse_fits_are_never_likelier() -> None:
    weights = load_pattern_weights()
    assert all(weight <= 0 for weight in (*weights.likelihood, *weights.explained))


def test_figures(tmp_path: Path) -> None:
    figure = pattern_figure(fit_pattern(wurtzite(), simulated(rock_salt())), "ZnO")
    for name in ("a.png", "a.svg"):
        write_figure(figure, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    with pytest.raises(ConfigError, match=r"figures are written as .png"):
        check_figure(tmp_path / "a.bmp")


def test_a_crystal_without_lines_in_the_range_is_fitted_without_warnings() -> None:
    whole = simulated(ORTHORHOMBIC)
    below = whole.two_theta < 30
    narrow = replace(whole, two_theta=whole.two_theta[below], counts=whole.counts[below])
    iron = Crystal(np.eye(3) * 2.87, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([26, 26]))  # first line at 45
    fit = fit_pattern(iron, narrow)
    assert fit.cosine == 0
    assert fit.unexplained


def test_high_angles_without_lines_are_not_fitted() -> None:
    pattern = simulated(wurtzite(), last=72.0)
    beyond = np.arange(72.02, 120.0, 0.02)
    counts = np.random.default_rng(2).poisson(np.median(pattern.counts[-100:]), len(beyond)).astype(np.float64)
    longer = replace(pattern, two_theta=np.append(pattern.two_theta, beyond), counts=np.append(pattern.counts, counts))
    fitter, last = PatternFitter(longer), prepare(pattern).peaks[-1].two_theta
    assert last < fitter.pattern.two_theta[-1] < 1.08 * last
    assert explained_probability(fitter.fit(wurtzite())) > 0.8


def test_a_fit_is_refined_again_after_preferred_orientation_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fit_pattern(wurtzite(), simulated(wurtzite()))

    def misled(
        lines: Lines, _: Prepared, window: Window, state: State
    ) -> tuple[State, float, tuple[int, int, int] | None]:
        if not window.broadening:
            return replace(state, texture=np.ones(len(lines.strengths))), 1.0, None
        factors = march_dollase(lines, lines.vectors[0], np.array([0.5]))[:, 0]
        return replace(state, texture=factors), 0.5, lines.indices(0)

    monkeypatch.setattr("lcoms.diffraction.fit.fitted_texture", misled)
    again = fit_pattern(wurtzite(), simulated(wurtzite()))
    assert plain.texture_axis is None
    assert again.rwp == pytest.approx(plain.rwp, rel=0.01)
