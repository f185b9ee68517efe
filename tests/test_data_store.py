"""The store returns its crystals without copying, and rejects damaged files and files of other kinds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lcoms.core.errors import DataError
from lcoms.data.checks import record_batch
from lcoms.data.store import MANIFEST, SCHEMA, Manifest, Store, digest, shard_name, write_manifest, write_shard
from lcoms.structure.crystal import Crystal


def rows(sizes: list[int], *, seed: int = 0, split: str = "train") -> pa.RecordBatch:
    rng = np.random.default_rng(seed)
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for number, size in enumerate(sizes):
        values = {
            "material_id": f"id-{seed}-{number}",
            "formula": "NaCl",
            "atomic_numbers": rng.integers(1, 100, size).astype(np.uint8),
            "frac_coords": rng.random(3 * size).astype(np.float32),
            "lattice": (np.eye(3) * rng.uniform(3, 9)).ravel(),
            "formation_energy_per_atom": float(number) if number else float("nan"),
            "energy_per_atom": -1.0,
            "e_above_hull": 0.0,
            "source": "made here",
            "split": split,
        }
        for name, value in values.items():
            columns[name].append(value)
    return record_batch(columns)


def make_store(path: Path, batches: list[pa.RecordBatch]) -> Store:
    path.mkdir(parents=True, exist_ok=True)
    shards = tuple(write_shard(path, index, batch, {"k": "v"}) for index, batch in enumerate(batches))
    write_manifest(path, Manifest(shards, 10, {"too many atoms": 3}, {"job": "x"}))
    return Store.open(path)


@pytest.fixture
def batches() -> list[pa.RecordBatch]:
    return [rows([2, 5, 1]), rows([3, 4], seed=1, split="val")]


@pytest.fixture
def store(tmp_path: Path, batches: list[pa.RecordBatch]) -> Store:
    return make_store(tmp_path / "store", batches)


def test_crystals_come_back_across_shards(store: Store, batches: list[pa.RecordBatch]) -> None:
    assert len(store) == 5
    expected = [row for batch in batches for row in batch.to_pylist()]
    for index, row in enumerate(expected):
        crystal = store[index]
        assert isinstance(crystal, Crystal)
        np.testing.assert_array_equal(crystal.atomic_numbers, row["atomic_numbers"])
        np.testing.assert_array_equal(crystal.frac_coords.ravel(), row["frac_coords"])
        np.testing.assert_array_equal(crystal.lattice.ravel(), row["lattice"])
    np.testing.assert_array_equal(store[-1].frac_coords, store[4].frac_coords)
    with pytest.raises(IndexError, match="5 crystals"):
        store[5]


def test_arrays_equal_single_crystals(store: Store) -> None:
    every = store.arrays()
    assert len(every) == 5
    assert every.offsets.tolist() == [0, 2, 7, 8, 11, 15]
    chosen = [3, 0, 3]
    for arrays, indices in ((every, range(5)), (store.arrays(chosen), chosen), (every.take(chosen), chosen)):
        for position, index in enumerate(indices):
            np.testing.assert_array_equal(arrays[position].frac_coords, store[index].frac_coords)
            np.testing.assert_array_equal(arrays[position].atomic_numbers, store[index].atomic_numbers)
            np.testing.assert_array_equal(arrays[position].lattice, store[index].lattice)
    np.testing.assert_array_equal(store.arrays(chosen).formation_energy, [np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(every.formation_energy, [np.nan, 1, 2, np.nan, 1])
    assert len(every.take([])) == 0


def test_selection_by_split_and_size(store: Store) -> None:
    assert store.n_atoms.tolist() == [2, 5, 1, 3, 4]
    assert store.select().tolist() == [0, 1, 2, 3, 4]
    assert store.select(split="val").tolist() == [3, 4]
    assert store.select(split="train", max_atoms=2).tolist() == [0, 2]
    assert store.select(max_atoms=4, min_atoms=2).tolist() == [0, 3, 4]
    assert store.select(split="nonsense").tolist() == []


def test_columns(store: Store) -> None:
    columns = store.columns("material_id", "energy_per_atom")
    assert columns["material_id"].tolist() == ["id-0-0", "id-0-1", "id-0-2", "id-1-0", "id-1-1"]
    assert columns["energy_per_atom"].dtype == np.float64
    assert store.table("split").num_columns == 1


def test_reading_maps_the_file_and_allocates_next_to_nothing(tmp_path: Path) -> None:
    make_store(tmp_path / "store", [rows([50] * 400)])
    before = pa.total_allocated_bytes()
    store = Store.open(tmp_path / "store")
    assert store[7].n_atoms == 50
    assert pa.total_allocated_bytes() - before < 10_000 < (tmp_path / "store" / shard_name(0)).stat().st_size


def test_fingerprint_follows_the_data_and_not_the_header(tmp_path: Path, batches: list[pa.RecordBatch]) -> None:
    first = make_store(tmp_path / "a", batches)
    second = make_store(tmp_path / "b", [batch.replace_schema_metadata({"other": "header"}) for batch in batches])
    changed = make_store(tmp_path / "c", [batches[0], rows([3, 4], seed=2)])
    assert first.fingerprint == second.fingerprint != changed.fingerprint
    assert digest(batches[0]) == digest(first.table().to_batches()[0])


def test_no_temporary_file_is_left(store: Store) -> None:
    names = sorted(path.name for path in store.path.iterdir())
    assert names == [shard_name(0), shard_name(1), MANIFEST]


def test_cut_short_shard(store: Store) -> None:
    path = store.path / shard_name(1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cut short"):
        Store.open(store.path)


def test_offsets_that_point_elsewhere_are_refused(store: Store) -> None:
    """Arrow itself would read beyond the file and crash the process."""
    path = store.path / shard_name(0)
    content = path.read_bytes()
    offsets = np.array([0, 6, 12, 18], np.int32).tobytes()  # of the texts id-0-0, id-0-1, id-0-2
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, np.array([0, 6, -(2**30), 18], np.int32).tobytes()))
    with pytest.raises(DataError, match="cannot be read as an Arrow file"):
        Store.open(store.path)


def test_rows_that_were_changed_are_found(store: Store) -> None:
    assert store.verify() is store
    path = store.path / shard_name(1)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"id-1-1", b"id-1-7"))
    assert path.read_bytes() != content
    with pytest.raises(DataError, match=f"{shard_name(1)} was changed"):
        Store.open(store.path).verify()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_read": None}, "incomplete"),
        ({"dropped": "0"}, "incomplete"),
        ({"shards": [{"name": None}]}, "incomplete"),
        ({"shards": []}, "was changed"),
        ({"fingerprint": "another"}, "was changed"),
    ],
    ids=str,
)
def test_a_manifest_that_was_changed_is_refused(changes: dict[str, object], message: str, store: Store) -> None:
    path = store.path / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match=message):
        Store.open(store.path)


def test_shard_that_is_no_arrow_file(store: Store) -> None:
    path = store.path / shard_name(1)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DataError, match="cannot be read as an Arrow file"):
        Store.open(store.path)


def test_missing_shard(store: Store) -> None:
    (store.path / shard_name(0)).unlink()
    with pytest.raises(DataError, match="is missing"):
        Store.open(store.path)


def test_foreign_columns(tmp_path: Path, batches: list[pa.RecordBatch]) -> None:
    store = make_store(tmp_path / "store", batches)
    table = pa.table({"x": [1, 2, 3]})
    path = store.path / shard_name(0)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    manifest = json.loads((store.path / MANIFEST).read_text())
    manifest["shards"][0]["size"] = path.stat().st_size
    (store.path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="columns"):
        Store.open(store.path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not a store"),
        ('{"format": "something"}', "not a store"),
        ('{"format": "lcoms-crystal-store", "version": 99}', "version 99"),
        ('{"format": "lcoms-crystal-store", "version": 1}', "incomplete"),
    ],
)
def test_foreign_manifest(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(DataError, match=message):
        Store.open(tmp_path)


def test_missing_and_unfinished_stores(tmp_path: Path, store: Store) -> None:
    with pytest.raises(DataError, match="not a store of crystals"):
        Store.open(tmp_path / "nowhere")
    (store.path / MANIFEST).unlink()
    with pytest.raises(DataError, match="unfinished"):
        Store.open(store.path)
