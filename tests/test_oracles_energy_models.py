"""Several energy models: the one that relaxes, the mean of all, their spread, and failures of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan

import numpy as np
import pytest
from tiny import caesium_chloride, rock_salt, shaken, zinc_blende

from lcoms.core.errors import ConfigError, OracleError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.oracles.energy_models import EnergyModels
from lcoms.oracles.registry import make_oracle
from lcoms.relax.result import RelaxConfig, Status
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition, Crystal

SALT = (11, 17)
CRYSTALS = [rock_salt(), caesium_chloride(3.4, SALT), zinc_blende(6.0, SALT)]


class Linear(EnergyOracle):
    """Oracle whose energy, forces and stress are multiples of volume, one and the unit matrix; rejects zinc."""

    batch_size = 2

    def __init__(self, name: str, slope: float, zero: float = 0.0) -> None:
        self.name, self.slope, self.zero = name, slope, zero

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        assert len(crystals) <= self.batch_size
        return [
            Evaluation.failed(f"{self.name} has no zinc.", crystal.n_atoms)
            if 30 in crystal.atomic_numbers and self.slope < 0
            else Evaluation(
                self.zero * crystal.n_atoms + self.slope * crystal.volume,
                np.full((crystal.n_atoms, 3), self.slope),
                self.slope * np.eye(3),
            )
            for crystal in crystals
        ]

    def check(self, compositions: Iterable[Composition]) -> None:
        if self.slope < 0 and any(30 in composition.atomic_numbers for composition in compositions):
            raise OracleError(f"{self.name} has no zinc.")


class AlwaysLinear(Linear):
    """The same oracle, which also accepts zinc."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        return [Evaluation(self.slope * c.volume, np.zeros((c.n_atoms, 3)), np.zeros((3, 3))) for c in crystals]


def test_energies_forces_and_stresses_are_the_mean_of_the_models() -> None:
    models = EnergyModels([Linear("a", 1.0), Linear("b", 2.0, -5.0), Linear("c", 6.0)])
    assert (models.name, models.batch_size) == ("a, b, c", 2)
    found = models.evaluate(CRYSTALS)  # more than the models take at once
    for crystal, one in zip(CRYSTALS, found, strict=True):
        assert one.ok
        assert one.energy == pytest.approx(3.0 * crystal.volume - 5.0 * crystal.n_atoms / 3)
        np.testing.assert_allclose(one.forces, 3.0)
        np.testing.assert_allclose(one.stress, 3.0 * np.eye(3))


def test_the_mean_is_consistent_with_its_forces() -> None:
    """Central differences of the energy of two different models."""
    models = EnergyModels([AnalyticOracle(), make_oracle("toy_oracles:Springs")])
    crystal = shaken(rock_salt(), 0.1)
    (found,) = models.evaluate([crystal])
    step = 1e-4
    for axis in range(3):
        moved = []
        for sign in (1, -1):
            cartesian = crystal.cart_coords.copy()
            cartesian[0, axis] += sign * step
            moved.append(Crystal(crystal.lattice, cartesian @ np.linalg.inv(crystal.lattice), crystal.atomic_numbers))
        up, down = (one.energy for one in models.evaluate(moved))
        assert found.forces[0, axis] == pytest.approx(-(up - down) / (2 * step), abs=1e-3)


def test_a_member_that_fails_fails_the_mean_and_not_the_others() -> None:
    models = EnergyModels([Linear("a", 1.0), Linear("b", -1.0)])
    zinc = zinc_blende()
    salt, failed = models.evaluate([rock_salt(), zinc])
    assert salt.ok
    assert (failed.ok, failed.status) == (False, "b has no zinc.")
    rows = models.energies_by_model([rock_salt(), zinc])
    assert rows[0] == (pytest.approx(rock_salt().volume), pytest.approx(-rock_salt().volume))
    assert rows[1][0] == pytest.approx(zinc.volume)
    assert isnan(rows[1][1])
    assert models.energies_by_model([]) == []


def test_the_first_relaxes_and_the_others_are_asked_about_what_comes_out() -> None:
    volume = rock_salt().volume
    models = EnergyModels([Linear("a", 1.0), Linear("b", 2.0), Linear("c", 3.0)])
    assert (models.first.name, [model.name for model in models.further]) == ("a", ["b", "c"])
    assert models.further_energies([rock_salt()]) == [(pytest.approx(2 * volume), pytest.approx(3 * volume))]
    assert EnergyModels([Linear("a", 1.0)]).further_energies(CRYSTALS) == [(), (), ()]


def test_the_spread_is_that_of_relative_energies() -> None:
    """Models have different zeros of energy, which must not contribute to the spread."""
    apart = EnergyModels([Linear("a", 1.0), Linear("b", 1.0, -40.0)])
    np.testing.assert_allclose(apart.spread(CRYSTALS), 0, atol=1e-9)
    models = EnergyModels([Linear("a", 1.0), Linear("b", 3.0)])
    per_atom = np.array([crystal.volume / crystal.n_atoms for crystal in CRYSTALS])
    np.testing.assert_allclose(models.spread(CRYSTALS), np.abs(per_atom - per_atom.mean()))
    assert models.spread([]).shape == (0,)


def test_a_crystal_that_one_model_fails_on_has_no_spread_and_the_others_do() -> None:
    models = EnergyModels([Linear("a", -1.0), Linear("b", -1.0, 7.0), AlwaysLinear("c", -1.0)])
    found = models.spread([rock_salt(), zinc_blende(9.0), rock_salt(6.0)])
    np.testing.assert_allclose(found, [0, np.nan, 0], atol=1e-9)  # where all answer, they agree
    assert np.isnan(models.spread([zinc_blende()])).all()


def test_every_member_checks_the_elements() -> None:
    models = EnergyModels([Linear("a", 1.0), Linear("b", -1.0)])
    models.check([rock_salt().composition])
    with pytest.raises(OracleError, match="b has no zinc"):
        models.check(one for one in [rock_salt().composition, zinc_blende().composition])


def test_models_are_made_by_their_names() -> None:
    models = EnergyModels.named(["analytic", "toy_oracles:Springs"])
    assert models.name == "analytic, toy_oracles:Springs"
    with pytest.raises(OracleError, match="crystal ball"):
        EnergyModels.named(["analytic", "crystal ball"])
    with pytest.raises(ConfigError, match="at least one energy model"):
        EnergyModels([])


def test_the_mean_can_be_relaxed_with() -> None:
    models = EnergyModels([AnalyticOracle(), Linear("no opinion", 0.0, -4.0)])
    (found,) = relax_crystals([rock_salt(6.0)], models, RelaxConfig(fmax=0.005))
    (alone,) = relax_crystals([rock_salt(6.0)], AnalyticOracle(), RelaxConfig(fmax=0.01))
    assert (found.status, alone.status) == (Status.CONVERGED, Status.CONVERGED)
    assert found.energy == pytest.approx((alone.energy - 8.0) / 2, abs=1e-3)
    assert found.crystal.volume == pytest.approx(alone.crystal.volume, rel=0.01)
