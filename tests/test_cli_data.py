"""`lcoms data` from the command line: output, errors and exit codes."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import rock_salt

from lcoms.cli.main import run
from lcoms.data import sources as sources_module
from lcoms.data.sources import Source, SourceFile
from lcoms.data.store import Store
from lcoms.structure.io import to_cif


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Table of three good crystals, two of them polymorphs, and one without volume."""
    face_centred, simple = 2.8 * (1 - np.eye(3)), 3.4 * np.eye(3)
    salts = {
        "material_id": ["rock salt", "CsCl type", "other", "flat"],
        "numbers": [[11, 17], [11, 17], [7, 7, 7, 11], [11, 17]],
        "frac_coords": [[0.0] * 3 + [0.5] * 3] * 2 + [[0, 0, 0, 0.3, 0, 0, 0.6, 0, 0, 0.5, 0.5, 0.5], [0.0] * 6],
        "lattice": [lattice.ravel().tolist() for lattice in (face_centred, simple, simple, 0 * simple)],
        "formation_energy_per_atom": [-2.0, -1.9, None, 0.0],
        "split": ["train", "val", "train", "train"],
    }
    path = tmp_path / "salts.parquet"
    pq.write_table(pa.table(salts), path)
    return path


def ingest(table: Path, out: Path, *options: str) -> int:
    return run(["data", "ingest", str(table), "--out", str(out), *options])


def test_ingest_prints_a_table_of_reasons(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "store"
    assert ingest(table, out, "--keep-split") == 0
    printed = capsys.readouterr()
    rows = (line.split(maxsplit=2) for line in printed.out.splitlines()[:-1])
    lines = {row[2]: " ".join(row[:2]) for row in rows if len(row) == 3}
    assert {"rows", "read", "kept", "dropped: cell without volume", "moved to val"} == set(lines)
    assert lines["moved to val"].split()[0] == "1"
    assert "25.00%" in lines["dropped: cell without volume"]
    assert printed.out.splitlines()[-1] == f"Next: lcoms train cdvae {out} --out run"
    assert printed.err == ""  # no progress bar where nobody looks
    store = Store.open(out)
    assert store.columns("split")["split"].tolist() == ["val", "val", "train"]


def test_ingest_options_reach_the_checks(table: Path, tmp_path: Path) -> None:
    formulas = tmp_path / "formulas.txt"
    formulas.write_text("KCl\nNaCl # rock salt\n")
    assert ingest(table, tmp_path / "a", "--exclude", str(formulas)) == 0
    assert ingest(table, tmp_path / "b", "--exclude", "N3Na") == 0
    assert ingest(table, tmp_path / "c", "--max-atoms", "2", "--seed", "5", "--val-fraction", "0.5") == 0
    assert ingest(table, tmp_path / "d", "--volume-range", "20", "30", "--no-niggli") == 0
    ids = [Store.open(tmp_path / name).columns("material_id")["material_id"].tolist() for name in "abcd"]
    assert ids == [["other"], ["rock salt", "CsCl type"], ["rock salt", "CsCl type"], ["rock salt"]]
    options = Store.open(tmp_path / "c").manifest.provenance["options"]
    assert (options["seed"], options["val_fraction"], options["reduce"]) == (5, 0.5, True)
    assert Store.open(tmp_path / "d").manifest.provenance["options"]["reduce"] is False


def test_a_store_without_energies_is_said_to_train_no_surrogate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "salts").mkdir()
    for number in range(2):
        (tmp_path / "salts" / f"{number}.cif").write_text(to_cif(rock_salt(5.6 + number)))
    assert run(["data", "ingest", str(tmp_path / "salts"), "--out", str(tmp_path / "store")]) == 0
    without = "No crystal has a formation energy; the surrogate needs them, for instance from id_prop.csv."
    assert without in capsys.readouterr().out
    (tmp_path / "salts" / "id_prop.csv").write_text("0,-2.1\n1,-2.0\n")
    assert run(["data", "ingest", str(tmp_path / "salts"), "--out", str(tmp_path / "more")]) == 0
    assert without not in capsys.readouterr().out


@pytest.mark.parametrize("width", [100, 60, 40])
def test_a_narrow_terminal_has_fewer_quantiles_and_no_number_cut(
    width: int, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(table, tmp_path / "store", "--keep-split")
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    assert run(["data", "info", str(tmp_path / "store")]) == 0
    printed = capsys.readouterr().out
    (heading,) = [line for line in printed.splitlines() if "median" in line]
    assert ("95 %" in heading) == (width == 100)
    assert len(heading) <= width
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    assert all(number in printed for number in ("-2.000", "-1.950", "-1.900"))


def test_info(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "store"
    ingest(table, out, "--keep-split")
    capsys.readouterr()
    assert run(["data", "info", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "3 crystals, 8 atoms, 2 compositions, 3 elements" in printed
    assert "splits: val: 2, train: 1" in printed
    assert "elements: Na: 3, Cl: 2, N: 1" in printed
    assert "compositions with 1 structure: 1, 2 structures: 1" in printed
    assert "cell without volume: 1" in printed
    assert run(["data", "info", str(out), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert figures["formation_energy"] == {
        "count": 2, "minimum": -2.0, "low": pytest.approx(-1.995), "median": pytest.approx(-1.95),
        "high": pytest.approx(-1.905), "maximum": -1.9,
    }  # fmt: skip
    assert figures["energy"]["median"] is None
    assert figures["polymorphs"] == {"1": 1, "2": 1}
    assert figures["most_polymorphs"] == {"NaCl": 2, "NaN3": 1}
    assert figures["volume_per_atom"]["maximum"] == pytest.approx(2 * 2.8**3 / 2)
    assert figures["atoms"]["maximum"] == 4


@pytest.fixture
def server(tmp_path: Path) -> Any:
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port, folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_fetch_prints_licence_and_citation(
    table: Path, tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port, served = server
    content = table.read_bytes()
    (served / "salts.parquet").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    url = f"http://127.0.0.1:{port}/salts.parquet"
    files = SourceFile("one/salts.parquet", url, sha256), SourceFile("two/salts.parquet", url)
    known = {"salts": Source("salts", "Salts", files, "CC0", ("A. Nobody, Journal of Salts 1, 1 (2000)",), True)}
    monkeypatch.setattr(sources_module, "sources", lambda: known)
    out = tmp_path / "fetched"
    assert run(["data", "fetch", "Salts", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"SHA-256 {sha256}: equals the published checksum." in printed
    assert f"SHA-256 {sha256}: no checksum was published, so this one is recorded for later downloads." in printed
    assert "Licence: CC0." in printed
    assert "A. Nobody" in printed
    (next_line,) = (line for line in printed.splitlines() if line.startswith("Next: lcoms "))
    assert run(next_line.removeprefix("Next: lcoms ").split()) == 0  # the command it names works
    splits = Store.open(out / "salts-store").columns("split")["split"].tolist()
    assert splits == ["val", "val", "train"] * 2  # splits of its own are kept
    capsys.readouterr()
    (out / "one" / "salts.parquet").unlink()
    (served / "salts.parquet").write_bytes(b"changed")
    assert run(["data", "fetch", "salts", "--out", str(out)]) == 2
    assert "checksum" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nowhere"], "not a store of crystals"),
        (["info", "salts.parquet"], "is a file, not a store of crystals; make one with: lcoms data ingest"),
        (
            ["ingest", "salts.parquet", "--out", "store", "--min-distance", "inf"],
            "--min-distance must be at most 6, not inf",
        ),
        (["fetch", "mp_21"], "did you mean mp_20?"),
        (["ingest", "nowhere.parquet", "--out", "store"], "nowhere.parquet does not exist"),
        (["ingest", "salts.parquet", "--out", "store", "--exclude", "Nacl"], "Nacl"),
        (["ingest", "salts.parquet", "--out", "store", "--val-fraction", "2"], "must lie in [0, 1)"),
        (["ingest", "salts.parquet", "--out", "store", "--min-distance", "nan"], "--min-distance must be zero or"),
        (["ingest", "salts.parquet", "--out", "store", "--max-formation-energy", "nan"], "energy must be positive"),
        (["ingest", "salts.parquet", "--out", "store", "--volume-range", "200", "2"], "from 200 to 2 cubic angstrom"),
        (["ingest", "salts.parquet", "--out", "store", "--format", "csv"], "needs a column cif"),
        (["ingest", "salts.parquet", "--out", "store", "--workers", "0"], "greater than or equal to 1"),
    ],
)
def test_errors_are_one_sentence(
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(table.parent)
    assert run(["data", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--max-atoms", "0"), "--max-atoms must be at least 1, not 0."),
        (("--exclude", "empty.txt"), "empty.txt holds no formula to exclude"),
        (("--format", ""), "--format has an empty value"),
        (("--volume-range", "150", "151"), "none of the 4 rows could be kept"),
    ],
)
def test_an_ingest_that_fails_leaves_no_folder(
    table: Path, tmp_path: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("# nothing\n")
    assert ingest(table, tmp_path / "store", *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_file_is_ingested_once(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = table.parent / "." / "x" / ".." / table.name
    (table.parent / "x").mkdir()
    assert run(["data", "ingest", str(table), str(again), "--out", str(tmp_path / "store")]) == 2
    assert "is given twice; name it once." in capsys.readouterr().err
