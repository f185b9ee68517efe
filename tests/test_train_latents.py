"""From a store to latents, surrogate data and the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import (
    caesium_chloride,
    make_store,
    nickel_arsenide,
    perovskite,
    prototypes,
    rock_salt,
    tiny_cdvae,
    zinc_blende,
)

from lcoms.core.errors import DataError
from lcoms.data.store import Store
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.site_codes import describe_sites
from lcoms.templates.library import LatentLibrary
from lcoms.train.latents import describe_rows, encode_rows, select_rows, surrogate_data
from lcoms.train.library import build_library, count_orbits, primitive_cells

NAN = float("nan")
SALT, POTASSIUM = (11, 17), (19, 17)
# Of the prototypes, zinc blende is too high above its hull.
PROTOTYPES = zip(prototypes().values(), (-2.0, -1.9, -1.0, -1.1, -3.4), (0.0, 0.05, 0.3, 0.02, 0.0), strict=True)
ROWS = [
    *((crystal, energy, hull, "train") for crystal, energy, hull in PROTOTYPES),
    (caesium_chloride(3.4, SALT), -1.98, 0.02, "train"),  # 5: second polymorph of NaCl
    (zinc_blende(6.0, SALT), -1.96, 0.04, "train"),  # 6: the third, one too many
    (nickel_arsenide(3.9, 6.2, SALT), -1.9, NAN, "val"),  # 7: for validation, but its composition is trained on
    (rock_salt(6.29, POTASSIUM), -2.1, NAN, "train"),  # 8: distance to the hull unknown, but bound
    (caesium_chloride(3.75, POTASSIUM), -2.0, NAN, "train"),  # 9: too high above the best polymorph
    (rock_salt(4.03, (3, 9)), -3.0, 0.0, "val"),  # 10
    (rock_salt(6.6, (19, 35)), NAN, 0.0, "train"),  # 11: energy unknown
    (Crystal(3 * rock_salt().lattice, rock_salt().frac_coords, rock_salt().atomic_numbers), -2.0, 0.0, "train"),
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    crystals, energies, hull, splits = (list(column) for column in zip(*ROWS, strict=True))
    path = tmp_path_factory.mktemp("latents") / "store"
    return make_store(path, crystals, energies=energies, hull=hull, splits=splits)


def test_rows_of_plausible_cells(store: Store) -> None:
    assert select_rows(store, max_atoms=20).tolist() == list(range(12))
    assert select_rows(store, max_atoms=4).tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert select_rows(store, max_atoms=20, split="val").tolist() == [7, 10]


@pytest.mark.parametrize("batch_size", [3, 100])
def test_latents_stand_in_the_order_of_their_rows(store: Store, batch_size: int) -> None:
    model = tiny_cdvae()
    rows = np.array([4, 0, 3, 8, 1])
    counts: list[int] = []
    latents = encode_rows(model, store, rows, batch_size=batch_size, on_batch=counts.append)
    assert sum(counts) == 5
    expected, _ = model.encode(CrystalBatch.from_crystals([store[int(row)] for row in rows]))
    torch.testing.assert_close(latents, expected.detach(), atol=1e-5, rtol=1e-4)
    assert torch.pdist(latents).min() > 0.01


def test_surrogate_data_have_known_energies_and_a_split_by_composition(store: Store) -> None:
    rows = select_rows(store, max_atoms=20)
    data = surrogate_data(store, rows, torch.arange(12.0)[:, None])
    assert data.latents.squeeze(1).tolist() == list(range(11))
    torch.testing.assert_close(data.energies, torch.tensor([row[1] for row in ROWS[:11]]))
    assert torch.nonzero(data.is_val).flatten().tolist() == [10]
    assert data.composition_features[4, [37, 21, 7]].tolist() == pytest.approx([0.2, 0.2, 0.6])
    groups = data.groups.tolist()
    assert groups[0] == groups[5] == groups[6] == groups[7]
    assert groups[8] == groups[9]
    assert len(set(groups)) == 7


def test_test_crystals_are_not_trained_on(tmp_path: Path) -> None:
    crystals = [rock_salt(), rock_salt(6.29, POTASSIUM), caesium_chloride(), zinc_blende()]
    splits = ["train", "test", "val", "test"]
    store = make_store(tmp_path / "store", crystals, energies=[-1.0] * 4, hull=[0.0] * 4, splits=splits)
    data = surrogate_data(store, np.arange(4), torch.arange(4.0)[:, None])
    assert data.latents.flatten().tolist() == [0.0, 2.0]
    assert data.is_val.tolist() == [False, True]
    with pytest.raises(DataError, match="no training crystals with formation energies"):
        surrogate_data(store, np.array([1, 3]), torch.zeros(2, 1))


def test_the_library_holds_few_stable_training_crystals_of_each_composition(store: Store, tmp_path: Path) -> None:
    rows = select_rows(store, max_atoms=20)
    latents = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    symmetries = describe_rows(store, rows, processes=1)
    statistics = count_orbits(store, rows, symmetries)
    library = build_library(
        tiny_cdvae(), store, rows, latents, symmetries, statistics, metadata={"store": store.fingerprint}
    )
    kept = [0, 1, 3, 4, 5, 8]
    assert library.ids == tuple(f"id-{row}" for row in kept)
    assert [library.composition(i).formula for i in range(6)] == ["NaCl", "CsCl", "Zn2O2", "SrTiO3", "NaCl", "KCl"]
    assert library.space_groups.tolist() == [225, 221, 186, 221, 221, 225]
    assert (library.wyckoff_sequences >= 0).all()
    level = (latents[kept].max(0).values - latents[kept].min(0).values) / 254
    assert ((library.latents() - latents[kept]).abs() < level).all()
    more = build_library(tiny_cdvae(), store, rows, latents, symmetries, statistics, metadata={}, per_composition=9)
    assert set(more.ids) - set(library.ids) == {"id-6"}
    library.save(tmp_path / "library.safetensors")
    assert LatentLibrary.load(tmp_path / "library.safetensors").metadata == {"store": store.fingerprint}


def test_doubled_cells_are_made_primitive_and_encoded_again() -> None:
    salt, titanate = rock_salt(), perovskite()
    doubled = Crystal(
        salt.lattice * np.array([[2.0], [1.0], [1.0]]),
        np.vstack([salt.frac_coords, salt.frac_coords + np.array([1, 0, 0])]) / [2.0, 1.0, 1.0],
        np.tile(salt.atomic_numbers, 2),
    )
    model, crystals = tiny_cdvae(), [titanate, doubled, salt]
    described = [describe_sites(crystal, symprec=0.01) for crystal in crystals]
    latents = torch.zeros(3, 8)
    primitive, z = primitive_cells(crystals, described, latents, model)
    assert [crystal.n_atoms for crystal in primitive] == [5, 2, 2]
    assert primitive[0] is titanate
    assert matches(primitive[1], salt, STRICT)
    expected, _ = model.encode(CrystalBatch.from_crystals([primitive[1]]))
    torch.testing.assert_close(z[1], expected[0].detach())
    assert not z[[0, 2]].any()
    assert not latents.any()
