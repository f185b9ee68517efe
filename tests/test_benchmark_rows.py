"""Benchmark rows are read from disk as they were written, whatever the result of the run."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_rows import point, row
from tiny import rock_salt, shaken

from lcoms.benchmark.rows import ROWS_FILE, Key, Row, RowLog, exact_crystal, read_rows
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError, DataError
from lcoms.structure.crystal import crystal_from_dict, crystal_to_dict


def to_line(one: Row) -> str:
    return json.dumps(to_dict(one)) + "\n"


FULL = row("lcoms", seconds={"start": 1.0, "decode": 0.25}, descent=(-1.0, -1.5), progress=(point(3, 0.5, found=True),))


def test_rows_come_back(tmp_path: Path) -> None:
    rows = [FULL, row("sl", energy=None, known=None), row("lcoms", seed=1)]
    with RowLog(tmp_path / "a" / ROWS_FILE) as log:
        assert [log.append(one) for one in rows] == rows
    with RowLog(tmp_path / "a" / ROWS_FILE) as log:
        assert log.rows == {one.key: one for one in rows}
    assert read_rows([tmp_path / "a"]) == sorted(rows, key=lambda one: one.key)
    assert FULL.key == Key("paper", "lcoms", "NaCl", 0)
    assert FULL.total_seconds == 1.25


def test_numbers_are_rounded_once_and_for_all(tmp_path: Path) -> None:
    crystal = shaken(rock_salt(), 0.3)
    once = exact_crystal(crystal)
    np.testing.assert_allclose(once.lattice, crystal.lattice, atol=5.1e-7)
    answer = replace(FULL.answer, crystal=crystal_to_dict(once), energy=1 / 3)  # type: ignore[type-var]
    with RowLog(tmp_path / ROWS_FILE) as log:
        kept = log.append(replace(FULL, answer=answer))
    assert kept.answer is not None
    assert kept.answer.energy == 0.333333
    again = crystal_from_dict(kept.answer.crystal)
    assert (again.lattice == once.lattice).all()
    assert (again.frac_coords == once.frac_coords).all()


def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path) -> None:
    file = tmp_path / ROWS_FILE
    other = row("sl")
    file.write_text(to_line(FULL) + to_line(other)[:-20])
    assert read_rows([file]) == [FULL]
    with RowLog(file) as log:
        assert list(log.rows) == [FULL.key]
        log.append(other)
    assert file.read_text() == to_line(FULL) + to_line(other)


def test_compressed_rows_are_the_same_rows_and_broken_ones_are_said(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(to_line(FULL).encode()))
    assert read_rows([file]) == [FULL]
    for broken in (file.read_bytes()[:-12], b"no gzip"):
        file.write_bytes(broken)
        with pytest.raises(DataError, match="cannot be read"):
            read_rows([file])


def test_what_is_no_row_is_said(tmp_path: Path) -> None:
    file = tmp_path / ROWS_FILE
    for line in ("{}", "not json", json.dumps(json.loads(to_line(FULL)) | {"colour": 3})):
        file.write_text(to_line(FULL) + line + "\n")
        with pytest.raises(DataError, match=r"line 2, is no row of a benchmark"):
            RowLog(file)
        with pytest.raises(DataError, match="line 2"):
            read_rows([file])
    assert file.read_text().startswith(to_line(FULL))
    with pytest.raises(DataError, match="cannot be read; give a folder"):
        read_rows([tmp_path / "nowhere"])
    file.write_text("")
    with pytest.raises(DataError, match="there are no rows"):
        read_rows([tmp_path])


def test_two_runs_do_not_share_a_file(tmp_path: Path) -> None:
    with RowLog(tmp_path / ROWS_FILE), pytest.raises(ConfigError, match="in use by another run"):
        RowLog(tmp_path / ROWS_FILE)
    with RowLog(tmp_path / ROWS_FILE) as log:
        assert not log.rows


def test_rows_of_several_files_are_put_together_the_last_one_counts(tmp_path: Path) -> None:
    for name, rows in (("a", [FULL, row("sl")]), ("b", [row("sl", energy=-1.0)])):
        (tmp_path / name).mkdir()
        (tmp_path / name / ROWS_FILE).write_text("".join(map(to_line, rows)))
    found = read_rows([tmp_path / "a", tmp_path / "b"])
    assert [one.method for one in found] == ["lcoms", "sl"]
    assert found[1].answer is not None
    assert found[1].answer.formation_energy == -1.0


def test_time_is_all_that_may_differ() -> None:
    slower = replace(FULL, seconds={"start": 9.0}, progress=(point(3, 7.5, found=True),))
    assert slower != FULL
    assert slower.without_clock() == FULL.without_clock()
    assert replace(FULL, n_evaluations=7).without_clock() != FULL.without_clock()
    assert isinstance(FULL.without_clock(), Row)
