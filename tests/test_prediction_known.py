"""Known crystals: their order in the source, and how far below them an unknown crystal must lie."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest
from test_structure_exact_sites import NACL
from tiny import caesium_chloride, candidate_of, decoded_of, nickel_arsenide, relaxed_of, zinc_blende

from lcoms.core.errors import ConfigError
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.known import Direct, direct_crystals, known_first, known_of, mark_known, named_prototypes
from lcoms.prediction.scoring import KnownWeights
from lcoms.prediction.spec import PredictionSpec, SearchSpec
from lcoms.prediction.stages import Candidate, Known
from lcoms.structure.crystal import Composition, Crystal
from lcoms.templates.exact import ExactTemplates
from lcoms.templates.exact_build import build_templates
from lcoms.train.templates import describe_one

SALT = Composition.from_formula("NaCl")
NUMBERS = (11, 17)
CRYSTALS = {"salt": NACL, "caesium": caesium_chloride(3.4, NUMBERS), "blende": zinc_blende(6.1, NUMBERS)}


def templates(**known: tuple[float, float]) -> ExactTemplates:
    """Return templates of the named crystals, with energies above the hull and formation energies."""
    found = [describe_one(CRYSTALS[name], name, *energies) for name, energies in known.items()]
    return build_templates([one for one in found if one is not None], np.ones(104), metadata={})


def order(**known: tuple[float, float]) -> list[tuple[str, float]]:
    return [(entry.template.id, round(entry.height, 3)) for entry in known_of(SALT, templates(**known))]


def candidate(crystal: Crystal, score: float, height: float | None = None) -> Candidate:
    decoded = decoded_of(crystal)
    known = None if height is None else Known("one", height, height)
    return replace(Candidate.of_relaxed(relaxed_of(decoded, score), score, 0.0), known=known)


def scores(weights: KnownWeights, *candidates: Candidate) -> list[float]:
    return [pytest.approx(one.score) for one in known_first(candidates, weights)]


def test_known_crystals_stand_by_their_heights_above_the_hull() -> None:
    assert order(salt=(0.02, -2.0), caesium=(0.0, -2.0)) == [("caesium", 0.0), ("salt", 0.02)]
    assert order(salt=(0.0, -2.0), caesium=(nan, -1.9)) == [("salt", 0.0), ("caesium", 0.1)]


def test_known_crystals_that_are_equally_high_are_told_apart_by_their_formation_energies() -> None:
    found = order(blende=(0.0, -1.98), salt=(0.0, -2.0), caesium=(0.0, -1.99))
    assert found == [("salt", 0.0), ("caesium", 0.01), ("blende", 0.02)]


def test_known_crystals_are_marked_with_their_ids() -> None:
    entries = known_of(SALT, templates(salt=(0.0, -2.0)))
    marked = mark_known(
        [candidate_of(NACL, space_group=225), candidate_of(nickel_arsenide(3.9, 6.2, NUMBERS))], entries
    )
    assert [None if one.known is None else one.known.id for one in marked] == ["salt", None]


def test_an_unknown_crystal_comes_first_only_where_it_lies_far_below_the_known_ones() -> None:
    weights = KnownWeights(0.1, 0.02, highest=0.1, least_probability=0.02)
    salt, caesium = candidate(NACL, -3.4, 0.0), candidate(CRYSTALS["caesium"], -3.45)
    assert known_first([caesium, salt], weights)[0].crystal is salt.crystal
    assert known_first([candidate(caesium.crystal, -3.51), salt], weights)[0].crystal is caesium.crystal
    above = candidate(NACL, -3.4, 0.03)
    assert known_first([caesium, above], weights)[0].crystal is caesium.crystal
    assert known_first([candidate(caesium.crystal, -3.41), above], weights)[0].crystal is above.crystal


def test_known_crystals_keep_the_order_and_the_distances_of_their_source() -> None:
    salt, caesium = candidate(NACL, -3.4, 0.0), candidate(CRYSTALS["caesium"], -3.45, 0.03)
    assert scores(KnownWeights(0.1, 0.1, highest=0.1, least_probability=0.02), caesium, salt) == [-3.55, -3.52]


def test_unrelaxed_candidates_come_last_wherever_the_energy_model_has_its_zero() -> None:
    weights = KnownWeights(0.1, 0.1, highest=0.1, least_probability=0.02)
    salt, blende = candidate(NACL, 0.3, 0.0), candidate(CRYSTALS["blende"], 0.5)
    unrelaxed = Candidate.of_decoded(decoded_of(CRYSTALS["caesium"], score=-1.9))
    failed = replace(unrelaxed, relaxed=relaxed_of(unrelaxed.decoded, nan, status="exploded"), score=-1.8)
    found = known_first([blende, salt, failed, unrelaxed], weights)
    assert [one.score for one in found] == [pytest.approx(0.2), 0.5, -1.9, -1.8]
    assert [one.score for one in known_first([unrelaxed, replace(salt, relaxed=None)], weights)] == [
        -1.9,
        pytest.approx(0.2),
    ]


def test_the_score_of_an_unrelaxed_known_crystal_does_not_raise_the_known_ones_above_the_relaxed() -> None:
    weights = KnownWeights(0.1, 0.1, highest=0.1, least_probability=0.02)
    salt, blende = candidate(NACL, 0.3, 0.0), candidate(CRYSTALS["blende"], 0.1)
    decoded = Candidate.of_decoded(decoded_of(CRYSTALS["caesium"], score=-1.9))
    unrelaxed = replace(decoded, known=Known("two", 0.05, 0.05))
    found = known_first([blende, salt, unrelaxed], weights)
    assert [one.score for one in found] == [0.1, pytest.approx(0.2), pytest.approx(0.25)]
    assert [one.score for one in known_first([blende, unrelaxed], weights)] == [0.1, -1.9]


def test_weights_are_positive() -> None:
    with pytest.raises(ConfigError, match="above_hull must be zero or positive"):
        KnownWeights(0.1, -0.1, highest=0.1, least_probability=0.02)


def test_named_prototypes_of_the_composition_are_relaxed_as_they_are(tiny_weights: Path) -> None:
    bundle = replace(WeightBundle.load(tiny_weights), templates=templates(salt=(0.0, -2.0)))
    sulfide = Composition.from_formula("ZnS")
    found = direct_crystals(sulfide, bundle, PredictionSpec(), 12).crystals
    assert [(one.space_group, one.proposal.source) for one in found] == [
        (216, "AB_cF8_216_c_a"),
        (186, "AB_hP4_186_b_b"),
    ]
    assert direct_crystals(sulfide, bundle, PredictionSpec(search=SearchSpec(exclude_same=True)), 12).crystals == ()
    small = PredictionSpec(search=SearchSpec(max_atoms=3))
    assert [one.space_group for one in direct_crystals(sulfide, bundle, small, 3).crystals] == [216]


def test_known_crystals_have_the_requested_numbers_of_formula_units(tiny_weights: Path) -> None:
    bundle = replace(WeightBundle.load(tiny_weights), templates=templates(salt=(0.0, -2.0), caesium=(0.02, -1.98)))

    def found(units: tuple[int, int] | None, highest: float = 0.1) -> tuple[list[str], int, int]:
        known = replace(bundle.ranking.known, highest=highest)
        limited = replace(bundle, ranking=replace(bundle.ranking, known=known))
        made = direct_crystals(SALT, limited, PredictionSpec(search=SearchSpec(formula_units=units)), 12)
        return [one.proposal.source for one in made.crystals], made.passed_over, made.other_sizes

    assert found(None) == found((1, 4)) == (["salt", "caesium"], 0, 0)
    assert found(None, highest=0.01) == (["salt"], 1, 0)
    assert found((2, 4)) == ([], 0, 2)


def test_the_less_is_decoded_the_more_probable_larger_cells_are() -> None:
    assert [Direct(large=large).worth_decoding(30) for large in (0.0, 0.5, 0.99, 1.0)] == [30, 15, 3, 3]
    assert [Direct(large=1.0).worth_decoding(n) for n in (0, 2)] == [0, 2]


def test_a_named_prototype_shares_a_probability_only_where_no_template_has_its_structure(tiny_weights: Path) -> None:
    bundle, sulfide = WeightBundle.load(tiny_weights), Composition.from_formula("ZnS")

    def shares(**known: tuple[float, float]) -> list[float]:
        found = direct_crystals(sulfide, replace(bundle, templates=templates(**known)), PredictionSpec(), 12).crystals
        return [one.proposal.prototype_probability for one in found]

    assert shares(salt=(0.0, -2.0)) == [0.5, 0.5]
    assert shares(salt=(0.0, -2.0), blende=(0.0, -1.9)) == [0.0, 0.5]


def test_named_prototypes_whose_structure_is_known_anyway_are_not_taken_twice() -> None:
    carbon = Composition.from_formula("C")
    every = named_prototypes(carbon, [], 80, (1, 80))
    graphite = next(one for one in every if one.id == "A_hP4_194_bc")
    assert every[0].id == "A_hR2_166_c"
    assert graphite.id not in [one.id for one in named_prototypes(carbon, [graphite.structure], 80, (1, 80))]
