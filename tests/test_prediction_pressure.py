"""Prediction under pressure: compression, ranking by enthalpy, and warnings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny import caesium_chloride, decoded_of, relaxed_of, rock_salt

from lcoms.core.errors import ConfigError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import Evaluation
from lcoms.prediction.hulls import predicted_hull, read_hull
from lcoms.prediction.pressure import compressed, pressure_sentences
from lcoms.prediction.rank import rank_relaxed
from lcoms.prediction.refine import collect
from lcoms.prediction.scoring import ENTHALPY_ALONE
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec
from lcoms.prediction.stages import Candidate
from lcoms.relax import RelaxConfig, relax_crystals
from lcoms.relax.result import GIGAPASCAL, RelaxResult, Status
from lcoms.structure.crystal import Crystal

SALT = (11, 17)


def scaled(crystal: Crystal, ratio: float) -> Crystal:
    return replace(crystal, lattice=crystal.lattice * ratio ** (1 / 3))


def test_starts_are_compressed_to_nearly_the_volume_that_relaxes() -> None:
    pressure, oracle = 20.0, AnalyticOracle()
    relaxed = relax_crystals([rock_salt(5.6)], oracle, RelaxConfig(fmax=1e-3))[0].crystal
    there = relax_crystals([relaxed], oracle, RelaxConfig(fmax=1e-3, pressure=pressure * GIGAPASCAL))[0].crystal
    (start,) = compressed([relaxed], oracle, pressure)
    assert there.volume < 0.97 * relaxed.volume
    assert start.volume == pytest.approx(there.volume, rel=0.03)
    np.testing.assert_allclose(start.frac_coords, relaxed.frac_coords)
    assert compressed([relaxed], oracle, 0.0) == [relaxed]


def test_each_start_is_compressed_by_its_own_stiffness_or_by_the_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts = [rock_salt(numbers=SALT), rock_salt(numbers=(12, 8)), rock_salt(numbers=(55, 17))]
    moduli = {11: 30.0, 12: 150.0, 55: 0.1}  # GPa; the last one is unreasonable

    def evaluate(_: AnalyticOracle, crystals: list[Crystal]) -> list[Evaluation]:
        pressures = [moduli[int(one.atomic_numbers[0])] * np.log(starts[0].volume / one.volume) for one in crystals]
        return [Evaluation(-1.0, np.zeros((2, 3)), -p * GIGAPASCAL * np.eye(3)) for p in pressures]

    monkeypatch.setattr(AnalyticOracle, "evaluate", evaluate)
    found = compressed(starts, AnalyticOracle(), 10.0)
    ratios = [after.volume / before.volume for before, after in zip(starts, found, strict=True)]
    assert ratios == pytest.approx([(1 + 40 / modulus) ** -0.25 for modulus in (30.0, 150.0, 90.0)], rel=1e-3)
    assert compressed(starts[2:], AnalyticOracle(), 10.0) == starts[2:]


def test_enthalpies_make_the_order_where_the_denser_crystal_has_the_higher_energy() -> None:
    open_one, dense = rock_salt(5.6), caesium_chloride(3.0, SALT)
    pressure = 0.1
    results = [
        RelaxResult(c, e + pressure * c.volume, Status.CONVERGED, 5, 0.05, pressure=pressure)
        for c, e in ((open_one, -6.8), (dense, -6.0))
    ]
    found = collect(
        [decoded_of(open_one), decoded_of(dense)], results, lambda _, e: e + 3, lambda _: [(-7.8,), (-7.0,)]
    )
    ranked = rank_relaxed(found.usable, ENTHALPY_ALONE)
    assert [c.space_group for c in ranked] == [221, 225]
    gap = -3.4 + 3.0 + pressure / 2 * (open_one.volume - dense.volume)
    assert ranked[1].energy_above_lowest == pytest.approx(gap)
    assert all(c.relaxed is not None and c.relaxed.formation_energy is None for c in ranked)


def test_a_crystal_compressed_beyond_the_training_crystals_is_not_trusted() -> None:
    def candidate(ratio: float) -> Candidate:
        relaxed = replace(relaxed_of(decoded_of(rock_salt()), -3.4), crystal=scaled(rock_salt(), ratio))
        return Candidate.of_relaxed(relaxed, -3.4, 0.0)

    near, far = (pressure_sentences([candidate(ratio)], 20.0) for ratio in (0.85, 0.7))
    assert len(near) == 1
    assert "20 GPa candidates are ranked by enthalpy alone" in near[0]
    assert "Rank 1 is compressed to 70% of its volume" in far[1]


def test_a_hull_under_pressure_is_refused_where_its_phases_are_not_predicted(tmp_path) -> None:  # type: ignore[no-untyped-def]
    spec = PredictionSpec(relaxation=RelaxationSpec("analytic", pressure=20.0))
    with pytest.raises(ConfigError, match=r"have no enthalpies at 20 GPa; .* --hull predicted"):
        read_hull(tmp_path / "phases.json", spec)
    assert predicted_hull([], spec).missing(rock_salt().composition) == ["Na", "Cl"]
    assert predicted_hull([], spec).name == "the phases predicted together"


@pytest.mark.parametrize("pressure", [-1.0, 501.0, float("nan")])
def test_pressures_without_sense_are_refused(pressure: float) -> None:
    with pytest.raises(ConfigError, match="pressure must be between 0 and 500 GPa"):
        RelaxationSpec(pressure=pressure)
