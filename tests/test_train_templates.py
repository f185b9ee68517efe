"""Templates of a store: training crystals of every size, none of validation compositions; volumes from ratios."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_structure_exact_sites import NACL, made
from tiny import make_store

from lcoms.cli.main import run
from lcoms.core.errors import DataError
from lcoms.data.store import Store
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import atomic_volume
from lcoms.structure.matching import STRICT, matches
from lcoms.templates.exact import ExactTemplates
from lcoms.templates.placing import known_entries
from lcoms.train.templates import describe_one, differences, extend_templates, fit_element_volumes, make_templates

FCC = np.ones((3, 3)) - np.eye(3)


def rock_salt(first: int, second: int, volume: float) -> Crystal:
    """Return rock salt with a given volume (cubic angstrom) of the two-atom cell."""
    return Crystal((volume / 2) ** (1 / 3) * FCC, np.array([[0.0] * 3, [0.5] * 3]), np.array([first, second]))


def dense(number: int) -> Crystal:
    """Return a synthetic crystal of a group, in a cell with the usual volume of its atoms."""
    crystal = made(number)
    usual = sum(atomic_volume(z) for z in crystal.atomic_numbers.tolist())
    scale = (usual / crystal.volume) ** (1 / 3)
    return Crystal(scale * crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)


def stored(path: Path, crystals: list[Crystal], splits: list[str]) -> Store:
    make_store(path, crystals, energies=[-1.0] * len(crystals), hull=[0.0] * len(crystals), splits=splits)
    return Store.open(path)


def test_only_training_crystals_become_templates(tmp_path: Path) -> None:
    crystals = [NACL, rock_salt(19, 17, 62.0), rock_salt(12, 8, 18.7), dense(14), dense(62)]
    store = stored(tmp_path / "store", crystals, ["train", "val", "train", "train", "train"])
    templates = make_templates(store, processes=1)
    assert len(templates) == 4
    assert known_entries(templates, Composition.from_formula("KCl")) == []
    found = known_entries(templates, dense(62).composition)
    assert any(matches(one.crystal, dense(62), STRICT) for one in found)
    assert templates.metadata == {"stores": [store.fingerprint], "not_described": 0}


def test_the_command_packs_templates_and_tells_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crystals = [NACL, rock_salt(12, 8, 18.7), dense(14)]
    store = stored(tmp_path / "store", crystals, ["train"] * 3)
    out, fewer = tmp_path / "templates.safetensors", tmp_path / "fewer.safetensors"
    command = ["train", "templates", str(store.path), "--processes", "1", "--out"]
    assert run([*command, str(out), "--source", "made"]) == 0
    assert ExactTemplates.load(out).metadata["sources"] == ["made"]
    assert run([*command, str(fewer), "--compare", str(out)]) == 0
    assert "All columns are equal." in capsys.readouterr().out
    assert run([*command, str(fewer), "--source", "elsewhere"]) == 2
    assert "no training crystal that can be a template" in capsys.readouterr().err
    two = make_templates(stored(tmp_path / "two", crystals[:2], ["train"] * 2), processes=1)
    assert differences(two, ExactTemplates.load(out))[0] == "0 crystals are new, 1 are gone."


def test_cells_of_a_hundred_atoms_are_templates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = np.array([[x, y, z] for x in range(5) for y in range(5) for z in range(4)]) / [5, 5, 4]
    large = Crystal(
        np.diag([15.0, 15.5, 12.3]), grid + rng.uniform(-0.02, 0.02, (100, 3)), np.array([14] * 50 + [8] * 50)
    )
    (template,) = known_entries(make_templates(stored(tmp_path / "store", [large], ["train"])), large.composition)
    assert template.crystal.n_atoms == 100
    assert matches(template.crystal, large, STRICT)


def test_a_store_adds_what_is_new(tmp_path: Path) -> None:
    first = make_templates(stored(tmp_path / "a", [NACL, dense(14)], ["train"] * 2))
    more = stored(tmp_path / "b", [NACL, dense(14), rock_salt(12, 8, 18.7)], ["train"] * 3)
    extended = extend_templates(first, more)
    assert sorted(extended.ids) == sorted({*first.ids, *more.columns("material_id")["material_id"]})
    assert extend_templates(extended, more).ids == extended.ids
    np.testing.assert_array_equal(extended.element_volumes, first.element_volumes)


def test_a_store_without_training_crystals_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training crystal"):
        make_templates(stored(tmp_path / "store", [NACL], ["val"]))


def test_ratios_of_volumes_are_learned() -> None:
    radii = {11: 20.0, 19: 37.0, 37: 45.0, 9: 8.0, 17: 22.0, 35: 28.0}
    crystals = [rock_salt(a, b, radii[a] + radii[b]) for a in (11, 19, 37) for b in (9, 17, 35)]
    volumes = fit_element_volumes(crystals, np.zeros(len(crystals), dtype=np.int64))
    ratio = (volumes[37] + volumes[35]) / (volumes[11] + volumes[9])
    assert ratio == pytest.approx((45 + 28) / (20 + 8), rel=0.02)
    alone = fit_element_volumes(crystals, np.arange(len(crystals)))
    assert alone[[37, 35]].sum() / alone[[11, 9]].sum() != pytest.approx(73 / 28, rel=0.02)


def test_a_distorted_crystal_is_told_exactly_and_counted_with_the_structure_it_nearly_has() -> None:
    moved = NACL.cart_coords + np.array([[0.05, 0, 0], [0, 0, 0]])
    distorted = Crystal(NACL.lattice, moved @ np.linalg.inv(NACL.lattice), NACL.atomic_numbers)
    whole, lower = (describe_one(crystal, "one", 0.0, -1.0) for crystal in (NACL, distorted))
    assert whole is not None
    assert lower is not None
    assert lower.sites.space_group != whole.sites.space_group == 225
    assert lower.structure == whole.structure
