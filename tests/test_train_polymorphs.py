"""Polymorphs on the sites of templates: which crystals, anchored energies, resumed runs, and the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import caesium_chloride, make_store, rock_salt, zinc_blende

from lcoms.cli.main import run
from lcoms.cli.train_decoys import polymorphs
from lcoms.core.errors import WeightsError
from lcoms.data.store import Store
from lcoms.oracles.base import evaluate_all
from lcoms.oracles.registry import make_oracle
from lcoms.prediction.bundle import WeightBundle
from lcoms.structure.crystal import Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.train.decoys import MAX_ABOVE, Anchor
from lcoms.train.polymorphs import RELAXATION, STARTS_BELOW, make_polymorphs, template_crystals

ANCHOR = Anchor(rock_salt(), -2.0, "train")


@pytest.fixture(scope="module")
def bundle() -> WeightBundle:
    return WeightBundle.load()


def test_templates_are_other_structures_of_the_composition_in_small_cells(bundle: WeightBundle) -> None:
    pairs = template_crystals([ANCHOR, Anchor(zinc_blende(), -1.0, "val")], bundle, per_composition=3, max_atoms=8)
    assert template_crystals([ANCHOR], bundle, per_composition=3, max_atoms=1) == []
    salts = [crystal for anchor, crystal in pairs if anchor is ANCHOR]
    assert len(pairs) == 6
    assert len(salts) == 3
    assert {c.composition.reduced_formula for c in salts} == {"NaCl"}
    assert max(c.n_atoms for _, c in pairs) <= 8
    assert not any(matches(a, b, STRICT) for n, a in enumerate(salts) for b in salts[:n])
    with pytest.raises(WeightsError, match=r"has no templates\.safetensors"):
        template_crystals([ANCHOR], replace(bundle, templates=None), per_composition=3, max_atoms=8)


def test_energies_are_anchored(bundle: WeightBundle) -> None:
    starts = template_crystals([ANCHOR], bundle, per_composition=4, max_atoms=8)
    made, lost = make_polymorphs(starts, "analytic", processes=1)
    assert lost == 0
    oracle = make_oracle("analytic")

    def above(crystal: Crystal) -> float:
        of, anchor = evaluate_all(oracle, [crystal, ANCHOR.crystal])
        return of.energy / crystal.n_atoms - anchor.energy / ANCHOR.crystal.n_atoms

    given = {id(crystal) for _, crystal in starts}
    relaxed = [one for one in made if id(one.crystal) not in given]
    assert len(relaxed) == 4
    assert [one.energy for one in relaxed] == pytest.approx([-2.0 + min(above(o.crystal), MAX_ABOVE) for o in relaxed])
    kept = [crystal for _, crystal in starts if above(crystal) <= STARTS_BELOW]
    assert kept
    assert [id(one.crystal) for one in made if id(one.crystal) in given] == [id(crystal) for crystal in kept]
    assert [one.energy for one in made if id(one.crystal) in given] == pytest.approx([above(c) - 2.0 for c in kept])
    for one in relaxed:
        forces = evaluate_all(oracle, [one.crystal])[0].forces
        assert np.abs(forces).max() <= RELAXATION.fmax


def test_a_composition_that_the_energy_model_cannot_handle_gives_none(bundle: WeightBundle) -> None:
    curium = Anchor(caesium_chloride(4.0, (96, 9)), -1.0, "train")
    starts = template_crystals([curium], bundle, per_composition=2, max_atoms=4)
    assert len(starts) == 2
    assert make_polymorphs(starts, "chgnet:0.3.0", processes=1) == ([], 2)


def test_an_interrupted_run_continues(bundle: WeightBundle, tmp_path: Path) -> None:
    starts = template_crystals([ANCHOR], bundle, per_composition=2, max_atoms=8)
    checkpoint = tmp_path / "relaxed"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_polymorphs(starts, "analytic", processes=1, checkpoint=checkpoint, progress=stop)
    before = checkpoint.read_bytes()
    assert before.count(b"\n") == 2  # the header and one relaxation
    made, _ = make_polymorphs(starts, "analytic", processes=1, checkpoint=checkpoint)
    assert checkpoint.read_bytes().startswith(before)
    assert checkpoint.read_bytes().count(b"\n") == 3
    whole, _ = make_polymorphs(starts, "analytic", processes=1)
    assert [one.energy for one in made] == [one.energy for one in whole]


def test_the_command_writes_a_table_that_ingest_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crystals, sources = [rock_salt(), zinc_blende(), rock_salt(6.29, (19, 17))], ["MP", "MP", "WBM"]
    kept: dict[str, object] = {"energies": [-2.0, -1.0, -2.0], "hull": [0.0] * 3, "sources": sources}
    make_store(tmp_path / "store", crystals, splits=["train", "val", "train"], **kept)  # type: ignore[arg-type]
    table = tmp_path / "polymorphs.parquet"
    command = ["train", "polymorphs", str(tmp_path / "store"), "--oracle", "analytic", "--processes", "1"]
    command += ["--out", str(table), "--templates", "2", "--max-atoms", "4"]
    assert run([*command, "--source", "MPDS"]) == 2
    complaint = capsys.readouterr().err
    assert "has no crystals from MPDS of up to 4 atoms" in complaint
    assert "check --source" in complaint
    assert run([*command, "--oracle", "nothing"]) == 2
    assert "there is no oracle 'nothing'" in capsys.readouterr().err
    assert run([*command, "--source", "MP"]) == 0
    told = capsys.readouterr().out
    assert "crystals of 2 compositions; 0 templates gave none." in told
    assert "without a template" not in told
    assert polymorphs.__doc__ is not None
    assert f"more than {STARTS_BELOW} eV/atom above the known crystal" in " ".join(polymorphs.__doc__.split())
    assert f"Next: lcoms data ingest {table} --keep-split --out {tmp_path / 'polymorphs-store'}" in told
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["polymorphs.parquet", "store"]
    assert run(["data", "ingest", str(table), "--keep-split", "--out", str(tmp_path / "further")]) == 0
    columns = Store.open(tmp_path / "further").columns("formula", "split", "formation_energy_per_atom")
    assert set(zip(columns["formula"], columns["split"], strict=True)) == {("NaCl", "train"), ("ZnS", "val")}


def test_compositions_without_a_template_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = np.stack(np.meshgrid(*[[0.0, 0.5]] * 2, np.arange(5) / 5), -1).reshape(-1, 3)[:19]
    odd = Crystal(np.diag([5.0, 5.0, 15.0]), places, np.array([3, 11, 19, 37] + [9] * 6 + [17] * 9))
    kept: dict[str, object] = {"energies": [-2.0] * 2, "hull": [0.0] * 2, "splits": ["train"] * 2}
    make_store(tmp_path / "store", [rock_salt(), odd], **kept)  # type: ignore[arg-type]
    command = ["train", "polymorphs", str(tmp_path / "store"), "--oracle", "analytic", "--processes", "1"]
    assert run([*command, "--out", str(tmp_path / "polymorphs.parquet"), "--templates", "1"]) == 0
    told = capsys.readouterr().out
    assert "crystals of 1 composition; 0 templates gave none." in told
    assert "1 composition without a template of up to 20 atoms." in told
