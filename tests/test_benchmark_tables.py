"""Tables and figures depend on the rows only: values by hand, and equal rows give equal files."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_rows import judged, point, row

from lcoms.benchmark.figures import all_figures, success_curve
from lcoms.benchmark.figures_descent import improvements, sweep_of
from lcoms.benchmark.page_paper import TAU, tau_table
from lcoms.benchmark.rows import Row, read_rows
from lcoms.benchmark.success import MATCH
from lcoms.benchmark.tables import (
    Table,
    all_tables,
    columns,
    decreases_table,
    failures_table,
    seconds_table,
    success_table,
    summary_table,
    totals_table,
    variants,
)
from lcoms.benchmark.write import INDEX, write_benchmark
from lcoms.core.config import to_dict

BEGAN = judged(-1.0)
"""A start 1 eV/atom above the known structure."""


def some_rows() -> list[Row]:
    """Return rows of two compounds and two seeds; the baseline finds nothing and fails once."""
    rows = []
    for seed in (0, 1):
        for name in ("LiF", "Si"):
            way = (point(0, 0.1, found=False), point(50, 1.0, found=True))
            taken = {"start": 1.0, "descent": 2.0 + seed, "relax": 0.5}
            rows.append(row("lcoms", name, seed, found=True, start=BEGAN, seconds=taken, progress=way,
                            descent=(-1.0, -1.5), n_evaluations=50))  # fmt: skip
            rows.append(row("sl", name, seed, -1.2, start=BEGAN, n_evaluations=50))
    rows[1] = row("sl", "LiF", 0, None, start=BEGAN)
    return [*rows, row("lcoms tau=0.5", "LiF", start=BEGAN), row("lcoms tau=2", "LiF", found=True, start=BEGAN)]


def lines_of(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.header, line, strict=True)) for line in table.rows]


def test_table_1_counts_seeds_and_says_nothing_about_energies_of_elements() -> None:
    lithium, silicon = lines_of(success_table(some_rows(), "paper", "answer"))
    assert (lithium["compound"], lithium["lcoms"], lithium["sl"]) == ("LiF", "2 2 2 2 of 2", "0 0 0 0 of 2")
    assert (silicon["lcoms"], silicon["sl"]) == ("- - - 2 of 2", "- - - 0 of 2")
    assert not success_table(some_rows(), "formula", "answer").rows


def test_totals_with_intervals_p_values_and_what_the_paper_says() -> None:
    by_key = {(r["method"], r["stage"], r["criterion"]): r for r in lines_of(totals_table(some_rows()))}
    one, other = (by_key[m, "as answered", MATCH.name] for m in ("lcoms", "sl"))
    assert (one["compounds"], one["runs"], other["runs"]) == ("2 of 2", "4 of 4", "0 of 4")
    # Wilson: (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n) for 4 of 4 with two
    # compounds is 1 / (1 + z^2 / 2).
    assert one["95 % interval of runs"] == f"{1 / (1 + 1.959964**2 / 2):.3f} to 1.000"
    # McNemar: 2 compounds to 0 is 2 / 2^2; 4 runs to 0 is 2 / 2^4.
    assert (other["p against lcoms"], other["p of runs against lcoms"]) == ("0.5", "0.12")
    assert one["p against lcoms"] == ""
    quoted = [by_key["lcoms", "as answered", name]["paper, OQMD, of 26"] for name in ("within 20 %", MATCH.name)]
    assert quoted == ["16", ""]
    elsewhere = [replace(one, group="others") for one in some_rows()]
    assert all(r["paper, OQMD, of 26"] == "" for r in lines_of(totals_table(elsewhere)))


def test_totals_tell_each_seed_and_where_numbers_of_seeds_differ() -> None:
    rows = [row("lcoms", name, seed, found=seed == 1 or name == "LiF") for seed in (0, 1) for name in ("LiF", "NaCl")]
    by_key = {(r["method"], r["criterion"]): r for r in lines_of(totals_table(rows))}
    assert by_key["lcoms", MATCH.name]["compounds of each seed"] == "1 2"
    table = summary_table(rows, "paper", "answer")
    assert "; of each seed 1 2)" in lines_of(table)[0][MATCH.name]
    assert "Numbers of seeds differ" not in table.note
    more = summary_table([*rows, row("sl", "LiF", 0)], "paper", "answer")
    assert more.note.endswith("Numbers of seeds differ: lcoms 2, sl 1.")


def test_labelled_rows_are_compared_with_lcoms_of_their_label() -> None:
    methods = {"sl (paper)": True, "lcoms (paper)": True, "lcoms": False}
    rows = [row(name, "LiF", seed, found=found) for name, found in methods.items() for seed in range(6)]
    told = {r["method"]: r[MATCH.name] for r in lines_of(summary_table(rows, "paper", "answer"))}
    assert "over runs 1;" in told["sl (paper)"]
    others = [one for one in rows if one.method != "lcoms (paper)"]
    told = {r["method"]: r[MATCH.name] for r in lines_of(summary_table(others, "paper", "answer"))}
    assert "over runs 0.031;" in told["sl (paper)"]


def test_seconds_are_medians_of_the_runs_that_answered() -> None:
    lcoms, sl = lines_of(seconds_table(some_rows()))
    assert (lcoms["start"], lcoms["descent"], lcoms["relax"], lcoms["in all"]) == ("1.00", "2.50", "0.50", "4.00")
    assert (lcoms["runs"], lcoms["evaluations"], lcoms["search"], lcoms["seconds in the paper"]) == ("4", "50", "", "2")
    assert sl["runs"] == "3"


def test_falls_and_failures_are_counted() -> None:
    lcoms, sl = lines_of(decreases_table(some_rows()))
    assert (lcoms["from the start"], lcoms["mean decrease, eV/atom"]) == ("4 of 4", "1.000")
    assert (sl["from the start"], sl["mean decrease, eV/atom"]) == ("3 of 4", "0.200")
    noted = row("cdvae", answer=judged(-9.0, note="too low"), relaxed=None)
    assert lines_of(failures_table([*some_rows(), noted])) == [
        {"track": "paper", "method": "cdvae", "reason": "as answered: too low", "runs": "1"},
        {"track": "paper", "method": "sl", "reason": "it broke", "runs": "1"},
    ]


def test_variants_stand_apart() -> None:
    assert [column.method for column in columns(some_rows())] == ["lcoms", "sl"]
    assert [column.method for column in variants(some_rows())] == ["lcoms tau=0.5", "lcoms tau=2"]
    assert [sweep_of(row(name)) for name in ("lcoms tau=0.5", "lcoms", "lcoms start=gpaw")] == [
        ("tau", 0.5),
        None,
        None,
    ]


def test_labelled_methods_are_columns_of_their_own_compared_with_lcoms_of_the_same_label() -> None:
    paper = [replace(one, method=f"{one.method} (paper)") for one in some_rows() if " " not in one.method]
    rows = [*paper, *some_rows()]
    assert [column.method for column in columns(rows)] == ["lcoms", "sl", "lcoms (paper)", "sl (paper)"]
    assert [column.method for column in variants(rows)] == ["lcoms tau=0.5", "lcoms tau=2"]
    by_key = {(r["method"], r["stage"], r["criterion"]): r for r in lines_of(totals_table(rows))}
    for mine, plain in (("lcoms (paper)", "lcoms"), ("sl (paper)", "sl")):
        one, other = (dict(by_key[name, "as answered", "within 20 %"]) for name in (mine, plain))
        assert one.pop("method") != other.pop("method")
        assert one == other  # also what the paper says
    alone = dict(by_key["sl (paper)", "as answered", MATCH.name])
    assert alone["p against lcoms"] == "0.5"
    assert [r["method"] for r in lines_of(decreases_table(rows))] == ["lcoms", "sl", "lcoms (paper)", "sl (paper)"]


def test_improvement_is_the_fall_over_the_start() -> None:
    rows = [row("lcoms", "LiF", 0, -1.5, start=BEGAN), row("lcoms", "LiF", 1, -2.0, start=judged(-1.6))]
    assert improvements(rows)["LiF"] == pytest.approx(((0.5 + 0.25) / 2, 0.45))


def test_success_rises_where_runs_find_the_structure() -> None:
    rows = [
        row("lcoms", "LiF", found=True, progress=(point(5, 1.0, found=True),), n_evaluations=9),
        row("lcoms", "NaF", found=True, progress=(point(2, 0.5, found=False),), n_evaluations=7),
    ]
    (column,) = columns(rows)
    assert success_curve(column, MATCH, "evaluations") == ([5.0, 7.0, 9.0], [0.5, 1.0, 1.0])


def test_equal_rows_give_equal_files(tmp_path: Path) -> None:
    rows = some_rows()
    written = write_benchmark(rows, tmp_path / "a")
    names = {path.name for path in written}
    assert {INDEX, "table1-paper-answer.csv", "totals.csv", "variants.csv", "table2.csv", "decreases.csv"} <= names
    assert {"figure2.png", "figure3.png", "settings.png", "success-paper.png"} <= names
    assert "success-formula.png" not in names
    write_benchmark(rows, tmp_path / "b")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    with (tmp_path / "a" / "totals.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            list(r) for t in all_tables(rows) if t.name == "totals" for r in (t.header, *t.rows)
        ]
    report = (tmp_path / "a" / INDEX).read_text()
    assert "## Table 1, track paper, as answered" in report
    assert "![figure2](figure2.png)" in report


def test_no_figure_without_its_rows() -> None:
    assert set(all_figures([row("random")])) == {"success-paper"}


@pytest.mark.slow
def test_the_documented_tables_are_those_of_the_kept_rows() -> None:
    root = Path(__file__).parents[1]
    page = (root / "docs" / "tables.md").read_text(encoding="utf-8")
    tables = all_tables(read_rows([root / "benchmarks" / "results" / "comparison.jsonl.gz"]))
    assert sum(table.in_report for table in tables) > 10
    for table in tables:
        assert not table.in_report or table.to_markdown() in page, f"{table.name} is out of date; make the page anew"


def test_figures_2_and_3_have_both_methods_and_intervals_over_the_seeds() -> None:
    way = (point(0, 0.1, found=False), point(50, 1.0, found=True))
    rows = [
        row(method, "LiF", seed, height - 0.1 * seed, start=BEGAN, descent=(-1.0, -1.5), progress=way)
        for method, height in (("lcoms", -1.5), ("sl", -0.5))
        for seed in (0, 1)
    ]
    figures = all_figures(rows)
    (panel,) = figures["figure2"].axes
    assert len(panel.collections) == 2  # a band for each method
    relative, _ = figures["figure3"].axes
    assert relative.get_title() == "26 compounds, lower than the start: lcoms 1 of 1, sl 0 of 1"
    assert [len(bars) for bars in relative.containers] == [1, 1]


def test_figure_4_has_a_line_with_its_interval_for_each_tau() -> None:
    rows = [
        row(f"lcoms tau={tau}", name, seed, -1.0, progress=(point(0, 0.1, found=False), point(50, 1.0, found=True)))
        for tau in (0.1, 5)
        for name in ("SrS", "MgO", "LiF")
        for seed in (0, 1)
    ]
    first, second = all_figures(rows)["figure4"].axes
    assert (first.get_title(), second.get_title()) == ("SrS", "MgO")
    for panel in (first, second):
        assert len(panel.collections) == 2
        assert [line.get_label() for line in panel.lines] == ["tau 0.1", "tau 5", "known"]
    assert "figure4" not in all_figures([row("lcoms tau=0.1", "SrS"), *rows[4:6]])


def test_the_table_of_tau_has_mean_decreases_with_their_intervals(tmp_path: Path) -> None:
    rows = [
        row(
            "lcoms tau=0.5",
            "SrS",
            seed,
            -1.7 - 0.2 * seed,
            descent=(-1.0, -1.25),
            progress=(point(0, 0.1, found=False),),
        )
        for seed in (0, 1)
    ]
    assert tau_table(tmp_path) == {}
    content = "".join(json.dumps(to_dict(one)) + "\n" for one in rows)
    (tmp_path / TAU).write_bytes(gzip.compress(content.encode()))
    # Decreases of 0.2 and 0.4, standard error 0.1.
    assert "| 0.5 | 0.250 | 0.300 [0.104, 0.496], n = 2 |" in tau_table(tmp_path)["tau"]
