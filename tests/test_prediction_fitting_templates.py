"""Templates with the requested space group or cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import rock_salt, zinc_blende

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.fitting_templates import fitting_templates
from lcoms.prediction.known import direct_crystals
from lcoms.prediction.presets import Options, spec_for
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.exact_sites import exact_sites
from lcoms.templates.exact_build import KnownCrystal, build_templates, structure_id
from lcoms.templates.stoichiometry import elements_in_order

ZNO = Composition.from_formula("ZnO")


def known(name: str, crystal: Crystal) -> KnownCrystal:
    sites = exact_sites(crystal, symprec=0.01, elements=elements_in_order(crystal.composition))
    assert sites is not None
    return KnownCrystal(name, sites, structure_id(crystal.composition, sites.space_group, sites.orbits), 0.0, -1.0)


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path) -> WeightBundle:
    """Tiny weights with two templates."""
    crystals = [known("MgO", rock_salt(4.35, (12, 8))), known("ZnS", zinc_blende(4.7))]
    return replace(
        WeightBundle.load(tiny_weights), templates=build_templates(crystals, np.full(104, 20.0), metadata={})
    )


def sources(bundle: WeightBundle, **options: object) -> list[str]:
    spec = spec_for(Options(relax=False, **options))  # type: ignore[arg-type]
    return [one.proposal.source for one in fitting_templates(ZNO, bundle, spec)]


def test_templates_of_the_group_or_the_cell_are_taken_and_none_without_either(bundle: WeightBundle) -> None:
    assert sources(bundle) == []
    assert sources(bundle, space_groups=(216,)) == ["ZnS"]
    assert sources(bundle, space_groups=(225, 216)) == ["MgO", "ZnS"]
    assert sources(bundle, space_groups=(62,)) == []
    assert set(sources(bundle, cell=(4.4, 4.4, 4.4, 90.0, 90.0, 90.0))) == {"MgO", "ZnS"}
    assert sources(bundle, cell=(3.11, 3.11, 4.7, 90.0, 90.0, 120.0)) == []
    assert fitting_templates(ZNO, replace(bundle, templates=None), spec_for(Options(relax=False))) == []


def test_they_are_relaxed_as_they_are_in_the_group_asked_for(bundle: WeightBundle) -> None:
    spec = spec_for(Options(relax=False, space_groups=(216,)))
    found = direct_crystals(ZNO, bundle, spec, 20)
    assert [(one.space_group, one.proposal.source) for one in found.crystals] == [(216, "ZnS")]
    assert found.crystals[0].crystal.composition.reduced == ZNO


def test_templates_of_the_very_composition_are_left_out_where_that_is_asked(bundle: WeightBundle) -> None:
    spec = spec_for(Options(relax=False, space_groups=(216,), exclude_same=True))
    assert fitting_templates(Composition.from_formula("ZnS"), bundle, spec) == []
