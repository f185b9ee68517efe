"""`lcoms show` prints what was read from each file and what was rejected, and continues with the next file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcoms.cli.main import run
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_cif, to_extxyz, to_poscar


def rock_salt() -> Crystal:
    lattice = 2.82 * (np.ones((3, 3)) - np.eye(3))
    return Crystal(lattice, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([11, 17]))


def perovskite() -> Crystal:
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    return Crystal(3.9 * np.eye(3), places, np.array([38, 22, 8, 8, 8]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "crystals"
    place.mkdir()
    (place / "A.CIF").write_text("\ufeff" + to_cif(rock_salt()), encoding="utf-8")
    (place / "b.cif.gz").write_bytes(gzip.compress(to_cif(perovskite()).encode()))
    (place / "salt_POSCAR").write_text(to_poscar(rock_salt()))
    (place / "two.extxyz").write_text(to_extxyz([rock_salt(), perovskite()]))
    (place / "notes.txt").write_text("no crystal")
    (place / "v4.vasp").write_text("x\n1\n4 0 0\n0 4 0\n0 0 4\n1 1\nDirect\n0 0 0\n.5 .5 .5\n")
    return place


def shown(capsys: pytest.CaptureFixture[str], *files: Path) -> tuple[int, list[dict[str, Any]]]:
    code = run(["show", "--json", *map(str, files)])
    return code, json.loads(capsys.readouterr().out)


def test_a_folder_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = shown(capsys, folder)
    assert code == 2
    assert [(Path(row["file"]).name, row["formula"], row["n_atoms"], row["space_group"]) for row in rows] == [
        ("A.CIF", "NaCl", 2, 225),
        ("b.cif.gz", "SrTiO3", 5, 221),
        ("salt_POSCAR", "NaCl", 2, 225),
        ("two.extxyz", "NaCl", 2, 225),
        ("two.extxyz", "SrTiO3", 5, 221),
        ("v4.vasp", None, None, None),
    ]
    assert [bool(row["error"]) for row in rows] == [False] * 5 + [True]
    assert rows[0]["volume"] == pytest.approx(rock_salt().volume, rel=1e-4)
    assert rows[0]["shortest_distance"] == pytest.approx(2.82, abs=1e-3)


def test_density_of_rock_salt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cubic = "data_NaCl\n" + "".join(f"_cell_length_{edge} 5.6402\n" for edge in "abc")
    sites = (
        "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nNa 0 0 0\nCl .5 .5 .5\n"
    )
    (tmp_path / "salt.cif").write_text(cubic + "_space_group_name_H-M_alt 'F m -3 m'\n" + sites)
    code, (row,) = shown(capsys, tmp_path / "salt.cif")
    assert code == 0
    assert row["density"] == pytest.approx(2.163, abs=0.002)  # g/cm3, measured
    assert row["cell"] == [5.6402] * 3 + [90.0] * 3
    assert "taken as 90 degrees" in row["warnings"][0]


def test_a_table_of_paragraphs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", str(folder / "A.CIF"), str(folder / "v4.vasp"), str(folder / "none.cif")]) == 2
    output = capsys.readouterr().out
    assert "NaCl" in output
    assert "Fm-3m (225)" in output
    assert "rejected: not a POSCAR that can be read: no element symbols" in output
    assert "rejected: cannot be read (No such file or directory)." in output
    assert output.splitlines()[-1] == "1 crystal read, 2 rejected."
    assert max(map(len, output.splitlines())) <= 200


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (row,) = shown(capsys, tmp_path)
    assert (code, row["error"]) == (2, "the folder holds no CIF, POSCAR or extxyz file.")


def test_folders_within_a_folder_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lcoms predict` writes such folders."""
    for name in ("NaCl", "MgO"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rank-01.cif").write_text(to_cif(rock_salt()))
    (tmp_path / "logs").mkdir()
    code, (row,) = shown(capsys, tmp_path)
    sentence = "holds no CIF, POSCAR or extxyz file; its folders MgO, NaCl can be given."
    assert (code, row["error"]) == (2, f"the folder {sentence}")
    for command in ("relax", "rank"):
        assert run([command, str(tmp_path), "--oracle", "analytic"]) == 2
        assert sentence in capsys.readouterr().err
