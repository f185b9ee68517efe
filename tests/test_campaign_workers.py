"""Killed workers: nothing is lost and nothing is done twice."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from campaigns import FORMULAS, contents, plan_for, reference

from lcoms.campaign.folder import JOURNAL, CampaignFolder, read_journal
from lcoms.campaign.run import Finished, run_campaign
from lcoms.campaign.summary import summarise
from lcoms.campaign.workers import DaskWorkers, LocalWorkers
from lcoms.core.errors import ConfigError


def test_a_local_worker_that_is_killed_is_replaced_and_its_formula_tried_again_once(
    tiny_weights: Path, tmp_path: Path
) -> None:
    """Zinc kills the process that predicts it; sodium chloride is predicted by the next process."""
    plan = plan_for(tiny_weights, oracle="toy_oracles:KilledByZinc")
    with CampaignFolder(tmp_path, plan.identity()) as folder, LocalWorkers(plan, processes=1) as workers:
        run_campaign(["ZnO", "NaCl"], workers, folder)
        alive = workers.pids
    assert len(alive) == 1
    for pid in alive:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    statuses = {row["formula"]: row["status"] for row in summarise(tmp_path, {"ZnO": "", "NaCl": ""}).to_pylist()}
    assert statuses == {"ZnO": "died", "NaCl": "done"}
    assert "killed 2 times" in read_journal(tmp_path)["ZnO"].reason


def test_no_processes_are_no_workers(tiny_weights: Path) -> None:
    with pytest.raises(ConfigError, match="at least one process"):
        LocalWorkers(plan_for(tiny_weights), processes=0)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Scheduler with two worker processes that are replaced when killed."""
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    settings = {"distributed.scheduler.allowed-failures": 20, "distributed.worker.daemon": True}
    with dask.config.set(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as made:
            yield made


def killed_while(cluster: Any, kills: int, weights: Path, out: Path, seed: int) -> dict[str, bytes]:
    """Return the files of a campaign whose workers are killed one after another at random times."""
    rng = np.random.default_rng(seed)
    plan, done = plan_for(weights), 0
    with CampaignFolder(out, plan.identity()) as folder, DaskWorkers(plan, cluster.scheduler_address) as workers:

        def tell(_: Finished) -> None:
            nonlocal done
            pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid is not None]
            if done < kills and pids:
                time.sleep(float(rng.uniform(0, 0.3)))
                with suppress(ProcessLookupError):  # gone of an earlier kill, and its nanny does not know yet
                    os.kill(int(rng.choice(pids)), signal.SIGKILL)
                    done += 1

        run_campaign(FORMULAS, workers, folder, progress=tell)
    assert max(1, kills - 1) <= done <= kills
    formulas = [line for line in (out / JOURNAL).read_text().splitlines() if '"done"' in line]
    assert len(formulas) == len(FORMULAS)
    return contents(out)


def test_a_dask_worker_killed_during_the_run_costs_nothing(cluster: Any, tiny_weights: Path, tmp_path: Path) -> None:
    expected = reference(FORMULAS, plan_for(tiny_weights), tmp_path / "undisturbed")
    assert killed_while(cluster, 1, tiny_weights, tmp_path / "killed", 0) == expected


@pytest.mark.slow
def test_dask_workers_killed_again_and_again_cost_nothing(cluster: Any, tiny_weights: Path, tmp_path: Path) -> None:
    expected = reference(FORMULAS, plan_for(tiny_weights), tmp_path / "undisturbed")
    for seed in range(4):
        assert killed_while(cluster, 5, tiny_weights, tmp_path / str(seed), seed) == expected


def test_no_scheduler_is_one_sentence(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("lcoms.campaign.workers.CONNECT_SECONDS", 1)
    for wrong in ("tcp://127.0.0.1:1", "nowhere", "ftp://x"):
        with pytest.raises(ConfigError, match="no Dask scheduler answers"):
            DaskWorkers(plan_for(tiny_weights), wrong)
