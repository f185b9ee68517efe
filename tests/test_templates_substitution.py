"""Templates of other stoichiometries: orbits divided as cheaply as by exhaustive search, and decoded as stated."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from tiny import fluorite, perovskite, rock_salt, wurtzite, zinc_blende

from lcoms.prediction.decoder import Constraint, _settings
from lcoms.prediction.spec import DecoderSpec
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.wyckoff import orbit_sizes
from lcoms.templates.library import LatentLibrary
from lcoms.templates.substitution import Substituted, _cheapest, substituted
from lcoms.templates.wyckoff_statistics import OrbitStatistics, described, in_sequence_order


def library_of(crystals: dict[str, Crystal]) -> tuple[LatentLibrary, OrbitStatistics]:
    found = {name: described(crystal, symprec=0.01) for name, crystal in crystals.items()}
    assert None not in found.values()
    cells = [crystal.composition for crystal in crystals.values()]
    statistics = OrbitStatistics.count((c, f.space_group, f.orbits) for c, f in zip(cells, found.values(), strict=True))
    library = LatentLibrary.build(
        torch.randn(len(crystals), 3, generator=torch.Generator().manual_seed(0)),
        cells,
        np.full(len(crystals), -1.0),
        list(crystals),
        e_above_hull=np.zeros(len(crystals)),
        space_groups=np.array([f.space_group for f in found.values()]),
        wyckoff_sequences=np.array(
            [statistics.place(c, f.space_group, f.orbits) for c, f in zip(cells, found.values(), strict=True)]
        ),
        site_codes=[in_sequence_order(c, f.orbits, f.codes) for c, f in zip(cells, found.values(), strict=True)],
        cell_codes=np.array([f.cell_code for f in found.values()]),
    )
    return library, statistics


def found_for(
    formula: str, crystals: dict[str, Crystal], n: int = 9, units: tuple[int, int] = (1, 4)
) -> list[Substituted]:
    library, statistics = library_of(crystals)
    return substituted(Composition.from_formula(formula), library, statistics, n, units=units, max_alike=3)


@pytest.mark.parametrize("seed", range(6))
def test_orbits_are_shared_out_as_cheaply_as_by_trying_everything(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 4, 6).tolist()
    k = int(random.integers(2, 4))
    room = np.bincount(random.permutation(np.arange(6) % k), weights=sizes).astype(int).tolist()
    costs = random.random((6, k))
    fits = [
        (sum(costs[at, to] for at, to in enumerate(filling)), filling)
        for filling in product(range(k), repeat=6)
        if np.bincount(filling, weights=sizes, minlength=k).tolist() == room
    ]
    best = _cheapest(sizes, room, costs)
    assert [filling for _, filling in best] == [filling for _, filling in sorted(fits)[: len(best)]]
    assert [cost for cost, _ in best] == pytest.approx([cost for cost, _ in sorted(fits)[: len(best)]])
    assert len(best) == min(2, len(fits))


def test_two_orbits_of_one_element_hold_two_and_the_other_way_round() -> None:
    assert found_for("LiZnAs", {"fluorite": fluorite()}) == [], "of the same stoichiometry"
    assert found_for("LiZnAsP", {"fluorite": fluorite()}) == [], "three atoms hold no four"
    (one,) = found_for("Sr", {"rock salt": rock_salt()})
    assert (one.n_formula_units, one.orbits) == (2, (("a", 38), ("b", 38))), "both sites of rock salt hold the element"
    merged = found_for("SrO4", {"perovskite": perovskite(), "fluorite": fluorite(), "rock salt": rock_salt()})
    assert {one.index for one in merged} == {0}
    for one in merged:
        held = {8: 0, 38: 0}
        for (_, z), size in zip(one.orbits, orbit_sizes(221, one.orbits), strict=True):
            held[z] += size
        assert held == {8: 4, 38: 1}
    assert [one.distance for one in merged] == sorted(one.distance for one in merged)
    assert sorted(letter for letter, _ in merged[0].orbits) == sorted(letter for letter, _ in described_orbits())


def described_orbits() -> tuple[tuple[str, int], ...]:
    found = described(perovskite(), symprec=0.01)
    assert found is not None
    return found.orbits


def test_entries_of_the_same_stoichiometry_are_not_asked() -> None:
    crystals = {"wurtzite": wurtzite(), "rock salt": rock_salt(), "zinc blende": zinc_blende()}
    assert found_for("MgO", crystals) == []
    assert {one.index for one in found_for("Mg", crystals)} == {0, 1, 2}
    assert {one.index for one in found_for("Mg", crystals, units=(1, 2))} == {1, 2}
    assert len(found_for("Mg", crystals, n=2)) == 2


def test_nearer_elements_are_nearer_templates_and_probabilities_are_shares() -> None:
    crystals = {"far": perovskite(numbers=(92, 6, 1)), "near": perovskite(numbers=(56, 22, 8))}
    found = found_for("SrTiO2F", crystals | {"none": rock_salt()})
    assert found == [], "the three oxygens of a cubic perovskite are one orbit"
    found = found_for("BaO4", crystals)
    assert found[0].index == 1
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    keys = {(one.orbits): one.prototype_probability for one in found}
    assert 0 < sum(keys.values()) <= 1 + 1e-9


def test_a_constraint_with_orbits_needs_no_wyckoff_sequence() -> None:
    library, statistics = library_of({"wurtzite": wurtzite()})
    (one, *_) = substituted(Composition.from_formula("C"), library, statistics, 3, units=(1, 4), max_alike=1)
    assert one.n_formula_units == 4
    constraint = Constraint(186, 1.0, -1, one.sites, int(library.cell_codes[0]), one.orbits)
    cell = Composition.from_formula("C4")
    (setting,) = _settings(cell, [constraint], wurtzite().lattice, statistics, DecoderSpec(), None)
    assert setting.start.cell.atomic_numbers.tolist() == [6] * 4
    assert setting.start.coords is not None
