"""Kept rows and the results page agree: counts by hand, and a number edited by hand is detected."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lcoms.benchmark.kept import (
    Header,
    Measurement,
    measurement_of,
    read_content,
    read_measurement,
    read_measurements,
    write_measurement,
)
from lcoms.benchmark.page import (
    calibration_table,
    cases_table,
    conventions_table,
    energies_table,
    failures_table,
    fill,
    headline_table,
    sizes_table,
)
from lcoms.benchmark.page_figure import _points
from lcoms.cli.main import run
from lcoms.core.errors import DataError

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def outcome(name: str, rank: int | None, **more: Any) -> dict[str, Any]:
    """Return an outcome as `lcoms evaluate --out` writes it."""
    ranks = {"loose": rank, "filtered": None, "strict": rank, "both": rank}
    fields = {
        "name": name, "formula": name, "seed": 0, "seconds": 2.0, "n_atoms": 2, "space_group": 225,
        "first_space_group": 225 if rank == 1 else 216, "ranks": ranks, "decoded": ranks, "probability": 0.9,
        "energy": -1.0, "known_energy": -1.1, "key": "x", "rows": [],
    }  # fmt: skip
    return fields | more


def predictions(*rows: dict[str, Any], weights: str = "a" * 16) -> Measurement:
    return measurement_of(Header("some", "predictions", "Some", "made up", weights=weights, headline=True), rows)


def first_line(table: str) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[2].strip("|").split("|")]


def test_ranks_are_counted() -> None:
    some = predictions(outcome("NaCl", 1), outcome("ZnS", 3), outcome("CsCl", None), outcome("BeO", 20))
    # Wilson for 1 of 4: 0.0456 to 0.6994.
    assert first_line(headline_table([some], "a" * 16)) == [
        "Some", "4", "1/4: 0.25 [0.05, 0.70]", "2/4: 0.50 [0.15, 0.85]", "3/4: 0.75 [0.30, 0.95]", "2.0", "aaaaaaaa",
    ]  # fmt: skip
    assert first_line(headline_table([some], "b" * 16))[-1] == "aaaaaaaa (not shipped)"
    assert first_line(conventions_table([some]))[1:] == [
        "1/4: 0.25 [0.05, 0.70]", "3/4: 0.75 [0.30, 0.95]", "0/4: 0.00 [0.00, 0.49]", "0/4: 0.00 [0.00, 0.49]",
        "1/4: 0.25 [0.05, 0.70]",
    ]  # fmt: skip


def test_two_known_structures_of_a_formula_may_be_its_first_two_candidates() -> None:
    some = predictions(outcome("a", 1, formula="ZnS"), outcome("b", 2, formula="ZnS"), outcome("c", 2, formula="BeO"))
    assert first_line(conventions_table([some]))[-1].startswith("2/3")


def test_energies_leave_elements_out_of_shares() -> None:
    elements = [outcome("Si", 1, energy=0.0, known_energy=0.0), outcome("Ge", 1, energy=0.2, known_energy=0.0009)]
    some = predictions(outcome("NaCl", 1), *elements, outcome("ZnS", 1, energy=None))
    # 0.1 above -1.1 is 9 %; the one without an energy has failed; the elements count in eV/atom only.
    assert [cell.partition(":")[0] for cell in first_line(energies_table([some]))[1:]] == ["1/2", "0/2", "0/2", "1/4"]


def test_calibration_sizes_and_failures() -> None:
    some = predictions(outcome("NaCl", 1), outcome("ZnS", 3, n_atoms=24), outcome("BeO", 1, probability=0.3))
    # Stated 0.9 twice, right once: |1.8 - 1| / 3; stated 0.3, right: 0.7 / 3.
    cells = first_line(calibration_table([some]))
    assert cells == ["Some", "3", "0.67", "0.500", "", "0.30: 1 of 1", "", "", "0.90: 1 of 2"]
    assert [line.split("|")[1].strip() for line in sizes_table(some).splitlines()[2:]] == ["1 to 4", "21 to 40"]
    assert first_line(failures_table([some])) == ["ZnS", "Some", "225", "216", "3", "0.90"]


def test_table_and_figure_of_calibration_have_the_same_bins() -> None:
    """A probability between two bins is in the higher one, and one in the last; none are shown for a single row."""
    stated = [0.0, 0.18, 0.2, 0.4, 0.79, 0.8, 1.0]
    some = predictions(*(outcome(str(p), 1 if p > 0.5 else None, probability=p) for p in stated))
    cells = first_line(calibration_table([some]))[4:]
    assert cells == ["0.09: 0 of 2", "0.20: 0 of 1", "0.40: 0 of 1", "0.79: 1 of 1", "0.90: 2 of 2"]
    points = [f"{mean:.2f}: {right.successes} of {right.trials}" for mean, right in _points(some)]
    assert points == cells
    alone = predictions(outcome("NaCl", 1), outcome("ZnS", 1, probability=None))
    assert len(calibration_table([alone]).splitlines()) == 2
    assert _points(alone) == []


def test_cases_of_any_kind_become_shares_and_medians() -> None:
    rows = [
        {"compound": name, "method": "a", "found": {"1": hit}, "seconds": 2.0 + hit, "above": -0.0, "space": "text"}
        for name, hit in (("NaCl", True), ("ZnS", False), ("CsCl", False))
    ]
    kept = measurement_of(Header("search", "cases", "Search", "made up", note="So it is."), rows)
    table = cases_table(kept)
    assert table.splitlines()[0] == "|  | cases | found 1 | seconds | above |"
    assert first_line(table) == ["a", "3", "1/3: 0.33 [0.06, 0.79]", "2", "0"]
    assert table.endswith("\nSo it is.\n")
    with pytest.raises(DataError, match="these rows are no cases: 'method' is missing"):
        measurement_of(kept.header, [{"case": "NaCl"}])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    some = predictions(outcome("NaCl", 1), outcome("ZnS", None, energy=None))
    path = write_measurement(tmp_path, some)
    assert read_measurement(path) == some
    content = path.read_bytes()
    assert write_measurement(tmp_path, some).read_bytes() == content
    assert list(read_measurements(tmp_path)) == ["some"]
    path.rename(tmp_path / "other.jsonl.gz")
    with pytest.raises(DataError, match=r"name the file some\.jsonl\.gz"):
        read_measurements(tmp_path)
    (tmp_path / "other.jsonl.gz").write_bytes(gzip.compress(b'{"measurement": "other"}\n'))
    with pytest.raises(DataError, match="is not a kept measurement"):
        read_measurements(tmp_path)


def test_rows_are_json_or_json_lines(tmp_path: Path) -> None:
    rows = [{"case": "NaCl", "setting": "a"}, {"case": "ZnS", "setting": "a"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    assert read_content(tmp_path / "rows.json") == read_content(tmp_path / "rows.jsonl.gz") == rows
    (tmp_path / "rows.json").write_text("3")
    with pytest.raises(DataError, match="holds no rows"):
        read_content(tmp_path / "rows.json")


def test_a_page_is_filled_and_a_table_that_is_not_there_is_told() -> None:
    text = "Before\n<!-- table: a -->\nold\n<!-- end -->\nafter"
    assert fill(text, {"a": "| new |\n"}) == "Before\n<!-- table: a -->\n\n| new |\n\n<!-- end -->\nafter"
    assert fill(fill(text, {"a": "| new |\n"}), {"a": "| new |\n"}) == fill(text, {"a": "| new |\n"})
    with pytest.raises(DataError, match="there is no table a; choose from b"):
        fill(text, {"b": ""})


def keep(rows: Path, out: Path, *more: str) -> list[str]:
    """Return a command that keeps rows as the measurement `some`."""
    named = ["--name", "some", "--title", "Some", "--command", "made up", "--out", str(out)]
    return ["benchmark", "keep", str(rows), *named, *more]


def test_keep_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([outcome("NaCl", 1), outcome("KCl", 1)]))
    assert run(keep(tmp_path / "rows.json", tmp_path / "kept", "--headline")) == 0
    assert run(["benchmark", "report", "--results", str(tmp_path / "kept")]) == 0
    assert "| Some | 2 | 2/2: 1.00 [0.34, 1.00] |" in capsys.readouterr().out
    page = tmp_path / "page.md"
    page.write_text("<!-- table: headline -->\n<!-- end -->\n")
    assert run(["benchmark", "report", "--results", str(tmp_path / "kept"), "--page", str(page)]) == 0
    assert "2/2: 1.00 [0.34, 1.00]" in page.read_text()
    assert run(["benchmark", "report", "--results", str(tmp_path / "kept"), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert run(["benchmark", "report"]) == 2
    assert "give ROWS and --out FOLDER, or --results FOLDER" in capsys.readouterr().err.replace("\n", " ")


def test_a_kept_measurement_is_replaced_only_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, kept = tmp_path / "rows.json", tmp_path / "some.jsonl.gz"
    command = keep(rows, tmp_path, "--date", "2026-11-28")
    rows.write_text(json.dumps([outcome("NaCl", 1)]))
    assert run(command) == run(command) == 0  # the same again changes nothing
    before = kept.read_bytes()
    rows.write_text(json.dumps([outcome("NaCl", None)]))
    assert run(command) == 2
    assert "give another --name, or --overwrite to replace it." in capsys.readouterr().err
    assert kept.read_bytes() == before
    assert run([*command, "--overwrite"]) == 0
    assert read_measurement(kept).predictions[0].final.both is None


def numbers_changed(text: str) -> str:
    """Return the page with the first digit of the first row of its first table changed."""
    rows = re.search(r"<!-- table: \S+ -->\n\n.*\n.*\n.*?(\d)", text)
    assert rows is not None
    return text[: rows.start(1)] + str((int(rows[1]) + 1) % 10) + text[rows.end(1) :]


def test_every_table_of_the_pages_is_that_of_the_kept_rows_and_a_changed_number_is_seen(tmp_path: Path) -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    texts = {name: text for name, text in texts.items() if "<!-- table:" in text}
    named = {name for text in texts.values() for name in re.findall(r"<!-- table: (\S+) -->", text)}
    assert {"headline", "short", "calibration", "failures", "comparison-paper", "sources"} <= named
    command = [sys.executable, "-m", "lcoms", "benchmark", "report", "--results", str(RESULTS)]
    for name, text in texts.items():
        (tmp_path / name).write_text(numbers_changed(text), encoding="utf-8")
        command += ["--page", str(tmp_path / name)]
    subprocess.run(command, check=True, capture_output=True)  # a process of its own, whose types are not checked
    for name, text in texts.items():
        found = (tmp_path / name).read_text(encoding="utf-8")
        assert found == text, f"{name} is not what the rows say; run lcoms benchmark report --results, --page {name}"
        assert numbers_changed(text) != text


def test_sets_are_named_and_no_validation_crystal_is_a_test_crystal() -> None:
    found = {path.stem: read_lines(path) for path in (ROOT / "benchmarks" / "sets").glob("*.txt")}
    assert {name: len(ids) for name, ids in found.items() if name in ("compounds", "cspbench", "mp20")} == {
        "compounds": 26, "cspbench": 60, "mp20": 527,
    }  # fmt: skip
    assert not set(found["validation"]) & {*found["cspbench"], *found["mp20"]}
    assert set(found["compounds"]) <= set(found["test-compositions"])


def read_lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
