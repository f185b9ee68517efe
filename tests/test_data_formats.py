"""Each reader returns the crystals that were written, and a reason for every row that it cannot read."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lcoms.core.errors import DataError
from lcoms.data import formats_json
from lcoms.data.formats import open_reader
from lcoms.data.formats_json import stream_items
from lcoms.data.records import Reason, Record, RowError
from lcoms.evaluate.judging import time_limit
from lcoms.structure import io as door
from lcoms.structure.crystal import Crystal

SALT = Crystal(
    np.array([[0.0, 2.8, 2.8], [2.8, 0.0, 2.8], [2.8, 2.8, 0.0]]), np.array([[0.0] * 3, [0.5] * 3]), np.array([11, 17])
)
WURTZITE = Crystal(
    np.array([[3.25, 0, 0], [-1.625, 2.8146, 0], [0, 0, 5.2]]),
    np.array([[1 / 3, 2 / 3, 0.0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.382], [2 / 3, 1 / 3, 0.882]]),
    np.array([30, 30, 8, 8]),
)
CRYSTALS = [SALT, WURTZITE]


def read(path: Path, file_format: str | None = None) -> list[Record | Reason]:
    reader = open_reader(path, file_format)
    parse = pickle.loads(pickle.dumps(reader.parse))  # workers get it this way
    out: list[Record | Reason] = []
    for row in reader.rows():
        try:
            out.append(parse(row))
        except RowError as error:
            out.append(error.reason)
    if reader.n_rows is not None:
        assert reader.n_rows == len(out)
    return out


def records(path: Path) -> list[Record]:
    out = [item for item in read(path) if isinstance(item, Record)]
    assert len(out) == len(CRYSTALS)
    return out


def assert_same(crystal: Crystal, expected: Crystal, tolerance: float = 1e-6) -> None:
    """Check that two crystals have the same atoms, sites and cell, up to a rotation."""
    assert crystal.atomic_numbers.tolist() == expected.atomic_numbers.tolist()
    np.testing.assert_allclose(crystal.lattice @ crystal.lattice.T, expected.lattice @ expected.lattice.T, atol=1e-4)
    shift = crystal.frac_coords - expected.frac_coords
    np.testing.assert_allclose(shift - np.round(shift), 0, atol=tolerance)


def structure_dict(crystal: Crystal) -> dict[str, Any]:
    return dict(door.to_pymatgen(crystal).as_dict())


def oqmd_row(crystal: Crystal) -> dict[str, Any]:
    symbols = door.to_pymatgen(crystal).symbol_set, [site.specie.symbol for site in door.to_pymatgen(crystal)]
    sites = [
        f"{symbol} @ {x:.8f} {y:.8f} {z:.8f}"
        for symbol, (x, y, z) in zip(symbols[1], crystal.frac_coords.tolist(), strict=True)
    ]
    return {"entry_id": 7, "delta_e": -1.5, "stability": 0.01, "unit_cell": crystal.lattice.tolist(), "sites": sites}


def jarvis_row(crystal: Crystal, *, cartesian: bool) -> dict[str, Any]:
    atoms = {
        "lattice_mat": crystal.lattice.tolist(),
        "coords": (crystal.cart_coords if cartesian else crystal.frac_coords).tolist(),
        "elements": [site.specie.symbol + " " for site in door.to_pymatgen(crystal)],
        "cartesian": cartesian,
    }
    return {"jid": "JVASP-1", "atoms": atoms, "formation_energy_peratom": -0.5, "ehull": "na"}


def write_json(path: Path, content: Any) -> Path:
    text = json.dumps(content)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def matbench(crystals: list[Crystal]) -> dict[str, Any]:
    return {
        "index": [f"mb-{n}" for n in range(len(crystals))],
        "columns": ["structure", "e_form"],
        "data": [[structure_dict(crystal), -0.1 * n] for n, crystal in enumerate(crystals)],
    }


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    table = {
        "material_id": ["a", None],
        "numbers": [c.atomic_numbers.tolist() for c in CRYSTALS],
        "frac_coords": [c.frac_coords.ravel().tolist() for c in CRYSTALS],
        "lattice": [c.lattice.ravel().tolist() for c in CRYSTALS],
        "formation_energy_per_atom": [-2.0, None],
        "source": ["here", None],
        "split": ["val", None],
        "extra": [1, 2],
    }
    pq.write_table(pa.table(table), path)
    first, second = records(path)
    assert_same(first.crystal, SALT)
    assert_same(second.crystal, WURTZITE)
    assert (first.material_id, first.formation_energy_per_atom, first.source, first.split) == ("a", -2.0, "here", "val")
    assert (second.material_id, second.source, second.split) == ("some-1", "some", "")
    assert np.isnan(second.formation_energy_per_atom)
    assert np.isnan(first.e_above_hull)


@pytest.mark.parametrize("split", ["val", "Test", "validation"])
def test_cdvae_csv(tmp_path: Path, split: str) -> None:
    path = tmp_path / "mp_20" / f"{split}.csv"
    path.parent.mkdir()
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["", "material_id", "formation_energy_per_atom", "e_above_hull", "cif"])
        for number, crystal in enumerate(CRYSTALS):
            writer.writerow([number, f"mp-{number}", -1.25, 0.02, door.to_cif(crystal)])
        writer.writerow([2, "mp-2", -1.0, 0.0, "no cif at all"])
        writer.writerow([3, "mp-3", -1.0, 0.0, ""])
    items = read(path)
    assert items[2:] == [Reason.UNREADABLE, Reason.UNREADABLE]
    first, second = (item for item in items if isinstance(item, Record))
    assert_same(first.crystal, SALT, 1e-5)
    assert_same(second.crystal, WURTZITE, 1e-5)
    assert (second.material_id, second.formation_energy_per_atom, second.e_above_hull) == ("mp-1", -1.25, 0.02)
    assert (second.split, second.source) == (split, "mp_20")


def test_oqmd_csv_and_its_text_forms(tmp_path: Path) -> None:
    path = tmp_path / "oqmd.csv.gz"
    row = oqmd_row(WURTZITE)
    cells = [json.dumps(row["unit_cell"]), str(row["unit_cell"]), "3.25 3.25 5.2 90 90 120"]
    sites = [json.dumps(row["sites"]), str(row["sites"]), "; ".join(row["sites"])]
    with gzip.open(path, "wt", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["entry_id", "unit_cell", "sites", "delta_e"])
        for cell, site in zip(cells, sites, strict=True):
            writer.writerow([42, cell, site, -0.7])
        writer.writerow([43, cells[0], "Zn @ 0 0, O @ 0.5 0.5 0.5", -0.7])
        writer.writerow([44, "[1, 2, 3]", sites[0], -0.7])
        writer.writerow([45, cells[0], "Qq @ 0 0 0", -0.7])
    items = read(path)
    assert items[3:] == [Reason.UNREADABLE, Reason.UNREADABLE, Reason.UNKNOWN_ELEMENT]
    for item in items[:3]:
        assert isinstance(item, Record)
        assert_same(item.crystal, Crystal(WURTZITE.lattice, WURTZITE.frac_coords, WURTZITE.atomic_numbers), 1e-6)
        assert (item.material_id, item.formation_energy_per_atom) == ("42", -0.7)


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_matbench_json(tmp_path: Path, ending: str) -> None:
    first, second = records(write_json(tmp_path / f"matbench_mp_e_form{ending}", matbench(CRYSTALS)))
    assert_same(first.crystal, SALT)
    assert_same(second.crystal, WURTZITE)
    assert (second.material_id, second.formation_energy_per_atom) == ("mb-1", -0.1)
    assert second.source == "matbench_mp_e_form"


def test_bad_structures_of_a_json_are_reasons(tmp_path: Path) -> None:
    content = matbench([SALT] * 7)
    structures = [row[0] for row in content["data"]]
    structures[1]["sites"][0]["species"] = [{"element": "Na", "occu": 0.5}, {"element": "K", "occu": 0.5}]
    structures[2]["sites"][0]["species"] = [{"element": "Xx", "occu": 1}]
    structures[3]["sites"][0]["abc"] = [0, 0, float("nan")]
    structures[4]["lattice"]["matrix"] = [[1, 0, 0], [2, 0, 0], [0, 0, 1]]
    del structures[5]["sites"]
    structures[6]["sites"][0]["species"] = [{"element": "Na", "oxidation_state": 1, "occu": 1}]
    items = read(write_json(tmp_path / "m.json", content))
    expected = [Reason.PARTLY_OCCUPIED, Reason.UNKNOWN_ELEMENT, Reason.NOT_FINITE, Reason.NO_VOLUME, Reason.UNREADABLE]
    assert items[1:6] == expected
    assert isinstance(items[0], Record)
    assert isinstance(items[6], Record)


def test_oqmd_api_json(tmp_path: Path) -> None:
    content = {"links": {"next": None}, "resource": {}, "data": [oqmd_row(WURTZITE)], "meta": {"data_returned": 1}}
    (item,) = read(write_json(tmp_path / "oqmd.json", content))
    assert isinstance(item, Record)
    assert_same(item.crystal, WURTZITE)
    assert (item.material_id, item.formation_energy_per_atom, item.e_above_hull) == ("7", -1.5, 0.01)


def test_jarvis_json_with_both_kinds_of_coordinates(tmp_path: Path) -> None:
    content = [jarvis_row(SALT, cartesian=False), jarvis_row(WURTZITE, cartesian=True)]
    first, second = records(write_json(tmp_path / "dft_3d.json", content))
    assert_same(first.crystal, SALT)
    assert_same(second.crystal, WURTZITE)
    assert first.material_id == "JVASP-1"
    assert first.formation_energy_per_atom == -0.5
    assert np.isnan(first.e_above_hull)


def test_json_lines_and_objects_by_id(tmp_path: Path) -> None:
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join([json.dumps(oqmd_row(SALT)), "{broken", "[1]", "", json.dumps(oqmd_row(WURTZITE))]))
    items = read(lines)
    assert items[1:3] == [Reason.UNREADABLE, Reason.UNREADABLE]
    assert isinstance(items[3], Record)
    assert_same(items[3].crystal, WURTZITE)
    by_id = write_json(tmp_path / "by_id.json", {"mp-1": {"structure": structure_dict(SALT)}, "note": "of no matter"})
    (item,) = read(by_id)
    assert isinstance(item, Record)
    assert item.material_id == "mp-1"


def test_json_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {
        "numbers": [1, 22, 333.5, -4e-30, 5e22],
        "text": ['a"b]}', "ü\\"],
        "nested": {"x": [1, {"y": None}]},
        "e": [],
    }
    path = tmp_path / "pieces.json"
    path.write_text(json.dumps(content, indent=2))
    for size in (1, 2, 3, 7, 1000):
        monkeypatch.setattr(formats_json, "_CHUNK", size)
        items = list(stream_items(path))
        assert items == [
            *(("numbers", number) for number in content["numbers"]),
            *(("text", text) for text in content["text"]),
            ("nested", content["nested"]),
        ]


def test_json_needs_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "large.json"
    row = json.dumps([[1, 2, 3], "x" * 10_000])
    with path.open("w") as handle:
        handle.write('{"data": [' + ",".join([row] * 1500) + "]}")
    tracemalloc.start()
    n_rows = sum(1 for _ in stream_items(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows == 1500
    assert peak < 8e6 < path.stat().st_size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": [[1, 2], [3', "cut short"),
        ('{"data": [1, 2]', "cut short"),
        ('[{"a": "bc', "cut short"),
        ('{"data": [1 2]}', None),
        ('{"data" 5}', "not valid JSON"),
        ('{"data": [nonsense' + " " * 100 + "]}", "not valid JSON"),
    ],
)
def test_damaged_json(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    if message is None:  # a missing comma between elements does no harm
        assert [item for _, item in stream_items(path)] == [1, 2]
        return
    with pytest.raises(DataError, match=message):
        list(stream_items(path))


def test_damaged_gzip(tmp_path: Path) -> None:
    path = write_json(tmp_path / "m.json.gz", matbench(CRYSTALS * 50))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="cut short"):
        read(path)


def test_a_frame_that_claims_more_atoms_than_there_are_lines_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(door.to_extxyz(CRYSTALS[:1]) + "999999999\n\nNa 0 0 0\n")
    with time_limit(5.0):
        first, second = read(path)
    assert isinstance(first, Record)
    assert second == Reason.UNREADABLE


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_extxyz_with_the_cell_below_the_atoms(tmp_path: Path, ending: str) -> None:
    frame = "2\nsalt\nCs 0 0 0\nCl 2 2 2\nVEC1 4 0 0\nVEC2 0 4 0\nVEC3 0 0 4\n"
    (tmp_path / "frames.xyz").write_bytes((frame + "\n" + frame).replace("\n", ending).encode())
    items = read(tmp_path / "frames.xyz")
    assert [item.crystal.volume for item in items if isinstance(item, Record)] == pytest.approx([64.0, 64.0])


def test_extxyz(tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    text = door.to_extxyz(CRYSTALS)
    frames = text.splitlines(keepends=True)
    frames[1] = frames[1].replace("pbc=", "formation_energy_per_atom=-2.1 energy=-8.0 material_id=salt pbc=")
    bad = ["1\n", 'Lattice="1 0 0 0 1 0 0 0 1" Properties=species:S:1:pos:R:3 pbc="T T T"\n', "Na x y z\n"]
    no_cell = ["1\n", "no cell here\n", "Na 0 0 0\n"]
    path.write_text("".join(bad + frames + no_cell))
    items = read(path)
    assert (items[0], items[3]) == (Reason.UNREADABLE, Reason.CELL)
    first, second = (item for item in items if isinstance(item, Record))
    assert_same(first.crystal, SALT)
    assert_same(second.crystal, WURTZITE)
    assert (first.material_id, first.formation_energy_per_atom, first.energy_per_atom) == ("salt", -2.1, -4.0)
    assert second.material_id == "frames-2"
    path.write_text(text + "something else\n")
    with pytest.raises(DataError, match="frame 2"):
        read(path)


def test_folder_of_cifs(tmp_path: Path) -> None:
    folder = tmp_path / "cifs"
    folder.mkdir()
    (folder / "one.cif").write_text(door.to_cif(SALT))
    (folder / "two.cif").write_text(door.to_cif(WURTZITE))
    first, second = records(folder)
    assert (first.material_id, second.material_id, first.source) == ("one", "two", "cifs")
    (folder / "id_prop.csv").write_text("two,-1.5\nmissing,0.1\none\n\n")
    items = read(folder)
    assert items[1] == Reason.UNREADABLE
    first, second = (item for item in items if isinstance(item, Record))
    assert (first.material_id, first.formation_energy_per_atom) == ("two", -1.5)
    assert_same(first.crystal, WURTZITE, 1e-5)
    assert np.isnan(second.formation_energy_per_atom)


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_reader(tmp_path / "none.parquet")
    unknown = tmp_path / "notes.txt"
    unknown.write_text("hello")
    with pytest.raises(DataError, match="unknown kind"):
        open_reader(unknown)
    for file_format, message in (
        ("parquet", "Parquet file"),
        ("csv", "needs a column cif"),
        ("json", "not a JSON file"),
        ("nonsense", "unknown kind"),
    ):
        with pytest.raises(DataError, match=message):
            open_reader(unknown, file_format)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="needs the columns"):
        open_reader(tmp_path / "x.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither"):
        open_reader(tmp_path / "empty")


def test_folders_take_all_kinds_of_files_and_all_structures_in_them(tmp_path: Path) -> None:
    text = door.to_cif(CRYSTALS[0])
    (tmp_path / "a.CIF").write_text("\ufeff" + text, encoding="utf-8")
    (tmp_path / "b.cif.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c_POSCAR").write_text(door.to_poscar(CRYSTALS[0]))
    (tmp_path / "d.extxyz").write_text(door.to_extxyz(CRYSTALS[:2]))
    (tmp_path / "e.cif").write_text(text.replace("data_", "data_one_") + text)
    (tmp_path / "notes.txt").write_text("no crystal")
    items = read(tmp_path)
    assert [item.material_id for item in items if isinstance(item, Record)] == [
        "a", "b", "c_POSCAR", "d-1", "d-2", "e-1", "e-2",
    ]  # fmt: skip


def test_refusals_have_reasons_and_what_was_mended_is_noted(tmp_path: Path) -> None:
    cell = "".join(f"_cell_length_{edge} 4.21\n" for edge in "abc")
    sites = (
        "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nMg 0 0 0\nO .5 .5 .5\n"
    )
    good = f"data_x\n{cell}_space_group_name_H-M_alt 'F m -3 m'\n{sites}"
    rows = [
        good,
        good.replace("F m -3 m", "F foo"),
        good.replace("O .5", "Wat1 .5"),
        good.replace(".5 .5 .5", "0 0 0"),
        good * 2,
    ]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["cif"], *([row] for row in rows)])
    first, *rest = read(path)
    assert isinstance(first, Record)
    assert first.remarks == ("cell missing or unusable",)
    assert rest == [Reason.SYMMETRY, Reason.UNKNOWN_ELEMENT, Reason.TOO_CLOSE, Reason.SEVERAL]


def test_a_line_of_json_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.data.formats_json._LARGEST_ITEM", 1 << 20)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"numbers": [11]} ' * 100_000)
    with pytest.raises(DataError, match="write one row a line"):
        list(open_reader(path).rows())


@pytest.mark.parametrize("digits", ["1" * 500, "9" * 5000, "9" * 30])
@pytest.mark.parametrize("name", ["numbers", "lattice", "formation_energy_per_atom"])
def test_numbers_of_many_digits_cost_a_row_or_are_one_sentence(digits: str, name: str, tmp_path: Path) -> None:
    row = {"numbers": [11, 17], "frac_coords": [0.0] * 3 + [0.5] * 3, "lattice": (4 * np.eye(3)).ravel().tolist()}
    row[name] = "HERE" if name.startswith("form") else ["HERE", *row[name][1:]]
    text = json.dumps(row).replace('"HERE"', digits)
    for file, content in (("rows.jsonl", text + "\n"), ("rows.json", f"[{text}]")):
        (tmp_path / file).write_text(content)
        with suppress(DataError, RowError):
            reader = open_reader(tmp_path / file)
            read_rows = [reader.parse(raw) for raw in reader.rows()]
            assert len(digits) == 30  # which a float may hold
            assert name == "lattice" or read_rows[0].formation_energy_per_atom == float(digits)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_tables_may_have_any_encoding_of_unicode(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding=encoding) as handle:
        writer = csv.writer(handle)
        writer.writerows([["material_id", "cif"], ["α-1", door.to_cif(SALT)]])
    (record,) = read(path)
    assert isinstance(record, Record)
    assert record.material_id == "α-1"


def test_columns_of_parquet_may_have_other_names(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    names = {"Material ID": ["a"], "E form (eV/atom)": [-1.5], "Ehull [meV]": [3.0]}
    pq.write_table(pa.table({"cif": [door.to_cif(SALT)], **names}), path)
    (record,) = read(path)
    assert isinstance(record, Record)
    assert (record.material_id, record.formation_energy_per_atom) == ("a", -1.5)
    assert record.remarks == ("energy in a unit other than eV/atom left out",)
