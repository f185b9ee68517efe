"""`lcoms evaluate` prints fractions with their intervals and can write all rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import caesium_chloride, made_crystals, make_store, perovskite, rock_salt

from lcoms.cli.evaluate import _print_shares
from lcoms.cli.main import run
from lcoms.core.config import with_overrides
from lcoms.data.store import Store
from lcoms.evaluate import references
from lcoms.evaluate.formulas import NOT_FOUND, Outcome, Ranks
from lcoms.evaluate.references import Reference
from lcoms.models.paper import PaperCDVAE, PaperConfig
from lcoms.models.weights import CDVAE_FILE, save_cdvae
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.io import to_extxyz

QUICK = ["--starts", "4", "--steps", "2"]


@pytest.mark.parametrize("symmetry", [True, False])
def test_reconstruction_is_printed_by_size(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], symmetry: bool
) -> None:
    crystals = made_crystals()[:16] + made_crystals()[-4:]
    n = len(crystals)
    make_store(tmp_path / "store", crystals, energies=[0.0] * n, hull=[0.0] * n, splits=["val"] * n)
    trained = ["--weights", str(tiny_weights)] if symmetry else ["--cdvae", str(tiny_weights / CDVAE_FILE)]
    arguments = ["evaluate", "reconstruction", str(tmp_path / "store"), *trained]
    assert run([*arguments, "-n", "12", "-k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("12 crystals of split val")
    assert "match@1" in lines[1]
    assert "match@2" in lines[1]
    bands = {line.split()[0]: int(line.split()[1]) for line in lines[2:]}
    assert bands["1-20"] == bands["1-12"] == 12 == bands["1-2"] + bands["3-4"] + bands["5-8"]
    assert lines[2].count("[") == 2
    out = tmp_path / "cases.json"
    assert run([*arguments, "-n", "12", "-k", "2", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == lines[1:]
    cases = json.loads(out.read_text())
    assert {case["setting"] for case in cases} == {"up to 12 atoms"}
    assert len({case["case"] for case in cases}) == 12
    share = sum(case["match@1"] for case in cases) / 12
    assert lines[2].split()[2] == f"{share:.3f}"
    assert all((case["RMSD"] is None) == (not case["match@1"]) for case in cases)
    assert run([*arguments, "--split", "test"]) == 2
    assert "holds no crystals of split 'test'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        "evaluate reconstruction STORE -n 0", "evaluate reconstruction STORE -k 0",
        "evaluate reconstruction STORE --seed -1", "evaluate latents STORE --seed -1", "evaluate compounds --seeds 0",
        "evaluate table FILE -n -1", "evaluate table FILE --sample-seed -1", "evaluate known --seeds -1",
        "train decoys STORE --out FILE -n -1", "train decoys STORE --out FILE --seed -1",
        "benchmark run --out FOLDER --table FILE -n -1", "oracle check analytic --seed -1",
    ],
)  # fmt: skip
def test_numbers_that_are_too_small_are_refused_in_a_sentence(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments.split()) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert "Input should be greater than or equal to" in complaint


@pytest.mark.parametrize("arguments", ["reconstruction", "latents", "surrogate --surrogate FILE"])
def test_a_folder_of_weights_that_would_not_be_used_is_refused(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", *arguments.split(), "STORE", "--cdvae", "FILE", "--weights", "FOLDER"]) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert complaint == "lcoms: --weights has no effect with --cdvae; omit one of them."


def test_known_crystals_that_need_no_decoding_are_counted_without_relaxation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Outcome("salt", "NaCl", 0, Ranks(1, 1, 1, 1), NOT_FOUND, 225, 225, 1, None, 1.0)
    _print_shares([found], (1,), relaxed=False, majority=False)
    said = capsys.readouterr().out
    assert said.index("decoded") < said.index("strict@1           0.000") < said.index("ranked with crystals")
    assert said.index("ranked with crystals") < said.index("strict@1           1.000")
    _print_shares([replace(found, ranks=NOT_FOUND)], (1,), relaxed=False, majority=False)
    assert "ranked" not in capsys.readouterr().out


def test_compounds_are_predicted_by_every_seed(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [Reference(c.composition.formula, c.composition, c) for c in (rock_salt(), rock_salt(4.0, (3, 9)))]
    monkeypatch.setattr(references, "paper_compounds", lambda: known)
    out = tmp_path / "rows.json"
    arguments = ["--weights", str(tiny_weights), "--seeds", "2", "--out", str(out), *QUICK]
    assert run(["evaluate", "compounds", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:4]] == [
        ["NaCl", "seed", "0"], ["LiF", "seed", "0"], ["NaCl", "seed", "1"], ["LiF", "seed", "1"]
    ]  # fmt: skip
    assert "no crystal with Li or F" in lines[1]
    assert lines[4] == "decoded"
    names = [f"{name}@{k}" for name in ("match", "filtered match", "strict", "strict+group") for k in (1, 10)]
    assert [line.strip().partition("  ")[0] for line in lines[5:13]] == names
    assert "by majority of seeds" in lines[5]
    assert lines[5].endswith("of 2")
    assert lines[13].startswith("4 predictions")
    rows = json.loads(out.read_text())
    assert [(row["name"], row["seed"]) for row in rows] == [("NaCl", 0), ("LiF", 0), ("NaCl", 1), ("LiF", 1)]
    assert rows[0]["n_candidates"] > 0
    assert rows[0]["space_group"] == 225
    assert rows[1]["ranks"] == {"loose": None, "strict": None, "both": None, "filtered": None}
    assert rows[0]["rows"][0]["decoded_rank"] == 1
    assert run(["evaluate", "compounds", *arguments]) == 0
    again = capsys.readouterr().out.splitlines()
    assert again[0] == f"{out} holds 4 of these predictions; they are not made again."
    assert again[1:-1] == lines[:-1]
    assert "s for 0 of them, median" in again[-1]
    content = out.read_bytes()
    assert run(["evaluate", "compounds", *arguments, "--steps", "3"]) == 2
    assert "holds rows of other structures, settings or weights" in capsys.readouterr().err
    assert out.read_bytes() == content


def test_tables_of_the_user_are_sampled(tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "known.extxyz"
    file.write_text(to_extxyz([rock_salt(), perovskite(), rock_salt(6.29, (19, 17))]))
    arguments = ["evaluate", "table", str(file), "--weights", str(tiny_weights), *QUICK]
    assert run([*arguments, "--max-atoms", "4", "-n", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "known.extxyz: 2 structures, 1 left out (over 4 atoms or unreadable)"
    assert len(lines) == 1 + 1 + 1 + 12 + 1
    assert run(["evaluate", "table", str(tmp_path / "none.csv"), "--weights", str(tiny_weights)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_validation_takes_ground_states_and_relaxes(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crystals = [rock_salt(), caesium_chloride(3.4, (11, 17)), perovskite(), rock_salt(6.29, (19, 17))]
    make_store(
        tmp_path / "store",
        crystals,
        energies=[-2.0, -1.9, -3.0, -2.1],
        hull=[0.0, 0.1, 0.2, 0.0],
        splits=["val", "val", "val", "train"],
    )
    options = ["--weights", str(tiny_weights), "--relax", "--oracle", "analytic", "--n-relax", "1", *QUICK]
    assert run(["evaluate", "validation", str(tmp_path / "store"), *options]) == 0
    printed = capsys.readouterr()
    assert "1 of 1 structures are of compositions that stand in the library" in printed.err
    lines = printed.out.splitlines()
    assert lines[0].endswith("1 ground states of validation compositions")
    assert lines[1].startswith("NaCl")
    assert lines[2] == "decoded"
    assert lines[15] == "relaxed and ranked by the oracle"
    assert run(["evaluate", "validation", str(tmp_path / "store"), "--max-atoms", "1", *QUICK]) == 2
    assert "no ground states" in capsys.readouterr().err


def test_validation_can_be_limited_to_ids(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, ids = tmp_path / "store", tmp_path / "ids.txt"
    make_store(
        store, [rock_salt(), rock_salt(6.29, (19, 17))], energies=[-2.0, -2.1], hull=[0.0, 0.0], splits=["val"] * 2
    )
    names = Store.open(store).columns("material_id")["material_id"]
    ids.write_text(f"# one of two\n{names[1]}\nabsent\n")
    arguments = ["evaluate", "validation", str(store), "--weights", str(tiny_weights), "--ids", str(ids), *QUICK]
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{ids}: 1 of them"
    assert lines[2].startswith("KCl")
    ids.write_text("absent\n")
    assert run(arguments) == 2
    assert "none of the 1 IDs" in capsys.readouterr().err
    assert run([*arguments[:5], "--ids", str(tmp_path / "none.txt"), *QUICK]) == 2
    assert "none.txt cannot be read" in capsys.readouterr().err


def test_surrogates_are_scored_by_source(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crystals = [rock_salt(), rock_salt(4.0, (3, 9)), caesium_chloride(4.0, (3, 9)), rock_salt(3.9, (3, 9))]
    splits = ["train", "val", "val", "val"]
    make_store(tmp_path / "store", crystals, energies=[-2.0, -3.0, -2.8, -2.9], hull=[0.0] * 4, splits=splits)
    arguments = ["evaluate", "surrogate", str(tmp_path / "store"), "--weights", str(tiny_weights)]
    out = tmp_path / "scores.json"
    assert run([*arguments, "--source", "made", "--source", "MP", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [["all", "3"], ["made", "3"]]
    scores = json.loads(out.read_text())
    assert [score["name"] for score in scores] == ["all", "made"]
    assert scores[0]["n_ordered"] == 1
    again = [*arguments, "--surrogate", str(tiny_weights / "surrogate.safetensors")]
    assert run(again) == 0
    assert capsys.readouterr().out.splitlines()[2] == lines[2]


def test_langevin_steps_belong_to_the_paper_preset(tiny_weights: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    crystals = made_crystals()[:4]
    make_store(tmp_path / "store", crystals, energies=[0.0] * 4, hull=[0.0] * 4, splits=["val"] * 4)
    arguments = ["evaluate", "reconstruction", str(tmp_path / "store"), "--langevin-steps", "3", "-k", "1"]
    assert run([*arguments, "--weights", str(tiny_weights)]) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert complaint.startswith("lcoms: --langevin-steps has no effect on this CD-VAE")
    sizes = ["encoder.hidden=8", "encoder.n_blocks=1", "decoder.atom=8", "decoder.edge=8", "decoder.n_blocks=1"]
    config = with_overrides(PaperConfig(), [*sizes, "langevin.n_levels=2", "latent_dim=4"])
    torch.manual_seed(0)
    model = PaperCDVAE(config)
    model.fit_statistics(CrystalBatch.from_crystals(crystals))
    save_cdvae(model, tmp_path / "paper.safetensors", metadata={"elements": [], "max_atoms": 20})
    asked: list[int] = []
    plain = PaperCDVAE.decode

    def decode(self: PaperCDVAE, *given, **named):
        asked.append(self.langevin.steps_per_level)
        return plain(self, *given, **named)

    monkeypatch.setattr(PaperCDVAE, "decode", decode)
    assert run([*arguments, "--cdvae", str(tmp_path / "paper.safetensors")]) == 0
    assert set(asked) == {3}
    assert "4 crystals of split val" in capsys.readouterr().out
