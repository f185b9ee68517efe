"""Phonons of the first candidates: which get them, what is reported, and invalid options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from tiny import caesium_chloride, decoded_of, decoded_set, relaxed_of, rock_salt

from lcoms.core.errors import ConfigError
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import Evaluation
from lcoms.page.facts import summary
from lcoms.phonons.modes import SoftMode
from lcoms.phonons.record import phonon_record
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.progress import silent
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PhononSpec, PredictionSpec, RelaxationSpec
from lcoms.prediction.stages import Candidate
from lcoms.prediction.table import sentences
from lcoms.prediction.vibrations import phonon_sentences, with_phonons
from lcoms.structure.crystal import Crystal

pytestmark = pytest.mark.skipif(find_spec("phonopy") is None, reason="phonopy is not installed")


def prediction(n: int) -> Prediction:
    spec = PredictionSpec(relaxation=RelaxationSpec("analytic"), phonons=PhononSpec(n, 400.0))
    decoded = [decoded_of(rock_salt()), decoded_of(caesium_chloride(3.4, (11, 17)))]
    candidates = tuple(Candidate.of_relaxed(relaxed_of(one, -3.4), -3.4, 0.0) for one in decoded)
    return Prediction(rock_salt().composition.reduced, candidates, decoded_set(*decoded), spec, "0")


def test_the_first_candidates_get_phonons_at_the_temperature_asked_for() -> None:
    made = with_phonons(prediction(1), AnalyticOracle(), silent)
    first, second = made.candidates
    assert first.phonons is not None
    assert second.phonons is None
    assert (first.phonons.temperature, first.phonons.crystal.composition.reduced_formula) == (400.0, "NaCl")
    record = phonon_record(first.phonons)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    (said, *_) = phonon_sentences(made.candidates)
    assert said.startswith("Dynamically stable: rank 1" if first.phonons.stable else "Rank 1 is dynamically unstable")
    assert with_phonons(prediction(0), AnalyticOracle(), silent).candidates[0].phonons is None


def test_free_energies_make_an_order_of_their_own() -> None:
    made = with_phonons(prediction(1), AnalyticOracle(), silent)
    first, second = made.candidates
    assert first.phonons is not None
    soft = replace(first.phonons, soft=(), free_energy=-0.02)
    stiff = replace(first.phonons, soft=(), free_energy=0.03)
    said = phonon_sentences([replace(first, phonons=stiff), replace(second, phonons=soft)])
    assert said == [
        "Dynamically stable: ranks 1, 2.",
        "Harmonic free energies at 400 K, eV/atom above the lowest: rank 2 (0.000), rank 1 (0.050).",
    ]
    slow = replace(soft, omitted=0.123)
    said = phonon_sentences([replace(first, phonons=stiff), replace(second, phonons=slow)])
    assert said[2:] == [
        "That of rank 2 is without the 12.3% of the modes that are imaginary or below 0.01 THz; do not trust it."
    ]


def test_a_candidate_that_was_not_relaxed_gets_no_phonons_and_is_named() -> None:
    one = prediction(2)
    unrelaxed = Candidate.of_decoded(decoded_of(caesium_chloride(3.4, (11, 17))))
    made = with_phonons(replace(one, candidates=(one.candidates[0], unrelaxed)), AnalyticOracle(), silent)
    assert made.no_phonons == ("No phonons for rank 2: it was not relaxed; raise --n-relax.",)
    assert made.candidates[0].phonons is not None


def test_a_candidate_without_phonons_stays_ranked_and_is_named() -> None:
    class Blind(AnalyticOracle):
        def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
            return [Evaluation.failed("no answer.", crystal.n_atoms) for crystal in crystals]

    made = with_phonons(prediction(1), Blind(), silent)
    (failure,) = made.no_phonons
    assert failure.startswith("No phonons for rank 1: ")
    assert failure in sentences(made)
    assert (made.failures, len(made)) == ((), 2)
    assert (made.to_dict()["failed_relaxations"], made.to_dict()["failed_phonons"]) == ([], [failure])
    assert failure in summary(made, None)


def test_the_number_of_further_soft_modes_is_named() -> None:
    (first, _) = with_phonons(prediction(1), AnalyticOracle(), silent).candidates
    assert first.phonons is not None
    mode = SoftMode(-1.0, (0.0, 0.0, 1.0), "X (0, 0, 1)", 1, "", "Na along z", np.zeros(3), np.zeros((6, 1), complex))
    for n, end in ((1, f"{mode.name}."), (2, "and 1 more soft mode."), (3, "and 2 more soft modes.")):
        (said,) = phonon_sentences([replace(first, phonons=replace(first.phonons, soft=(mode,) * n))])
        assert said.endswith(end)


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="phonons need relaxed candidates"):
        PredictionSpec(relaxation=None, phonons=PhononSpec(1))
    with pytest.raises(ConfigError, match="phonons are computed only at zero pressure"):
        PredictionSpec(relaxation=RelaxationSpec(pressure=1.0), phonons=PhononSpec(1))
    with pytest.raises(ConfigError, match="temperature has no effect without phonons"):
        spec_for(Options(temperature=300.0))
    with pytest.raises(ConfigError, match="0 K or more"):
        PhononSpec(1, -5.0)
