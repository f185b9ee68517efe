"""A library is extended by crystals of a store: existing entries remain, and larger cells can be predicted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from tiny import make_store, rock_salt, wurtzite

from lcoms.cli.main import run
from lcoms.core.errors import ConfigError, DataError, FormulaError
from lcoms.data.store import Store
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.propose import check_composition, find_proposals
from lcoms.prediction.spec import PredictionSpec, SearchSpec
from lcoms.prediction.stages import Proposal
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import from_pymatgen
from lcoms.structure.matching import LOOSE, STRICT, matches
from lcoms.templates.wyckoff_statistics import OrbitStatistics
from lcoms.train.library import ExtensionConfig, extend_library

LARGE = ExtensionConfig(min_atoms=13, max_atoms=20)
NAN = float("nan")


def spinel(a: float, species: tuple[str, str, str], *, primitive: bool = True) -> Crystal:
    """Return AB2X4 with 14 atoms in the primitive cell, 56 in the cubic one."""
    coords = [[0, 0, 0], [5 / 8, 5 / 8, 5 / 8], [0.385, 0.385, 0.385]]
    cubic = Structure.from_spacegroup("Fd-3m", Lattice.cubic(a), species, coords)
    return from_pymatgen(cubic.get_primitive_structure() if primitive else cubic)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Store of spinels to add, and of crystals that are small, too high in energy or for validation."""
    crystals = [
        spinel(8.6, ("Sr", "Ti", "O")),
        rock_salt(6.29, (19, 17)),
        spinel(8.4, ("Zn", "Ti", "O")),
        spinel(8.5, ("Cs", "Ti", "O")),
        spinel(8.5, ("Na", "Ti", "O")),
        wurtzite(),
    ]
    return make_store(
        tmp_path_factory.mktemp("large") / "store",
        crystals,
        energies=[-2.0, -2.1, -2.2, -1.0, -1.5, -1.0],
        hull=[0.0, 0.0, NAN, 0.3, 0.0, 0.0],
        splits=["train", "train", "train", "train", "val", "train"],
    )


@pytest.fixture(scope="module")
def weights(tiny_weights: Path) -> WeightBundle:
    return WeightBundle.load(tiny_weights)


@pytest.fixture(scope="module")
def extended(weights: WeightBundle, store: Store, tmp_path_factory: pytest.TempPathFactory) -> WeightBundle:
    folder = tmp_path_factory.mktemp("extended") / "weights"
    given = ["--weights", str(weights.folder), "--out", str(folder), "--set", "min_atoms=13", "--set", "max_atoms=20"]
    assert run(["train", "library", str(store.path), *given]) == 0
    return WeightBundle.load(folder)


def without_exact(bundle: WeightBundle) -> WeightBundle:
    """Return the weights without exact templates, which replace decoding for large cells."""
    return replace(bundle, templates=None)


def test_what_is_there_stays_and_what_is_stable_and_large_is_added(
    weights: WeightBundle, extended: WeightBundle, store: Store
) -> None:
    before, after = weights.library, extended.library
    n = len(before)
    assert after.ids == (*before.ids, "id-0", "id-2")
    assert torch.equal(after.latents()[:n], before.latents())
    for name in ("space_groups", "wyckoff_sequences", "cell_codes", "instability", "n_atoms"):
        assert np.array_equal(getattr(after, name)[:n], getattr(before, name)), name
    assert [after.composition(i) for i in range(n)] == [before.composition(i) for i in range(n)]
    assert [after.composition(n + i).formula for i in range(2)] == ["Sr2Ti4O8", "Zn2Ti4O8"]
    assert after.space_groups[n:].tolist() == [227, 227]
    assert after.metadata["extended"] == [{"store": store.fingerprint, "n": 2}]
    with pytest.raises(DataError, match="no stable training crystal to add that is not in the library"):
        extend_library(after, extended.wyckoff, extended.cdvae, store, LARGE, processes=1)
    orbits = extended.wyckoff.coded_orbits(227, after.composition(n), int(after.wyckoff_sequences[n]), after.sites(n))
    assert orbits is not None
    assert sorted(z for _, z in orbits[0]) == [8, 22, 38]
    assert len(orbits[1]) == 3


def test_the_new_entries_are_templates_where_cells_may_be_so_large(
    weights: WeightBundle, extended: WeightBundle
) -> None:
    caesium = Composition.from_formula("CsTi2O4")
    generator = torch.Generator().manual_seed(0)
    assert extended.max_atoms == 12
    weights, extended = without_exact(weights), without_exact(extended)

    def proposals(weights: WeightBundle, **options: object) -> list[Proposal]:
        spec = PredictionSpec().with_options({"search": {"n_starts": 4} | options})
        return find_proposals(caesium, weights, spec, generator)

    def sources(weights: WeightBundle, **options: object) -> set[str]:
        return {proposal.source for proposal in proposals(weights, **options)}

    assert {"id-0", "id-2"} <= sources(extended)
    assert sources(extended, max_atoms=13).isdisjoint({"id-0", "id-2"})
    assert sources(weights).isdisjoint({"id-0", "id-2"})
    # 14 atoms are more than the network has learned.
    assert {proposal.n_formula_units for proposal in proposals(extended, start="prior")} == {1}
    with pytest.raises(FormulaError, match="3 formula units make 21 atoms; cells of up to 14"):
        proposals(extended, formula_units=(3, 3))


def test_a_large_cell_is_predicted(extended: WeightBundle) -> None:
    spec = PredictionSpec(search=SearchSpec(n_starts=3, steps=0), relaxation=None)
    prediction = Predictor(extended, spec).predict("ZnTi2O4")
    known = spinel(8.4, ("Zn", "Ti", "O"))
    assert any(matches(c.crystal, known, LOOSE) and c.space_group == 227 for c in prediction.candidates)


def test_formula_units_between_what_was_learned_and_the_largest_entry(
    weights: WeightBundle, extended: WeightBundle
) -> None:
    large = Composition.from_formula("Na13Cl")
    weights, extended = without_exact(weights), without_exact(extended)
    with pytest.raises(FormulaError, match="cells of up to 12"):
        check_composition(large, weights)
    check_composition(large, extended)
    with pytest.raises(FormulaError, match="cells of up to 14"):
        check_composition(Composition.from_formula("Na14Cl"), extended)


def test_doubled_cells_count_as_their_primitive_ones(weights: WeightBundle, tmp_path: Path) -> None:
    cubic = spinel(8.6, ("Sr", "Ti", "O"), primitive=False)
    store = make_store(tmp_path / "store", [cubic], energies=[-2.0], hull=[0.0], splits=["train"])
    there, statistics = weights.library, weights.wyckoff
    wide = replace(LARGE, max_atoms=60)
    library, _ = extend_library(there, statistics, weights.cdvae, store, wide, processes=1)
    assert library.composition(len(there)).n_atoms == 14
    with pytest.raises(DataError, match="no stable training crystal to add"):
        extend_library(there, statistics, weights.cdvae, store, replace(wide, min_atoms=15), processes=1)


def test_patterns_keep_their_places_when_statistics_are_joined() -> None:
    first = OrbitStatistics({(225, (1, 1)): {(("a", 0), ("b", 1)): 3}})
    second = OrbitStatistics(
        {(225, (1, 1)): {(("a", 1), ("b", 0)): 9, (("a", 0), ("b", 1)): 1}, (221, (1, 1)): {(("a", 0), ("b", 1)): 2}}
    )
    joined = first.joined(second)
    assert list(joined.sequences[225, (1, 1)].items()) == [((("a", 0), ("b", 1)), 4), ((("a", 1), ("b", 0)), 9)]
    assert joined.sequences[221, (1, 1)] == {(("a", 0), ("b", 1)): 2}
    assert first.sequences == {(225, (1, 1)): {(("a", 0), ("b", 1)): 3}}


def test_what_cannot_be_extended(
    weights: WeightBundle, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in ({"min_atoms": 0}, {"max_orbits": 0}, {"min_atoms": 30, "max_atoms": 20}):
        with pytest.raises(ConfigError):
            ExtensionConfig(**wrong)
    command = ["train", "library", str(store.path), "--weights", str(weights.folder), "--out"]
    assert run([*command, str(weights.folder)]) == 2
    assert "holds the weights to extend; name another folder" in capsys.readouterr().err
    assert run([*command, str(tmp_path / "out"), "--set", "min_atoms=15", "--set", "max_atoms=18"]) == 2
    assert "has no stable training crystal to add" in capsys.readouterr().err
    assert not (tmp_path / "out" / "cdvae.safetensors").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "cdvae.safetensors").write_bytes(b"of another run")
    assert run([*command, str(tmp_path / "run"), "--set", "min_atoms=13"]) == 2
    assert "cdvae.safetensors exists and differs from" in capsys.readouterr().err
    assert [path.read_bytes() for path in (tmp_path / "run").iterdir()] == [b"of another run"]
    library = weights.library
    with pytest.raises(ValueError, match="other levels"):
        library.joined(replace(library, scale=2 * library.scale))


def test_the_spinel_is_one() -> None:
    assert matches(spinel(8.6, ("Sr", "Ti", "O")), spinel(8.6, ("Sr", "Ti", "O"), primitive=False), STRICT)
