"""The library ranks by chemistry in exact cases, keeps the element mapping and stays small."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lcoms.core.errors import DataError, WeightsError
from lcoms.structure.crystal import Composition
from lcoms.structure.elements import mendeleev_number
from lcoms.templates.heights import instability_of
from lcoms.templates.library import LatentLibrary, LibraryTemplates
from lcoms.templates.similarity import ElementSimilarity

FORMULAS = ["CsI", "ZnS", "Na4Br4", "KCl", "NaBr", "MgF2", "SrTiO3", "Ba2Ti2O6", "TiSrO3", "Si2", "LaAlO3", "Li2O"]
HULL = [0.0, 0.0, 0.0, 0.05, 0.2, 0.0, 0.0, 0.1, 0.3, 0.0, np.nan, np.nan]


def mapping(starts: LibraryTemplates, i: int) -> dict[int, int]:
    """Return the mapping from the elements of entry i to those of the requested composition."""
    return dict(zip(starts.replaces[i].tolist(), starts.atomic_numbers.tolist(), strict=True))


def make(dim: int = 4) -> tuple[LatentLibrary, torch.Tensor]:
    latents = torch.randn(len(FORMULAS), dim, generator=torch.Generator().manual_seed(0))
    library = LatentLibrary.build(
        latents,
        [Composition.from_formula(f) for f in FORMULAS],
        np.linspace(-3, 0, len(FORMULAS)),
        [f"mp-{i}" for i in range(len(FORMULAS))],
        e_above_hull=np.array(HULL),
        metadata={"source": "made here"},
    )
    return weighted(library, 0.0), latents


def weighted(library: LatentLibrary, hull: float) -> LatentLibrary:
    """Return the library with a distance per eV/atom above the hull."""
    return library.with_similarity(replace(library.similarity, hull=hull))


def names(library: LatentLibrary, formula: str, n: int = 10, **options) -> list[str]:
    starts = library.nearest(Composition.from_formula(formula), n, **options)
    return [FORMULAS[i] for i in starts.indices]


def test_rock_salts_come_before_zinc_blende() -> None:
    library, _ = make()
    assert names(library, "NaCl") == ["Na4Br4", "KCl", "NaBr", "CsI", "ZnS"]
    starts = weighted(library, 0.0).nearest(Composition.from_formula("Na3Cl3"), 4)
    assert starts.distances.tolist() == [1, 1, 1, 5]
    assert starts.n_formula_units.tolist() == [4, 1, 1, 1]
    assert starts.ids == ("mp-2", "mp-3", "mp-4", "mp-0")
    assert mapping(starts, 0) == {11: 11, 35: 17}
    assert mapping(starts, 1) == {19: 11, 17: 17}


def test_zinc_selenide_is_nearest_to_zinc_sulphide() -> None:
    library, _ = make()
    assert names(library, "ZnSe", 1) == ["ZnS"]


def test_only_the_same_stoichiometry_is_found() -> None:
    library, _ = make()
    assert names(library, "CaF2") == ["MgF2", "Li2O"]
    assert "Si2" in names(library, "C")
    nothing = library.nearest(Composition.from_formula("Al2O3"), 5)
    assert len(nothing) == 0
    assert nothing.latents.shape == (0, 4)
    assert nothing.replaces.shape == (0, 2)


def test_elements_of_equal_counts_are_paired_for_the_smallest_distance() -> None:
    library, _ = make()
    starts = weighted(library, 0.0).nearest(Composition.from_formula("CaZrO3"), 4)
    assert [FORMULAS[i] for i in starts.indices] == ["SrTiO3", "TiSrO3", "Ba2Ti2O6", "LaAlO3"]
    assert mapping(starts, 0) == {38: 20, 22: 40, 8: 8}
    assert starts.atomic_numbers.tolist() == [8, 20, 40]


def test_pairing_is_the_best_of_all_permutations() -> None:
    rng = np.random.default_rng(0)
    pool = []
    for _ in range(40):
        elements = rng.choice(np.arange(1, 104), 4, replace=False).tolist()
        pool.append(Composition.from_counts(dict(zip(elements, (2, 1, 2, 2), strict=True))))
    library = LatentLibrary.build(torch.zeros(40, 1), pool, np.zeros(40), [str(i) for i in range(40)])
    for target in pool[:10]:
        starts = library.nearest(target, 40, max_atoms=7)
        assert starts.indices[0] == pool.index(target)
        wanted = dict(zip(target.atomic_numbers, target.counts, strict=True))
        for i, distance in zip(starts.indices, starts.distances, strict=True):
            entry = dict(zip(pool[i].atomic_numbers, pool[i].counts, strict=True))
            best = min(
                sum(abs(mendeleev_number(a) - mendeleev_number(b)) for a, b in zip(wanted, order, strict=True))
                for order in itertools.permutations(entry)
                if all(entry[b] == wanted[a] for a, b in zip(wanted, order, strict=True))
            )
            assert distance == best
        for row in range(len(starts)):
            entry = dict(zip(pool[starts.indices[row]].atomic_numbers, pool[starts.indices[row]].counts, strict=True))
            assert all(entry[old] == wanted[new] for old, new in mapping(starts, row).items())
        assert (np.diff(starts.distances) >= 0).all()


def test_space_groups_near_are_those_of_cells_with_the_same_counts() -> None:
    library, latents = make()
    groups = np.arange(1, len(FORMULAS) + 1)
    library = replace(library, space_groups=groups.astype(np.uint8))
    near = library.space_groups_near(latents[3], Composition.from_formula("LiF"))
    one_to_one = [i for i, f in enumerate(FORMULAS) if f in ("CsI", "ZnS", "KCl", "NaBr")]
    assert {number for number, _ in near} == {groups[i] for i in one_to_one}
    assert near[0][0] == groups[3]
    assert sum(weight for _, weight in near) == pytest.approx(1.0)
    weights, distances = dict(near), torch.linalg.norm(library.latents() - latents[3], dim=1)
    ratio = weights[groups[0]] / weights[groups[4]]
    assert ratio == pytest.approx(float(torch.exp(distances[4] - distances[0])), rel=1e-4)
    assert library.space_groups_near(latents[3], Composition.from_formula("LiF"), n=1) == [(int(groups[3]), 1.0)]
    assert library.space_groups_near(latents[3], Composition.from_formula("Al2O3")) == []


def test_penalty_exclusion_and_limits() -> None:
    library, _ = make()
    assert names(weighted(library, 100.0), "NaCl") == ["Na4Br4", "CsI", "KCl", "NaBr", "ZnS"]
    assert names(library, "NaCl", exclude=[Composition.from_formula("NaBr"), Composition.from_formula("Zn2S2")]) == [
        "KCl",
        "CsI",
    ]
    assert names(library, "NaCl", max_per_composition=1) == ["Na4Br4", "KCl", "CsI", "ZnS"]
    assert names(library, "CaZrO3", max_per_composition=1) == ["SrTiO3", "Ba2Ti2O6", "LaAlO3"]
    assert names(library, "NaCl", max_atoms=2) == ["KCl", "NaBr", "CsI", "ZnS"]
    assert names(library, "NaCl", 2) == ["Na4Br4", "KCl"]


def test_compositions_are_known_in_whatever_cell_they_stand() -> None:
    library, _ = make()
    assert library.has(Composition.from_formula("NaBr"))
    assert library.has(Composition.from_formula("BaTiO3"))
    assert library.has(Composition.from_formula("Sr2Ti2O6"))
    assert not library.has(Composition.from_formula("NaCl"))
    assert not library.has(Composition.from_formula("Na2Br"))
    assert not library.has(Composition.from_formula("Na"))


def test_crystals_of_one_structure_vote_together_and_take_turns() -> None:
    library = LatentLibrary.build(
        torch.zeros(6, 1),
        [Composition.from_formula(f) for f in ("NaBr", "KBr", "RbBr", "CsI", "CsBr", "ZnS")],
        np.full(6, -1.0),
        list("abcdef"),
        e_above_hull=np.zeros(6),
        space_groups=np.array([225, 225, 225, 221, 221, 216]),
        wyckoff_sequences=np.zeros(6, dtype=np.int64),
    )
    salt = Composition.from_formula("NaCl")
    everything = library.nearest(salt, 9)
    votes = np.exp(-library.similarity.sharpness * everything.distances)
    nobody = np.exp(-library.similarity.sharpness * library.similarity.reach)
    probability = dict(zip(everything.ids, everything.prototype_probabilities, strict=True))
    for alike in ("abc", "de", "f"):
        inside = np.isin(everything.ids, list(alike))
        assert everything.prototype_probabilities[inside] == pytest.approx(
            (votes[inside].sum() + 0.1 * nobody) / (votes.sum() + nobody)
        )
    assert probability["a"] > 0.5
    far = library.nearest(Composition.from_formula("OsPt"), 9)
    assert far.distances.min() > library.similarity.reach
    assert (far.prototype_probabilities < 0.2).all()  # nobody near has seen such a compound
    starts = library.nearest(salt, 9, max_per_structure=2)
    assert set(starts.ids) == set("abdef")  # the third rock salt is one too many
    deserved = {"a": 1, "b": 2, "d": 2 if starts.ids.index("e") < starts.ids.index("d") else 1, "f": 1}
    deserved["e"] = 3 - deserved["d"]
    shares = [probability[name] / deserved[name] for name in starts.ids]
    assert shares == sorted(shares, reverse=True)


def test_distances_by_learned_vectors_pair_elements_in_their_order() -> None:
    vectors = np.zeros((104, 2), dtype=np.float32)
    vectors[[11, 19, 17, 35]] = [[0, 0], [3, 4], [1, 0], [1, 2]]
    similarity = ElementSimilarity(
        vectors, np.array([1, 1, 2, 1, 1, 1], dtype=np.float32), hull=0.0, sharpness=1.0, reach=9.0
    )
    library, _ = make()
    found = library.with_similarity(similarity).nearest(Composition.from_formula("NaCl"), 9)
    apart = dict(zip(found.ids, found.distances, strict=True))
    assert apart["mp-2"] == pytest.approx(2 * (0 + 2))  # NaBr
    assert apart["mp-3"] == pytest.approx(2 * (5 + 0))  # KCl


def test_unknown_hull_energies_are_the_least_they_can_be() -> None:
    compositions = [Composition.from_formula(f) for f in ("NaCl", "Na2Cl2", "NaN", "NaN", "KBr", "NaClO3")]
    energies = np.array([-2.0, -1.5, 0.5, 0.75, -1.0, -1.0])
    library = LatentLibrary.build(
        torch.zeros(6, 1), compositions, energies, list("abcdef"), e_above_hull=np.array([np.nan] * 4 + [0.25, np.nan])
    )
    assert library.instability.tolist() == [0, 50, 50, 75, 25, 0]
    told = np.array([0.25] + [np.nan] * 5)  # the hull at NaCl is then known from its first entry
    assert instability_of(compositions, energies, told).tolist() == [25, 75, 50, 75, 0, 0]
    assert weighted(library, 0.0).nearest(Composition.from_formula("NaF"), 5).ids == ("c", "d", "a", "b", "e")
    assert weighted(library, 10.0).nearest(Composition.from_formula("NaF"), 5).ids == ("a", "c", "e", "b", "d")


def test_file_gives_everything_back_and_latents_within_half_a_level(tmp_path) -> None:
    library, latents = make()
    library.save(tmp_path / "library.safetensors")
    loaded = LatentLibrary.load(tmp_path / "library.safetensors")
    assert loaded.metadata == {"source": "made here"}
    assert loaded.ids == tuple(f"mp-{i}" for i in range(len(FORMULAS)))
    assert [loaded.composition(i).n_atoms for i in (2, 7)] == [8, 10]
    assert np.array_equal(loaded.instability, library.instability)
    assert torch.equal(loaded.latents(), library.latents())
    level = (latents.max(dim=0).values - latents.min(dim=0).values) / 254
    assert ((loaded.latents() - latents).abs() <= 0.51 * level).all()
    starts = loaded.nearest(Composition.from_formula("NaCl"), 3)
    assert torch.equal(starts.latents, loaded.latents()[torch.from_numpy(starts.indices)])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "library.safetensors").read_bytes()[:200])
    with pytest.raises(WeightsError, match="damaged"):
        LatentLibrary.load(tmp_path / "cut.safetensors")


def test_thirty_thousand_crystals_fit_into_three_megabytes(tmp_path) -> None:
    rng = np.random.default_rng(0)
    n = 30_000
    elements = np.sort(rng.permuted(np.tile(np.arange(1, 90), (n, 1)), axis=1)[:, :3], axis=1)
    compositions = [Composition(tuple(row), (1, 1, 3)) for row in elements.tolist()]
    latents = torch.randn(n, 64, generator=torch.Generator().manual_seed(0))
    ids = [f"mp-{1_000_000 + i}" for i in range(n)]
    library = LatentLibrary.build(latents, compositions, np.zeros(n), ids, e_above_hull=np.zeros(n))
    library.save(tmp_path / "big.safetensors")
    assert (tmp_path / "big.safetensors").stat().st_size < 3_000_000
    assert library.nearest(compositions[77], 1).ids == (ids[77],)


def test_build_refuses_what_does_not_fit() -> None:
    salt = [Composition.from_formula("NaCl")]
    with pytest.raises(DataError, match="as many"):
        LatentLibrary.build(torch.zeros(2, 3), salt, np.zeros(2), ["a", "b"])
    with pytest.raises(DataError, match="finite"):
        LatentLibrary.build(torch.full((1, 3), torch.nan), salt, np.zeros(1), ["a"])
    with pytest.raises(DataError, match="line feeds"):
        LatentLibrary.build(torch.zeros(1, 3), salt, np.zeros(1), ["a\nb"])


def test_an_element_also_starts_from_crystals_of_two_elements() -> None:
    pool = [Composition.from_counts(counts) for counts in ({32: 2}, {5: 1, 7: 1}, {6: 4}, {14: 2, 6: 2}, {8: 1, 20: 2})]
    library = LatentLibrary.build(torch.eye(5), pool, np.full(5, -1.0), list("abcde"), e_above_hull=np.zeros(5))
    starts = library.nearest(Composition.from_formula("C"), 10, exclude=[Composition.from_formula("C")])
    assert sorted(starts.ids) == ["a", "b", "d"]
    units = dict(zip(starts.ids, starts.n_formula_units.tolist(), strict=True))
    assert units == {"a": 2, "b": 2, "d": 4}
    row = starts.ids.index("b")
    assert mapping(starts, row) == {5: 6, 7: 6}
    numbers = [mendeleev_number(z) for z in (5, 6, 7)]
    assert starts.distances[row] == max(abs(numbers[0] - numbers[1]), abs(numbers[2] - numbers[1]))


def test_codes_of_sites_are_kept_with_their_entries(tmp_path: Path) -> None:
    codes = [(3, 255), (), (0,)]
    library = LatentLibrary.build(
        torch.zeros(3, 2),
        [Composition.from_formula(f) for f in ("NaBr", "KBr", "RbBr")],
        np.full(3, -1.0),
        list("abc"),
        space_groups=np.array([225, 0, 221]),
        site_codes=codes,
        cell_codes=np.array([0, 0, 32767]),
    )
    library.save(tmp_path / "library.safetensors")
    again = LatentLibrary.load(tmp_path / "library.safetensors")
    assert [again.sites(i) for i in range(3)] == codes
    assert again.cell_codes.tolist() == [0, 0, 32767]
    with pytest.raises(DataError, match="as many"):
        LatentLibrary.build(
            torch.zeros(1, 2), [Composition.from_formula("NaBr")], np.zeros(1), ["a"], site_codes=[(), ()]
        )
