"""Crystals on exact template sites: which exist, and what they replace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_templates_exact import known, pair
from tiny import decoded_of, rock_salt, zinc_blende

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.exact_templates import on_exact_sites, with_exact_sites
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.spec import PredictionSpec, SearchSpec
from lcoms.prediction.stages import Decoded
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import EXACT_SYMPREC
from lcoms.templates.exact_build import build_templates
from lcoms.templates.placing import ChosenTemplate

SALT = (11, 17)
SODIUM_CHLORIDE = Composition.from_formula("NaCl")


def exact(crystal: Crystal, group: int = 1, **changes: object) -> Decoded:
    return decoded_of(crystal, space_group=group, symprec=EXACT_SYMPREC, **changes)


def test_a_decoded_crystal_takes_over_the_exact_sites_of_the_same_structure_and_keeps_what_led_to_it() -> None:
    rough = decoded_of(rock_salt(5.9), space_group=225, n_found=3, latent_distance=1.5)
    found = with_exact_sites([rough], [exact(zinc_blende(6.1, SALT), 216), exact(rock_salt(), 225)])
    assert [one.space_group for one in found] == [225, 216]
    assert found[0].crystal.volume == pytest.approx(rock_salt().volume)
    assert (found[0].is_exact, found[0].n_found, found[0].latent_distance) == (True, 3, 1.5)


def test_a_decoded_crystal_of_another_space_group_stays_beside_the_exact_one() -> None:
    found = with_exact_sites([decoded_of(rock_salt(), space_group=139)], [exact(rock_salt(), 225)])
    assert [(one.space_group, one.is_exact) for one in found] == [(139, False), (225, True)]


def test_templates_of_every_size_stand_among_the_candidates_on_their_exact_sites(tiny_weights: Path) -> None:
    crystals = [known("LiF", pair(3, 9, 2.0)), known("ZnS", pair(30, 16, 2.7, 0.25)), known("NaCl", pair(11, 17, 2.8))]
    bundle = replace(WeightBundle.load(tiny_weights), templates=build_templates(crystals, np.ones(104)))
    spec = PredictionSpec(search=SearchSpec(n_starts=2, exclude_same=True), relaxation=None)

    def sources(spec: PredictionSpec) -> set[str]:
        return {one.proposal.source for one in Predictor(bundle, spec).decode(SODIUM_CHLORIDE).crystals if one.is_exact}

    assert sources(spec) >= {"ZnS"}
    assert sources(spec.with_options({"search": {"direct": 0}})) == set()
    assert "ZnS" not in sources(spec.with_options({"constraints": {"space_groups": [225]}}))


def test_further_templates_of_a_structure_have_less_of_its_probability_and_equal_ones_are_left_out(
    tiny_weights: Path,
) -> None:
    crystals = [known("LiF", pair(3, 9, 2.0)), known("KCl", pair(19, 17, 3.1)), known("ZnS", pair(30, 16, 2.7, 0.25))]
    templates = build_templates(crystals, np.ones(104))
    bundle = replace(WeightBundle.load(tiny_weights), templates=templates)
    rows = [(templates.row_of("LiF"), 0.5), (templates.row_of("KCl"), 0.6), (templates.row_of("ZnS"), 0.9)]
    chosen = [ChosenTemplate(at, replace(templates[at], structure=1), 1, d, 0.8) for at, d in rows if at is not None]
    salt, blende = on_exact_sites(SODIUM_CHLORIDE, chosen, bundle, 9)
    assert [one.proposal.source for one in (salt, blende)] == ["LiF", "ZnS"]
    left = np.exp(-0.4 * bundle.library.similarity.sharpness)
    assert [one.prototype_probability for one in (salt, blende)] == pytest.approx([0.8, 0.8 * left])
    assert len(on_exact_sites(SODIUM_CHLORIDE, chosen, bundle, 1)) == 1
