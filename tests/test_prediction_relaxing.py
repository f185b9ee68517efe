"""Few crystals relax in the process of the prediction: others would start more slowly than a quick model is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from tiny import decoded_of, decoded_set, rock_salt, shaken, wurtzite

from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.energy_models import EnergyModels
from lcoms.oracles.wrappers import CountedOracle
from lcoms.prediction import relaxing
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.relaxing import Relaxer
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec
from lcoms.structure.crystal import Crystal


@dataclass
class Asked:
    """Numbers of processes that relaxations were given."""

    processes: list[int | None]

    def __call__(self, *_: object, processes: int | None, **__: object) -> list[Any]:
        self.processes.append(processes)
        return []


class Quick(AnalyticOracle):
    quick = True


@pytest.mark.parametrize(
    ("oracle", "crystals", "given", "used"),
    [
        (Quick(), [rock_salt(), wurtzite()] * 20, None, 1),  # 80 of 120 atoms are independent
        (Quick(), [shaken(wurtzite(), 0.1)] * 80, None, None),
        (Quick(), [rock_salt()], 2, 2),
        (AnalyticOracle(), [rock_salt()], None, None),
    ],
)
def test_other_processes_start_only_for_much_work(
    oracle: AnalyticOracle, crystals: list[Crystal], given: int | None, used: int | None, monkeypatch: Any
) -> None:
    asked = Asked([])
    monkeypatch.setattr(relaxing, "relax_crystals", asked)
    spec = PredictionSpec(relaxation=RelaxationSpec(oracle=oracle.name))
    Relaxer(WeightBundle.load(), spec, EnergyModels([oracle]), given)._run(crystals, fmax=0.1, checkpoint=None)
    assert asked.processes == [used]


def test_a_relaxation_does_not_evaluate_again_what_was_evaluated_to_choose_it() -> None:
    counted = CountedOracle(AnalyticOracle())
    spec = PredictionSpec(relaxation=RelaxationSpec("analytic", fmax=1e-6, final_fmax=1e-6, max_steps=1))
    salts = [decoded_of(rock_salt(a)) for a in (5.5, 5.64)]
    relaxer = Relaxer(WeightBundle.load(), spec, EnergyModels([counted]), 1)
    (relaxed,) = relaxer.relax([decoded_set(*salts)])
    assert relaxed.n_relaxations == len(salts)
    assert counted.n_crystals == relaxed.n_oracle_calls - len(salts)
