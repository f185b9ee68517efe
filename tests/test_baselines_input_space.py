"""Descent on crystals: energies decrease, crystals are independent, and meaningless crystals stop it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_models_megnet import SMALL, new_model
from tiny import perovskite, rock_salt, shaken, wurtzite

from lcoms.baselines import input_space as module
from lcoms.baselines.input_space import descend_crystals
from lcoms.core.errors import ConfigError
from lcoms.models.megnet import Megnet, formation_energies
from lcoms.structure.crystal import Crystal

LONELY = Crystal(9.0 * np.eye(3), np.zeros((1, 3)), np.array([2]))
DENSE = Crystal(0.5 * np.eye(3), np.zeros((1, 3)), np.array([6]))


def smooth_model() -> Megnet:
    return new_model(replace(SMALL, smooth=True)).double()


def test_energies_fall_and_compositions_stay() -> None:
    model, starts = smooth_model(), [shaken(perovskite(), 0.1), shaken(wurtzite(), 0.1), rock_salt()]
    found = descend_crystals(model, starts, steps=6, step_size=0.3)
    assert found.energy_path.shape == (7, 3)
    assert (np.diff(found.energy_path, axis=0) < 0).all()
    np.testing.assert_allclose(found.energy_path[0], formation_energies(model.float(), starts), atol=1e-4)
    np.testing.assert_allclose(found.energies, formation_energies(model, found.crystals), atol=1e-4)
    assert [c.composition for c in found.crystals] == [c.composition for c in starts]
    assert not found.stopped_early.any()
    alone = descend_crystals(model.double(), starts[1:2], steps=6, step_size=0.3)
    np.testing.assert_allclose(alone.energy_path[:, 0], found.energy_path[:, 1], atol=1e-9)
    np.testing.assert_allclose(alone.crystals[0].lattice, found.crystals[1].lattice, atol=1e-9)


def test_no_step_is_no_change() -> None:
    start = shaken(perovskite(), 0.1)
    found = descend_crystals(smooth_model(), [start], steps=0)
    np.testing.assert_allclose(found.crystals[0].lattice, start.lattice)
    assert found.energy_path.shape == (1, 1)


def test_crystals_without_meaning_stay_where_they_are() -> None:
    start = shaken(wurtzite(), 0.1)
    found = descend_crystals(smooth_model(), [LONELY, start, DENSE], steps=3)
    assert found.stopped_early.tolist() == [True, False, True]
    assert np.isnan(found.energy_path).all(axis=0).tolist() == [True, False, True]
    assert np.isfinite(found.energy_path[:, 1]).all()
    for i, crystal in ((0, LONELY), (2, DENSE)):
        np.testing.assert_array_equal(found.crystals[i].lattice, crystal.lattice)
    assert not np.allclose(found.crystals[1].lattice, start.lattice)
    assert np.isnan(descend_crystals(smooth_model(), [DENSE], steps=2).energies).all()


def test_descent_stops_before_a_step_that_loses_the_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that expands every cell by a third per step leaves atoms without neighbors."""
    steps = module.descent_step

    def swelling(model, batch, **options):  # type: ignore[no-untyped-def]
        return batch.replace(lattice=batch.lattice * 1.35), steps(model, batch, **options)[1]

    monkeypatch.setattr(module, "descent_step", swelling)
    found = descend_crystals(smooth_model(), [rock_salt(5.6)], steps=4)
    assert found.stopped_early.tolist() == [True]
    assert np.linalg.norm(found.crystals[0].lattice[0]) == pytest.approx(1.35 * 5.6 / 2**0.5)
    assert np.isfinite(found.energy_path).all()
    assert found.energy_path[1, 0] == found.energy_path[4, 0] != found.energy_path[0, 0]


def test_what_cannot_be_descended_is_said() -> None:
    with pytest.raises(ConfigError, match="smooth=true"):
        descend_crystals(new_model(), [rock_salt()])
    for crystals, steps in (([], 3), ([rock_salt()], -1)):
        with pytest.raises(ConfigError, match="needs a crystal and 0 or more steps"):
            descend_crystals(smooth_model(), crystals, steps=steps)
