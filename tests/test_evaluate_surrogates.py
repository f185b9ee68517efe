"""Scores of surrogates: unseen compositions, errors within compositions, and order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import make_store, rock_salt, tiny_cdvae

from lcoms.core.errors import DataError
from lcoms.evaluate.surrogates import SourcedCrystals, encode_crystals, score_surrogates, unseen_rows
from lcoms.models.surrogate import ConservativeSurrogate, SurrogateConfig


class Knows(ConservativeSurrogate):
    """Surrogate that predicts the first latent component plus one."""

    def __init__(self) -> None:
        super().__init__(2, SurrogateConfig(hidden=2))

    def forward(self, z: torch.Tensor, composition_features: torch.Tensor) -> torch.Tensor:
        assert len(z) == len(composition_features)
        return z[:, 0] + 1.0


def encoded(latents: list[float], energies: list[float], elements: list[int], sources: list[str]) -> SourcedCrystals:
    features = torch.zeros(len(elements), 103)
    features[range(len(elements)), elements] = 1.0
    z = torch.tensor([[value, 0.0] for value in latents])
    return SourcedCrystals(z, features, torch.tensor(energies, dtype=torch.float64), tuple(sources))


def test_an_offset_is_an_error_but_not_within_compositions() -> None:
    crystals = encoded([0, 1, 2, 5], [0, 1, 2, 6], [3, 3, 3, 8], ["MP a", "MP b", "MP a", "NREL"])
    every, mp = score_surrogates([Knows()], crystals, sources=["MP", "WBM"])
    assert (every.name, every.n_crystals, every.n_compositions, every.n_ordered) == ("all", 4, 2, 1)
    assert every.mae.value == pytest.approx(0.75)
    assert every.mae_within.value == pytest.approx(0.0)
    assert every.spearman.value == pytest.approx(1.0)
    assert (mp.name, mp.n_crystals, mp.mae.value) == ("MP", 3, pytest.approx(1.0))
    assert mp.mae.low == pytest.approx(1.0)


def test_several_surrogates_count_as_their_mean() -> None:
    class Opposite(Knows):
        def forward(self, z: torch.Tensor, composition_features: torch.Tensor) -> torch.Tensor:
            return 1.0 - 3 * super().forward(z, composition_features)

    crystals = encoded([0, 1, 2], [0, 1, 2], [3, 3, 3], ["MP"] * 3)
    (score,) = score_surrogates([Knows(), Opposite()], crystals)
    assert score.spearman.value == pytest.approx(-1.0)


def test_compositions_that_are_trained_on_are_not_unseen(tmp_path: Path) -> None:
    crystals = [rock_salt(), rock_salt(5.7), rock_salt(4.0, (3, 9)), rock_salt(4.2, (12, 8))]
    energies = [-2.0, -1.9, -3.0, float("nan")]
    store = make_store(
        tmp_path / "store", crystals, energies=energies, hull=[0.0] * 4, splits=["train", "val", "val", "val"]
    )
    rows = unseen_rows(store, max_atoms=20)
    assert rows.tolist() == [2]
    seen = encode_crystals(store, tiny_cdvae(), rows)
    assert seen.energies.tolist() == [-3.0]
    assert seen.composition_features[0, [2, 8]].tolist() == [0.5, 0.5]
    assert seen.latents.abs().sum() > 0
    assert unseen_rows(store, max_atoms=20, split="train").tolist() == [0]
    with pytest.raises(DataError, match="holds no crystals of split 'test' of compositions that are not trained on"):
        unseen_rows(store, max_atoms=20, split="test")
