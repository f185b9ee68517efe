"""The stages of a prediction: the record of proposals in each crystal."""

from __future__ import annotations

from math import nan

import pytest
from tiny import decoded_of, proposal_of, relaxed_of, rock_salt

from lcoms.prediction.stages import Candidate


def test_a_random_symmetric_crystal_that_a_descent_also_led_to_tells_of_the_descent() -> None:
    random = decoded_of(rock_salt(), latent_distance=0.0, n_found=0, descent_energies=(-1.0,))
    decoded = decoded_of(rock_salt(), latent_distance=0.7, n_found=2, descent_energies=(-1.0, -1.1))
    for both in (random.with_others(decoded), decoded.with_others(random)):
        assert (both.n_found, both.latent_distance, both.descent_energies) == (2, 0.7, (-1.0, -1.1))
        assert len(both.others) == 1


def test_templates_of_one_structure_have_its_probability_once() -> None:
    def template(name: str, probability: float, sequence: int) -> object:
        known = {"space_group": 225, "wyckoff_sequence": sequence, "prototype_probability": probability}
        return proposal_of(name, "KCl", 1.0, **known)

    crystal = decoded_of(rock_salt(), proposal=template("a", 0.4, 0))
    for other in (template("b", 0.4, 0), template("c", 0.1, 1), proposal_of("prior")):
        crystal = crystal.with_others(decoded_of(rock_salt(), proposal=other))
    assert crystal.prototype_probability == pytest.approx(0.5)
    assert crystal.n_found == 4
    assert decoded_of(rock_salt()).prototype_probability == 0


def test_the_chemically_nearest_proposal_is_shown() -> None:
    crystal = decoded_of(rock_salt(), proposal=proposal_of("prior"))
    for name, distance in (("far", 9.0), ("near", 2.0)):
        crystal = crystal.with_others(decoded_of(rock_salt(), proposal=proposal_of(name, "KCl", distance)))
    shown = crystal.nearest_proposal_first()
    assert [proposal.source for proposal in (shown.proposal, *shown.others)] == ["near", "far", "prior"]


def test_a_candidate_is_relaxed_where_it_has_an_energy() -> None:
    decoded = decoded_of(rock_salt(), n_found=3)
    plain = Candidate.of_decoded(decoded)
    good, failed = (Candidate.of_relaxed(relaxed_of(decoded, energy), energy, 0.0) for energy in (-3.4, nan))
    assert [candidate.is_relaxed for candidate in (plain, good, failed)] == [False, True, False]
    assert (good.proposal, good.n_found) == (decoded.proposal, 3)
    assert decoded.start_energy == decoded.descent_energies[0]
