"""Relaxation of one crystal: known minima are found, energies never end above the start, bounds are respected."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny import rock_salt, shaken
from toy_oracles import CURSED, Expands, GivesNan, Lies

from lcoms.core.errors import ConfigError
from lcoms.oracles.analytic import AnalyticOracle, best_distance, depth
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.relax import Relaxation, RelaxConfig, RelaxResult, Status
from lcoms.relax.optimizer import residual
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import parameters_from_lattice, shortest_distance
from lcoms.structure.random_crystal import random_crystal


def relax(crystal: Crystal, config: RelaxConfig | None = None, oracle: EnergyOracle | None = None) -> RelaxResult:
    config, oracle = config or RelaxConfig(), oracle or AnalyticOracle()
    relaxation = Relaxation(crystal, config)
    result = relaxation.check_start()
    while result is None:
        result = relaxation.tell(oracle.evaluate([relaxation.crystal])[0])
    return result


def random_crystals(formula: str, n: int, seed: int = 0) -> list[Crystal]:
    random = np.random.default_rng(seed)
    return [random_crystal(Composition.from_formula(formula), random) for _ in range(n)]


def face_centred(a: float, number: int) -> Crystal:
    return Crystal(a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]), np.zeros((1, 3)), np.array([number]))


def test_the_known_minimum_of_an_element_is_found() -> None:
    distance, well = float(best_distance(29, 29)), float(depth(29, 29))
    result = relax(shaken(face_centred(1.08 * distance * 2**0.5, 29), 0.3), RelaxConfig(fmax=1e-4))
    assert result.converged
    assert result.reason == ""
    assert result.energy == pytest.approx(-6 * well, abs=1e-6)
    assert shortest_distance(result.crystal.lattice, result.crystal.frac_coords) == pytest.approx(distance, abs=1e-3)


def test_shaken_rock_salt_finds_its_way_back() -> None:
    exact = relax(rock_salt(5.0), RelaxConfig(fmax=1e-4))
    start = shaken(rock_salt(5.0), 0.1, seed=3)
    result = relax(start, RelaxConfig(fmax=1e-4))
    assert exact.converged
    assert result.converged
    assert result.energy == pytest.approx(exact.energy, abs=1e-6)
    np.testing.assert_allclose(
        *(np.concatenate(parameters_from_lattice(r.crystal.lattice)) for r in (exact, result)), atol=1e-2
    )
    assert result.start_energy == pytest.approx(AnalyticOracle().evaluate([start])[0].energy)
    np.testing.assert_array_equal(result.crystal.atomic_numbers, start.atomic_numbers)


@pytest.mark.parametrize("formula", ["Na4Cl4", "Sr2Ti2O6"])
def test_energy_only_falls_and_forces_and_stress_end_below_fmax(formula: str) -> None:
    oracle, config = AnalyticOracle(), RelaxConfig(fmax=0.05)
    results = [relax(crystal, config) for crystal in random_crystals(formula, 5)]
    assert sum(result.converged for result in results) >= 4
    for result in results:
        assert result.energy <= result.start_energy + 1e-6 * result.crystal.n_atoms
        [again] = oracle.evaluate([result.crystal])
        assert again.energy == result.energy
        assert residual(result.crystal, again) == result.fmax
        if result.converged:
            assert np.linalg.norm(again.forces, axis=1).max() < config.fmax
            strain = result.crystal.volume * again.stress / result.crystal.n_atoms
            assert np.linalg.norm(strain, ord=2) < config.fmax


def test_in_a_fixed_cell_only_the_atoms_move() -> None:
    start = shaken(rock_salt(5.0), 0.1, seed=3)
    result = relax(start, RelaxConfig(fmax=1e-4, fixed_cell=True))
    assert result.converged
    np.testing.assert_array_equal(result.crystal.lattice, start.lattice)
    assert result.energy < result.start_energy
    assert np.abs(AnalyticOracle().evaluate([result.crystal])[0].stress).max() > 1e-3


def test_a_rotated_crystal_takes_the_rotated_path() -> None:
    config = RelaxConfig(fmax=0.01)
    rotation = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    start = shaken(rock_salt(4.9), 0.15)
    plain = relax(start, config)
    turned = relax(Crystal(start.lattice @ rotation, start.frac_coords, start.atomic_numbers), config)
    assert plain.n_steps == turned.n_steps > 3
    assert turned.energy == pytest.approx(plain.energy, abs=1e-8)
    np.testing.assert_allclose(turned.crystal.lattice, plain.crystal.lattice @ rotation, atol=1e-6)


def test_atoms_move_no_further_than_a_step_may() -> None:
    config = RelaxConfig(fmax=0.01, max_step=0.05, trajectory="frames")
    # Fractional coordinates follow the strain, so what is left of the move is the atoms' own.
    result = relax(random_crystals("Na4Cl4", 1)[0], config)
    assert result.trajectory is not None
    frames = result.trajectory.frames
    assert len(frames) == len(result.trajectory.energies) == result.n_steps + 1
    for before, after in pairwise(frames):
        move = after.frac_coords - before.frac_coords
        own = (move - np.round(move)) @ before.lattice
        assert np.linalg.norm(own, axis=1).max() < 2 * config.max_step  # a step back and the next add up
    assert min(result.trajectory.energies) == result.energy


def test_a_rejected_step_is_halved_and_steps_grow_again_by_half() -> None:
    """A constant force has no curvature, so that the limit alone decides the lengths."""
    edge, lengths = 7.0, []
    relaxation = Relaxation(Crystal(edge * np.eye(3), np.zeros((1, 3)), np.array([11])), RelaxConfig(fixed_cell=True))
    start = relaxation.crystal.frac_coords[0, 0]
    for energy in (0.0, 1.0, -1.0, -2.0, -3.0):
        assert relaxation.tell(Evaluation(energy, np.array([[100.0, 0, 0]]), np.zeros((3, 3)))) is None
        lengths.append((relaxation.crystal.frac_coords[0, 0] - start) * edge)
    np.testing.assert_allclose(lengths, np.array([2, 1, 1 + 1.5, 1 + 1.5 + 2, 1 + 1.5 + 2 + 2]) * 0.15)


def test_a_step_may_rise_to_the_highest_of_the_last_energies_but_not_above_the_start() -> None:
    def energies(*values: float) -> list[bool]:
        """Return which of the steps are accepted."""
        relaxation, accepted = Relaxation(rock_salt(), RelaxConfig(fixed_cell=True)), []
        for value in values:
            before = relaxation.crystal
            relaxation.tell(Evaluation(value, np.array([[1.0, 0, 0], [-1.0, 0, 0]]), np.zeros((3, 3))))
            accepted.append(relaxation._at is not None and relaxation._at[0] is before)
        return accepted

    assert energies(0.0, -3.0, -1.0) == [True, True, True]
    assert energies(0.0, 0.1) == [True, False]
    assert energies(0.0, 1e-6) == [True, True]  # rounding
    assert energies(0.0, -5.0, -5.1, -5.2, -5.3, -4.9) == [True, True, True, True, True, False]


def test_a_relaxation_ends_where_atoms_or_planes_come_too_close() -> None:
    def end(crystal: Crystal, forces: list[list[float]], stress: float, config: RelaxConfig) -> RelaxResult | None:
        evaluation = Evaluation(0.0, np.array(forces), np.diag([stress, 0, 0]))
        return Relaxation(crystal, config).tell(evaluation)

    pair = Crystal(6 * np.eye(3), np.array([[0, 0, 0], [0.1, 0, 0]]), np.array([11, 17]))
    result = end(pair, [[50.0, 0, 0], [-50.0, 0, 0]], 0.0, RelaxConfig(min_distance=0.5, fixed_cell=True))
    assert result is not None
    assert (result.status, result.reason) == (Status.EXPLODED, "two atoms are 0.00 angstrom apart.")
    flat = Crystal(np.diag([1.0, 6.0, 6.0]), np.zeros((1, 3)), np.array([11]))
    result = end(flat, [[0.0, 0, 0]], 50.0, RelaxConfig(length_bounds=(0.95, 50.0)))
    assert result is not None
    assert result.status is Status.EXPLODED
    assert "angstrom thin" in result.reason


def test_the_residual_of_a_stress_is_its_largest_principal_value_times_the_volume_per_atom() -> None:
    crystal = Crystal(4 * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([11, 17]))
    stress = np.array([[0.0, 0.02, 0], [0.02, 0, 0], [0, 0, -0.01]])
    assert residual(crystal, Evaluation(0.0, np.full((2, 3), 0.1), stress)) == pytest.approx(0.02 * 64 / 2)
    assert residual(crystal, Evaluation(0.0, np.full((2, 3), 1.0), stress)) == pytest.approx(np.sqrt(3))


def test_the_step_limit_is_kept_and_said() -> None:
    result = relax(random_crystals("Na4Cl4", 1)[0], RelaxConfig(fmax=1e-3, max_steps=3))
    assert (result.status, result.n_steps) == (Status.STEP_LIMIT, 3)
    assert "after 3 steps" in result.reason
    assert result.energy < result.start_energy
    assert relax(rock_salt(), RelaxConfig(fmax=1e-9, max_steps=0)).n_steps == 0


def test_an_exploding_crystal_is_flagged_with_the_last_sane_one() -> None:
    result = relax(rock_salt(), RelaxConfig(max_steps=10_000), Expands())
    assert result.status is Status.EXPLODED
    assert "cubic angstrom per atom" in result.reason
    assert result.crystal.volume / 2 <= RelaxConfig().volume_bounds[1]
    assert result.energy == -result.crystal.volume


def test_a_start_without_sense_is_not_evaluated() -> None:
    close = Crystal(5 * np.eye(3), np.array([[0, 0, 0], [0.05, 0, 0]]), np.array([11, 17]))
    result = relax(close)
    assert (result.status, result.n_steps) == (Status.EXPLODED, 0)
    assert "0.25 angstrom apart" in result.reason
    assert np.isnan(result.energy)
    dense = Crystal(np.eye(3), np.zeros((1, 3)), np.array([11]))
    assert "volume is 1 " in relax(dense, RelaxConfig(volume_bounds=(1.1, 500.0))).reason


def test_wrong_forces_end_in_a_status_not_in_a_loop() -> None:
    result = relax(shaken(rock_salt(4.9), 0.1), RelaxConfig(fmax=1e-3), Lies())
    assert result.status is Status.STEP_LIMIT
    assert "decreases no further" in result.reason
    assert result.n_steps < 100


def test_nan_is_the_oracle_s_failure() -> None:
    result = relax(rock_salt(numbers=(CURSED, 17)), oracle=GivesNan())
    assert result.status is Status.ORACLE_FAILED
    assert "not finite" in result.reason
    relaxation = Relaxation(rock_salt(), RelaxConfig())
    ended = relaxation.tell(Evaluation.failed("no such thing.", 2))
    assert ended is not None
    assert (ended.status, ended.reason) == (Status.ORACLE_FAILED, "no such thing.")


def test_hopeless_crystals_are_given_up_only_when_asked() -> None:
    start = random_crystals("Na4Cl4", 1)[0]
    full = relax(start, RelaxConfig(fmax=0.001))
    assert full.converged
    options = {"fmax": 0.001, "hopeless_after": 4}
    stopped = relax(start, RelaxConfig(hopeless_above=full.energy_per_atom - 0.1, **options))  # type: ignore[arg-type]
    assert (stopped.status, stopped.n_steps) == (Status.HOPELESS, 4)
    assert relax(start, RelaxConfig(hopeless_above=1e3, **options)).converged  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{"fmax": 0.0}, {"fmax": float("nan")}, {"max_steps": -1}, {"volume_bounds": (2.0, 1.0)}],
)
def test_options_without_sense_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        RelaxConfig(**options)


def test_the_stress_under_pressure_is_the_pressure() -> None:
    pressure = 0.05
    result = relax(shaken(rock_salt(5.0), 0.05, seed=1), RelaxConfig(fmax=1e-4, pressure=pressure))
    at_rest = AnalyticOracle().evaluate([result.crystal])[0]
    assert result.converged
    np.testing.assert_allclose(at_rest.stress, -pressure * np.eye(3), atol=1e-4)
    assert result.energy == pytest.approx(at_rest.energy + pressure * result.crystal.volume, abs=1e-9)
    assert result.without_pressure == pytest.approx(at_rest.energy / result.crystal.n_atoms, abs=1e-9)


@pytest.mark.parametrize("pressure", [0.01, 0.06])
def test_the_enthalpy_rises_with_pressure_as_the_volume(pressure: float) -> None:
    low, here, high = (
        relax(rock_salt(5.0), RelaxConfig(fmax=1e-5, pressure=p)) for p in (pressure - 2e-3, pressure, pressure + 2e-3)
    )
    assert (high.energy - low.energy) / 4e-3 == pytest.approx(here.crystal.volume, rel=0.02)


def test_a_negative_pressure_is_refused() -> None:
    with pytest.raises(ConfigError, match="pressure must be zero or positive"):
        RelaxConfig(pressure=-0.1)
