"""Campaigns: every formula gives exactly one row, and resumed runs leave the same files as undisturbed ones."""

from __future__ import annotations

import errno
import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from campaigns import FORMULAS, InlineWorkers, contents, plan_for, reference

from lcoms.campaign.folder import JOURNAL, CampaignFolder, FormulaStatus
from lcoms.campaign.plan import Answer, Plan, predict_one
from lcoms.campaign.run import Finished, run_campaign
from lcoms.campaign.summary import DAMAGED, NOT_RUN, summarise
from lcoms.core.errors import OracleError, WeightsError
from lcoms.core.pool import KILLED, WorkerDiedError


@pytest.fixture(scope="module")
def plan(tiny_weights: Path) -> Plan:
    return plan_for(tiny_weights)


@pytest.fixture(scope="module")
def undisturbed(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return reference(FORMULAS, plan, tmp_path_factory.mktemp("undisturbed"))


class StopError(Exception):
    """Stands for a kill."""


def test_a_stopped_campaign_goes_on_where_it_ended(plan: Plan, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    def stop_after(n: int):
        told: list[Finished] = []

        def tell(finished: Finished) -> None:
            told.append(finished)
            if sum(one.here for one in told) == n:
                raise StopError

        return tell

    asked: list[str] = []
    for _ in range(2):
        with CampaignFolder(tmp_path, plan.identity()) as folder, pytest.raises(StopError):
            run_campaign(FORMULAS, workers := InlineWorkers(plan), folder, progress=stop_after(2))
        asked += workers.asked
    assert len(contents(tmp_path)) < len(undisturbed)
    with CampaignFolder(tmp_path, plan.identity()) as folder:
        run_campaign(FORMULAS, InlineWorkers(plan), folder)
        run_campaign(FORMULAS, idle := InlineWorkers(plan), folder)
    assert idle.asked == []
    assert contents(tmp_path) == undisturbed
    lines = [json.loads(line)["formula"] for line in (tmp_path / JOURNAL).read_text().splitlines()]
    assert sorted(lines) == sorted(FORMULAS)


def test_a_failing_formula_is_a_row_and_tried_again_only_if_asked(plan: Plan, tmp_path: Path) -> None:
    formulas = ["AuCl", "NaCl"]
    with CampaignFolder(tmp_path, plan.identity()) as folder:
        told: list[Finished] = []
        run_campaign(formulas, InlineWorkers(plan), folder, progress=told.append)
        assert {one.formula: one.status for one in told} == {"AuCl": FormulaStatus.FAILED, "NaCl": FormulaStatus.DONE}
    with CampaignFolder(tmp_path, plan.identity()) as folder:
        run_campaign(formulas, idle := InlineWorkers(plan), folder)
        run_campaign(formulas, again := InlineWorkers(plan), folder, retry_failed=True)
    assert (idle.asked, again.asked) == ([], ["AuCl"])
    failed, done = summarise(tmp_path, dict.fromkeys(formulas, "")).to_pylist()
    assert failed["status"] == "failed"
    assert "no crystal with Au" in failed["reason"]
    assert done["status"] == "done"


def test_two_campaigns_in_one_folder_do_each_other_no_harm(
    plan: Plan, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """The second starts during the first and predicts everything that remains before the first continues."""
    others: list[Finished] = []

    def tell(_: Finished) -> None:
        if not others:
            with CampaignFolder(tmp_path, plan.identity()) as second:
                assert not second.alone
                run_campaign(FORMULAS, InlineWorkers(plan), second, progress=others.append)

    with CampaignFolder(tmp_path, plan.identity()) as first:
        assert first.alone
        run_campaign(FORMULAS, workers := InlineWorkers(plan), first, progress=tell)
    assert contents(tmp_path) == undisturbed
    assert len(workers.asked) <= 2  # those it had asked for before the second began
    assert sorted(one.formula for one in others) == sorted(FORMULAS)


class Mortal(InlineWorkers):
    """Workers of which every process that predicts ZnO is killed."""

    def submit(self, formula: str) -> Future[Answer]:
        if formula != "ZnO":
            return super().submit(formula)
        future: Future[Answer] = Future()
        future.set_exception(WorkerDiedError(KILLED))
        return future


def test_a_formula_whose_process_was_killed_is_tried_again_by_the_next_run(
    plan: Plan, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    with CampaignFolder(tmp_path, plan.identity()) as folder:
        run_campaign(FORMULAS, Mortal(plan), folder)
    assert {row["formula"]: row["status"] for row in summarise(tmp_path, dict.fromkeys(FORMULAS, "")).to_pylist()} == {
        name: "died" if name == "ZnO" else "done" for name in FORMULAS
    }
    with CampaignFolder(tmp_path, plan.identity()) as folder:
        run_campaign(FORMULAS, workers := InlineWorkers(plan), folder)
    assert workers.asked == ["ZnO"]
    assert contents(tmp_path) == undisturbed


def test_what_no_formula_can_do_without_ends_the_campaign(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="other weights"):
        predict_one("NaCl", replace(plan, digest="0" * 16))
    nowhere = plan_for(plan.weights or tmp_path, oracle="no_such_package_here:Oracle")
    with CampaignFolder(tmp_path, nowhere.identity()) as folder, pytest.raises(OracleError, match="not installed"):
        run_campaign(["NaCl"], InlineWorkers(nowhere), folder)
    assert not (tmp_path / JOURNAL).exists()


def test_the_summary_holds_the_energies_of_relaxed_candidates(tiny_weights: Path, tmp_path: Path) -> None:
    plan = plan_for(tiny_weights, oracle="analytic")
    files = reference(["NaCl"], plan, tmp_path)
    (row,) = summarise(tmp_path, {"NaCl": ""}).to_pylist()
    relaxation = json.loads(files["NaCl/results.json"])["candidates"][0]["relaxation"]
    assert row["total_energy_per_atom"] == relaxation["total_energy_per_atom"] is not None
    assert row["formation_energy_per_atom"] is None  # the closed form has no reference elements


def test_a_defect_in_one_formula_is_a_row(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero\nat length")

    monkeypatch.setattr("lcoms.prediction.pipeline.Predictor.predict", broken)
    assert predict_one("NaCl", plan)[:2] == ({}, "ZeroDivisionError: by zero")


def test_the_summary_says_what_is_there(plan: Plan, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    reference(["NaCl", "ZnO"], plan, tmp_path)
    (tmp_path / "ZnO" / "results.json").write_text('{"candidates": [')
    (tmp_path / JOURNAL).unlink()
    salt, damaged, missing, bad = summarise(
        tmp_path, {"NaCl": "", "ZnO": "", "CsCl": "", "Nacl": "'Nacl' cannot be read."}
    ).to_pylist()
    first = json.loads(undisturbed["NaCl/results.json"])["candidates"][0]
    for name in ("space_group", "space_group_symbol", "energy_per_atom"):
        assert salt[name] == first[name]
    assert (salt["probability"], salt["total_energy_per_atom"], salt["formation_energy_per_atom"]) == (None,) * 3
    assert (tmp_path / salt["path"]).is_file()
    assert salt["seconds"] is None  # only the journal knew them
    assert (damaged["status"], missing["status"], bad["status"]) == (DAMAGED, NOT_RUN, "failed")
    assert "delete the folder ZnO" in damaged["reason"]


@pytest.mark.parametrize(
    "want",
    [
        MemoryError("no room for an array"),
        OSError(errno.ENOSPC, "no space left"),
        OSError(errno.EMFILE, "too many open files"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        BlockingIOError(errno.EAGAIN, "no process for you"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_machine_lacked_is_tried_again(
    want: Exception, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise want

    with monkeypatch.context() as patch, CampaignFolder(tmp_path, plan.identity()) as folder:
        patch.setattr("lcoms.campaign.plan.Predictor.predict", lacking)
        run_campaign(["NaCl"], InlineWorkers(plan), folder)
    [row] = summarise(tmp_path, {"NaCl": ""}).to_pylist()
    assert row["status"] == "stopped"
    with CampaignFolder(tmp_path, plan.identity()) as folder:
        run_campaign(["NaCl"], workers := InlineWorkers(plan), folder)
    assert workers.asked == ["NaCl"]
    assert summarise(tmp_path, {"NaCl": ""}).to_pylist()[0]["status"] == "done"
