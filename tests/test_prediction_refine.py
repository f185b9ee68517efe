"""Relaxations: which can be ranked, why others cannot, and crystals that end close to a more symmetric one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan

import pytest
from tiny import caesium_chloride, decoded_of, nickel_arsenide, proposal_of, rock_salt, shaken, zinc_blende

from lcoms.prediction.refine import FurtherEnergies, RelaxedSet, collect, more_symmetric, with_further
from lcoms.prediction.stages import Decoded
from lcoms.relax.result import RelaxResult, Status, Trajectory
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import EXACT_SYMPREC, space_group_number

SALT = (11, 17)


def result(crystal: Crystal, energy: float, status: Status = Status.CONVERGED) -> RelaxResult:
    return RelaxResult(crystal, energy, status, 7, 0.05)


def formation(_: Composition, energy: float) -> float | None:
    return energy + 3.0


def run(
    chosen: Sequence[Decoded], results: Sequence[RelaxResult], committee: FurtherEnergies | None = None
) -> RelaxedSet:
    return collect(chosen, results, formation, committee)


def groups(found: RelaxedSet) -> list[int]:
    return [one.space_group for one in found.usable]


def test_energies_are_given_by_the_atom_and_against_the_elements() -> None:
    salt = decoded_of(rock_salt())
    found = run([salt], [result(rock_salt(), -6.8)])
    (one,) = found.usable
    assert (one.energy_per_atom, one.formation_energy) == (pytest.approx(-3.4), pytest.approx(-0.4))
    assert (one.status, one.n_steps, one.decoded) == ("converged", 7, salt)
    assert (found.chosen, found.failed, found.failures) == ((salt,), (), ())
    assert (found.n_relaxations, found.n_oracle_calls) == (1, 8)


def test_a_crystal_relaxed_further_takes_the_place_of_its_first_relaxation() -> None:
    salt, caesium = decoded_of(rock_salt()), decoded_of(caesium_chloride(3.4, SALT))
    way = replace(result(rock_salt(), -6.8), trajectory=Trajectory((-6.6, -6.8)))
    found = run([salt, caesium], [way, result(caesium.crystal, -6.7)], lambda some: [(-9.0,) for _ in some])
    first, second = (one.crystal for one in found.usable)
    longer = replace(result(rock_salt(5.6), -6.84), trajectory=Trajectory((-6.8, -6.84)))
    failed = result(second, nan, Status.EXPLODED)
    better = with_further(found, [(second, failed), (first, longer)], formation, lambda some: [(-10.0,) for _ in some])
    one, other = better.usable
    assert (one.decoded, one.n_steps, one.energies) == (salt, 14, pytest.approx((-3.3, -3.4, -3.42)))
    assert (one.energy_per_atom, one.further_energies) == (pytest.approx(-3.42), (-5.0,))
    assert one.crystal.lattice == pytest.approx(rock_salt(5.6).lattice)
    assert other is found.usable[1]
    assert (better.n_relaxations, better.n_oracle_calls) == (2, found.n_oracle_calls + 16)


def test_a_crystal_that_loses_its_symmetry_on_the_way_stays_as_it_was() -> None:
    found = run([decoded_of(rock_salt())], [result(rock_salt(), -6.8)])
    (one,) = found.usable
    distorted = rock_salt()
    distorted = Crystal(distorted.lattice * [[1.0], [1.0], [1.2]], distorted.frac_coords, distorted.atomic_numbers)
    assert with_further(found, [(one.crystal, result(distorted, -7.0))], formation).usable == (one,)


def test_a_crystal_that_becomes_another_one_of_the_same_symmetry_stays_as_it_was() -> None:
    layered = nickel_arsenide(3.9, 6.2, SALT)
    found = run([decoded_of(layered)], [result(layered, -6.8)])
    (one,) = found.usable
    for stretch, kept in ((1.6, True), (1.01, False)):
        lattice = one.crystal.lattice * [1.0, 1.0, stretch]
        further = Crystal(lattice, one.crystal.frac_coords, one.crystal.atomic_numbers)
        assert space_group_number(further) == space_group_number(one.crystal) == 194
        assert (with_further(found, [(one.crystal, result(further, -7.0))], formation).usable == (one,)) == kept


def test_random_symmetric_crystals_that_fail_are_gone() -> None:
    salt, caesium, blende = rock_salt(), caesium_chloride(3.4, SALT), zinc_blende(6.0, SALT)
    chosen = [decoded_of(caesium), decoded_of(salt, n_found=0), decoded_of(blende, n_found=0)]
    found = run(chosen, [result(caesium, -6.7), result(salt, -6.8), result(blende, nan, Status.EXPLODED)])
    assert groups(found) == [221, 225]
    assert (found.failed, found.failures) == ((), ())
    assert (found.n_relaxations, found.n_oracle_calls) == (3, 24)


def test_a_random_symmetric_crystal_far_below_all_others_is_distrusted() -> None:
    salt, caesium = decoded_of(rock_salt()), decoded_of(caesium_chloride(3.4, SALT))
    results = [result(caesium.crystal, -6.7), result(salt.crystal, -8.1)]
    chosen = [caesium, replace(salt, n_found=0)]
    found = run(chosen, results)
    assert groups(found) == [221]
    assert found.failures == (
        "a random symmetric crystal: 0.7 eV/atom below all others, an unphysical minimum of the energy model.",
    )
    assert len(run([caesium, salt], results).usable) == 2
    assert len(run(chosen, [results[0], result(salt.crystal, -7.6)]).usable) == 2


def test_energies_along_the_way_are_kept_by_the_atom() -> None:
    salt, caesium = rock_salt(), caesium_chloride(3.4, SALT)
    way = replace(result(salt, -6.8), trajectory=Trajectory((-6.0, -6.5, -6.8)))
    failed = replace(result(caesium, nan, Status.EXPLODED), trajectory=Trajectory((-6.0,)))
    found = run([decoded_of(salt), decoded_of(caesium)], [way, failed])
    assert [one.energies for one in (*found.usable, *found.failed)] == [(-3.0, -3.25, -3.4), (-3.0,)]


def test_a_relaxed_crystal_stands_on_its_symmetry_and_keeps_what_was_decoded() -> None:
    near = decoded_of(shaken(rock_salt(), 0.01), space_group=1)
    (one,) = run([near], [result(near.crystal, -6.8)]).usable
    assert (one.space_group, one.decoded) == (225, near)
    assert space_group_number(one.crystal, symprec=1e-5) == 225


def test_failures_are_said_with_space_group_and_source() -> None:
    salt, caesium, nickeline = rock_salt(), caesium_chloride(3.4, SALT), nickel_arsenide(3.9, 6.2, SALT)
    template = proposal_of("mp-22862", "KCl", 1.5)
    chosen = [decoded_of(caesium), decoded_of(nickeline), decoded_of(salt, proposal=template)]
    results = [
        result(caesium, nan, Status.EXPLODED),
        result(nickeline, -13.0),
        replace(result(salt, nan, Status.ORACLE_FAILED), reason="no memory"),
    ]
    found = run(chosen, results)
    assert groups(found) == [194]
    assert [one.decoded for one in found.failed] == [chosen[0], chosen[2]]
    assert found.failed[0].crystal is caesium
    assert not found.failed[0].usable
    assert found.failures == (
        f"a crystal in space group 221 from {chosen[0].proposal.source}: exploded",
        "a crystal in space group 225 from mp-22862: no memory",
    )


def test_unphysical_minima_of_the_energy_model_are_no_ground_states() -> None:
    chosen = [decoded_of(rock_salt()), decoded_of(caesium_chloride(3.4, SALT))]
    found = run(chosen, [result(rock_salt(), -6.8), result(caesium_chloride(3.4, SALT), -190.0)])
    assert groups(found) == [225]
    assert len(found.failures) == 1
    assert "-92.0 eV/atom" in found.failures[0]


def committee(*columns: Sequence[float]) -> FurtherEnergies:
    """Return further models with the given energies per atom of each crystal."""

    def energies(crystals: Sequence[Crystal]) -> Sequence[tuple[float, ...]]:
        rows = zip(*columns, strict=True)
        return [tuple(e * c.n_atoms for e in row) for row, c in zip(rows, crystals, strict=True)]

    return energies


def test_an_unphysical_minimum_of_one_model_is_none_of_the_other() -> None:
    salt, caesium, blende = rock_salt(), caesium_chloride(3.4, SALT), zinc_blende(6.0, SALT)
    chosen = [decoded_of(crystal) for crystal in (blende, caesium, salt)]
    results = [result(blende, -6.8), result(caesium, -9.4), result(salt, -6.6)]  # -3.4, -4.7, -3.3 an atom
    found = run(chosen, results, committee([-9.4, -9.2, -9.3]))
    assert groups(found) == [216, 225]
    assert [one.further_energies for one in found.usable] == [pytest.approx((-9.4,)), pytest.approx((-9.3,))]
    said = "a relaxed crystal: the energy models differ by 1.5 eV/atom; one of them is wrong about it."
    assert found.failures == (said,)
    for other in (-9.8, nan):  # less than 1 eV/atom apart from the others; no second opinion
        found = run(chosen, results, committee([-9.4, other, -9.3]))
        assert (groups(found), found.failures) == ([216, 221, 225], ())
    two = run(chosen[1:], results[1:], committee([-9.2, -9.3]))
    assert (len(two.usable), two.failures) == (2, ())  # nobody can tell which of two is usual
    # A third model that agrees with the first does not undo what the second says.
    found = run(chosen, results, committee([-9.4, -9.2, -9.3], [-3.4, -4.7, -3.3]))
    assert (groups(found), found.failures) == ([216, 225], (said,))


def test_nothing_to_relax() -> None:
    found = run([], [], committee([]))
    assert (found.usable, found.failed, found.n_relaxations) == ((), (), 0)


@pytest.mark.parametrize(("symprec", "group"), [(0.1, 225), (EXACT_SYMPREC, 1)])
def test_a_distortion_of_a_template_stays_where_symmetry_costs_energy(symprec: float, group: int) -> None:
    salt = rock_salt()
    beside = shaken(salt, 0.06)

    def relax(crystals: Sequence[Crystal]) -> Sequence[RelaxResult]:
        return [result(crystal, -6.788) for crystal in crystals]

    began = [decoded_of(beside, symprec=symprec)]
    [(found, n_evaluations)] = more_symmetric([result(beside, -6.79)], relax, began)
    assert n_evaluations == 16  # both relaxations took 7 steps, whichever is kept
    assert space_group_number(found.crystal, symprec=0.01) == group
    [(found, _)] = more_symmetric([result(beside, -6.788)], relax, began)
    assert space_group_number(found.crystal, symprec=0.01) == 225


def test_a_crystal_beside_a_more_symmetric_one_as_low_becomes_that() -> None:
    salt = rock_salt()
    beside = shaken(salt, 0.06)
    path = Trajectory((-4.0, -6.79))
    asked: list[Crystal] = []

    def relax_to(energy: float, status: Status = Status.CONVERGED) -> list[RelaxResult]:
        def relax(crystals: Sequence[Crystal]) -> Sequence[RelaxResult]:
            asked.extend(crystals)
            return [replace(result(c, energy, status), trajectory=Trajectory((energy,))) for c in crystals]

        first = [result(salt, -6.8), replace(result(beside, -6.79), trajectory=path)]
        done = more_symmetric(first, relax)
        assert [n_evaluations for _, n_evaluations in done] == [8, 16]
        return [one for one, _ in done]

    found = relax_to(-6.788)
    assert [space_group_number(crystal) for crystal in asked] == [225]
    assert space_group_number(found[1].crystal, symprec=0.01) == 225
    assert (found[1].n_steps, found[1].energy) == (14, -6.788)
    assert found[1].trajectory is not None
    assert found[1].trajectory.energies == (-4.0, -6.79, -6.788)
    assert relax_to(-6.7)[1].crystal is beside  # the symmetry costs 45 meV/atom
    assert relax_to(-6.9, Status.EXPLODED)[1].crystal is beside
