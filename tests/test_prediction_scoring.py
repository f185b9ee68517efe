"""The score of candidates by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
from tiny import decoded_of, proposal_of, rock_salt

from lcoms.core.errors import ConfigError
from lcoms.prediction.scoring import LEAST_PROBABILITY, ScoreWeights
from lcoms.prediction.stages import Decoded
from lcoms.structure.crystal import Crystal

NONE = ScoreWeights(0.0, 0.0, 0.0)


def decoded(crystal: Crystal, probability: float = 0.4) -> Decoded:
    template = proposal_of("mp-1", "KCl", 1.0, prototype_probability=probability)
    return decoded_of(crystal, latent_distance=2.0, n_found=3, proposal=template)


def crystal_of(numbers: tuple[int, int] = (11, 17), volume_per_atom: float = 20.0) -> Crystal:
    return rock_salt((8 * volume_per_atom) ** (1 / 3), numbers)


def score(weights: ScoreWeights, energy: float, crystal: Crystal, *, above: float = 0.0) -> float:
    return weights.score(energy, crystal, decoded(crystal), above=above)


def test_every_term_counts_with_its_weight() -> None:
    weights = ScoreWeights(distance=0.1, n_found=0.2, prototype_probability=0.3, volume=0.5)
    beside = 0.5 * log(20) + 0.2 - 0.2 * log(3) - 0.3 * log(0.4 + LEAST_PROBABILITY)
    assert score(weights, -1.0, crystal_of()) == pytest.approx(-1.0 + beside)
    assert score(NONE, -1.0, crystal_of()) == -1.0


def test_where_energies_are_doubted_the_rest_counts_more() -> None:
    weights = replace(NONE, prototype_probability=0.3, magnetic=2.0, f_electrons=3.0)
    found = [score(weights, 0.0, crystal_of(numbers)) for numbers in ((11, 17), (26, 8), (58, 26))]
    plain = -0.3 * log(0.4 + LEAST_PROBABILITY)
    assert found == pytest.approx([plain, 2 * plain, 3 * plain])


def test_the_volume_counts_the_same_where_energies_are_doubted() -> None:
    weights = replace(NONE, magnetic=2.0, volume=0.05)
    for numbers in ((11, 17), (26, 8)):
        dense, open_ = (score(weights, 0.0, crystal_of(numbers, volume)) for volume in (20.0, 24.0))
        assert open_ - dense == pytest.approx(0.05 * log(1.2))


def test_the_prototype_probability_makes_up_for_little_energy_only() -> None:
    weights = replace(NONE, prototype_probability=0.3, f_electrons=3.0, limit=0.02, excess=2.0)
    for numbers, limit in (((11, 17), 0.02), ((58, 7), 0.06)):
        crystal = crystal_of(numbers)
        inside, beyond = (score(weights, -1.0, crystal, above=above) for above in (limit, limit + 0.1))
        assert inside == score(weights, -1.0, crystal)
        assert beyond - inside == pytest.approx(0.2)


def test_a_crystal_without_a_template_can_be_ranked() -> None:
    weights, crystal = replace(NONE, n_found=0.2, prototype_probability=0.1), crystal_of()
    none = weights.score(0.0, crystal, decoded_of(crystal, n_found=0))
    assert none == pytest.approx(-0.1 * log(LEAST_PROBABILITY))


def test_weights_below_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match="prototype_probability must not be negative"):
        ScoreWeights(0.0, 0.0, -0.1)
