"""Files written for other codes are read back by ASE or pymatgen as the same crystal."""

from __future__ import annotations

import json
import warnings
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from tiny import left_handed_tellurium, nickel_arsenide, perovskite, rock_salt, wurtzite

from lcoms.cli.main import run
from lcoms.core.errors import ConfigError
from lcoms.export.codes import CODES, export_files, kpoint_mesh
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import from_ase, from_pymatgen, to_cif
from lcoms.structure.matching import STRICT, rmsd
from lcoms.structure.symmetry import space_group_number

MONOCLINIC = Crystal(
    np.array([[5.1, 0, 0], [0.3, 5.9, 0], [-1.1, 0.2, 6.3]]),
    np.array([[0.1, 0.1, 0.2], [0.9, 0.6, 0.8], [0.4, 0.3, 0.7], [0.6, 0.8, 0.3]]),
    np.array([82, 8, 82, 8]),
)
CRYSTALS = (rock_salt(), wurtzite(), perovskite(), MONOCLINIC)


def read_back(code: str, files: dict[str, str]) -> Crystal:
    from ase.io import read
    from pymatgen.io.optimade import OptimadeStructureAdapter
    from pymatgen.io.vasp import Poscar

    if code == "vasp":
        return from_pymatgen(Poscar.from_str(files["POSCAR"]).structure)
    if code == "optimade":
        return from_pymatgen(OptimadeStructureAdapter.get_structure(json.loads(files["structure.json"])))
    name, form = {
        "espresso": ("espresso.pwi", "espresso-in"),
        "gpaw": ("structure.xyz", "extxyz"),
        "abinit": ("run.abi", "abinit-in"),
        "lammps": ("structure.data", "lammps-data"),
    }[code]
    return from_ase(read(StringIO(files[name]), format=form))


@pytest.mark.parametrize("crystal", CRYSTALS, ids=lambda crystal: crystal.composition.formula)
@pytest.mark.parametrize("code", CODES)
def test_the_same_crystal_is_read_back(code: str, crystal: Crystal) -> None:
    files = export_files(crystal, code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = read_back(code, files)
    assert again.composition == crystal.composition
    assert again.volume == pytest.approx(crystal.volume, rel=1e-5)
    distance = rmsd(crystal, again, STRICT)
    assert distance is not None
    assert distance < 1e-5
    np.testing.assert_allclose(
        np.sort(np.linalg.norm(again.lattice, axis=1)), np.sort(np.linalg.norm(crystal.lattice, axis=1)), rtol=1e-6
    )


def test_k_points_are_dense_enough_and_no_denser() -> None:
    cell = Crystal(np.diag([3.0, 6.0, 30.0]), np.zeros((1, 3)), np.array([11]))
    mesh = kpoint_mesh(cell, spacing=0.25)
    assert mesh == (9, 5, 1)
    for n, edge in zip(mesh, (3.0, 6.0, 30.0), strict=True):
        assert 2 * np.pi / edge / n <= 0.25
        assert n == 1 or 2 * np.pi / edge / (n - 1) > 0.25


def test_no_licensed_potential_is_written_and_what_is_missing_is_said() -> None:
    for code in CODES:
        files = export_files(nickel_arsenide(), code)
        assert "POTCAR" not in files
        if code != "optimade":
            assert files["README.txt"]
    assert export_files(rock_salt(), "vasp")["POTCAR.spec"].split() == ["Na_pv", "Cl"]
    abinit = export_files(rock_salt(), "abinit")["run.abi"]
    assert 'pseudos "Na.psp8, Cl.psp8"' in abinit
    assert "ixc 11" in abinit


@pytest.mark.parametrize("code", CODES)
def test_a_left_handed_cell_does_not_become_its_mirror_image(code: str) -> None:
    found = read_back(code, export_files(left_handed_tellurium(), code))
    assert (np.linalg.det(found.lattice) > 0, space_group_number(found)) == (True, 152)


def test_the_script_for_gpaw_is_python() -> None:
    compile(export_files(wurtzite(), "gpaw")["relax.py"], "relax.py", "exec")


def test_lammps_gets_a_triclinic_box_since_its_tilts_are_relaxed() -> None:
    for crystal in (perovskite(), rock_salt()):
        files = export_files(crystal, "lammps")
        assert "box/relax tri" in files["in.lammps"]
        assert "xy xz yz" in files["structure.data"]


def test_abinit_does_not_judge_self_consistency_by_forces_that_symmetry_makes_zero() -> None:
    text = export_files(rock_salt(), "abinit")["run.abi"]
    assert "toldff" not in text
    assert "tolvrs" in text


def test_elements_without_potentials_in_the_vasp_settings_are_named() -> None:
    berkelium = Crystal(4.1 * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([97, 17]))
    with pytest.raises(ConfigError, match="no VASP potential of Bk"):
        export_files(berkelium, "vasp")


def test_an_unknown_code_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="choose vasp, espresso, gpaw, abinit, lammps, optimade"):
        export_files(rock_salt(), "castep")


def test_the_first_candidates_of_a_folder_get_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "NaCl"
    results.mkdir()
    for rank, crystal in enumerate((rock_salt(), wurtzite(4.0, 6.5, numbers=(11, 17)), rock_salt(6.0)), 1):
        (results / f"rank-{rank:02d}.cif").write_text(to_cif(crystal))
    out = tmp_path / "out"
    assert run(["export", str(results), "--to", "espresso", "-n", "2", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["rank-01", "rank-02"]
    assert (out / "rank-01" / "espresso.pwi").exists()
    assert "exported the first 2 of 3 crystals; use -n to export more." in capsys.readouterr().out


def test_copies_with_fitted_cells_do_not_take_the_place_of_the_next_candidate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, out = tmp_path / "NaCl", tmp_path / "out"
    results.mkdir()
    for name in ("rank-01", "rank-01-fitted", "rank-02", "rank-02-fitted"):
        (results / f"{name}.cif").write_text(to_cif(rock_salt()))
    assert run(["export", str(results), "--to", "espresso", "-n", "2", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["rank-01", "rank-02"]
    assert "fitted cells (rank-01-fitted, ...) are left out" in capsys.readouterr().out
    fitted = str(results / "rank-01-fitted.cif")
    assert run(["export", fitted, "--to", "espresso", "--out", str(out)]) == 0
    assert (out / "rank-01-fitted").is_dir()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "castep"], "'castep' is not a code that lcoms can export to; choose vasp"),
        (["--to", "vasp", "-n", "0"], "-n"),
    ],
)
def test_bad_options_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    (tmp_path / "a.cif").write_text(to_cif(rock_salt()))
    assert run(["export", str(tmp_path / "a.cif"), *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_missing_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["export", str(tmp_path / "none.cif"), "--to", "vasp", "--out", str(out)]) == 2
    assert "none.cif: cannot be read" in capsys.readouterr().err


def test_no_file_of_another_crystal_and_no_changed_one_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / "rank-01.cif"
    command = ["export", str(file), "--to", "espresso", "--out", str(out)]
    file.write_text(to_cif(rock_salt()))
    assert run(command) == 0
    before = (out / "rank-01" / "espresso.pwi").read_bytes()
    assert run(command) == 0
    file.write_text(to_cif(rock_salt(6.0)))
    capsys.readouterr()
    assert run(command) == 2
    printed = capsys.readouterr()
    assert "espresso.pwi exists and differs; choose another folder with --out" in printed.err
    assert printed.out == ""
    assert (out / "rank-01" / "espresso.pwi").read_bytes() == before


def test_a_crystal_that_cannot_be_exported_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.cif").write_text(to_cif(rock_salt(5.0, (97, 17))))
    (tmp_path / "b.cif").write_text(to_cif(rock_salt()))
    files = [str(tmp_path / name) for name in ("a.cif", "b.cif")]
    assert run(["export", *files, "--to", "vasp", "--out", str(tmp_path / "out")]) == 2
    assert "a.cif: pymatgen's r2SCAN settings name no VASP potential of Bk" in capsys.readouterr().err
    assert (tmp_path / "out" / "b" / "POSCAR").is_file()
