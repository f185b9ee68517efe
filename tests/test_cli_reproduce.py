"""`lcoms benchmark reproduce`: a small synthetic set, in the formats of MatBench and OQMD, from download to tables."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tiny import made_crystals

from lcoms.benchmark.reproduce import SURROGATES, excluded
from lcoms.benchmark.rows import read_rows
from lcoms.cli.main import run
from lcoms.core.config import with_overrides
from lcoms.data import sources
from lcoms.data.sources import Source, SourceFile
from lcoms.data.store import Store
from lcoms.models.surrogate import SurrogateConfig
from lcoms.models.weights import load_weights
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS

PAPER = [
    "latent_dim=8", "condition=8", "head=16", "encoder.hidden=16", "encoder.n_blocks=1", "decoder.atom=16",
    "decoder.edge=16", "decoder.n_blocks=1", "decoder.n_radial=16", "decoder.n_neighbors=6", "langevin.n_levels=4",
    "langevin.steps_per_level=2",
]  # fmt: skip
FAST = [
    "latent_dim=8", "channels=16", "filters=4", "vectors=4", "encoder_layers=1", "decoder_layers=1", "condition=16",
    "steps=3", "samples=1",
]  # fmt: skip
TRAINING = ["steps=2", "warmup=1", "atoms_per_batch=64", "batches_per_step=1", "log_every=1"]
SURROGATE = ["hidden=16", "epochs=2", "precision=float32"]


class Quiet(SimpleHTTPRequestHandler):
    """Server of a folder without log messages."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Address of the served folder of the test."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def energy(number: int) -> float:
    return -1.0 - 0.01 * number


def write_matbench(folder: Path, crystals: list[Crystal]) -> Path:
    rows = []
    for number, crystal in enumerate(crystals):
        sites = [
            {"species": [{"element": SYMBOLS[z], "occu": 1}], "abc": xyz}
            for z, xyz in zip(crystal.atomic_numbers.tolist(), crystal.frac_coords.tolist(), strict=True)
        ]
        rows.append([{"lattice": {"matrix": crystal.lattice.tolist()}, "sites": sites}, energy(number)])
    content = {"index": list(range(len(rows))), "columns": ["structure", "e_form"], "data": rows}
    path = folder / "matbench.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def write_oqmd(folder: Path, crystals: list[Crystal]) -> Path:
    rows: list[dict[str, Any]] = []
    for number, crystal in enumerate(crystals):
        atoms = {
            "lattice_mat": crystal.lattice.tolist(), "coords": crystal.frac_coords.tolist(), "cartesian": False,
            "elements": [SYMBOLS[z] for z in crystal.atomic_numbers.tolist()],
        }  # fmt: skip
        rows.append({"id": f"oqmd-{number}", "_oqmd_delta_e": energy(number), "atoms": atoms})
    path = folder / "oqmd.json.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("all_oqmd.json", json.dumps(rows))
    return path


def each(option: str, settings: list[str]) -> list[str]:
    return [text for setting in settings for text in (option, setting)]


@pytest.mark.parametrize(
    ("data", "name", "preset"), [("matbench_mp_e_form", "mp_e_form", "paper"), ("oqmd", "oqmd", "fast")]
)
def test_one_command_leads_from_the_data_to_the_tables_and_goes_on_where_it_stopped(
    data: str,
    name: str,
    preset: str,
    tmp_path: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    crystals = made_crystals()
    assert any(crystal.composition.reduced_formula in excluded() for crystal in crystals)
    file = write_matbench(tmp_path, crystals) if name == "mp_e_form" else write_oqmd(tmp_path, crystals)
    part = SourceFile(file.name, f"{address}/{file.name}", unpack=file.suffix == ".zip")
    monkeypatch.setattr(sources, "sources", lambda: {name: Source(name, "made here", (part,), "CC0", ("nobody",))})
    out, model = tmp_path / "out", PAPER if preset == "paper" else FAST
    arguments = [
        "benchmark", "reproduce", "--data", data, "--out", str(out), "--preset", preset, "--compounds", "NaCl,MgO",
        "--seeds", "2", "--steps", "2", "--judge", "analytic", "--device", "cpu", "--threads", "1",
        *each("--model", model), *each("--train", TRAINING), *each("--surrogate", SURROGATE),
    ]  # fmt: skip
    assert run(arguments) == 0
    told = capsys.readouterr().out
    assert "All 6 stages are done" in told
    assert f"lcoms data fetch {data}" in told
    formulas = set(Store.open(out / "store").columns("formula")["formula"])
    assert formulas
    assert not formulas & set(excluded())
    assert load_weights(out / "weights").surrogate.config.conservatism == "on"
    assert load_weights(out / "sl").surrogate.config.conservatism == "off"
    rows = read_rows([out / "rows"])
    assert len(rows) == 16
    keys = {(row.method, row.compound, row.seed) for row in rows}
    wanted = ("lcoms", "sl", "cdvae", "start")
    assert keys == {(m, c, s) for m in wanted for c in ("NaCl", "MgO") for s in (0, 1)}
    assert {row.settings["weights"] for row in rows if row.method != "start"} == {load_weights(out / "weights").digest}
    report = (out / "report" / "report.md").read_text()
    assert "Table 1" in report
    assert "Table 2" in report
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    file.unlink()
    assert run(arguments) == 0
    assert capsys.readouterr().out.count("done before") == 6
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run([*arguments, "--steps", "3"]) == 2
    assert "belongs to another run (steps" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_surrogates_are_the_same_in_all_but_conservatism(preset: str) -> None:
    both = [with_overrides(SurrogateConfig(), [f"conservatism={c}", *SURROGATES[preset]]) for c in ("on", "off")]
    assert both[0] != both[1]
    assert with_overrides(both[1], ["conservatism=on"]) == both[0]
    if preset == "paper":
        on = both[0]
        sizes = (on.hidden, on.layers, on.learning_rate, on.batch_size, on.epochs, on.inner_steps, on.tau)
        assert sizes == (2048, 2, 3e-5, 128, 50, 1, 1.0)
        assert (on.latent_noise, on.weight_decay, on.listwise, on.residual) == (0, 0, 0, False)


def test_mistakes_are_told_before_anything_is_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        ("--data", "matbench"): "there is no data set 'matbench'",
        ("--data", "oqmd", "--preset", "slow"): "there is no preset 'slow'",
        ("--data", "oqmd", "--compounds", "NaCl,XeF2"): "26 compounds hold no XeF2",
        ("--data", "oqmd", "--compounds", " "): "--compounds ' ' has an empty name",
        ("--data", "oqmd", "--judge", "crystal ball"): "there is no oracle 'crystal ball'",
        ("--data", "oqmd", "--model", "depth=3"): "depth",
        ("--data", "oqmd", "--train", "step=3"): "did you mean steps",
        ("--data", "oqmd", "--surrogate", "epoch=3"): "did you mean epochs",
        ("--data", "oqmd", "--device", "tpu"): "there is no device 'tpu'; choose auto, cpu or cuda",
        ("--data", "oqmd", "--file", str(tmp_path / "none.json")): "none.json does not exist",
    }
    for arguments, sentence in cases.items():
        assert run(["benchmark", "reproduce", *arguments, "--out", str(tmp_path / "out")]) == 2
        assert sentence in capsys.readouterr().err.replace("\n", " ")
