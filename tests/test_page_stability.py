"""The page shows decomposition and dynamical stability of a candidate; its CIFs are the written ones."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from page_cases import fitted, salt, titanate
from tiny import rock_salt

from lcoms.oracles.hull import HullPlace, Part
from lcoms.page import page_html
from lcoms.page.facts import Fact
from lcoms.page.stability import stability_facts
from lcoms.phonons.harmonic import Phonons
from lcoms.phonons.modes import SoftMode
from lcoms.prediction.result import Prediction
from lcoms.prediction.stages import Candidate
from lcoms.prediction.table import sentences
from lcoms.structure.crystal import Composition

PARTS = (
    Part(Composition.from_formula("NaCl"), 0.75, "mp-22862"),
    Part(Composition.from_formula("Cl"), 0.25),
)
SOURCE = "https://next-gen.materialsproject.org/materials/"


def vibrations(**changes: object) -> Phonons:
    nothing = np.zeros(0)
    found = Phonons(
        rock_salt(), rock_salt(), nothing, (2, 2, 3), 2, 0.0, (), 1.234, nothing, nothing, 400.0, -0.0512, 0.0314,
        4.5e-4,
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def facts_of(**changes: object) -> tuple[Fact, ...]:
    return stability_facts(replace(salt().candidates[0], **changes))  # type: ignore[arg-type]


def on_hull(height: float) -> Candidate:
    return replace(salt().candidates[0], hull=HullPlace(height, PARTS[:1]))


def test_a_candidate_above_the_hull_decomposes_into_phases_with_their_sources() -> None:
    assert facts_of(hull=HullPlace(0.0251, PARTS, 0.031)) == (
        Fact("Energy above the hull", "0.025 ± 0.031 eV/atom"),
        Fact("Decomposes into", "NaCl (mp-22862), 75% of the atoms", f"{SOURCE}mp-22862"),
        Fact("Decomposes into", "Cl, 25% of the atoms"),
    )


def test_a_candidate_below_the_hull_has_competing_phases() -> None:
    assert facts_of(hull=HullPlace(0.0251, PARTS, phases="the phases in my.csv"))[0] == Fact(
        "Energy above the hull", "0.025 eV/atom, of the phases in my.csv"
    )
    below = facts_of(hull=HullPlace(-0.01, PARTS[:1]))
    assert [fact.name for fact in below] == ["Energy above the hull", "Competing phases"]
    assert below[0].text == "-0.010 eV/atom"


@pytest.mark.parametrize("height", [0.004, 0.0, -0.004])
def test_a_candidate_on_the_hull_within_the_error_does_not_decompose(height: float) -> None:
    found = facts_of(hull=HullPlace(height, PARTS[:1]))
    assert [fact.name for fact in found] == ["Energy above the hull", "Lies on the hull with"]
    (said,) = (one for one in sentences(salt(candidates=(on_hull(height),))) if "hull" in one)
    assert said.startswith("Rank 1 lies on the hull")


def test_a_stable_candidate_has_its_free_energy_and_entropy() -> None:
    assert facts_of(phonons=vibrations()) == (
        Fact("Dynamical stability", "stable"),
        Fact("Lowest phonon frequency", "1.23 THz"),
        Fact("Supercell of the phonons", "2 × 2 × 3 conventional cells"),
        Fact("Harmonic free energy at 400 K", "-0.051 eV/atom"),
        Fact("Zero-point energy", "0.031 eV/atom"),
        Fact("Vibrational entropy at 400 K", "0.450 meV/K/atom"),
    )


def test_an_unstable_candidate_has_its_soft_modes_and_no_free_energy() -> None:
    mode = SoftMode(-6.5, (0.0, 0.0, 0.0), "Γ", 3, "T1u", "Na along z", np.zeros(3), np.zeros((6, 3), dtype=complex))
    unstable = facts_of(phonons=vibrations(soft=(mode,), lowest=-6.5, free_energy=None, zero_point=None, entropy=None))
    assert unstable[:3] == (
        Fact("Dynamical stability", "unstable, 1 soft mode"),
        Fact("Soft mode", "6.5i THz at Γ, T1u: Na along z, 3 of them"),
        Fact("Lowest phonon frequency", "6.50i THz"),
    )
    assert len(unstable) == 4


def test_stability_stands_on_the_page_where_it_is_known() -> None:
    assert "<h3>Stability</h3>" not in page_html(salt())
    first, *rest = salt().candidates
    both = replace(first, hull=HullPlace(0.0251, PARTS), phonons=vibrations())
    page = page_html(salt(candidates=(both, *rest)))
    assert page.count("<h3>Stability</h3>") == 1
    for text in ("Energy above the hull", "NaCl (mp-22862), 75% of the atoms", "Dynamical stability"):
        assert text in page, text


@pytest.mark.parametrize("made", [salt(), titanate(), fitted()], ids=["relaxed", "not relaxed", "fitted"])
def test_the_page_offers_the_cifs_that_are_written(made: Prediction) -> None:
    files = made.files()
    drawings = json.loads(page_html(made).split('id="drawings">')[1].split("</script>")[0])
    for rank in range(1, len(made) + 1):
        name = f"rank-{rank:02d}.cif"
        assert drawings[f"{made.composition.reduced_formula}/{rank}"]["cif"] == files[name], name
    assert "_lcoms_rank" in files["rank-01.cif"]


def test_a_candidate_without_phases_and_phonons_has_no_facts() -> None:
    assert stability_facts(Candidate.of_decoded(salt().candidates[0].decoded)) == ()
