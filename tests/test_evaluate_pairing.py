"""Predictions are paired with known structures by shared ids, otherwise by formula; none twice, none unreported."""

from __future__ import annotations

from tiny import caesium_chloride, rock_salt, wurtzite, zinc_blende

from lcoms.evaluate.answers import Answer, Known
from lcoms.evaluate.pairing import pair
from lcoms.structure.crystal import Crystal


def known(name: str, crystal: Crystal, *, with_id: bool = True) -> Known:
    return Known(name, name if with_id else "", crystal)


def answer(name: str, crystal: Crystal | None, rank: int = 0, *, material_id: str = "", formula: str = "") -> Answer:
    return Answer(name, material_id, formula or (crystal.composition.reduced_formula if crystal else ""), rank, crystal)


ZNO = [known("w", wurtzite()), known("z", zinc_blende(4.6, (30, 8)))]


def names(case, place: int) -> list[str]:
    return [case.answers[i].name for i in case.own[place]]


def test_by_formula_every_answer_serves_all_structures_of_it_by_rank() -> None:
    answers = [answer("b", wurtzite(), 2), answer("a", wurtzite(), 1), answer("late", wurtzite()),
               answer("broken", None, 3, formula="ZnO"), answer("salt", rock_salt())]  # fmt: skip
    found = pair(answers, [*ZNO, known("s", rock_salt()), known("k", rock_salt(6.3, (19, 17)))])
    assert not found.by_id
    assert [case.formula for case in found.cases] == ["ZnO", "NaCl", "KCl"]
    zno, salt, missing = found.cases
    assert names(zno, 0) == names(zno, 1) == ["a", "b", "broken", "late"]
    assert len(zno.answers) == 4
    assert names(salt, 0) == ["salt"]
    assert missing.answers == () == missing.own[0]
    assert found.unknown == ()


def test_by_id_an_answer_serves_its_structure_only() -> None:
    answers = [
        answer("z1", wurtzite(), 1, material_id="z"),
        answer("w2", wurtzite(), 2, material_id="w"),
        answer("w1", wurtzite(), 1, material_id="w"),
        answer("elsewhere", wurtzite(), 1, material_id="mp-7"),
        answer("anonymous", wurtzite(), 3),
    ]
    found = pair(answers, ZNO)
    assert found.by_id
    (case,) = found.cases
    assert names(case, 0) == ["w1", "w2", "anonymous"]
    assert names(case, 1) == ["z1", "anonymous"]
    # The first of each structure come first: METRe takes as many answers as there are structures.
    assert [one.name for one in case.answers] == ["w1", "z1", "w2", "anonymous"]
    assert [one.name for one in found.unknown] == ["elsewhere"]


def test_ids_that_no_structure_has_do_not_hinder_formulas() -> None:
    found = pair([answer("p", rock_salt(), material_id="guess-1"), answer("q", caesium_chloride())],
                 [known("row-0", rock_salt(), with_id=False)])  # fmt: skip
    assert not found.by_id
    assert names(found.cases[0], 0) == ["p"]
    assert [one.name for one in found.unknown] == ["q"]


def test_folders_named_by_formula_serve_structures_named_by_id() -> None:
    answers = [answer("1", rock_salt(), 1, material_id="NaCl"), answer("2", wurtzite(), 1, material_id="w")]
    found = pair(answers, [*ZNO, known("mp-22862", rock_salt())])
    assert found.by_id
    assert names(found.cases[1], 0) == ["1"]
    assert names(found.cases[0], 1) == []
