"""Frequencies of springs equal the closed form; soft modes are found and labeled."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny import FACE_CENTRED, caesium_chloride, fluorite, perovskite, rock_salt

from lcoms.cli.main import run
from lcoms.cli.phonons import phonons as phonons_command
from lcoms.core.errors import ConfigError, CrystalError, OracleError
from lcoms.oracles.analytic import AnalyticOracle, best_distance
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.oracles.registry import make_oracle
from lcoms.phonons import relaxed
from lcoms.phonons.figure import density_figure
from lcoms.phonons.harmonic import PhononConfig, compute_phonons, supercell_repeats
from lcoms.phonons.relaxed import relaxed_in_symmetry
from lcoms.prediction.spec import PhononSpec
from lcoms.relax import RelaxResult, Status
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import to_cif

EDGE = 3.0  # angstrom
THZ = 15.633302  # of sqrt(eV / angstrom^2 / amu)
HBAR = 4.135667696e-3 / 2  # eV / THz; half a quantum
MASS = 22.98976928
SALT = rock_salt(2 * float(best_distance(11, 17)))


class Springs(EnergyOracle):
    """Atoms of a simple cubic lattice with springs to their six neighbors: k / 2 |u_i - u_j|^2 for each pair.

    The dispersion is w^2 = 2 k / m (3 - cos q_x a - cos q_y a - cos q_z a) for all three directions.
    """

    name = "springs"

    def __init__(self, stiffness: float) -> None:
        self.stiffness = stiffness

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [self._one(crystal) for crystal in crystals]

    def check(self, compositions: Iterable[Composition]) -> None:
        for composition in compositions:
            if composition.atomic_numbers != (11,):
                raise OracleError("springs know sodium only.")

    def _one(self, crystal: Crystal) -> Evaluation:
        n = np.rint(np.linalg.norm(crystal.lattice, axis=1) / EDGE).astype(int)
        sites = np.rint(crystal.frac_coords * n).astype(int)
        moved = (crystal.frac_coords * n - sites) * EDGE
        by_site = {tuple(site % n): u for site, u in zip(sites, moved, strict=True)}
        forces = np.zeros_like(moved)
        for i, (site, u) in enumerate(zip(sites, moved, strict=True)):
            for step in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
                forces[i] += self.stiffness * (by_site[tuple((site + step) % n)] - u)
        return Evaluation(0.0, forces, np.zeros((3, 3)))


def sodium() -> Crystal:
    return Crystal(EDGE * np.eye(3), np.zeros((1, 3)), np.array([11]))


def test_frequencies_are_those_of_the_closed_form() -> None:
    found = compute_phonons(sodium(), Springs(0.5), PhononConfig(least_edge=11.0))
    assert found.repeats == (4, 4, 4)
    assert found.n_displaced == 1
    assert found.stable
    lowest = THZ * np.sqrt(2 * 0.5 / MASS * (1 - np.cos(np.pi / 2)))  # a quarter of the zone along one axis
    assert found.lowest == pytest.approx(lowest, rel=1e-4)
    highest = THZ * np.sqrt(12 * 0.5 / MASS)
    inside = found.frequencies[found.density > 1e-3]
    assert inside.max() == pytest.approx(highest, rel=0.03)
    assert float(np.trapezoid(found.density, found.frequencies)) == pytest.approx(3, rel=0.02)


def test_zero_point_energy_is_half_a_quantum_of_each_mode() -> None:
    found = compute_phonons(sodium(), Springs(0.5), PhononConfig(least_edge=11.0))
    grid = (np.arange(40) + 0.5) / 40 * 2 * np.pi
    x, y, z = np.meshgrid(grid, grid, grid)
    mean = 3 * THZ * float(np.sqrt(2 * 0.5 / MASS * (3 - np.cos(x) - np.cos(y) - np.cos(z))).mean())
    assert found.zero_point == pytest.approx(HBAR * mean, rel=0.01)


def test_free_energy_falls_with_temperature() -> None:
    cold, warm = (
        compute_phonons(sodium(), Springs(0.5), PhononConfig(least_edge=8.0, temperature=t)) for t in (0.0, 500.0)
    )
    assert cold.free_energy == pytest.approx(cold.zero_point)
    assert cold.entropy == pytest.approx(0, abs=1e-9)
    assert warm.free_energy is not None
    assert cold.free_energy is not None
    assert warm.free_energy < cold.free_energy
    assert warm.entropy == pytest.approx(3 * 8.617e-5 * 2.5, rel=0.5)  # some times Boltzmann's constant a mode


def test_negative_springs_are_soft_at_the_corner_of_the_zone() -> None:
    found = compute_phonons(sodium(), Springs(-0.5), PhononConfig(least_edge=5.0))
    assert not found.stable
    assert found.free_energy is None
    softest = found.soft[0]
    assert softest.point == "R (1/2, 1/2, 1/2)"
    assert softest.degeneracy == 3
    assert softest.frequency == pytest.approx(-THZ * np.sqrt(12 * 0.5 / MASS), rel=1e-4)
    assert softest.motion == "Na"
    assert [mode.point.split()[0] for mode in found.soft] == ["R", "M", "X"]
    assert found.lowest == softest.frequency


def test_imaginary_frequencies_below_the_noise_are_no_soft_modes() -> None:
    found = compute_phonons(sodium(), Springs(-1e-4), PhononConfig(least_edge=5.0))
    assert -0.3 < found.lowest < -0.1
    assert found.stable
    assert found.omitted == 1.0


def test_modes_that_a_free_energy_leaves_out_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "na.cif").write_text(to_cif(sodium()))
    for stiffness, said in ((0.5, False), (-1e-4, True)):
        springs = f"{__name__}:Springs?stiffness={stiffness}"
        assert run(["phonons", str(tmp_path / "na.cif"), "--no-relax", "--oracle", springs]) == 0
        assert ("without the 100.0% of the modes" in capsys.readouterr().out) == said


def test_rock_salt_at_the_minimum_of_its_pair_energy_is_stable() -> None:
    edge = 2 * float(SALT.lattice.max())
    relaxed, other = (relaxed_in_symmetry(rock_salt(scale * edge), AnalyticOracle()) for scale in (1.03, 0.98))
    assert relaxed.volume == pytest.approx(other.volume, rel=2e-3)
    found = compute_phonons(relaxed, AnalyticOracle())
    assert found.stable
    assert found.largest_force < 1e-6


def test_a_crystal_that_leaves_its_symmetry_has_no_phonons(monkeypatch: pytest.MonkeyPatch) -> None:
    start = perovskite()
    moved = start.frac_coords + np.array([[0, 0, 0], [0, 0, 0.05], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    ends = {99: Crystal(start.lattice, moved, start.atomic_numbers), 221: start}
    for group, end in ends.items():
        result = RelaxResult(end, -1.0, Status.CONVERGED, 3, 0.001)
        monkeypatch.setattr(relaxed, "relax_crystals", lambda *_, found=result: [found])
        if group == 221:
            assert relaxed_in_symmetry(start, AnalyticOracle()).n_atoms == 5
        else:
            with pytest.raises(OracleError, match="leaves space group 221 for 99"):
                relaxed_in_symmetry(start, AnalyticOracle())


def test_the_supercell_grows_along_short_edges_until_it_is_large_enough() -> None:
    long = Crystal(np.diag([3.0, 4.0, 20.0]), np.zeros((1, 3)), np.array([11]))
    assert supercell_repeats(long, PhononConfig(least_edge=8.0)) == (3, 2, 1)
    assert supercell_repeats(long, PhononConfig(least_edge=8.0, most_atoms=3)) == (2, 1, 1)
    with pytest.raises(CrystalError, match="phonons can be computed for at most 1"):
        supercell_repeats(caesium_chloride(), PhononConfig(most_atoms=1))


def test_density_of_states_is_drawn() -> None:
    figure = density_figure(compute_phonons(sodium(), Springs(-0.5), PhononConfig(least_edge=5.0)), "Na")
    assert figure.axes[0].get_xlabel().startswith("frequency (THz")


def test_elements_that_the_oracle_does_not_know_are_refused_before_any_work() -> None:
    with pytest.raises(OracleError, match="sodium only"):
        compute_phonons(rock_salt(), Springs(1.0))


@pytest.mark.parametrize(
    "option", [{"temperature": -1.0}, {"displacement": 0.0}, {"least_edge": 0.0}, {"most_atoms": 0}]
)
def test_options_that_make_no_sense_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="not "):
        PhononConfig(**option)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out, figure = tmp_path / "salt.cif", tmp_path / "out.json", tmp_path / "dos.png"
    path.write_text(to_cif(SALT))
    options = ["--oracle", "analytic", "--json", str(out), "--figure", str(figure)]
    assert run(["phonons", str(path), *options]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("NaCl (salt.cif): stable; lowest frequency ")
    assert "harmonic free energy at 300 K" in printed
    (row,) = json.loads(out.read_text())["crystals"]
    assert row["stable"]
    assert row["soft_modes"] == []
    assert figure.stat().st_size > 5000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--temperature", "-5"], "--temperature must be 0 K or more"),
        (["--figure", "dos.bmp"], "figures are written as .png, .svg, .pdf"),
        (["--oracle", "nothing"], "there is no oracle 'nothing'"),
    ],
)
def test_bad_options_are_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("salt.cif").write_text(to_cif(SALT))
    assert run(["phonons", "salt.cif", "--oracle", "analytic", *options]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len(printed.splitlines()) == 1


def test_without_phonopy_it_is_said_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lcoms.phonons.harmonic.find_spec", lambda _: None)
    assert run(["phonons", str(tmp_path / "salt.cif")]) == 2
    assert 'pip install "lcoms[phonons]"' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("crystal", "stable"),
    [
        (rock_salt(5.6), True),
        (rock_salt(4.2, (12, 8)), True),
        (Crystal(5.43 * FACE_CENTRED, np.array([[0, 0, 0], [0.25, 0.25, 0.25]]), np.array([14, 14])), True),
        (perovskite(4.0, (56, 22, 8)), False),
        (fluorite(5.1, (40, 8)), False),
    ],
    ids=["NaCl", "MgO", "Si", "BaTiO3", "ZrO2"],
)
def test_known_crystals_are_stable_or_not_by_chgnet(crystal: Crystal, stable: bool) -> None:
    pytest.importorskip("chgnet")
    oracle = make_oracle("chgnet:r2scan")
    assert compute_phonons(relaxed_in_symmetry(crystal, oracle), oracle).stable == stable


def test_defaults_of_the_command_and_of_predictions_are_those_of_the_calculation() -> None:
    typed = inspect.signature(phonons_command).parameters
    for name in ("temperature", "displacement", "most_atoms"):
        assert typed[name].default == getattr(PhononConfig(), name)
    assert PhononSpec().temperature == PhononConfig().temperature
