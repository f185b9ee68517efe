"""The table in the terminal: what readers need, and sentences for what it cannot show."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from math import nan

import numpy as np
from rich.console import Console
from tiny import caesium_chloride, decoded_of, decoded_set, proposal_of, relaxed_of, rock_salt, wurtzite

from lcoms.oracles.hull import HullPlace, Part
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate, Known
from lcoms.prediction.table import sentences, table
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import from_ase, to_ase

SALT = (11, 17)
TEMPLATE = proposal_of("mp-1", "KCl", 1.0, space_group=225, wyckoff_sequence=0, prototype_probability=0.43)
ALONE = (Part(rock_salt().composition, 1.0, "mp-1"),)


def prediction(*candidates: Candidate, relaxed: bool = False) -> Prediction:
    spec = PredictionSpec() if relaxed else PredictionSpec(relaxation=None)
    return Prediction(candidates[0].crystal.composition.reduced, candidates, decoded_set(), spec, "0123abcd")


def shown(made: Prediction, width: int = 100) -> list[str]:
    console = Console(width=width, record=True, file=StringIO())
    console.print(table(made, width))
    return console.export_text().splitlines()


def rows(made: Prediction) -> list[list[str]]:
    return [line.split() for line in shown(made) if line.split()[:1] and line.split()[0].isdecimal()]


def test_candidates_that_were_not_relaxed_show_the_surrogate_and_where_they_come_from() -> None:
    made = prediction(
        Candidate.of_decoded(decoded_of(rock_salt(), energy_per_atom=-1.2345, proposal=TEMPLATE, n_found=7)),
        Candidate.of_decoded(decoded_of(caesium_chloride(3.4, SALT))),
        Candidate.of_decoded(decoded_of(wurtzite(numbers=SALT), proposal=proposal_of("prior"))),
    )
    assert shown(made)[0].strip() == "NaCl"
    first, _, last = rows(made)
    assert first == ["1", "-1.234", "0.000", "Fm-3m", "(225)", "5.64", "5.64", "5.64", "2.82", "43%", "KCl"]
    assert last[3:5] == ["P6_3mc", "(186)"]
    assert last[-1] == "prior"


def test_relaxed_candidates_show_the_energies_that_decide() -> None:
    salt, caesium = decoded_of(rock_salt(), proposal=TEMPLATE), decoded_of(caesium_chloride(3.4, SALT))
    made = prediction(
        Candidate.of_relaxed(relaxed_of(salt, -3.4, formation_energy=-2.0), -3.4, 0.0),
        Candidate.of_relaxed(relaxed_of(caesium, -3.3), -3.3, 0.1),
        replace(Candidate.of_decoded(caesium), relaxed=relaxed_of(caesium, nan, status="exploded")),
        Candidate.of_decoded(caesium),
        relaxed=True,
    )
    found = rows(made)
    assert found[0] == ["1", "-2.000", "0.000", "0.000", "Fm-3m", "(225)", "5.64", "5.64", "5.64", "43%", "-1.000"]
    assert found[1][:3] == ["2", "-3.300*", "0.100"]  # a total energy: an element has no reference
    assert found[2][:5] == ["3", "-", "-", "-", "Pm-3m"]  # a score before relaxation cannot be compared
    assert found[3][:5] == ["4", "-", "-", "-", "Pm-3m"]
    headings = [str(column.header) for column in table(made, 100).columns]
    judged = replace(
        made,
        candidates=(
            replace(made.candidates[0], hull=HullPlace(0.02, ALONE, 0.03)),
            *made.candidates[1:],
        ),
    )
    assert [column.header for column in table(judged, 100).columns] == [*headings[:3], "hull", *headings[3:]]
    assert [row[3] for row in rows(judged)] == ["0.020", "-", "-", "-"]


def test_hulls_have_the_digits_of_their_spread_and_zeros_no_sign() -> None:
    made = prediction(
        Candidate.of_relaxed(relaxed_of(decoded_of(rock_salt()), -3.4, formation_energy=-0.0001), -3.4, 0.0),
        relaxed=True,
    )
    judged = replace(made.candidates[0], hull=HullPlace(-0.0002, ALONE, 0.018))
    (first,) = rows(replace(made, candidates=(judged,)))
    assert first[1] == "0.000"
    assert first[3:6] == ["0.000", "±", "0.018"]


def test_known_crystals_that_were_not_relaxed_are_counted() -> None:
    made = prediction(Candidate.of_decoded(decoded_of(rock_salt())))
    for n, text in ((1, "1 more known crystal was not"), (3, "3 more known crystals were not")):
        (said,) = sentences(replace(made, decoded=replace(made.decoded, known_passed_over=n)))
        assert said.startswith(text)
    for n, text in (
        (1, "1 known crystal of this formula has another number of formula units and was not tried."),
        (2, "2 known crystals of this formula have another number of formula units and were not tried."),
    ):
        assert sentences(replace(made, decoded=replace(made.decoded, known_of_other_sizes=n))) == [text]


def test_every_known_crystal_among_the_candidates_is_named() -> None:
    one = Candidate.of_decoded(decoded_of(rock_salt()))
    made = prediction(*(replace(one, known=Known(f"mp-{rank}", None, 0.0)) for rank in range(1, 6)))
    said = [sentence for sentence in sentences(made) if "known crystal" in sentence]
    assert said[0] == "Rank 1 is the known crystal mp-1."
    assert said[3:] == ["2 more are known crystals: rank 4 (mp-4), rank 5 (mp-5)."]


def test_a_narrow_terminal_loses_the_least_important_columns_first() -> None:
    made = prediction(Candidate.of_decoded(decoded_of(rock_salt(), proposal=TEMPLATE)))
    wide, narrow = ([str(column.header) for column in table(made, width).columns] for width in (120, 60))
    assert set(narrow) < set(wide)
    assert "space group" in narrow
    assert "closest" not in narrow
    assert max(map(len, shown(made, 60))) <= 60


def test_cells_show_the_angles_that_their_system_leaves_free() -> None:
    frac = np.array([[0.0, 0, 0], [0.31, 0.22, 0.43], [0.62, 0.57, 0.14]])
    lattice = np.array([[4.1, 0, 0], [0.7, 4.9, 0], [0.5, 0.9, 5.6]])
    triclinic = Candidate.of_decoded(decoded_of(Crystal(lattice, frac, np.array([3, 14, 8]))))
    (line,) = (line for line in shown(prediction(triclinic), 120) if line.strip().startswith("1 "))
    assert len(line.partition(" / ")[2].split()) >= 3
    cubic = Candidate.of_decoded(decoded_of(rock_salt()))
    assert " / " not in "".join(shown(prediction(cubic)))


def test_sentences_say_what_failed_and_how_sure_the_answer_is() -> None:
    made = prediction(Candidate.of_decoded(decoded_of(rock_salt())), relaxed=True)
    none = "No probability is stated: it has not been calibrated for these options and energy models."
    assert sentences(made) == [none]
    sure = (replace(made.candidates[0], probability=0.834),)
    assert sentences(replace(made, failures=("candidate 2: exploded",), candidates=sure)) == [
        "Not ranked: candidate 2: exploded",
        "Rank 1 is the known ground state with a probability of 83%.",
    ]
    nearly = replace(made, candidates=(replace(made.candidates[0], probability=0.9978),))
    assert sentences(nearly) == ["Rank 1 is the known ground state with a probability of more than 99%."]
    assert ">99%" in "".join(shown(nearly))
    assert sentences(prediction(Candidate.of_decoded(decoded_of(rock_salt())))) == []


def test_a_probability_for_a_larger_cell_than_those_of_the_calibration_is_said_to_be_uncertain() -> None:
    said = []
    for n in (5, 6):  # 20 and 24 atoms
        cell = from_ase(to_ase(caesium_chloride()).repeat((2, 1, n)))
        large = replace(Candidate.of_decoded(decoded_of(cell)), probability=0.9)
        said.append(sentences(replace(prediction(large, relaxed=True), calibrated_atoms=20)))
    assert said[0] == ["Rank 1 is the known ground state with a probability of 90%."]
    assert said[1][1:] == ["This is uncertain: it was calibrated on cells of up to 20 atoms."]


def test_it_is_said_which_candidates_have_no_energy_and_why() -> None:
    first = Candidate.of_relaxed(relaxed_of(decoded_of(rock_salt()), -3.4), -3.4, 0.0)
    unrelaxed = Candidate.of_decoded(decoded_of(rock_salt()))
    relax_more = "{} not relaxed; raise --n-relax to relax more."
    assert relax_more.format("1 candidate was") in sentences(prediction(first, unrelaxed, relaxed=True))
    assert relax_more.format("2 candidates were") in sentences(prediction(first, unrelaxed, unrelaxed, relaxed=True))
    assert not any("not relaxed" in sentence for sentence in sentences(prediction(first, relaxed=True)))


def test_it_is_said_where_the_first_candidate_lies_above_the_hull() -> None:
    made = prediction(Candidate.of_relaxed(relaxed_of(decoded_of(rock_salt()), -3.4), -3.4, 0.0), relaxed=True)
    elements = tuple(Part(Composition((z,), (1,)), 0.5) for z in (11, 17))

    def said(place: HullPlace) -> str:
        judged = replace(made, candidates=(replace(made.candidates[0], hull=place),))
        return next(sentence for sentence in sentences(judged) if "the hull" in sentence)

    assert said(HullPlace(0.02, ALONE)).endswith("0.020 eV/atom above the hull of known phases: NaCl (mp-1).")
    assert (
        said(HullPlace(-0.001, ALONE)) == "Rank 1 lies on the hull of known phases, within 0.001 eV/atom: NaCl (mp-1)."
    )
    below = (
        "below the hull of known phases: 0.50 Na + 0.50 Cl (shares of the atoms). "
        "None of them has this composition and an energy as low."
    )
    assert said(HullPlace(-1.25, elements)) == f"Rank 1 lies 1.250 eV/atom {below}"
    assert said(HullPlace(0.02, ALONE, phases="the phases in my.csv")) == (
        "Rank 1 lies 0.020 eV/atom above the hull of the phases in my.csv: NaCl (mp-1)."
    )


def test_a_known_crystal_that_is_the_phase_on_the_hull_is_not_said_to_lie_below_itself() -> None:
    first = Candidate.of_relaxed(relaxed_of(decoded_of(rock_salt()), -3.4), -3.4, 0.0)
    place, made = HullPlace(-0.006, ALONE), prediction(first, relaxed=True)
    of_itself = "on the hull of known phases, of which it is one: NaCl (mp-1)"
    for known, text in (("mp-1", of_itself), ("mp-2", "0.006 eV/atom below")):
        judged = replace(first, hull=place, known=Known(known, 0.0, 0.0))
        (said,) = (one for one in sentences(replace(made, candidates=(judged,))) if "hull of known" in one)
        assert text in said
