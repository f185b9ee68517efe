"""`lcoms rank` prints crystals in order of energy; crystals that cannot be ranked are reported, the others ranked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, rock_salt, zinc_blende

from lcoms.cli.main import run
from lcoms.oracles import registry
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.references import to_json
from lcoms.oracles.wrappers import CountedOracle
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_cif, to_extxyz, to_poscar

ANALYTIC = ["--oracle", "analytic"]
SALTS = {
    "B1": rock_salt(5.9),
    "B2": caesium_chloride(3.6, (11, 17)),
    "B3": zinc_blende(6.7, (11, 17)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, crystal in SALTS.items():
        (tmp_path / f"{name}.cif").write_text(to_cif(crystal))
    return tmp_path


def rank(*arguments: object) -> int:
    return run(["rank", *(str(argument) for argument in arguments)])


def test_a_folder_is_ranked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rank(folder, *ANALYTIC, "--json", folder / "out.json") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["1", "NaCl", "Fm-3m"],
        ["2", "NaCl", "Pm-3m"],
        ["3", "NaCl", "F-43m"],
    ]
    assert lines[-2].startswith("3 crystals by analytic, as they are, in ")
    assert "0 failed" in lines[-2]
    assert lines[-1] == "above: over the lowest crystal of the same formula."
    assert printed.err == ""
    out = json.loads((folder / "out.json").read_text())
    direct = AnalyticOracle().evaluate([rock_salt(5.9)])[0].energy / 2
    assert out["ranked"][0]["energy_per_atom"] == pytest.approx(direct, abs=1e-4)
    assert [row["name"] for row in out["ranked"]] == [str(folder / f"{name}.cif") for name in SALTS]
    assert (out["oracle"], out["failed"]) == ("analytic", [])


def test_frames_and_duplicates_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.xyz"
    path.write_text(to_extxyz([rock_salt(5.7), rock_salt(5.9)]))
    out = tmp_path / "out.json"
    assert rank(path, *ANALYTIC, "--json", out) == 0
    (row,) = json.loads(out.read_text())["ranked"]
    assert (row["name"], row["duplicates"]) == (f"{path}#2", [f"{path}#1"])
    assert "two.xyz#1" in "".join(capsys.readouterr().out.split())


def test_bad_files_are_rows_and_the_rest_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.cif").write_text("nothing")
    out = folder / "out.json"
    assert rank(folder, folder / "none.cif", *ANALYTIC, "--json", out) == 2
    printed = capsys.readouterr()
    assert "3 crystals by analytic" in printed.out
    assert "2 failed" in printed.out
    errors = printed.err.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith(f"lcoms: {folder / 'bad.cif'}: not a CIF")
    assert errors[1].startswith(f"lcoms: {folder / 'none.cif'}: cannot be read")
    assert [row["name"] for row in json.loads(out.read_text())["failed"]] == [
        str(folder / "bad.cif"), str(folder / "none.cif")
    ]  # fmt: skip


def test_crystals_without_energy_are_rows(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcoms.oracles.analytic.LEAST_VOLUME", 10.0)
    (folder / "dense.vasp").write_text(to_poscar(rock_salt(4.0)))
    assert rank(folder, *ANALYTIC) == 2
    printed = capsys.readouterr()
    assert "dense.vasp: the cell has only 8 cubic angstrom per atom." in printed.err
    assert "3 crystals by analytic" in printed.out


def test_elements_are_refused_before_anything_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lcoms.core.errors import OracleError

    class Picky(CountedOracle):
        def check(self, compositions) -> None:  # type: ignore[no-untyped-def]
            for composition in compositions:
                if 43 in composition.atomic_numbers:
                    raise OracleError("there is no setup for Tc.")

    oracle = Picky(AnalyticOracle())
    monkeypatch.setattr(registry, "make_oracle", lambda _: oracle)
    alone = folder / "tc.vasp"
    alone.write_text(to_poscar(rock_salt(4.5, (43, 8))))
    assert rank(alone, "--json", folder / "none.json") == 2
    assert oracle.n_calls == 0
    assert json.loads((folder / "none.json").read_text())["failed"][0]["reason"] == "there is no setup for Tc."
    printed = capsys.readouterr()
    assert printed.err == f"lcoms: {alone}: there is no setup for Tc.\n"
    assert printed.out == ""
    assert rank(folder) == 2
    assert oracle.n_crystals == 3


def test_formation_energy_and_hull(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elements = {"Na": {"energy_per_atom": -1.0}, "Cl": {"energy_per_atom": -1.5}}
    (folder / "ref.json").write_text(to_json({"analytic": {"elements": elements}}))
    (folder / "hull.csv").write_text("formula,energy_per_atom,oracle\nNaCl,-3.4,analytic\n")
    files = [folder / f"{name}.cif" for name in SALTS]
    out = folder / "out.json"
    arguments = [*files, *ANALYTIC, "--json", out, "--hull", folder / "hull.csv", "--references", folder / "ref.json"]
    assert rank(*arguments) == 0
    for row in json.loads(out.read_text())["ranked"]:
        assert row["formation_energy_per_atom"] == pytest.approx(row["energy_per_atom"] + 1.25)
        assert row["e_above_hull"] == pytest.approx(row["energy_per_atom"] + 3.4)
    header = capsys.readouterr().out.splitlines()[0]
    assert header.split()[3:] == ["eV/atom", "above", "E", "form", "hull", "file"]


def test_the_hull_of_a_cell_of_more_atoms_than_a_formula_may_have(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = np.array([[i / 11, j / 11, k / 2] for i in range(11) for j in range(11) for k in range(2)])
    large = Crystal(np.diag([33.0, 33.0, 6.0]), places, np.array([17] + [11] * 241))
    (folder / "large.cif").write_text(to_cif(large))
    assert rank(folder / "large.cif", *ANALYTIC, "--hull", folder / "B1.cif") == 0
    assert "Na241Cl: the hull lacks Na, Cl" in capsys.readouterr().out


def test_a_hull_of_crystals_is_evaluated_by_the_same_oracle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out.json"
    assert rank(folder / "B3.cif", *ANALYTIC, "--hull", folder / "B1.cif", "--json", out) == 0
    assert "NaCl: the hull lacks Na, Cl; add a phase of the pure element." in capsys.readouterr().out
    assert json.loads(out.read_text())["ranked"][0]["e_above_hull"] is None


def test_the_cache_answers_the_second_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle: list[CountedOracle] = []

    def make(_: str) -> EnergyOracle:
        oracle.append(CountedOracle(AnalyticOracle()))
        return oracle[-1]

    monkeypatch.setattr(registry, "make_oracle", make)
    outs = [folder / "first.json", folder / "second.json"]
    files = [folder / f"{name}.cif" for name in SALTS]
    for out in outs:
        assert rank(*files, "--cache", folder / "cache.sqlite", "--json", out) == 0
    assert [one.n_crystals for one in oracle] == [3, 0]
    assert len({json.dumps(json.loads(out.read_text())["ranked"]) for out in outs}) == 1


def test_mistakes_of_the_user_are_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rank(folder, "--oracle", "nothing") == 2
    assert "there is no oracle 'nothing'" in capsys.readouterr().err
    assert rank(folder, *ANALYTIC, "--hull", folder / "none.json") == 2
    assert "cannot be read as a file of reference phases" in capsys.readouterr().err


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("B1", "B2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "salt.cif").write_text(to_cif(SALTS[name]))
    assert rank(tmp_path / "B1", tmp_path / "B2", *ANALYTIC) == 0
    text = "".join(capsys.readouterr().out.split())
    assert "B1/salt.cif" in text
    assert "B2/salt.cif" in text


def test_the_table_fits_eighty_columns_and_breaks_no_number_or_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lcoms.cli import text_table

    elements = {"Na": {"energy_per_atom": -1.0}, "Cl": {"energy_per_atom": -1.5}}
    (folder / "ref.json").write_text(to_json({"analytic": {"elements": elements}}))
    (folder / "hull.csv").write_text("formula,energy_per_atom,oracle\nNaCl,-3.4,analytic\n")
    name = "sodium-chloride-from-the-second-search-with-a-long-name.cif"
    (folder / "B3.cif").rename(folder / name)
    files = [folder / "B1.cif", folder / "B2.cif", folder / name]
    arguments = [*files, *ANALYTIC, "--hull", folder / "hull.csv", "--references", folder / "ref.json"]
    assert rank(*arguments) == 0
    row = capsys.readouterr().out.splitlines()[3]
    assert row.startswith("3  NaCl     F-43m (216)")
    assert row.endswith(f"  {name}")
    monkeypatch.setattr(text_table, "terminal_width", lambda: 80)
    assert rank(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert f"   {name}" in lines


def test_no_input_is_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(folder.glob("*.cif"))
    before = path.read_bytes()
    assert rank(folder, "--json", path) == 2
    assert f"{path} is an input, which would be replaced" in capsys.readouterr().err
    assert path.read_bytes() == before
