"""Element vectors: elements that replace each other in crystals become neighbors."""

from __future__ import annotations

import numpy as np
import pytest

from lcoms.templates.similarity import ElementSimilarity
from lcoms.train.similarity import ClassStructures, SimilarityConfig, learn_similarity

QUICK = SimilarityConfig(dim=4, steps=300)


def members(random: np.random.Generator) -> ClassStructures:
    """Return crystals with structure 1 if the first element is odd, otherwise 0; Mendeleev numbers are misleading."""
    elements = np.array([(a, b) for a in range(20, 32) for b in (8, 16, 34, 52)])
    elements = elements[random.permutation(len(elements))]
    return ClassStructures(elements, elements[:, 0] % 2, np.zeros(len(elements)))


def right_neighbours(similarity: ElementSimilarity, crystals: ClassStructures) -> float:
    """Return the fraction of crystals whose nearest crystal with another first element has the same structure."""
    right = []
    for own, structure in zip(crystals.elements, crystals.structures, strict=True):
        others = crystals.elements[:, 0] != own[0]
        distances = similarity.distances(crystals.elements[others], own, 2)
        right.append(crystals.structures[others][distances.argmin()] == structure)
    return float(np.mean(right))


def test_neighbours_come_to_share_the_structure() -> None:
    crystals = members(np.random.default_rng(0))
    learned = learn_similarity([crystals], config=QUICK, seed=0)
    assert right_neighbours(learned, crystals) > 0.95
    assert right_neighbours(ElementSimilarity.mendeleev(), crystals) < 0.9


def test_same_seed_same_vectors() -> None:
    crystals = members(np.random.default_rng(0))
    first, second = (learn_similarity([crystals], config=SimilarityConfig(steps=20), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_without_large_families_mendeleev_numbers_are_left() -> None:
    small = ClassStructures(np.array([[11, 17], [19, 17]]), np.array([0, 0]), np.zeros(2))
    learned = learn_similarity([small], config=QUICK)
    np.testing.assert_array_equal(learned.vectors, ElementSimilarity.mendeleev().vectors)


def test_instability_costs_distance_where_unstable_crystals_mislead() -> None:
    random = np.random.default_rng(1)
    elements = random.integers(20, 40, (60, 2))
    unstable = np.arange(60) % 2 == 1
    structures = np.where(unstable, np.arange(60) + 10, 0)  # the stable ones all agree, the others all differ
    crystals = ClassStructures(elements, structures, np.where(unstable, 0.3, 0.0))
    learned = learn_similarity([crystals], config=QUICK)
    assert learned.hull > 2.5
    assert learned.sharpness == pytest.approx(5.0)
