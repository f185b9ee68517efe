"""The order of candidates by hand."""

from __future__ import annotations

from math import log

import pytest

from lcoms.core.errors import ConfigError
from lcoms.prediction.scoring import LEAST_SUPPORT, OrderWeights

FIGURES = {"latent_distance": 2.0, "space_group": 225, "count": 3, "support": 0.4, "volume_per_atom": 20.0}


def test_every_term_counts_with_its_weight() -> None:
    weights = OrderWeights(distance=0.1, symmetry=0.01, count=0.2, support=0.3, volume=0.5)
    beside = 0.5 * log(20) + 0.2 - 0.01 * log(192) - 0.2 * log(3) - 0.3 * log(0.4 + LEAST_SUPPORT)
    assert weights.score(-1.0, elements=(11, 17), **FIGURES) == pytest.approx(-1.0 + beside)
    assert OrderWeights(0.0, 0.0, 0.0, 0.0).score(-1.0, elements=(11, 17), **FIGURES) == -1.0


def test_where_energies_are_doubted_the_rest_counts_more() -> None:
    weights = OrderWeights(0.0, 0.0, 0.0, 0.3, magnetic=2.0, f_electrons=3.0)
    beside = {
        elements: weights.score(0.0, elements=elements, **FIGURES) for elements in ((11, 17), (8, 26), (8, 26, 58))
    }
    plain = -0.3 * log(0.4 + LEAST_SUPPORT)
    assert list(beside.values()) == pytest.approx([plain, 2 * plain, 3 * plain])


def test_the_volume_counts_the_same_where_energies_are_doubted() -> None:
    weights = OrderWeights(0.0, 0.0, 0.0, 0.0, magnetic=2.0, volume=0.05)
    for elements in ((11, 17), (8, 26)):
        dense, open_ = (
            weights.score(0.0, elements=elements, **(FIGURES | {"volume_per_atom": v})) for v in (20.0, 24.0)
        )
        assert open_ - dense == pytest.approx(0.05 * log(1.2))


def test_votes_make_up_for_little_energy_only() -> None:
    weights = OrderWeights(0.0, 0.0, 0.0, 0.3, f_electrons=3.0, limit=0.02, excess=2.0)
    for elements, limit in (((11, 17), 0.02), ((58, 7), 0.06)):
        inside, beyond = (
            weights.score(-1.0, elements=elements, above=above, **FIGURES) for above in (limit, limit + 0.1)
        )
        assert inside == weights.score(-1.0, elements=elements, **FIGURES)
        assert beyond - inside == pytest.approx(0.2)


def test_a_structure_without_votes_can_be_ranked() -> None:
    weights = OrderWeights(0.0, 0.0, 0.0, 0.1)
    none = weights.score(
        0.0, elements=(6,), latent_distance=0.0, space_group=1, count=1, support=0.0, volume_per_atom=9.0
    )
    assert none == pytest.approx(-0.1 * log(LEAST_SUPPORT))


def test_weights_below_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match="support must not be negative"):
        OrderWeights(0.0, 0.0, 0.0, -0.1)
