"""Predictions and known structures are read from all layouts; unreadable ones keep their rank and the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.io import write
from tiny import caesium_chloride, candidate_of, decoded_set, rock_salt, wurtzite, zinc_blende

from lcoms.core.errors import DataError
from lcoms.evaluate.answers import read_answers, read_known
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import to_ase, to_cif


def cif(path: Path, crystal: Crystal) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_cif(crystal))


def as_row(crystal: Crystal, **values: Any) -> dict[str, Any]:
    return {
        "numbers": crystal.atomic_numbers.tolist(),
        "frac_coords": crystal.frac_coords.ravel().tolist(),
        "lattice": crystal.lattice.ravel().tolist(),
        **values,
    }


def test_what_predict_leaves_is_read_back(tmp_path: Path) -> None:
    crystals = [rock_salt(), caesium_chloride(3.4, (11, 17))]
    composition, candidates = Composition.from_formula("NaCl"), tuple(map(candidate_of, crystals))
    folder = Prediction(composition, candidates, decoded_set(), PredictionSpec(), "0").write(tmp_path)
    for path in (tmp_path, folder):
        answers = read_answers(path)
        assert [(a.name, a.material_id, a.formula, a.rank) for a in answers] == [
            ("NaCl/rank-01.cif", "NaCl", "NaCl", 1), ("NaCl/rank-02.cif", "NaCl", "NaCl", 2)
        ]  # fmt: skip
        assert [a.crystal.volume / a.crystal.n_atoms for a in answers if a.crystal] == pytest.approx(
            [c.volume / c.n_atoms for c in crystals], rel=1e-4
        )
        (folder / "rank-01-fitted.cif").write_text((folder / "rank-02.cif").read_text())
        assert [a.name for a in read_answers(path)] == ["NaCl/rank-01.cif", "NaCl/rank-02.cif"]
        (folder / "rank-01-fitted.cif").unlink()
        # Energies of results.json are the surrogate's; they are no match for those of known structures.
        assert all(not answer.energies for answer in answers)


def test_ranks_are_those_of_the_results_or_else_of_the_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        cif(tmp_path / "NaCl" / f"{name}.cif", rock_salt())
    listed = [{"rank": 1, "cif": "b.cif"}, {"rank": 2, "cif": "gone.cif"}, {"rank": 3, "cif": "a.cif"}]
    (tmp_path / "NaCl" / "results.json").write_text(json.dumps({"candidates": listed}))
    for number in (1, 2, 10):
        cif(tmp_path / "mp-5" / f"rank-{number}.cif", wurtzite())
    answers = {answer.name: answer for answer in read_answers(tmp_path)}
    assert {name: answer.rank for name, answer in answers.items()} == {
        "NaCl/a.cif": 3, "NaCl/b.cif": 1, "NaCl/gone.cif": 2, "mp-5/rank-1.cif": 1, "mp-5/rank-2.cif": 2,
        "mp-5/rank-10.cif": 3,
    }  # fmt: skip
    gone = answers["NaCl/gone.cif"]
    assert (gone.crystal, gone.reason, gone.formula) == (None, "file is missing", "NaCl")
    assert (answers["mp-5/rank-1.cif"].material_id, answers["mp-5/rank-1.cif"].formula) == ("mp-5", "ZnO")


@pytest.mark.parametrize("results", ["{", "[]", '{"candidates": [{"cif": "a.cif"}]}', '{"candidates": [3]}'])
def test_results_that_are_not_understood_do_not_hide_the_files(tmp_path: Path, results: str) -> None:
    cif(tmp_path / "NaCl" / "a.cif", rock_salt())
    (tmp_path / "NaCl" / "results.json").write_text(results)
    assert [(a.name, a.rank) for a in read_answers(tmp_path)] == [("NaCl/a.cif", 1)]


def test_a_broken_file_keeps_its_rank(tmp_path: Path) -> None:
    cif(tmp_path / "NaCl" / "rank-01.cif", rock_salt())
    (tmp_path / "NaCl" / "rank-02.cif").write_text("no CIF")
    cif(tmp_path / "NaCl" / "rank-03.cif", rock_salt())
    one, two, three = read_answers(tmp_path)
    assert (two.rank, two.crystal, two.formula) == (2, None, "NaCl")
    assert "not a CIF" in two.reason
    assert (one.rank, three.rank) == (1, 3)


def test_a_flat_folder_is_named_by_ids(tmp_path: Path) -> None:
    cif(tmp_path / "mp-1.cif", rock_salt())
    cif(tmp_path / "mp-2.cif", wurtzite())
    answers = read_answers(tmp_path)
    assert [(a.material_id, a.formula, a.rank) for a in answers] == [("mp-1", "NaCl", 0), ("mp-2", "ZnO", 0)]


def test_tables_give_id_formula_rank_and_energies(tmp_path: Path) -> None:
    rows = [
        as_row(rock_salt(), material_id="mp-1", formula="NaCl", rank=2, formation_energy_per_atom=-2.0),
        as_row(wurtzite(), material_id="mp-2", formula="Zn2O2", rank=1, formation_energy_per_atom=None),
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    lines = [json.dumps(row) for row in rows]
    lines.insert(1, json.dumps({**rows[0], "material_id": "mp-3", "lattice": [0] * 9, "rank": 7}))
    lines.insert(2, "{torn")
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    answers = read_answers(tmp_path / "p.parquet")
    expected = [("mp-1", "NaCl", 2, {"formation": -2.0}), ("mp-2", "ZnO", 1, {})]
    assert [(a.material_id, a.formula, a.rank, a.energies) for a in answers] == expected
    first, flat, torn, last = read_answers(tmp_path / "p.jsonl")
    assert [(a.material_id, a.formula, a.rank, a.energies) for a in (first, last)] == expected
    assert (flat.material_id, flat.formula, flat.rank, flat.crystal) == ("mp-3", "NaCl", 7, None)
    assert flat.reason == "cell without volume"
    assert (torn.name, torn.material_id, torn.formula, torn.crystal) == ("p-2", "", "", None)


def test_frames_without_an_id_have_none(tmp_path: Path) -> None:
    frames = [to_ase(rock_salt()), to_ase(zinc_blende())]
    frames[0].info |= {"material_id": "mp-1", "rank": 4, "cohesive_energy_per_atom": -3.2, "energy_per_atom": -7.5}
    write(tmp_path / "p.extxyz", frames, format="extxyz")
    one, two = read_answers(tmp_path / "p.extxyz")
    assert (one.material_id, one.rank) == ("mp-1", 4)
    assert one.energies == {"cohesive": -3.2, "total": -7.5}
    assert (two.name, two.material_id, two.rank, two.formula) == ("p-1", "", 0, "ZnS")


def test_known_structures_and_those_that_cannot_be_read(tmp_path: Path) -> None:
    cif(tmp_path / "truth" / "mp-1.cif", rock_salt())
    (tmp_path / "truth" / "mp-2.cif").write_text("no CIF")
    known, unreadable = read_known(tmp_path / "truth")
    assert [(one.name, one.material_id, one.formula) for one in known] == [("mp-1", "mp-1", "NaCl")]
    np.testing.assert_allclose(known[0].crystal.volume, rock_salt().volume, rtol=1e-4)
    assert unreadable == ["mp-2: structure cannot be read"]


def test_nothing_at_all_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_answers(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="holds no predictions"):
        read_answers(tmp_path)
    (tmp_path / "a.cif").write_text("no CIF")
    with pytest.raises(DataError, match="no known structure that can be read"):
        read_known(tmp_path)
    (tmp_path / "p.txt").write_text("")
    with pytest.raises(DataError, match="unknown kind"):
        read_answers(tmp_path / "p.txt")


@pytest.mark.parametrize("rank", [0, -1, 1.5, "first"])
def test_ranks_that_do_not_count_from_one_are_refused(tmp_path: Path, rank: Any) -> None:
    """Rank 0 would come after all others, as a candidate without a rank does."""
    path = tmp_path / "answers.jsonl"
    rows = [as_row(rock_salt(), id="a", rank=rank), as_row(rock_salt(), id="b", rank=2)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"a has a rank that is not a whole number from 1 on; number the candidates"):
        read_answers(path)


def test_energies_that_are_not_read_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "known.jsonl"
    rows = [as_row(rock_salt(), **{"E form (kJ/mol)": -200}), as_row(rock_salt(), energy_per_atom="-3,4")]
    path.write_text("\n".join(map(json.dumps, rows)))
    known, _ = read_known(path)
    assert not any(one.energies for one in known)
    assert "energy in a unit other than eV/atom left out: 1" in caplog.text
    assert "energy that is not a number left out: 1" in caplog.text
