"""Campaigns small enough for tests, and workers without processes."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from lcoms.campaign.folder import CampaignFolder
from lcoms.campaign.plan import Answer, Plan, predict_one
from lcoms.campaign.workers import Workers
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec

FORMULAS = ["NaCl", "ZnO", "CsCl", "SrTiO3", "ZnS", "CsZnO"]


class InlineWorkers(Workers):
    """Workers that predict immediately, in this process; `asked` are the formulas in order."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.asked = plan, list[str]()

    def submit(self, formula: str) -> Future[Answer]:
        self.asked.append(formula)
        future: Future[Answer] = Future()
        try:
            future.set_result(predict_one(formula, self.plan))
        except Exception as error:
            future.set_exception(error)
        return future

    def size(self) -> int:
        return 1

    def close(self) -> None:
        pass


def plan_for(weights: Path, *, oracle: str | None = None, starts: int = 2) -> Plan:
    """Return a plan with few starts and, with an oracle, one relaxation."""
    relaxation = None if oracle is None else RelaxationSpec(oracle=oracle, n_relax=1)
    spec = PredictionSpec(2, SearchSpec(n_starts=starts, steps=1), relaxation)
    return Plan(spec, weights, WeightBundle.load(weights).digest)


def contents(out: Path) -> dict[str, bytes]:
    """Return the content of every file of every formula."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("*/*"))}


def reference(formulas: list[str], plan: Plan, out: Path) -> dict[str, bytes]:
    """Return the files of an undisturbed campaign."""
    from lcoms.campaign.run import run_campaign

    with CampaignFolder(out, plan.identity()) as folder:
        run_campaign(formulas, InlineWorkers(plan), folder)
    return contents(out)
