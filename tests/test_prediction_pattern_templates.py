"""Templates selected by a powder pattern that no candidate explains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import candidate_of, rock_salt, zinc_blende

from lcoms.core.errors import ConfigError, FormulaError
from lcoms.diffraction.fit import PatternFitter
from lcoms.diffraction.radiation import read_radiation
from lcoms.diffraction.simulate import Measurement, measured_pattern
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.by_pattern import explains, rank_by_pattern
from lcoms.prediction.pattern_templates import pattern_templates
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.spec import ConstraintSpec
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import exact_sites
from lcoms.templates.exact_build import KnownCrystal, build_templates, structure_id
from lcoms.templates.stoichiometry import elements_in_order

ZINC_OXIDE = (30, 8)
ZNO = Composition.from_formula("ZnO")
TRUE = zinc_blende(4.6, ZINC_OXIDE)


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    """Tiny weights with two templates."""
    templates = build_templates(
        [known("NaCl", rock_salt(4.35)), known("ZnS", zinc_blende(4.7))], np.full(104, 20.0), metadata={}
    )
    return replace(WeightBundle.load(tiny_weights), templates=templates)


@pytest.fixture(scope="module")
def fitter() -> PatternFitter:
    return PatternFitter(measured_pattern(TRUE, read_radiation("CuKa"), Measurement(), np.random.default_rng(1)))


def known(name: str, crystal: Crystal) -> KnownCrystal:
    sites = exact_sites(crystal, symprec=0.01, elements=elements_in_order(crystal.composition))
    assert sites is not None
    return KnownCrystal(name, sites, structure_id(crystal.composition, sites.space_group, sites.orbits), 0.0, -1.0)


def test_the_template_that_fits_comes_first_in_its_fitted_cell(bundle: WeightBundle, fitter: PatternFitter) -> None:
    spec = spec_for(Options(relax=False))
    first, *_ = pattern_templates(ZNO, bundle, spec, fitter)
    assert (first.space_group, first.proposal.source) == (216, "ZnS")
    assert first.crystal.volume == pytest.approx(TRUE.volume, rel=0.005)
    assert explains(rank_by_pattern([candidate_of(first.crystal)], fitter, score_error=0.03)[0])
    assert not explains(rank_by_pattern([candidate_of(rock_salt(4.2, ZINC_OXIDE))], fitter, score_error=0.03)[0])


def test_templates_that_contradict_what_is_known_are_not_taken(bundle: WeightBundle, fitter: PatternFitter) -> None:
    spec = replace(spec_for(Options(relax=False)), constraints=ConstraintSpec(volume=80.0))
    assert pattern_templates(ZNO, bundle, spec, fitter) == []
    assert pattern_templates(ZNO, replace(bundle, templates=None), spec, fitter) == []


def test_a_prediction_gains_the_template_that_the_pattern_tells(bundle: WeightBundle, fitter: PatternFitter) -> None:
    options = Options(relax=False, starts=4, steps=1, space_groups=(225, 216))
    found = Predictor(bundle, spec_for(options)).predict("ZnO", pattern=fitter)
    assert found.candidates[0].space_group == 216
    assert found.candidates[0].proposal.source == "ZnS"
    assert explains(found.candidates[0])


def test_a_template_that_cannot_be_compared_does_not_exclude_the_others(
    bundle: WeightBundle, fitter: PatternFitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = PatternFitter.screen

    def refuse_rock_salt(self: PatternFitter, crystal: Crystal, *, symprec: float) -> float:
        if abs(crystal.frac_coords[1] - crystal.frac_coords[0] - 0.5).max() < 1e-6:
            raise ConfigError("too many planes")
        return screen(self, crystal, symprec=symprec)

    monkeypatch.setattr(PatternFitter, "screen", refuse_rock_salt)
    found = pattern_templates(ZNO, bundle, spec_for(Options(relax=False)), fitter)
    assert [one.space_group for one in found] == [216]


def test_a_composition_whose_patterns_cannot_be_calculated_is_refused_before_any_work() -> None:
    pattern = measured_pattern(TRUE, read_radiation("neutron 1.5"), Measurement(), np.random.default_rng(1))
    fitter, predictor = PatternFitter(pattern), Predictor.load(spec=spec_for(Options(relax=False)))
    plutonium_oxide = Composition.from_formula("PuO2")
    predictor.check(ZNO, fitter)
    predictor.check(plutonium_oxide)
    with pytest.raises(FormulaError, match="Pu: no neutron scattering length is known"):
        predictor.check(plutonium_oxide, fitter)
    with pytest.raises(FormulaError, match="Pu: no neutron scattering length is known"):
        predictor.predict(plutonium_oxide, pattern=fitter)
