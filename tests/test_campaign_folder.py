"""The folder of a campaign: whole or not there, once, and only for one set of options."""

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
    CampaignFolder(tmp_path, OPTIONS).__exit__(None, None, None)
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
    with pytest.raises(ConfigError, match="of no campaign"):
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
