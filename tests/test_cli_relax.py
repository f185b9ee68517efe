"""`lcoms relax`: relaxed files, one row per crystal, and resuming after an interruption."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import rock_salt, shaken, zinc_blende

from lcoms.cli.main import run
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import read_crystals, to_cif, to_extxyz, to_poscar
from lcoms.structure.symmetry import space_group_number


@pytest.fixture
def relax(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command into a new folder; return exit code, output and error lines."""

    def call(*arguments: object, out: str = "out") -> tuple[int, str, list[str]]:
        options = ["--oracle", "analytic", "--processes", "1", "--out", str(tmp_path / out)]
        code = run(["relax", *options, *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return call


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A CIF, a POSCAR and an extxyz file with two crystals."""
    salt, blende = shaken(rock_salt(5.0), 0.05), shaken(zinc_blende(5.0), 0.05)
    (tmp_path / "salt.cif").write_text(to_cif(salt))
    (tmp_path / "POSCAR").write_text(to_poscar(blende))
    (tmp_path / "two.extxyz").write_text(to_extxyz([salt, shaken(rock_salt(5.2, (20, 8)), 0.1)]))
    return [tmp_path / name for name in ("salt.cif", "POSCAR", "two.extxyz")]


def test_a_folder_stands_for_its_files(relax, files: list[Path], tmp_path: Path) -> None:
    folder, empty = tmp_path / "folder", tmp_path / "empty"
    folder.mkdir()
    empty.mkdir()
    for file in files:
        file.rename(folder / file.name)
    (folder / "notes.txt").write_text("not a crystal")
    code, _, complaints = relax(folder, empty, "--fmax", "0.1")
    assert (code, complaints) == (2, [f"lcoms: {empty}: holds no CIF, POSCAR or extxyz file."])
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["name"] for row in content["crystals"]] == ["POSCAR", "salt", "two-1", "two-2"]


def test_every_crystal_of_every_kind_of_file_gets_a_row_and_a_file(relax, files: list[Path], tmp_path: Path) -> None:
    code, output, complaints = relax(*files, "--fmax", "0.01")
    assert (code, complaints) == (0, [])
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {row["name"]: row for row in content["crystals"]}
    assert list(rows) == ["salt", "POSCAR", "two-1", "two-2"]
    assert (content["oracle"], content["options"]["fmax"]) == ("analytic", 0.01)
    assert len(output.splitlines()) == 6
    for name, row in rows.items():
        assert row["status"] == "converged"
        assert row["fmax"] < 0.01
        assert row["energy_per_atom"] < row["start_energy_per_atom"]
        [crystal] = read_crystals(tmp_path / "out" / row["cif"])
        assert space_group_number(crystal, symprec=0.01) == row["space_group"]
        [again] = AnalyticOracle().evaluate([crystal])
        assert again.energy / crystal.n_atoms == pytest.approx(row["energy_per_atom"], abs=2e-3)
        assert name in output
    assert rows["salt"]["space_group"] == 225
    assert rows["salt"]["space_group_symbol"] == "Fm-3m"
    assert rows["salt"]["energy_per_atom"] == rows["two-1"]["energy_per_atom"]


def test_a_second_call_goes_on_and_gives_the_same(relax, files: list[Path], tmp_path: Path, monkeypatch) -> None:
    assert relax(*files[:2])[0] == 0
    alone = (tmp_path / "out" / "salt.cif").read_text()
    asked: list[int] = []
    evaluate = AnalyticOracle.evaluate

    def counting(self, crystals):
        asked.append(len(crystals))
        return evaluate(self, crystals)

    monkeypatch.setattr(AnalyticOracle, "evaluate", counting)
    assert relax(*files[:2])[0] == 0
    assert asked == []
    assert (tmp_path / "out" / "salt.cif").read_text() == alone
    assert relax(*files)[0] == 0
    assert asked
    code, _, complaints = relax(*files, "--fmax", "0.2")
    assert code == 2
    assert len(complaints) == 1
    assert "another run (fmax is 0.05 there, 0.2 here)" in complaints[0]


def test_what_fails_is_a_row_with_a_reason_and_the_rest_is_done(relax, files: list[Path], tmp_path: Path) -> None:
    far = Crystal(30 * np.eye(3), np.array([[0, 0, 0], [0.1, 0, 0]]), np.array([11, 17]))
    (tmp_path / "far.extxyz").write_text(to_extxyz([far]))
    (tmp_path / "broken.cif").write_text("data_\nnothing\n")
    code, output, complaints = relax(tmp_path / "broken.cif", tmp_path / "far.extxyz", files[0], tmp_path / "no.cif")
    assert code == 2
    assert [Path(line.split(": ")[1]).name for line in complaints] == ["broken.cif", "far.extxyz", "no.cif"]
    assert "check the units of the cell" in complaints[1]
    rows = {row["name"]: row for row in json.loads((tmp_path / "out" / "results.json").read_text())["crystals"]}
    assert rows["salt"]["status"] == "converged"
    assert rows["far"]["status"] == "exploded"
    assert "the volume is" in rows["far"]["reason"]
    assert rows["far"]["energy_per_atom"] is None
    assert "the volume is" in next(line for line in output.splitlines() if " far: " in line)
    assert not (tmp_path / "out" / "far.cif").exists()


def test_files_of_one_name_do_not_overwrite_each_other(relax, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "salt.cif").write_text(to_cif(rock_salt(5.2, (20, 8))))
    assert relax(files[0], tmp_path / "other" / "salt.cif")[0] == 0
    assert {path.name for path in (tmp_path / "out").glob("*.cif")} == {"salt.cif", "salt_2.cif"}


def test_steps_and_trajectories_are_kept_to(relax, files: list[Path], tmp_path: Path) -> None:
    code, output, _ = relax(files[2], "--steps", "2", "--fmax", "0.0001", "--trajectory", "frames")
    assert code == 2
    assert "step limit" in output
    row = json.loads((tmp_path / "out" / "results.json").read_text())["crystals"][1]
    assert (row["n_steps"], len(row["energies"])) == (2, 3)
    assert row["energies"][0] == row["start_energy_per_atom"]
    assert min(row["energies"]) == row["energy_per_atom"]
    assert len(read_crystals(tmp_path / "out" / row["frames"])) == 3


def test_nothing_is_computed_for_what_makes_no_sense(relax, files: list[Path], tmp_path: Path) -> None:
    code, _, complaints = relax(files[0], "--fmax", "-1")
    assert (code, len(complaints)) == (2, 1)
    assert "fmax must be a positive number" in complaints[0]
    assert not (tmp_path / "out").exists()
    code, _, complaints = relax(files[0], "--oracle", "moon")
    assert (code, len(complaints)) == (2, 1)
    assert "no oracle 'moon'" in complaints[0]
    code, _, complaints = relax(files[0], "--processes", "0")
    assert (code, complaints) == (2, ["lcoms: at least one process is needed, not 0."])
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    code, _, complaints = relax(files[0], out="file/out")
    assert (code, len(complaints)) == (2, 1)
    assert "--out" in complaints[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("campaign.json", '{"lcoms_campaign": 1}', "is the folder of a campaign"),
        ("results.json", '{"candidates": []}', "holds a prediction, which would be replaced"),
    ],
)
def test_results_of_other_commands_are_not_replaced(
    name: str, content: str, said: str, relax, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    code, _, complaints = relax(files[0])
    assert (code, len(complaints)) == (2, 1)
    assert said in complaints[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_text() == content


def test_the_command_itself(files: list[Path], tmp_path: Path) -> None:
    """Run on two processes, without the type checks of the tests."""
    command = [sys.executable, "-m", "lcoms", "relax", *map(str, files), "--oracle", "analytic", "--processes", "2"]
    result = subprocess.run([*command, "--out", str(tmp_path / "r")], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "r" / "two-2.cif").exists()


def test_a_kind_of_trajectory_that_does_not_exist_is_one_sentence(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["relax", str(files[0]), "--trajectory", "film", "--out", str(tmp_path / "w")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "trajectory" in line
    assert not (tmp_path / "w").exists()


def test_no_name_or_formula_is_cut_in_the_table(tmp_path: Path, relax) -> None:  # type: ignore[no-untyped-def]
    name = "a-name-of-more-than-thirty-characters-for-one-salt"
    (tmp_path / f"{name}.cif").write_text(to_cif(rock_salt(5.9)))
    _, out, _ = relax(tmp_path / f"{name}.cif", "--oracle", "analytic", "--steps", "1")
    assert name in out


def test_no_input_is_replaced(files: list[Path], relax) -> None:
    before = files[0].read_bytes()
    code, output, complaints = relax(files[0], out=".")
    assert (code, output) == (2, "")
    assert "holds the input salt.cif; write to another folder with --out." in complaints[0]
    assert files[0].read_bytes() == before
