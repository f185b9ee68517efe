"""Decoys: anchored energies, counts of lost crystals, and a table that ingest reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import KnownDecoder, caesium_chloride, make_store, rock_salt, write_weights, zinc_blende

from lcoms.data.checks import IngestOptions
from lcoms.data.ingest import ingest
from lcoms.data.store import Store
from lcoms.oracles.base import EnergyOracle, Evaluation
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.spec import PredictionSpec, SearchSpec
from lcoms.structure.crystal import Composition, Crystal
from lcoms.train.decoys import MAX_ABOVE, choose_anchors, make_decoys, write_decoys
from lcoms.train.surrogate_data import SurrogateData


class ByVolume(EnergyOracle):
    """Oracle with -10 eV/atom plus 0.1 eV per cubic angstrom of deviation from 20 per atom; rejects sulfur."""

    name = "by-volume"
    batch_size = 2

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation]:
        assert len(crystals) <= self.batch_size
        return [
            Evaluation.failed("no sulfur here.", c.n_atoms)
            if 16 in c.atomic_numbers
            else Evaluation(self.per_atom(c) * c.n_atoms, np.zeros((c.n_atoms, 3)), np.zeros((3, 3)))
            for c in crystals
        ]

    def per_atom(self, crystal: Crystal) -> float:
        return -10 + 0.1 * abs(crystal.volume / crystal.n_atoms - 20)

    def check(self, compositions: Iterable[Composition]) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    crystals = [rock_salt(), caesium_chloride(3.4, (11, 17)), zinc_blende(), rock_salt(6.29, (19, 17))]
    return make_store(
        tmp_path / "store",
        crystals,
        energies=[-2.0, -1.9, -1.0, float("nan")],
        hull=[0.0] * 4,
        splits=["train", "train", "val", "train"],
    )


def test_anchors_are_the_best_of_their_compositions(store: Store) -> None:
    anchors = choose_anchors(store, np.arange(4), 10, np.random.default_rng(0))
    found = {a.crystal.composition.reduced_formula: (a.energy, a.split) for a in anchors}
    assert found == {"NaCl": (-2.0, "train"), "ZnS": (-1.0, "val")}
    assert len(choose_anchors(store, np.arange(4), 1, np.random.default_rng(0))) == 1


def test_test_crystals_have_no_decoys(tmp_path: Path) -> None:
    crystals, splits = [rock_salt(), zinc_blende(), caesium_chloride()], ["test", "val", "train"]
    store = make_store(tmp_path / "store", crystals, energies=[-2.0] * 3, hull=[0.0] * 3, splits=splits)
    anchors = choose_anchors(store, np.arange(3), 10, np.random.default_rng(0))
    assert sorted(anchor.split for anchor in anchors) == ["train", "val"]


def test_energies_are_anchored_and_losses_counted(store: Store, bundle: WeightBundle, tmp_path: Path) -> None:
    good, far = rock_salt(6.0), caesium_chloride(7.0, (11, 17))
    overlapping = Crystal(good.lattice, np.array([[0, 0, 0], [0.01, 0, 0]]), good.atomic_numbers)
    anchors = choose_anchors(store, np.arange(4), 10, np.random.default_rng(0))
    salt, blende = sorted(anchors, key=lambda anchor: anchor.energy)
    oracle = ByVolume()
    decoys, lost = make_decoys([salt], _decoding(bundle, [good, None, overlapping, far]), oracle)
    assert lost == 2
    assert make_decoys([blende], _decoding(bundle, [zinc_blende()] * 4), oracle) == ([], 1)
    assert [d.split for d in decoys] == ["train", "train"]
    decoys.sort(key=lambda decoy: decoy.energy)
    expected = -2.0 + oracle.per_atom(good) - oracle.per_atom(rock_salt())
    assert decoys[0].energy == pytest.approx(expected, abs=1e-9)
    assert decoys[1].energy == pytest.approx(-2.0 + MAX_ABOVE)

    write_decoys(tmp_path / "decoys.parquet", decoys, source="by-volume")
    ingest([tmp_path / "decoys.parquet"], tmp_path / "read", options=IngestOptions(keep_split=True))
    again = Store.open(tmp_path / "read")
    assert set(again.columns("source")["source"]) == {"by-volume"}
    np.testing.assert_allclose(
        again.columns("formation_energy_per_atom")["formation_energy_per_atom"], [expected, -2.0 + MAX_ABOVE]
    )


@pytest.fixture
def bundle(tmp_path: Path) -> WeightBundle:
    return WeightBundle.load(write_weights(tmp_path / "weights"))


def _decoding(bundle: WeightBundle, answers: list[Crystal | None]) -> Predictor:
    """Return a predictor that decodes its four descents to these crystals."""
    spec = PredictionSpec(search=SearchSpec(start="prior", n_starts=4, steps=1), relaxation=None)
    return Predictor(replace(bundle, cdvae=KnownDecoder(answers)), spec)


def test_decoys_are_the_crystals_that_prediction_gives(store: Store, bundle: WeightBundle) -> None:
    anchors = choose_anchors(store, np.arange(2), 1, np.random.default_rng(0))
    predictor = Predictor(bundle, PredictionSpec(search=SearchSpec(n_starts=6, steps=2), relaxation=None))
    decoys, _ = make_decoys(anchors, predictor, ByVolume())
    predicted = predictor.predict(anchors[0].crystal.composition).candidates
    assert len(decoys) == len(predicted) > 1
    assert any(one.space_group > 2 for one in predicted)
    for decoy, candidate in zip(decoys, predicted, strict=True):
        np.testing.assert_array_equal(decoy.crystal.lattice, candidate.crystal.lattice)
        np.testing.assert_array_equal(decoy.crystal.frac_coords, candidate.crystal.frac_coords)


def test_joined_data_keep_compositions_on_one_side() -> None:
    def data(fractions: list[list[int]], is_val: list[bool]) -> SurrogateData:
        features = torch.zeros(len(fractions), 103)
        for row, elements in enumerate(fractions):
            features[row, elements] = 1 / len(elements)
        n = len(fractions)
        groups = torch.tensor([hash(tuple(f)) % 1000 for f in fractions])
        return SurrogateData(torch.randn(n, 3), features, torch.randn(n), groups, torch.tensor(is_val))

    first = data([[1, 2], [3, 4]], [False, True])
    both = first.joined(data([[1, 2], [3, 4], [5]], [True, True, False]))
    assert both.is_val.tolist() == [False, True, False, True, False]
    assert both.groups[0] == both.groups[2] != both.groups[1] == both.groups[3]
    assert torch.equal(both.energies[:2], first.energies)
