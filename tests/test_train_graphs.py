"""Graphs of a data set: tables return their content, and batches contain every graph once per epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_models_megnet import SMALL, new_model
from tiny import made_crystals, make_store, perovskite, rock_salt, shaken, to_arrays, wurtzite

from lcoms.core.errors import ConfigError, DataError
from lcoms.models.megnet import formation_energies
from lcoms.structure.crystal import Crystal
from lcoms.train import graphs as module
from lcoms.train.graphs import GraphSteps, MegnetData, build_graphs, cached_graphs, megnet_data

LONELY = Crystal(9.0 * np.eye(3), np.zeros((1, 3)), np.array([2]))


def test_tables_give_the_energies_of_the_crystals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    crystals = [rock_salt(), LONELY, shaken(perovskite(), 0.2), wurtzite(), rock_salt(5.2)]
    done: list[int] = []
    table = build_graphs(to_arrays(crystals), SMALL, on_chunk=done.append)
    assert done == [3, 2]
    assert table.rows.tolist() == [0, 2, 3, 4]
    model = new_model()
    chosen = torch.tensor([3, 0, 1])
    with torch.no_grad():
        found = model(table.take(chosen)).numpy()
    expected = formation_energies(model, [crystals[i] for i in (4, 0, 2)])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert len(np.unique(found.round(4))) == 3


def test_graphs_are_kept_in_a_file_and_made_again_for_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "graphs.safetensors", []
    build = module.build_graphs
    monkeypatch.setattr(module, "build_graphs", lambda *args, **options: calls.append(1) or build(*args, **options))
    first = cached_graphs(path, to_arrays([rock_salt()]), SMALL)
    again = cached_graphs(path, to_arrays([rock_salt()]), SMALL)
    assert len(calls) == 1
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(first).items())
    cached_graphs(path, to_arrays([rock_salt(5.2)]), SMALL)
    cached_graphs(path, to_arrays([rock_salt(5.2)]), replace(SMALL, cutoff=4.0))
    assert len(calls) == 3
    with pytest.raises(DataError, match="no crystal whose atoms all have neighbours"):
        build_graphs(to_arrays([LONELY]), SMALL)


def test_every_graph_stands_once_in_an_epoch_in_batches_of_equal_size() -> None:
    n_edges = torch.randint(1, 200, (500,), generator=torch.Generator().manual_seed(0))
    steps = GraphSteps(n_edges, epochs=3, edges_per_batch=1000, seed=4)
    assert len(steps) == 3 * steps.steps_per_epoch
    sizes = []
    for epoch in range(3):
        first = epoch * steps.steps_per_epoch
        batches = [steps[first + i] for i in range(steps.steps_per_epoch)]
        assert sorted(torch.cat(batches).tolist()) == list(range(500))
        sizes += [int(n_edges[batch].sum()) for batch in batches]
    assert min(sizes) > 750
    assert max(sizes) < 1250
    assert steps.mean_batch == pytest.approx(500 / steps.steps_per_epoch)
    other = GraphSteps(n_edges, epochs=3, edges_per_batch=1000, seed=5)
    again = GraphSteps(n_edges, epochs=3, edges_per_batch=1000, seed=4)
    place = 2 * steps.steps_per_epoch + 1
    assert torch.equal(again[place], steps[place])
    assert not torch.equal(other[place], steps[place])
    assert not torch.equal(steps[1], steps[steps.steps_per_epoch + 1])


def test_no_batch_is_empty_where_one_graph_is_larger_than_a_batch() -> None:
    steps = GraphSteps(torch.tensor([5, 1000, 3, 4, 900]), epochs=1, edges_per_batch=10, seed=0)
    assert all(len(steps[i]) for i in range(len(steps)))
    with pytest.raises(ConfigError, match="at least one epoch"):
        GraphSteps(torch.tensor([5]), epochs=0, edges_per_batch=10, seed=0)


def test_data_of_a_store(tmp_path: Path) -> None:
    crystals = made_crystals()[:12]
    energies = [float(i) for i in range(11)] + [float("nan")]
    # Four polymorphs of each composition: validation on the second is unseen, on the first it is not.
    splits = ["train"] * 3 + ["val"] * 5 + ["train", "train", "test", "train"]
    store = make_store(tmp_path / "store", crystals, energies=energies, hull=[0.0] * 12, splits=splits)
    data = megnet_data(store, SMALL, tmp_path / "graphs.safetensors", max_atoms=20)
    plausible = data.crystals.formation_energy.astype(int).tolist()
    assert set(plausible) <= {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
    assert len(plausible) >= 9
    trained = {plausible[i] for i in torch.nonzero(data.is_train).flatten()}
    validated = {plausible[i] for i in torch.nonzero(data.is_val).flatten()}
    assert trained == set(plausible) & {0, 1, 2, 8, 9}
    assert validated == set(plausible) & {4, 5, 6, 7}
    assert (tmp_path / "graphs.safetensors").exists()


def test_data_that_do_not_fit_are_refused() -> None:
    arrays = to_arrays([rock_salt(), rock_salt(5.2)], [-1.0, -2.0])
    table = build_graphs(arrays, SMALL)
    yes, groups = torch.tensor([True, False]), torch.tensor([0, 1])
    with pytest.raises(DataError, match="equally many"):
        MegnetData(table, to_arrays([rock_salt()], [-1.0]), groups, yes, ~yes)
    with pytest.raises(DataError, match="no training crystal"):
        MegnetData(table, arrays, groups, ~(yes | ~yes), yes)
    with pytest.raises(DataError, match="both training and validation"):
        MegnetData(table, arrays, 0 * groups, yes, ~yes)
    with pytest.raises(DataError, match="has no formation energy"):
        MegnetData(table, to_arrays([rock_salt(), rock_salt(5.2)]), groups, yes, ~yes)
