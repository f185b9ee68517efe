"""Every row is in the store or in the table of reasons; a killed ingest, resumed, gives the identical store."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lcoms.core import disk
from lcoms.core.errors import DataError, FormulaError
from lcoms.data import ingest as ingest_module
from lcoms.data import splits as splits_module
from lcoms.data.checks import IngestOptions, check, read_formulas, split_of
from lcoms.data.ingest import Progress, ingest
from lcoms.data.records import Reason, Record, RowError
from lcoms.data.store import MANIFEST, Store, shard_name, write_shard
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_cif
from lcoms.structure.lattice import plane_spacings, shortest_distance

SMALL_SHARDS = IngestOptions(shard_rows=300)


def salt(length: float = 5.6, z: int = 11) -> dict[str, Any]:
    lattice = length / 2 * (1 - np.eye(3))
    return {"numbers": [z, 17], "frac_coords": [0.0] * 3 + [0.5] * 3, "lattice": lattice.ravel().tolist()}


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    defaults = {"formation_energy_per_atom": -1.0, "split": "train"}
    pq.write_table(
        pa.Table.from_pylist([{"material_id": f"m-{n}", **defaults, **row} for n, row in enumerate(rows)]), path
    )
    return path


def many(path: Path, n_rows: int = 1500) -> Path:
    """Return salts of many elements and sizes; in every seventh the atoms coincide."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(n_rows):
        row = salt(rng.uniform(5, 6), z=int(rng.integers(3, 90)))
        if number % 7 == 3:
            row["frac_coords"] = [0.0] * 6
        rows.append(row)
    return write_parquet(path, rows)


def record(crystal: Crystal, **values: Any) -> Record:
    return Record("id", crystal, **values)


def cube(length: float, frac_coords: Any, numbers: list[int]) -> Crystal:
    return Crystal(np.eye(3) * length, np.array(frac_coords, dtype=float).reshape(-1, 3), np.array(numbers))


def reason_for(item: Record, **options: Any) -> Reason | None:
    try:
        check(item, IngestOptions(**options))
    except RowError as error:
        return error.reason
    return None


def test_each_check_has_its_reason() -> None:
    good = cube(4.0, [[0, 0, 0], [0.5, 0.5, 0.5]], [55, 17])
    assert reason_for(record(good)) is None
    assert reason_for(record(good, formation_energy_per_atom=5.01)) == Reason.ENERGY
    assert reason_for(record(good, formation_energy_per_atom=-5.01)) == Reason.ENERGY
    assert reason_for(record(good, formation_energy_per_atom=-4.99)) is None
    assert reason_for(record(good, energy_per_atom=float("inf"))) == Reason.NOT_FINITE
    assert reason_for(record(good), max_atoms=1) == Reason.TOO_MANY_ATOMS
    assert reason_for(record(good), exclude=frozenset({"CsCl"})) == Reason.EXCLUDED
    assert reason_for(record(cube(1.5, [0, 0, 0], [1])), min_distance=0.1) is None
    assert reason_for(record(cube(1.25, [0, 0, 0], [1])), min_distance=0.1) == Reason.VOLUME
    assert reason_for(record(cube(5.9, [0, 0, 0], [1]))) == Reason.VOLUME
    near = cube(4.0, [[0, 0, 0], [0.12, 0, 0]], [1, 1])
    far = cube(4.0, [[0, 0, 0], [0.13, 0, 0]], [1, 1])
    assert reason_for(record(near)) == Reason.TOO_CLOSE
    assert reason_for(record(far)) is None


def test_distance_to_copies_counts() -> None:
    thin = Crystal(np.diag([0.4, 8.0, 8.0]), np.zeros((1, 3)), np.array([1]))
    assert reason_for(record(thin)) == Reason.TOO_CLOSE
    across = cube(4.0, [[0.01, 0, 0], [0.99, 0, 0]], [1, 1])
    assert reason_for(record(across)) == Reason.TOO_CLOSE
    # The short vector c - 3 a of this skewed cell is no cell edge, nor among the nearest 26 images.
    skewed = Crystal(np.array([[3.0, 0, 0], [0, 3.0, 0], [9.2, 0, 0.3]]), np.zeros((1, 3)), np.array([1]))
    assert shortest_distance(skewed.lattice, skewed.frac_coords) == pytest.approx(np.hypot(0.2, 0.3))
    assert reason_for(record(skewed), reduce=False) == Reason.TOO_CLOSE
    assert reason_for(record(skewed)) == Reason.TOO_CLOSE


@pytest.mark.parametrize("at_once", [1, 1 << 16])
def test_shortest_distance_equals_brute_force(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.structure.lattice._AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    steps = np.arange(-7, 8)
    images = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    tried = 0
    for number in range(100):
        lattice = rng.normal(size=(3, 3)) * 3
        if number % 2:
            lattice[2] = lattice[0] + 0.4 * rng.normal(size=3)
        frac = rng.random((rng.integers(1, 5), 3))
        if plane_spacings(lattice).min() < 0.6:  # the images above would not do
            continue
        vectors = (frac[:, None, None] - frac[None, :, None] + images) @ lattice
        distances = np.linalg.norm(vectors, axis=-1)
        distances[np.arange(len(frac)), np.arange(len(frac)), len(images) // 2] = np.inf
        assert shortest_distance(lattice, frac) == pytest.approx(distances.min(), abs=1e-9)
        outside = frac + rng.integers(-2, 3, frac.shape)
        assert shortest_distance(lattice, outside) == pytest.approx(distances.min(), abs=1e-9)
        for limit in (0.3, 1.0, 2.0):
            rough = shortest_distance(lattice, frac, up_to=limit)
            assert rough == pytest.approx(distances.min(), abs=1e-9) or min(rough, distances.min()) >= limit
        tried += 1
    assert tried > 40


def test_reduction_keeps_the_crystal_and_shortens_the_cell() -> None:
    skewed = np.array([[1, 0, 0], [3, 1, 0], [-2, 4, 1]]) @ (np.eye(3) * 4.0)
    cart = np.array([[0.0, 0, 0], [2.0, 2.0, 2.0]])
    crystal = Crystal(skewed, cart @ np.linalg.inv(skewed), np.array([55, 17]))
    reduced, fell_back = check(record(crystal), IngestOptions())
    assert not fell_back
    np.testing.assert_allclose(np.linalg.norm(reduced.lattice, axis=1), 4.0, atol=1e-8)
    assert shortest_distance(reduced.lattice, reduced.frac_coords) == pytest.approx(np.sqrt(12))
    kept, _ = check(record(crystal), IngestOptions(reduce=False))
    np.testing.assert_array_equal(kept.lattice, crystal.lattice)


def test_split_is_by_composition_and_seed() -> None:
    formulas = [f"Na{n}Cl{m}" for n in range(1, 60) for m in range(1, 60)]
    splits = [split_of(formula, seed=0, val_fraction=0.1) for formula in formulas]
    assert splits == [split_of(formula, seed=0, val_fraction=0.1) for formula in formulas]
    assert splits != [split_of(formula, seed=1, val_fraction=0.1) for formula in formulas]
    assert splits.count("val") / len(splits) == pytest.approx(0.1, abs=0.02)
    assert {split_of(formula, seed=0, val_fraction=0.0) for formula in formulas} == {"train"}
    smaller = [split_of(formula, seed=0, val_fraction=0.05) for formula in formulas]
    assert all(large == "val" for small, large in zip(smaller, splits, strict=True) if small == "val")


def test_store_and_table_of_reasons(tmp_path: Path) -> None:
    rows = [
        salt(),
        salt(20.0),
        {**salt(), "lattice": [0.0] * 9},
        {**salt(), "numbers": [0, 17]},
        {**salt(), "numbers": [11]},
        {**salt(), "frac_coords": [float("nan")] * 6},
        {**salt(), "formation_energy_per_atom": 9.0},
        {**salt(5.7), "split": "val"},
        {**salt(5.4, z=19), "split": "test", "formation_energy_per_atom": None},
        {**salt(5.5, z=3), "split": None},
        {**salt(5.6, z=37), "split": "Testing"},
        {**salt(5.8, z=55), "split": "fold 3"},
    ]
    path = write_parquet(tmp_path / "rows.parquet", rows)
    reports: list[Progress] = []
    store = ingest([path], tmp_path / "store", options=IngestOptions(keep_split=True), report=reports.append)
    expected = (
        Reason.VOLUME,
        Reason.NO_VOLUME,
        Reason.UNKNOWN_ELEMENT,
        Reason.UNREADABLE,
        Reason.NOT_FINITE,
        Reason.ENERGY,
        Reason.SPLIT,
    )
    assert store.manifest.dropped == {reason.value: 1 for reason in expected}
    assert (len(store), store.manifest.n_read) == (5, 12)
    assert (reports[-1].n_read, reports[-1].n_total, reports[-1].n_kept) == (12, 12, 5)
    columns = store.columns("material_id", "formula", "split", "source", "formation_energy_per_atom")
    assert columns["material_id"].tolist() == ["m-0", "m-7", "m-8", "m-9", "m-10"]
    assert columns["formula"].tolist() == ["NaCl", "NaCl", "KCl", "LiCl", "RbCl"]
    assert columns["split"].tolist() == ["val", "val", "test", split_of("LiCl", seed=0, val_fraction=0.05), "test"]
    assert set(columns["source"]) == {"rows"}
    np.testing.assert_array_equal(columns["formation_energy_per_atom"], [-1, -1, np.nan, -1, -1])
    assert store[0].frac_coords.max() < 1
    assert json.loads((store.path / MANIFEST).read_text())["provenance"]["options"]["keep_split"] is True


def test_a_composition_that_is_validation_in_one_file_is_validation_in_all(tmp_path: Path) -> None:
    sodium, potassium, lithium, caesium, silver = 11, 19, 3, 55, 47
    first = [salt(z=sodium), salt(z=potassium), salt(z=lithium), {**salt(z=silver), "split": None}]
    second = [
        {**salt(5.7, z=sodium), "split": "val"},
        {**salt(5.8, z=sodium), "split": None},
        {**salt(5.7, z=potassium), "split": "test"},
        {**salt(5.8, z=potassium), "split": None},
        {**salt(5.7, z=lithium), "split": None},
        {**salt(6.9, z=caesium), "split": "val"},
    ]
    files = [write_parquet(tmp_path / f"{n}.parquet", rows) for n, rows in enumerate((first, second))]
    options = IngestOptions(keep_split=True, shard_rows=3)
    store = ingest(files, tmp_path / "store", options=options)
    expected = ["val", "train", "train", split_of("AgCl", seed=0, val_fraction=0.05)]
    expected += ["val", "val", "test", "test", "train", "val"]
    assert store.columns("split")["split"].tolist() == expected
    assert store.manifest.provenance["n_moved"] == {"val": 1}
    single = [ingest([file], tmp_path / file.stem, options=options) for file in files]
    assert [one.manifest.provenance["n_moved"] for one in single] == [{}, {}]


def test_rows_of_more_atoms_than_a_formula_may_have_get_a_split(tmp_path: Path) -> None:
    places = [x for i in range(11) for j in range(11) for k in range(2) for x in (i / 11, j / 11, k / 2)]
    cell = [33.0, 0.0, 0.0, 0.0, 33.0, 0.0, 0.0, 0.0, 6.0]
    row = {"numbers": [17] + [11] * 241, "frac_coords": places, "lattice": cell, "split": None}
    path = write_parquet(tmp_path / "large.parquet", [row])
    options = IngestOptions(keep_split=True, max_atoms=300, reduce=False)
    store = ingest([path], tmp_path / "store", options=options)
    assert store.columns("split")["split"].tolist() == [split_of("Na241Cl", seed=0, val_fraction=0.05)]


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_an_interruption_while_splits_are_united_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    rows = [{**salt(z=z), "split": split} for z in (3, 11, 19, 37) for split in ("train", None, "val")]
    path = write_parquet(tmp_path / "rows.parquet", rows)
    options = IngestOptions(keep_split=True, shard_rows=3)
    monkeypatch.setattr(ingest_module, "CHUNK_ROWS", 3)
    whole = ingest([path], tmp_path / "whole", options=options)
    done = []

    def interrupted(*arguments: Any) -> Any:
        if len(done) == stop_after:
            raise KeyboardInterrupt
        done.append(write_shard(*arguments))
        return done[-1]

    with monkeypatch.context() as patch:
        patch.setattr(splits_module, "write_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest([path], tmp_path / "broken", options=options)
    again = ingest([path], tmp_path / "broken", options=options)
    assert len(whole.manifest.shards) == 4
    assert (again.path / MANIFEST).read_text() == (whole.path / MANIFEST).read_text()
    assert again.manifest.provenance["n_moved"] == {"val": 4}


def test_polymorphs_fall_into_one_split(tmp_path: Path) -> None:
    store = ingest([many(tmp_path / "many.parquet")], tmp_path / "store", options=IngestOptions(val_fraction=0.3))
    columns = store.columns("formula", "split")
    splits = {formula: set() for formula in columns["formula"]}
    for formula, split in zip(columns["formula"], columns["split"], strict=True):
        splits[formula].add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert Counter(columns["split"]).keys() == {"train", "val"}


def test_excluded_compositions(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows.parquet", [salt(z=11), salt(z=19), salt(z=37)])
    exclude = read_formulas(["Na2Cl2  # twice NaCl", "", "# none", "ClRb, CaO"])
    assert exclude == {"NaCl", "RbCl", "CaO"}
    store = ingest([path], tmp_path / "store", options=IngestOptions(exclude=exclude))
    assert store.columns("formula")["formula"].tolist() == ["KCl"]
    assert store.manifest.dropped == {"excluded composition": 2}
    with pytest.raises(FormulaError, match="Qq"):
        read_formulas(["NaCl Qq"])


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_several_sources_and_workers_give_the_same_store(tmp_path: Path) -> None:
    sources = [many(tmp_path / "a.parquet", 700), many(tmp_path / "b.parquet", 300)]
    alone = ingest(sources, tmp_path / "alone", options=SMALL_SHARDS)
    together = ingest(sources, tmp_path / "together", options=SMALL_SHARDS, workers=2)
    assert len(alone.manifest.shards) > 1
    assert files_of(alone.path) == files_of(together.path)


def _killed_after(path: Path, out: Path, n_rows: int) -> None:
    def report(progress: Progress) -> None:
        if progress.n_read >= n_rows:
            os.kill(os.getpid(), signal.SIGKILL)

    ingest([path], out, options=SMALL_SHARDS, report=report)


def test_killed_ingest_goes_on_and_ends_with_the_identical_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = many(tmp_path / "many.parquet")
    whole = ingest([path], tmp_path / "whole", options=SMALL_SHARDS)
    assert len(whole.manifest.shards) == 3
    out = tmp_path / "killed"
    process = multiprocessing.get_context("spawn").Process(target=_killed_after, args=(path, out, 1200))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert not (out / MANIFEST).exists()
    assert (out / shard_name(0)).exists()
    assert not (out / shard_name(2)).exists()
    with pytest.raises(DataError, match="unfinished"):
        Store.open(out)
    finished = {name: (out / name).stat().st_mtime_ns for name in (shard_name(0), shard_name(1))}
    checked: list[int] = []
    original = ingest_module.process_chunk

    def counting(parse: Any, rows: Any, options: Any) -> Any:
        checked.append(len(rows))
        return original(parse, rows, options)

    monkeypatch.setattr(ingest_module, "process_chunk", counting)
    ingest([path], out, options=SMALL_SHARDS)
    assert files_of(out) == files_of(whole.path)
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == finished
    assert 0 < sum(checked) < 1500 / 2  # only the rows after the last finished shard
    checked.clear()
    ingest([path], out, options=SMALL_SHARDS)
    assert not checked  # a finished store is not made again


def test_damaged_shard_of_an_unfinished_ingest_is_made_again(tmp_path: Path) -> None:
    path = many(tmp_path / "many.parquet")
    whole = ingest([path], tmp_path / "whole", options=SMALL_SHARDS)
    out = tmp_path / "damaged"
    ingest([path], out, options=SMALL_SHARDS)
    (out / MANIFEST).unlink()
    shard = out / shard_name(1)
    shard.write_bytes(shard.read_bytes()[:-50])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (out / f".crystals-00002.arrow.{disk.MACHINE}-{ended.pid}.part").write_bytes(b"half")
    disk._sweep.cache_clear()
    ingest([path], out, options=SMALL_SHARDS)
    assert files_of(out) == files_of(whole.path)


def test_partial_files_of_others_stay(tmp_path: Path) -> None:
    """Another process may be writing in the folder, and a user may have a file of such a name."""
    path, out = many(tmp_path / "many.parquet"), tmp_path / "store"
    out.mkdir()
    others = [out / f".crystals-00000.arrow.{disk.MACHINE}-{os.getppid()}.part", out / ".notes.part"]
    for other in others:
        other.write_text("half")
    for overwrite in (False, True):
        ingest([path], out, options=SMALL_SHARDS, overwrite=overwrite)
        assert [other.read_text() for other in others] == ["half", "half"]


def test_other_options_or_files_do_not_mix(tmp_path: Path) -> None:
    path, other = many(tmp_path / "many.parquet"), many(tmp_path / "other.parquet", 600)
    out = tmp_path / "store"
    ingest([path], out, options=SMALL_SHARDS)
    with pytest.raises(DataError, match="another store"):
        ingest([path], out, options=IngestOptions(shard_rows=300, seed=1))
    (out / MANIFEST).unlink()
    for sources, options in (([other], SMALL_SHARDS), ([path], IngestOptions(shard_rows=300, seed=1))):
        with pytest.raises(DataError, match="other files or options"):
            ingest(sources, out, options=options)
    (out / "notes.txt").write_text("mine")
    store = ingest([other], out, options=SMALL_SHARDS, overwrite=True)
    assert store.manifest.n_read == 600
    assert (out / "notes.txt").exists()


def test_nothing_to_keep(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows.parquet", [salt(20.0)] * 3)
    with pytest.raises(DataError, match=r"none of the 3 rows could be kept .volume per atom out of range: 3"):
        ingest([path], tmp_path / "store")
    with pytest.raises(DataError, match="nothing to ingest"):
        ingest([], tmp_path / "store")
    with pytest.raises(DataError, match=r"\[0, 1\)"):
        IngestOptions(val_fraction=1.0)


def test_checking_does_not_load_torch() -> None:
    import subprocess
    import sys

    code = "import sys, lcoms.data.ingest; sys.exit('torch' in sys.modules or 'pymatgen.core' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_source_with_other_content_of_the_same_size_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    """A change in the middle of a large file, and a CIF in which one element replaces another of equal length."""
    table = tmp_path / "table.csv"
    row = 'm-{i},"{cell}","Na @ 0 0 0, Cl @ 0.5 0.5 0.5",{filler}\n'
    lines = [row.format(i=i, cell="[4, 0, 0], [0, 4, 0], [0, 0, 4]", filler="x" * 60_000) for i in range(50)]
    header = "id,unit_cell,sites,note\n"
    table.write_text(header + "".join(lines))
    ingest([table], tmp_path / "store")
    lines[25] = lines[25].replace("Na", "Li")
    table.write_text(header + "".join(lines))
    with pytest.raises(DataError, match="another store"):
        ingest([table], tmp_path / "store")
    folder = tmp_path / "cifs"
    folder.mkdir()
    text = to_cif(cube(4.0, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17]))
    (folder / "salt.cif").write_text(text)
    ingest([folder], tmp_path / "other")
    (folder / "salt.cif").write_text(text.replace("Na", "Li"))
    with pytest.raises(DataError, match="another store"):
        ingest([folder], tmp_path / "other")
