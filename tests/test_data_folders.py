"""Folders and tables of structures: no file, id, column or cell is left out or mixed up without a word."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lcoms.core.errors import DataError
from lcoms.data.formats import open_reader
from lcoms.data.records import Record, RowError
from lcoms.structure.io import read_file, say_unread

CIF = (
    "data_x\n_cell_length_a 5.64\n_cell_length_b 5.64\n_cell_length_c 5.64\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
    "_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
    "_atom_site_fract_y\n_atom_site_fract_z\nNa1 0 0 0\nCl1 .5 .5 .5\n"
)


def folder(place: Path, listed: str | bytes, *names: str) -> Path:
    for name in names:
        (place / name).write_text(CIF)
    (place / "id_prop.csv").write_bytes(listed if isinstance(listed, bytes) else listed.encode())
    return place


def read(path: Path) -> list[Record | None]:
    reader, found = open_reader(path), []
    for row in reader.rows():
        try:
            found.append(reader.parse(row))
        except RowError:
            found.append(None)
    return found


def ids(path: Path) -> list[tuple[str, float]]:
    return [(record.material_id, record.formation_energy_per_atom) for record in read(path) if record is not None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_list_of_ids_may_have_any_encoding(tmp_path: Path, encoding: str) -> None:
    assert ids(folder(tmp_path, "a,-1\r\nb.cif,-2\r\n".encode(encoding), "a.cif", "b.cif")) == [("a", -1), ("b", -2)]


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("a,-1\n", "files not listed and left out: 1, such as b.cif"),
        ("a,-1\nb,-2\nz,-3\n", "ids without a file: 1, such as z"),
        ("id,energy\na,-1\nb,-2\n", "ids without a file: 1, such as id"),
    ],
)
def test_files_and_ids_without_each_other_are_said(
    tmp_path: Path, listed: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    read(folder(tmp_path, listed, "a.cif", "b.cif"))
    assert [said in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("a;-1\nb;-2\n", "none of its ids, such as 'a;-1', is a structure file"),
        ("a,-1\na,-2\n", "a is listed twice"),
        ("a,-1,5\nb.cif,-2\n", "'a,-1,5' is more than an id and an energy; write decimals with points"),
        ("b,-1\n", "b may be b.cif or b.mcif; write the name of the file"),
    ],
)
def test_lists_that_may_be_meant_otherwise_are_refused(tmp_path: Path, listed: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(folder(tmp_path, listed, "a.cif", "b.cif", "b.mcif"))


def test_structure_files_that_are_not_read_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path, "", "a.cif", "b.res", "c.xsf.gz", "d.json", "notes.txt", "results.json")
    with caplog.at_level(logging.WARNING):
        say_unread(tmp_path)
    assert "only CIF, POSCAR and extxyz files are read, not b.res, c.xsf.gz, d.json" in caplog.text
    assert "results.json" not in caplog.text


@pytest.mark.parametrize("name", ["b.cif.txt", "b.cif.bak", "b.cif~", "b.zip", "b.vasp.old", "XDATCAR", "CHGCAR.gz"])
def test_copies_and_archives_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    folder(tmp_path, "", "a.cif", "a.cifra.txt", name)
    with caplog.at_level(logging.WARNING):
        say_unread(tmp_path)
    assert caplog.text.strip().endswith(f"only CIF, POSCAR and extxyz files are read, not {name}")


def test_a_name_that_no_file_can_have_is_one_sentence() -> None:
    (reading,) = read_file("a\0b.cif")
    assert reading.error is not None
    assert "cannot be read" in reading.error.sentence


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'id,cif,cif\nx,"{CIF}","{CIF}"\n')
    with pytest.raises(DataError, match="two columns named cif"):
        open_reader(path)


def test_a_row_with_more_cells_than_the_header_is_counted_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'id,cif,e_form\nx,"{CIF}",-1,5\ny,"{CIF}",-1.5\n')
    first, second = read(path)
    assert first is None
    assert second is not None
    assert second.formation_energy_per_atom == -1.5
