"""Presets of effort: increasing numbers of starts, samples and relaxations; explicit options override them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from lcoms.core.errors import ConfigError
from lcoms.oracles import registry
from lcoms.prediction import model_options
from lcoms.prediction.presets import EFFORTS, Options, spec_for, typed
from lcoms.prediction.spec import ConstraintSpec, PhononSpec, PredictionSpec, RelaxationSpec
from lcoms.prediction.structure_types import StructureType

RELAXED = Options(relax=True, committee=())


def test_each_effort_does_more_than_the_one_before() -> None:
    for less, more in pairwise([spec_for(replace(RELAXED, effort=name)) for name in ("fast", "normal", "thorough")]):
        assert less.search.n_starts < more.search.n_starts
        assert less.search.decoder.coded_samples < more.search.decoder.coded_samples
        assert less.relaxation is not None
        assert more.relaxation is not None
        assert less.relaxation.n_relax < more.relaxation.n_relax
    assert set(EFFORTS) == {"fast", "normal", "thorough"}


def test_more_is_decoded_where_nothing_is_relaxed() -> None:
    for effort in ("fast", "normal"):
        alone = spec_for(Options(relax=False, effort=effort))
        assert alone.search.n_starts > spec_for(replace(RELAXED, effort=effort)).search.n_starts
    assert spec_for(Options(relax=False, starts=4)).search.n_starts == 4


def test_normal_is_the_default_of_the_specification() -> None:
    assert spec_for(RELAXED) == PredictionSpec()


def test_the_committee_is_the_default_one_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(**options: Any) -> tuple[str, ...]:
        return spec_for(Options(relax=True, **options)).ranking.committee

    monkeypatch.setattr(registry, "find_spec", lambda _name: object())
    assert chosen() == ("sevennet:l3i5",)
    assert chosen(committee=()) == chosen(oracle="analytic") == chosen(oracle="sevennet:l3i5") == ()
    assert chosen(oracle="analytic", committee=("chgnet:r2scan",)) == ("chgnet:r2scan",)
    assert chosen(committee=("chgnet:r2scan",)) == ()  # it is the first one already
    monkeypatch.setattr(registry, "find_spec", lambda _name: None)
    assert chosen() == ()


def test_a_choice_counts_more_than_the_effort_and_none_leaves_it() -> None:
    spec, fast = (spec_for(replace(RELAXED, effort="fast", **some)) for some in ({"starts": 3, "seed": 7}, {}))
    assert (spec.search.n_starts, spec.seed) == (3, 7)
    assert spec.search.decoder == fast.search.decoder
    assert spec.relaxation == fast.relaxation


def test_one_option_of_a_group_leaves_the_others_of_the_effort() -> None:
    """60 random symmetric crystals are selected from the 400 of the effort thorough, not from the default 150."""
    spec = spec_for(replace(RELAXED, effort="thorough", random_symmetric=60, fmax=0.02))
    assert (spec.search.random_symmetric.n, spec.search.random_symmetric.drawn) == (60, 400)
    assert spec.search.decoder.beside_codes
    assert spec.relaxation == RelaxationSpec(n_relax=60, n_least=20, window=0.5, fmax=0.02)


CELL = (5.64, 5.64, 5.64, 90.0, 90.0, 90.0)


def test_every_option_reaches_the_specification() -> None:
    chosen: dict[str, Any] = {
        "effort": "fast", "n_candidates": 3, "formula_units": (2, 4), "max_atoms": 16, "starts": 5, "steps": 4,
        "start": "prior", "symmetry": False, "exclude_same": True, "relax": True, "oracle": "analytic",
        "committee": ("chgnet:0.3.0",), "n_relax": 6, "random_symmetric": 7, "fmax": 0.3, "seed": 8,
        "space_groups": (62,), "volume": 40.0, "density": None, "tolerance": 0.2, "pressure": 0.0,
        "cell": CELL, "cell_tolerance": 0.03, "prototypes": (StructureType("B1"),),
        "exclude_prototypes": (StructureType("B2"),), "max_e_above": 0.1,
        "phonons": 2, "temperature": 400.0, "soft_modes": 0,
    }  # fmt: skip
    assert set(chosen) == set(vars(Options()))
    spec = spec_for(Options(**chosen))
    search, relaxation = spec.search, spec.relaxation
    assert relaxation == RelaxationSpec("analytic", n_relax=6, n_least=6, fmax=0.3, pressure=0.0)
    assert (spec.n_candidates, spec.seed, spec.ranking.committee) == (3, 8, ("chgnet:0.3.0",))
    assert (search.formula_units, search.max_atoms, search.n_starts, search.steps) == ((2, 4), 16, 5, 4)
    assert (search.start, search.symmetry, search.exclude_same, search.random_symmetric.n) == ("prior", False, True, 7)
    assert search.decoder == spec_for(replace(RELAXED, effort="fast")).search.decoder
    assert spec.constraints == ConstraintSpec(
        (62,), 40.0, None, 0.2, CELL, 0.03, (StructureType("B1"),), (StructureType("B2"),), 0.1
    )
    assert PredictionSpec.from_dict(spec.to_dict()) == spec
    assert spec.phonons == PhononSpec(2, 400.0)


def test_without_relaxation_nothing_of_it_is_left() -> None:
    spec = spec_for(Options(effort="thorough", relax=False))
    assert (spec.relaxation, spec.ranking.committee, spec.search.random_symmetric.n) == (None, (), 0)
    assert spec.ranked_by == ""


@pytest.mark.parametrize(
    "option",
    [
        {"oracle": "analytic"},
        {"committee": ("analytic",)},
        {"n_relax": 5},
        {"random_symmetric": 3},
        {"fmax": 0.2},
        {"pressure": 5.0},
    ],
    ids=lambda option: next(iter(option)),
)
def test_options_without_effect_are_refused(option: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = option
    with pytest.raises(ConfigError, match=f"{name} has no effect without relaxation; omit it, or relax."):
        spec_for(Options(relax=False, **option))
    assert spec_for(Options(relax=True, **option)).relaxation is not None
    monkeypatch.setattr(model_options, "find_spec", lambda _name: None)
    if name != "oracle":  # an energy model that is named is one to relax with
        with pytest.raises(ConfigError, match=f"{name} has no effect without relaxation"):
            spec_for(Options(**option))


def test_nothing_asked_for_has_no_effect_to_miss() -> None:
    assert spec_for(Options(relax=False, committee=(), random_symmetric=0)) == spec_for(Options(relax=False))


def test_relaxation_follows_from_what_is_installed_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_options, "find_spec", lambda _name: None)
    assert spec_for(Options()).relaxation is None
    assert spec_for(Options(oracle="analytic")).relaxation == RelaxationSpec("analytic")
    monkeypatch.setattr(model_options, "find_spec", lambda _name: object())
    assert spec_for(Options()).relaxation == RelaxationSpec()


def test_wrong_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown effort 'hard'; choose one of fast, normal, thorough"):
        spec_for(Options(effort="hard"))
    with pytest.raises(ConfigError, match="'moon' is not among library, prior, random"):
        spec_for(Options(start="moon"))


def test_options_are_recorded_in_a_form_that_json_has() -> None:
    options = Options(prototypes=(StructureType("B1"),), exclude_prototypes=(StructureType("B2"), StructureType("B3")))
    recorded = {"prototypes": ["B1"], "exclude_prototypes": ["B2", "B3"]}
    assert json.loads(json.dumps(dict(typed(options)))) == recorded
