"""Statements about the training data agree with the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY, made_crystals, prototypes, rock_salt

from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.overlap import count_same, training_overlap
from lcoms.structure.crystal import Composition
from lcoms.templates.library import LatentLibrary


def test_training_crystals_find_themselves(tiny_weights: Path) -> None:
    crystals = prototypes()
    overlap = training_overlap(
        Composition.from_formula("NaCl"), list(crystals.values()), WeightBundle.load(tiny_weights)
    )
    assert [near.nearest for near in overlap.crystals] == list(crystals)
    assert [near.formula for near in overlap.crystals] == [c.composition.reduced_formula for c in crystals.values()]
    # Latents of the library are rounded to 255 levels.
    assert max(near.distance for near in overlap.crystals) < 0.1 < overlap.typical <= overlap.far
    assert (overlap.n_same, overlap.n_library) == (1, 5)


def test_other_crystals_are_farther(tiny_weights: Path) -> None:
    weights = WeightBundle.load(tiny_weights)
    crystals = [rock_salt(), rock_salt(8.0, (19, 35))]
    overlap = training_overlap(crystals[1].composition, crystals, weights)
    assert overlap.crystals[1].distance > overlap.crystals[0].distance
    assert overlap.n_same == 0


@pytest.mark.parametrize("formula", ["MgO", "CaS", "TiO2", "SrTiO3", "C", "NaCl", "KCl", "Na2Cl2"])
def test_crystals_of_a_composition_are_counted_as_by_hand(formula: str) -> None:
    crystals = [*made_crystals(), rock_salt(3.5, (6, 6)), rock_salt(3.6, (6, 6)), rock_salt(3.6, (14, 6))]
    compositions = [crystal.composition for crystal in crystals]
    n = len(crystals)
    library = LatentLibrary.build(
        torch.randn(n, TINY.latent_dim, generator=torch.Generator().manual_seed(0)),
        compositions, np.zeros(n), [str(i) for i in range(n)], e_above_hull=np.zeros(n),
    )  # fmt: skip
    wanted = Composition.from_formula(formula).reduced
    assert count_same(wanted, library) == sum(c.reduced == wanted for c in compositions)
