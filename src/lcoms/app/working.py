"""The work of one run: predict the compound and the phases of its hull, and write the report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Thread

from lcoms.app.desk import Tell, Work
from lcoms.page import page_html
from lcoms.page.bonds import load_finder
from lcoms.prediction.hulls import predicted_hull
from lcoms.prediction.overlap import training_overlap
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.progress import Progress
from lcoms.prediction.rank import with_hull
from lcoms.prediction.reach import doubts
from lcoms.prediction.result import Prediction, require_candidates
from lcoms.prediction.spec import ConstraintSpec, PhononSpec
from lcoms.structure.crystal import Composition

STAGES = {"searching": (0.05, 0.3), "relaxing": (0.3, 1.0)}  # start and end of each, as fractions of a prediction
WRITING = 0.95  # fraction of a run after which the page is written


@dataclass(frozen=True)
class Order:
    """A requested prediction.

    Attributes:
        phases: further compositions for a hull; empty for no hull.
    """

    composition: Composition
    predictor: Predictor
    phases: tuple[Composition, ...] = ()

    def predictor_of(self, composition: Composition) -> Predictor:
        """Return the predictor of a composition; constraints and phonons apply to the compound, not to further ones."""
        if composition == self.composition:
            return self.predictor
        spec = self.predictor.spec
        search = replace(spec.search, formula_units=None)
        free = replace(spec, search=search, constraints=ConstraintSpec(), phonons=PhononSpec())
        return Predictor(self.predictor.bundle, free, processes=self.predictor.processes)


def doubts_of(order: Order) -> list[str]:
    """Return sentences on why the predictions of a compound and its further phases are doubtful."""
    models = order.predictor.energy_models
    every = (order.composition, *order.phases)
    return [f"{one.reduced_formula}: {doubt}" for one in every for doubt in doubts(models, one)]


def work_for(order: Order) -> Work:
    """Return the work of a run."""

    def work(tell: Tell) -> str:
        Thread(target=load_finder, daemon=True).start()  # takes seconds; runs during the search
        every = (order.composition, *order.phases)
        found = [_predicted(order, number, len(every), tell) for number in range(len(every))]
        prediction = require_candidates(found[0])
        tell("writing the page", WRITING)
        if order.phases:
            hull = predicted_hull(found, order.predictor.spec)
            prediction = replace(prediction, candidates=with_hull(prediction.candidates, hull))
        crystals = [candidate.crystal for candidate in prediction.candidates]
        overlap = training_overlap(order.composition, crystals, order.predictor.bundle)
        return page_html(prediction, overlap, home="/")

    return work


def _predicted(order: Order, number: int, n: int, tell: Tell) -> Prediction:
    """Return one of the predictions of a run, with its progress reported as a fraction of the whole run."""
    composition = (order.composition, *order.phases)[number]
    name = f"{composition.reduced_formula}, " if n > 1 else ""

    def told(progress: Progress) -> None:
        tell(f"{name}{progress}", WRITING * (number + _share(progress)) / n)

    return order.predictor_of(composition).predict(composition, progress=told)


def _share(progress: Progress) -> float:
    """Return the fraction of one prediction that is done."""
    begin, end = STAGES.get(progress.stage, (1.0, 1.0))
    return begin + (end - begin) * (progress.done / progress.total if progress.total else 0.0)
