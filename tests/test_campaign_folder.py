"""The campaign folder: results are complete or absent, unique, and belong to one set of options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lcoms.campaign.folder import JOURNAL, CampaignFolder, FormulaStatus, read_journal
from lcoms.core.errors import ConfigError, LcomsError

OPTIONS = {"weights": "abc", "options": {"n_starts": 4, "within": {"tries": 2}}, "relaxation": None}
FILES = {"rank-01.cif": "data_", "results.json": "{}"}


def test_a_formula_is_kept_once(tmp_path: Path) -> None:
    with CampaignFolder(tmp_path, OPTIONS) as folder:
        assert not folder.is_done("NaCl")
        folder.keep("NaCl", FILES, 1.5)
        folder.keep("NaCl", FILES | {"rank-01.cif": "of another run"}, 9.0)
        assert folder.is_done("NaCl")
    assert {path.name: path.read_text() for path in (tmp_path / "NaCl").iterdir()} == FILES
    assert (tmp_path / JOURNAL).read_text().count("NaCl") == 1
    assert read_journal(tmp_path)["NaCl"].seconds == 1.5
    assert not list(tmp_path.glob(".part-*"))


def test_a_line_that_was_cut_short_costs_only_itself(tmp_path: Path) -> None:
    with CampaignFolder(tmp_path, OPTIONS) as folder:
        folder.keep_failure("A", FormulaStatus.FAILED, "no such thing.", 0.1)
        with (tmp_path / JOURNAL).open("ab") as file:
            file.write(b'{"formula": "B", "stat')
        folder.keep_failure("C", FormulaStatus.DIED, "killed.", None)
        folder.keep_failure("A", FormulaStatus.FAILED, "again.", 0.2)
    journal = read_journal(tmp_path)
    assert {name: line.reason for name, line in journal.items()} == {"A": "again.", "C": "killed."}
    with CampaignFolder(tmp_path, OPTIONS) as folder:
        assert folder.failure("A") is not None
        assert folder.failure("C") is None  # its process died: it is tried again
        assert folder.failure("B") is None


def test_other_options_are_refused_and_named(tmp_path: Path) -> None:
    CampaignFolder(tmp_path, OPTIONS).close()
    before = (tmp_path / "campaign.json").read_bytes()
    with pytest.raises(ConfigError, match="tries is 2 there, 3 here"):
        CampaignFolder(tmp_path, OPTIONS | {"options": {"n_starts": 4, "within": {"tries": 3}}})
    with pytest.raises(ConfigError, match="relaxation: without there"):
        CampaignFolder(tmp_path, OPTIONS | {"relaxation": {"oracle": "analytic"}})
    assert (tmp_path / "campaign.json").read_bytes() == before
    for damaged in ("", "[]", '{"lcoms_campaign": 1}'):
        (tmp_path / "campaign.json").write_text(damaged)
        with pytest.raises(ConfigError, match="damaged"):
            CampaignFolder(tmp_path, OPTIONS)
    (tmp_path / "campaign.json").write_text(json.dumps(OPTIONS | {"lcoms_campaign": 9}))
    with pytest.raises(ConfigError, match="another version"):
        CampaignFolder(tmp_path, OPTIONS)


def test_predictions_of_no_campaign_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "NaCl").mkdir()
    (tmp_path / "NaCl" / "results.json").write_text("{}")
    with pytest.raises(ConfigError, match="belong to no campaign"):
        CampaignFolder(tmp_path, OPTIONS)


def test_half_written_parts_go_but_those_of_a_run_at_work_stay(tmp_path: Path) -> None:
    with CampaignFolder(tmp_path, OPTIONS) as first:
        assert first.alone
        part = tmp_path / ".part-ZnO-1"
        part.mkdir()
        with CampaignFolder(tmp_path, OPTIONS) as second:
            assert not second.alone
            assert part.is_dir()
    with CampaignFolder(tmp_path, OPTIONS) as third:
        assert third.alone
        assert not part.exists()


def test_what_stands_in_the_way_is_named_and_left(tmp_path: Path) -> None:
    with CampaignFolder(tmp_path, OPTIONS) as folder:
        (tmp_path / "NaCl").write_text("a file of the user's")
        with pytest.raises(LcomsError, match="cannot be written"):
            folder.keep("NaCl", FILES, 1.0)
        assert (tmp_path / "NaCl").read_text() == "a file of the user's"
    assert not list(tmp_path.glob(".part-*"))


def test_formulas_that_differ_by_case_have_folders_that_do_not(tmp_path: Path) -> None:
    with CampaignFolder(tmp_path, OPTIONS) as folder:
        folder.keep("Co", {"results.json": '{"formula": "Co"}'}, 1.0)
        assert not folder.is_done("CO")
        folder.keep("CO", {"results.json": '{"formula": "CO"}'}, 1.0)
        assert folder.is_done("CO")
        assert folder.is_done("Co")
    names = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert len({name.casefold() for name in names}) == 2


def test_a_result_of_another_formula_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    (tmp_path / "NaCl").mkdir()
    with CampaignFolder(tmp_path, OPTIONS) as folder:
        (tmp_path / "NaCl" / "results.json").write_text('{"formula": "NaBr"}')
        with pytest.raises(ConfigError, match="the result of NaBr, not of NaCl"):
            folder.is_done("NaCl")
        with pytest.raises(ConfigError, match="the result of NaBr, not of NaCl"):
            folder.keep("NaCl", FILES, 1.0)
        (tmp_path / "NaCl" / "results.json").write_text('{"formula": "ClNa"}')  # as chemists of another school write it
        assert folder.is_done("NaCl")


def test_another_version_is_said_once_and_kept(tmp_path: Path) -> None:
    for versions, said in (
        (("lcoms 1", "chgnet 2"), ""),
        (("lcoms 1", "chgnet 2"), ""),
        (("lcoms 1", "chgnet 3"), "started with chgnet 2 and goes on with chgnet 3"),
        (("lcoms 1", "chgnet 3"), ""),
        (("lcoms 4", "chgnet 3"), "started with lcoms 1 and goes on with lcoms 4"),
    ):
        with CampaignFolder(tmp_path, OPTIONS, versions) as folder:
            assert said in folder.changed
            assert bool(folder.changed) == bool(said)


def test_a_line_of_other_kinds_of_values_is_passed_over(tmp_path: Path) -> None:
    good = {"formula": "NaCl", "status": "done", "reason": "", "seconds": 1.5}
    changes = ({}, {"seconds": []}, {"seconds": "x"}, {"formula": []}, {"reason": None}, {"status": {}}, {"more": 1})
    rows = [good | {"formula": f"Na{i + 2}Cl"} | change for i, change in enumerate(changes)]
    (tmp_path / JOURNAL).write_text("\n".join(["[", "[]", *map(json.dumps, rows)]))
    assert list(read_journal(tmp_path)) == ["Na2Cl"]
