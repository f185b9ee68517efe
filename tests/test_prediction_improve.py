"""Rounds of relaxation and descent: the budget is kept, nothing is relaxed twice, and the surrogate learns."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from test_prediction_known import templates
from tiny import caesium_chloride, rock_salt, wurtzite, zinc_blende

from lcoms.cli.main import run
from lcoms.core.errors import ConfigError, FormulaError
from lcoms.models.composition import element_fractions
from lcoms.models.conservative import conservative_losses
from lcoms.models.surrogate import predict_energies
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.improve import ImproveConfig, Round, improve
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.refit import Known, RefitConfig, _refit_loss, _Rows, refit, relative_error
from lcoms.prediction.spec import DecoderSpec, PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.relax.checkpoint import Checkpoint
from lcoms.relax.result import RelaxResult
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import space_group_number

SALT = Composition.from_formula("NaCl")
SEARCH = SearchSpec(n_starts=6, steps=2, decoder=DecoderSpec(samples=2, more_samples=0))
ROUNDS = ImproveConfig(budget=7, batch=3, n_best=1, variations=2, refit=RefitConfig(steps=5, replay=4))
SPEC = PredictionSpec(search=SEARCH, relaxation=RelaxationSpec(oracle="analytic", n_final=2, final_fmax=0.05))


@pytest.fixture(scope="module")
def weights(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


def test_rounds_keep_the_budget_and_relax_nothing_twice(weights: WeightBundle) -> None:
    told: list[Round] = []
    predictor = Predictor(weights, SPEC, processes=1)
    found = improve(SALT, predictor, ROUNDS, on_round=told.append)
    counts = [one.relaxed for one in told]
    assert len(counts) > 1
    assert counts == sorted(set(counts))
    assert counts[0] == ROUNDS.batch
    assert counts[-1] <= ROUNDS.budget
    lowest = [one.lowest for one in told]
    assert lowest == sorted(lowest, reverse=True)
    relaxed = [c for c in found.candidates if c.is_relaxed]
    assert lowest[-1] == min(c.relaxed.energy_per_atom for c in relaxed if c.relaxed is not None)
    assert [c.score for c in relaxed] == sorted(c.score for c in relaxed)
    assert found.n_relaxations == counts[-1]
    for a, b in combinations([c.decoded.crystal for c in relaxed], 2):
        assert space_group_number(a) != space_group_number(b) or not matches(a, b, STRICT)
    thorough = predictor.with_options({"search": {"random_symmetric": {"n": 5}}})
    again = improve(SALT, thorough, ROUNDS)
    assert again.spec == found.spec == SPEC  # which says that there are no random symmetric crystals
    assert [c.score for c in again.candidates] == [c.score for c in found.candidates]


def test_formulas_whose_cells_are_too_large_to_be_decoded_are_refused(weights: WeightBundle) -> None:
    bundle = replace(weights, templates=templates(salt=(0.0, -2.0)))
    with pytest.raises(FormulaError, match="Na20Cl21: its cells are too large to be decoded"):
        improve(Composition.from_formula("Na20Cl21"), Predictor(bundle, SPEC, processes=1), ROUNDS)


def test_relaxations_of_a_run_that_was_stopped_are_kept(
    weights: WeightBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, kept = Predictor(weights, SPEC, processes=1), tmp_path / "kept.jsonl"
    undisturbed = improve(SALT, predictor, ROUNDS, checkpoint=tmp_path / "undisturbed.jsonl")
    stored: list[RelaxResult] = []
    put = Checkpoint.put

    def counted(self: Checkpoint, start: Crystal, result: RelaxResult) -> None:
        put(self, start, result)
        stored.append(result)
        if len(stored) == ROUNDS.batch + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "put", counted)
    with pytest.raises(KeyboardInterrupt):
        improve(SALT, predictor, ROUNDS, checkpoint=kept)
    told: list[str] = []
    resumed = improve(SALT, predictor, ROUNDS, checkpoint=kept, progress=lambda one: told.append(str(one)))
    assert resumed.files() == undisturbed.files()
    for stage in ("", "-final"):  # the second relaxes to smaller forces, perhaps a crystal that the first relaxed too
        lines, expected = (
            sorted((tmp_path / f"{name}{stage}.jsonl").read_bytes().splitlines()) for name in ("kept", "undisturbed")
        )
        assert lines == expected
        assert len(lines) == len(set(lines)) > 1
    assert told[0] == "round 1, searching"
    assert any(one.startswith("round 2, relaxing: 1 of ") for one in told)
    assert "round 1, fitting the surrogate" in told


def test_the_copy_of_the_surrogate_learns_differences_and_keeps_the_rest(weights: WeightBundle) -> None:
    crystals = [rock_salt(), caesium_chloride(3.4, (11, 17)), zinc_blende(6.0), wurtzite(4.2, 6.9, numbers=(11, 17))]
    known = Known(weights.encode(crystals), torch.tensor([-5.0, -4.2, -4.6, -4.4]))
    before = relative_error(weights.surrogate, known, SALT)
    state = {name: value.clone() for name, value in weights.surrogate.state_dict().items()}
    config = RefitConfig(steps=400, rate=3e-3, replay=4, replay_weight=4.0)
    learnt = refit(weights, known, SALT, config, torch.Generator().manual_seed(0))
    assert relative_error(learnt, known, SALT) < 0.6 * before
    for name, value in weights.surrogate.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)
    library = weights.library
    features = element_fractions([library.composition(row) for row in range(len(library))])
    old, new = (predict_energies(one, library.latents(), features) for one in (weights.surrogate, learnt))
    assert float((old - new).abs().mean()) < 0.3


def test_a_step_estimates_the_loss_of_all_latents(weights: WeightBundle) -> None:
    """With all of them in the step, it equals `conservative_losses` plus the squared error of the known ones."""
    surrogate = weights.surrogate
    generator = torch.Generator().manual_seed(0)
    known = weights.encode([rock_salt(), zinc_blende(6.0), wurtzite(4.2, 6.9, numbers=(11, 17))])
    latents = torch.cat([known, weights.library.latents()[:5]])
    compositions = [SALT] * 3 + [weights.library.composition(row) for row in range(5)]
    features, energies = element_fractions(compositions), torch.randn(8, generator=generator)
    rows = _Rows.of(surrogate, latents, features, energies)
    loss = _refit_loss(
        surrogate, rows.at(torch.arange(3)), torch.tensor([2, 0, 1]), rows.at(torch.arange(3, 8)), share=3 / 8
    )
    whole = conservative_losses(surrogate, rows.z, features, rows.targets, torch.zeros(()))
    wrong = surrogate.normalised_energy(rows.z[:3], features[:3]) - rows.targets[:3]
    torch.testing.assert_close(loss, whole.model + (wrong**2).mean())


def test_the_zero_of_energy_is_the_oracles_own(weights: WeightBundle) -> None:
    latents = weights.encode([rock_salt(), zinc_blende(6.0)])
    few = RefitConfig(steps=3, rate=1e-3, replay=4)
    heads = [
        refit(weights, Known(latents, torch.tensor([-5.0, -4.5]) + zero), SALT, few, torch.Generator().manual_seed(0))
        for zero in (0.0, 8.0)
    ]
    torch.testing.assert_close(heads[0].networks[0].head.weight, heads[1].networks[0].head.weight, rtol=1e-3, atol=1e-5)
    assert not torch.equal(heads[0].networks[0].head.weight, weights.surrogate.networks[0].head.weight)


def test_without_steps_the_surrogate_stays(weights: WeightBundle) -> None:
    known = Known(weights.encode([rock_salt()]), torch.tensor([-5.0]))
    same = refit(weights, known, SALT, RefitConfig(steps=0), torch.Generator().manual_seed(0))
    assert torch.equal(same.networks[0].head.weight, weights.surrogate.networks[0].head.weight)


def test_what_was_relaxed_is_not_listed_a_second_time_unrelaxed(weights: WeightBundle) -> None:
    """This also holds if more candidates are requested than one prediction relaxes."""
    predictor = Predictor(weights, SPEC.with_options({"n_candidates": 50, "relaxation": {"n_relax": 1}}), processes=1)
    found = improve(SALT, predictor, ROUNDS)
    assert len(found) > 1
    assert all(candidate.relaxed is not None for candidate in found.candidates)


def test_without_relaxation_nothing_can_be_learnt(weights: WeightBundle) -> None:
    with pytest.raises(ConfigError, match="improve needs relaxation"):
        improve(SALT, Predictor(weights, SPEC.with_options({"relaxation": None})), ROUNDS)


@pytest.mark.parametrize("wrong", [{"budget": 0}, {"batch": 0}, {"n_best": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        ImproveConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"replay": 0}, {"adversary": 0}, {"replay_weight": 0.0}])
def test_settings_of_a_fit_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        RefitConfig(**wrong)  # type: ignore[arg-type]


def test_the_command_writes_ranked_files(tiny_weights: Path, tmp_path: Path, capsys) -> None:
    options = ["--oracle", "analytic", "--processes", "1", "--starts", "4", "--weights", str(tiny_weights)]
    code = run(["improve", "NaCl", "--budget", "4", "--batch", "2", "--out", str(tmp_path), *options])
    output = capsys.readouterr().out
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == "NaCl: 4 relaxations in rounds of 2 ..."
    assert lines[1].startswith("   2 relaxed")
    assert run(["improve", "NaCl", "--budget", "6", "--batch", "2", "--out", str(tmp_path), *options]) == 0
    assert "are taken from" in capsys.readouterr().out
    content = json.loads((tmp_path / "NaCl" / "results.json").read_text())
    assert content["candidates"][0]["cif"] == "rank-01.cif"
    assert run(["improve", "Nacl", "--weights", str(tiny_weights)]) == 2
