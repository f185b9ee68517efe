"""Scores of candidates, computed by hand."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log, nan

import pytest
from tiny import decoded_of, proposal_of, rock_salt

from lcoms.core.errors import ConfigError
from lcoms.prediction.scoring import ON_HULL, KnownWeights, ScoreWeights
from lcoms.prediction.stages import Decoded

FLOOR = 0.01
NONE = ScoreWeights(0.0, 0.0, 0.0, FLOOR)


def decoded() -> Decoded:
    template = proposal_of("mp-1", "KCl", 1.0, prototype_probability=0.4)
    return decoded_of(rock_salt(), latent_distance=2.0, n_found=3, proposal=template)


def test_every_term_counts_with_its_weight() -> None:
    weights = replace(NONE, distance=0.1, n_found=0.2, prototype_probability=0.3, structure_probability=0.4)
    beside = 0.2 - 0.2 * log(3) - 0.3 * log(0.4 + FLOOR) - 0.4 * log(0.7 + FLOOR)
    assert weights.score(-1.0, decoded(), share=0.7) == pytest.approx(-1.0 + beside)
    assert NONE.score(-1.0, decoded(), share=0.7) == -1.0


def test_the_prototype_probability_makes_up_for_little_energy_only() -> None:
    weights = replace(NONE, prototype_probability=0.3, limit=0.02, excess=2.0)
    inside, beyond = (weights.score(-1.0, decoded(), above=above) for above in (0.02, 0.12))
    assert inside == weights.score(-1.0, decoded())
    assert beyond - inside == pytest.approx(0.2)


def test_a_crystal_without_a_template_can_be_ranked() -> None:
    weights = replace(NONE, n_found=0.2, prototype_probability=0.1, structure_probability=0.2)
    none = weights.score(0.0, decoded_of(rock_salt(), n_found=0))
    assert none == pytest.approx(-0.3 * log(FLOOR))


def test_known_crystals_get_the_bonus_of_the_lowest_of_them() -> None:
    weights = KnownWeights(on_hull=0.2, above_hull=0.05, highest=0.3, least_probability=0.01)
    assert [weights.bonus(lowest) for lowest in (0.0, ON_HULL, 0.002)] == [0.2, 0.2, 0.05]


def test_weights_below_zero_or_infinite_are_refused() -> None:
    with pytest.raises(ConfigError, match="prototype_probability must be zero or positive"):
        ScoreWeights(0.0, 0.0, -0.1, FLOOR)
    with pytest.raises(ConfigError, match="floor must be positive"):
        ScoreWeights(0.0, 0.0, 0.1, 0.0)
    for wrong in (inf, nan):
        with pytest.raises(ConfigError, match=r"finite|positive"):
            replace(NONE, excess=wrong)
