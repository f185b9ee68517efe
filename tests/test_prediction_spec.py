"""The specification of a prediction can be written, read back from results, and changed in part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lcoms.core.errors import ConfigError
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.model_options import RankingSpec
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.random_symmetric import RandomSymmetricSpec
from lcoms.prediction.spec import (
    DecoderSpec,
    PredictionSpec,
    RelaxationSpec,
    SearchSpec,
    read_spec,
)

UNUSUAL = PredictionSpec(
    4,
    SearchSpec(
        start="prior", n_starts=7, formula_units=(1, 3), max_atoms=18, substituted=0.5, step_size=0.25,
        decoder=DecoderSpec(samples=5, max_misfit=0.3), random_symmetric=RandomSymmetricSpec(n=2, drawn=11),
    ),
    RelaxationSpec("analytic", n_relax=3, fmax=0.25),
    RankingSpec(("toy_oracles:Springs", "toy_oracles:Slow")),
    seed=11,
)  # fmt: skip


@pytest.mark.parametrize(
    "spec", [PredictionSpec(), UNUSUAL, spec_for(Options(effort="thorough", relax=False))], ids=["usual", "un", "bare"]
)
def test_a_specification_is_read_back_as_it_was_written(spec: PredictionSpec, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec.to_dict(), allow_nan=False))
    assert read_spec(path) == PredictionSpec.from_dict(spec.to_dict()) == spec


def test_a_toml_file_says_what_differs_from_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.TOML"
    path.write_text(
        'n_candidates = 3\n[search]\nstart = "random"\nformula_units = [2, 4]\n[search.decoder]\nkept = 2\n'
        '[ranking]\ncommittee = ["sevennet:l3i5"]\n'
    )
    search = SearchSpec(start="random", formula_units=(2, 4), decoder=DecoderSpec(kept=2))
    assert read_spec(path) == PredictionSpec(3, search, ranking=RankingSpec(("sevennet:l3i5",)))


def test_the_further_models_keep_the_name_that_files_of_earlier_runs_have(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(
        '{"spec": {"relaxation": {"oracle": "analytic"}, "ranking": {"committee": ["toy_oracles:Springs"]}}}'
    )
    spec = read_spec(path)
    assert spec.models == ("analytic", "toy_oracles:Springs")
    assert spec.to_dict()["ranking"] == {"committee": ["toy_oracles:Springs"]}


def test_other_models_leave_the_other_options() -> None:
    two = UNUSUAL.with_models(["analytic", "toy_oracles:Springs"])
    assert two.models == ("analytic", "toy_oracles:Springs")
    assert two.with_models(["analytic"]) == replace(UNUSUAL, ranking=RankingSpec())
    none = PredictionSpec().with_models(())
    assert (none.relaxation, none.models, none.with_models(["analytic"]).models) == (None, (), ("analytic",))


def test_the_results_of_a_run_repeat_it_exactly(tiny_weights: Path, tmp_path: Path) -> None:
    bundle = WeightBundle.load(tiny_weights)
    options = {"relaxation": {"n_relax": 1}, "ranking": {"committee": ["toy_oracles:Springs"]}}
    spec = UNUSUAL.with_options(options)
    first = Predictor(bundle, spec, processes=1).predict("NaCl").write(tmp_path / "first")
    again = Predictor(bundle, read_spec(first / "results.json"), processes=1).predict("NaCl").write(tmp_path / "again")
    files = {path.name: path.read_bytes() for path in first.iterdir()}
    assert {path.name: path.read_bytes() for path in again.iterdir()} == files
    assert "rank-01.cif" in files


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.json", None, "cannot be read (No such file or directory); name a TOML or JSON file with --spec."),
        ("spec.json", "n_starts = 3", "is neither TOML nor JSON; name the results.json of an earlier run."),
        ("spec.toml", '{"seed": 3}', "is neither TOML nor JSON"),
        ("spec.json", "[" * 100_000, "is neither TOML nor JSON"),
        ("spec.json", "[1, 2]", "holds no specification"),
        ("spec.json", '{"spec": 3}', "holds no specification"),
        ("spec.json", '{"search": {"n_startz": 3}}', "search.n_startz; did you mean search.n_starts?"),
        ("spec.json", '{"search": {"n_starts": "many"}}', "search.n_starts: expected a whole number, not 'many'"),
        ("spec.toml", "[search]\nsubstituted = 2\n", "a fraction of the templates, from 0 to 1, not 2"),
        ("spec.toml", "[relaxation]\nfmax = 0\n", "relaxation.fmax must be positive, not 0"),
        ("spec.toml", "[search]\nstep_size = -0.2\n", "search.step_size must be positive, not -0.2"),
        ("spec.toml", "[search.decoder]\nkept = 0\n", "search.decoder.kept must be at least 1, not 0"),
        ("spec.toml", "[search.decoder]\nsamples = -1\n", "search.decoder.samples must be zero or positive, not -1"),
        ("spec.toml", "[search.decoder]\nknown_to = 0\n", "search.decoder.known_to must be positive, not 0"),
        ("spec.json", '{"ranking": {"committee": ["chgnet:r2scan"]}}', "chgnet:r2scan is named twice"),
        ("spec.json", '{"ranking": {"committee": ["x", "y", "x"]}}', "x is named twice and would count twice"),
        (
            "spec.json",
            '{"relaxation": null, "ranking": {"committee": ["x"]}}',
            "ranking.committee ranks only relaxed crystals",
        ),
    ],
)
def test_what_is_no_specification_is_one_sentence(
    name: str, content: str | None, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_make_no_sense_are_refused() -> None:
    def with_search(**options: Any) -> PredictionSpec:
        return PredictionSpec().with_options({"search": options})

    with pytest.raises(ConfigError, match="n_candidates must be at least 1, not 0"):
        PredictionSpec(n_candidates=0)
    for name in ("n_starts", "max_polymorphs", "max_alike"):
        with pytest.raises(ConfigError, match=f"{name} must be at least 1"):
            with_search(**{name: 0})
    with pytest.raises(ConfigError, match="steps must be zero or positive, not -1"):
        with_search(steps=-1)
    for units, sentence in (((4, 1), "4-1 are not a range"), ((0, 2), "0-2 are not a range")):
        with pytest.raises(ConfigError, match=sentence):
            with_search(formula_units=units)
    with pytest.raises(ConfigError, match="max_atoms must be at least 1"):
        with_search(max_atoms=0)
    with pytest.raises(ConfigError, match=r"max_atoms must be at most 1000, not 1001\."):
        with_search(max_atoms=1001)
    assert with_search(max_atoms=1000).search.max_atoms == 1000
    with pytest.raises(ConfigError, match=r"search\.start: 'moon' is not among library, prior, random"):
        with_search(start="moon")
    for option in ({"n_relax": 0}, {"max_steps": 0}, {"fmax": 0.0}, {"fmax": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            RelaxationSpec(**option)  # type: ignore[arg-type]


def test_the_models_that_rank_and_the_crystals_that_are_kept() -> None:
    assert UNUSUAL.ranked_by == "analytic, toy_oracles:Springs, toy_oracles:Slow"
    assert PredictionSpec(relaxation=None).ranked_by == ""
    assert [PredictionSpec(n, relaxation=RelaxationSpec(n_relax=5)).n_decoded for n in (3, 9)] == [5, 9]
    assert PredictionSpec(3, relaxation=None).n_decoded == 3
