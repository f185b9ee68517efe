"""Which decoded crystals are relaxed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tiny import decoded_of, decoded_set, proposal_of, rock_salt

from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import Evaluation
from lcoms.prediction.choice import STEPS, lowest_at_volumes, scores_unrelaxed, worth_relaxing
from lcoms.prediction.scoring import ScoreWeights
from lcoms.prediction.spec import RelaxationSpec
from lcoms.prediction.stages import Decoded
from lcoms.structure import operations
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import EXACT_SYMPREC

WEIGHTS = ScoreWeights(0.0, 0.0, 0.03, floor=0.01)
ORACLE = AnalyticOracle()
LENGTHS = (4.6, 5.0, 5.3, 5.64, 6.0, 6.4)


def exact(crystal: Crystal, **changes: object) -> Decoded:
    return decoded_of(crystal, symprec=EXACT_SYMPREC, **changes)


class Symmetric(AnalyticOracle):
    """Oracle that uses the symmetry of crystals."""

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        assert all(len(operations.operations_of(crystal)) == 48 for crystal in crystals)
        return super().evaluate(crystals)


@pytest.fixture
def unscaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge crystals at their own volumes."""
    monkeypatch.setattr("lcoms.prediction.choice.FAR", float("inf"))


def salts() -> list[Decoded]:
    """Return rock salts, alternately decoded and on exact sites."""
    return [(exact if at % 2 else decoded_of)(rock_salt(a)) for at, a in enumerate(LENGTHS)]


def scores_of(crystals: list[Decoded]) -> list[float]:
    return scores_unrelaxed(crystals, ORACLE, WEIGHTS, RelaxationSpec("analytic"))[0]


def chosen(crystals: list[Decoded], **options: float) -> list[Decoded]:
    return worth_relaxing(
        decoded_set(*crystals), ORACLE, WEIGHTS, replace(RelaxationSpec("analytic"), **options)
    ).crystals


@pytest.mark.usefixtures("unscaled")
def test_scores_before_relaxation_are_energies_corrected_for_the_prototype() -> None:
    one = decoded_of(rock_salt(), proposal=proposal_of(prototype_probability=0.4, space_group=225))
    energy = ORACLE.energies([one.crystal])[0] / one.crystal.n_atoms
    assert scores_of([one]) == [pytest.approx(WEIGHTS.score(energy, one))]


@pytest.mark.usefixtures("unscaled")
@pytest.mark.parametrize("window", [0.0, 0.01, 0.05, 0.3, 10.0])
def test_crystals_within_the_window_are_relaxed_in_their_order_whether_decoded_or_on_exact_sites(window: float) -> None:
    crystals = salts()
    scores = scores_of(crystals)
    lowest = min(score for one, score in zip(crystals, scores, strict=True) if one.is_exact)
    expected = [one for one, score in zip(crystals, scores, strict=True) if score <= lowest + window]
    assert chosen(crystals, n_least=0, n_relax=len(crystals), window=window) == expected


@pytest.mark.usefixtures("unscaled")
def test_a_few_are_relaxed_even_beyond_the_window_and_never_more_than_asked_for() -> None:
    crystals = salts()
    scores = scores_of(crystals)
    order = sorted(range(len(crystals)), key=scores.__getitem__)
    for n_least, n_relax, window, n in ((3, 6, 0.0, 3), (0, 2, 10.0, 2), (6, 2, 0.0, 2)):
        assert chosen(crystals, n_least=n_least, n_relax=n_relax, window=window) == [
            crystals[at] for at in sorted(order[:n])
        ]


def test_the_energy_of_a_badly_decoded_crystal_does_not_exclude_those_on_exact_sites(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, *good = decoded_of(rock_salt(4.0)), exact(rock_salt(5.6)), exact(rock_salt(5.7))
    energies = {4.0: -50.0, 5.6: -3.0, 5.7: -2.95}

    def score(_crystals: object, *_rest: object) -> tuple[list[float], int]:
        return list(energies.values()), 3

    monkeypatch.setattr("lcoms.prediction.choice.scores_unrelaxed", score)
    assert chosen([bad, *good], n_least=1, window=0.1) == [bad, *good]


@pytest.mark.usefixtures("unscaled")
def test_a_crystal_without_an_energy_is_the_last_to_be_relaxed() -> None:
    broken, *others = decoded_of(rock_salt(0.5)), decoded_of(rock_salt(5.6)), exact(rock_salt(5.7))
    assert scores_of([broken]) == [float("inf")]
    assert chosen([broken, *others], n_least=2) == others
    assert chosen([broken], n_least=1) == [broken]


@pytest.mark.usefixtures("unscaled")
def test_a_more_probable_template_may_lie_a_little_higher() -> None:
    low, high = sorted((rock_salt(5.6), rock_salt(5.64)), key=lambda one: ORACLE.energies([one])[0])
    likely = exact(high, proposal=proposal_of(prototype_probability=0.9, space_group=225))
    unlikely = exact(low, proposal=proposal_of(prototype_probability=0.0, space_group=221))
    assert chosen([unlikely, likely], n_relax=1) == [likely]
    alike = replace(likely, proposal=unlikely.proposal)
    assert chosen([unlikely, alike], n_relax=1) == [unlikely]


@pytest.mark.parametrize("length", [4.4, 5.0, 6.5, 7.4])
def test_a_template_of_a_wrong_volume_is_judged_near_its_best_volume(length: float) -> None:
    lengths = np.linspace(4.4, 7.4, 601)
    energies = np.array(ORACLE.energies([rock_salt(a) for a in lengths])) / 2
    (found,), n_evaluations = lowest_at_volumes([rock_salt(length)], ORACLE, 0.0)
    assert 1 < n_evaluations <= 1 + STEPS
    (unscaled,) = np.array(ORACLE.energies([rock_salt(length)])) / 2
    assert unscaled > energies.min() + 0.1
    assert energies.min() - 1e-6 <= found < energies.min() + 0.3 * (unscaled - energies.min())


@pytest.mark.parametrize("length", [4.6, 6.2])
def test_under_pressure_a_template_is_judged_near_the_volume_of_lowest_enthalpy(length: float) -> None:
    pressure, cells = 0.2, [rock_salt(a) for a in (length, *np.linspace(4.2, 6.4, 441))]
    works = pressure * np.array([cell.volume for cell in cells])
    unscaled, *enthalpies = (np.array(ORACLE.energies(cells)) + works) / 2
    (found,), _ = lowest_at_volumes(cells[:1], ORACLE, pressure)
    assert unscaled > min(enthalpies) + 0.05
    assert min(enthalpies) - 1e-6 <= found < min(enthalpies) + 0.2 * (unscaled - min(enthalpies))


@pytest.mark.parametrize("pressure", [0.0, 0.1])
def test_only_energies_are_asked_for_at_the_last_volume(pressure: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forces and stress would be thrown away; the energy still counts, with the work against the pressure."""
    alone: list[Crystal] = []

    def energies(oracle: AnalyticOracle, crystals: Sequence[Crystal]) -> list[float]:
        alone.extend(crystals)
        return [result.energy for result in oracle.evaluate(crystals)]

    monkeypatch.setattr("lcoms.prediction.choice.FAR", 0.0)
    whole, n_evaluations = lowest_at_volumes([rock_salt(7.4), rock_salt(0.5)], ORACLE, pressure)
    monkeypatch.setattr(AnalyticOracle, "energies", energies)
    assert lowest_at_volumes([rock_salt(7.4), rock_salt(0.5)], ORACLE, pressure) == (whole, n_evaluations)
    assert len(alone) == 1
    assert n_evaluations == STEPS + 2
    assert whole[1] == np.inf
    last = (ORACLE.evaluate(alone)[0].energy + pressure * alone[0].volume) / alone[0].n_atoms
    assert whole[0] == pytest.approx(last)  # the steps go downhill


def test_a_crystal_without_excess_pressure_is_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.linspace(5.0, 6.5, 1501)
    best = rock_salt(lengths[int(np.argmin(ORACLE.energies([rock_salt(a) for a in lengths])))])
    evaluated: list[int] = []
    evaluate = AnalyticOracle.evaluate

    def counting(self: AnalyticOracle, crystals: list[Crystal]) -> list[Evaluation]:
        evaluated.append(len(crystals))
        return evaluate(self, crystals)

    monkeypatch.setattr(AnalyticOracle, "evaluate", counting)
    (found,), n_evaluations = lowest_at_volumes([best], ORACLE, 0.0)
    assert n_evaluations == sum(evaluated) == 1
    assert found == pytest.approx(ORACLE.energies([best])[0] / 2)


def test_the_symmetry_of_scaled_crystals_is_not_searched_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    search = operations.moyo_dataset
    monkeypatch.setattr(operations, "moyo_dataset", lambda *a, **k: searched.append(a) or search(*a, **k))
    _, n_evaluations = lowest_at_volumes([rock_salt(a) for a in (4.6, 7.0)], Symmetric(), 0.0)
    assert n_evaluations > len(searched) == 2
