"""Assignment of predictions to known structures.

If the two sides share ids, assignment is by id: a prediction with an id then answers for that structure only. Otherwise
it is by reduced formula: a prediction answers for every known structure of its formula. The order is that of the ranks,
then that of reading; a metric @k uses the first k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lcoms.core.errors import FormulaError
from lcoms.evaluate.answers import Answer, Known
from lcoms.structure.crystal import Composition


@dataclass(frozen=True, eq=False)
class Case:
    """Known structures of one reduced formula, and the predictions for them.

    Attributes:
        answers: all predictions, each once, by rank.
        own: for each known structure, the indices in `answers` of those that answer for it, best rank first.
    """

    formula: str
    known: tuple[Known, ...]
    answers: tuple[Answer, ...]
    own: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Pairing:
    """All cases, in the order of the known structures, and the predictions that belong to none."""

    cases: tuple[Case, ...]
    unknown: tuple[Answer, ...]
    by_id: bool


def pair(answers: Sequence[Answer], known: Sequence[Known]) -> Pairing:
    """Assign each prediction to the known structures that it answers for."""
    ids: dict[str, list[int]] = {}
    formulas: dict[str, list[int]] = {}
    for place, one in enumerate(known):
        if one.material_id:
            ids.setdefault(one.material_id, []).append(place)
        formulas.setdefault(one.formula, []).append(place)
    by_id = any(answer.material_id in ids for answer in answers)
    own: list[list[Answer]] = [[] for _ in known]
    unknown = []
    for answer in sorted(answers, key=_rank):  # the sort is stable: equal ranks stay in the order of reading
        if answer.material_id in ids:
            places = ids[answer.material_id]
        elif by_id and answer.material_id and not _is_formula(answer.material_id):
            places = []
        else:
            places = formulas.get(answer.formula, [])
        for place in places:
            own[place].append(answer)
        if not places:
            unknown.append(answer)
    cases = tuple(
        _case(formula, [known[i] for i in rows], [own[i] for i in rows]) for formula, rows in formulas.items()
    )
    return Pairing(cases, tuple(unknown), by_id)


def _case(formula: str, known: list[Known], own: list[list[Answer]]) -> Case:
    """Return a case with the answers of all its structures: the first of each, then the second of each, and so on."""
    places: dict[int, int] = {}
    answers: list[Answer] = []
    for turn in range(max(map(len, own))):
        for mine in own:
            if turn < len(mine) and id(mine[turn]) not in places:
                places[id(mine[turn])] = len(answers)
                answers.append(mine[turn])
    return Case(formula, tuple(known), tuple(answers), tuple(tuple(places[id(a)] for a in mine) for mine in own))


def _rank(answer: Answer) -> float:
    return float(answer.rank or "inf")


def _is_formula(text: str) -> bool:
    try:
        return bool(Composition.from_formula(text))
    except FormulaError:
        return False
