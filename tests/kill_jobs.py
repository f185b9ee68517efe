"""Commands to be killed, small enough to be run many times; each logs the work it has finished."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from kills import Job, contents
from tiny import made_crystals, make_store, rock_salt, shaken, write_weights, zinc_blende

from lcoms.structure.io import to_extxyz

NETWORK = [
    "latent_dim=8", "channels=16", "filters=4", "vectors=4", "encoder_layers=1", "decoder_layers=1", "condition=16",
    "steps=3", "samples=1",
]  # fmt: skip
TRAINING = ["steps=40", "warmup=1", "atoms_per_batch=64", "batches_per_step=1", "log_every=1", "checkpoint_minutes=0"]
QUICK = ["--starts", "2", "--steps", "1", "-n", "2", "--n-relax", "1", "--relax", "--oracle", "analytic"]
LOGS = ("logs", "tensorboard")
FORMULAS = ["NaCl", "ZnO", "CsCl", "SrTiO3", "ZnS", "CsZnO", "NaCsCl2", "SrO", "TiO2", "ZnCl2"]
SMALL_SHARDS = """
from functools import partial
import lcoms.data.checks, lcoms.data.ingest
lcoms.data.ingest.CHUNK_ROWS = 16
lcoms.data.checks.IngestOptions = partial(lcoms.data.checks.IngestOptions, shard_rows=64)
notes(lcoms.data.ingest, "_write", lambda _, batches, out, index, *rest: index)
"""
LOCAL_SOURCE = """
import lcoms.data.sources as known
files = known.SourceFile("one.bin", {url!r} + "/one.bin", {sha256!r}), known.SourceFile("two.bin", {url!r} + "/two.bin")
known.sources = lambda: dict(made=known.Source("made", "Made", files, "CC0", ()))
import lcoms.data.fetch
notes(lcoms.data.fetch, "download", lambda got, file, *_: None if got.was_there else file.name)
"""
STEPS = """
import lcoms.train.fitting
notes(lcoms.train.fitting.SafeCheckpoint, "save", lambda _, self, module: module.step if module.step < 40 else None)
"""
EPOCHS = """
import types
import lcoms.train.fitting, lcoms.train.surrogate
lcoms.train.surrogate.time = types.SimpleNamespace(perf_counter=lambda: 0.0)  # seconds of an epoch are no result
lcoms.train.surrogate.CHECKPOINT_MINUTES = 0.0
notes(lcoms.train.fitting.SafeCheckpoint, "save", lambda _, self, module: module.step if module.step < 60 else None)
"""
RELAXED = """
from lcoms.relax.checkpoint import Checkpoint, crystal_key
notes(Checkpoint, "put", lambda _, self, start, result: crystal_key(start))
"""
FORMULAS_KEPT = """
import lcoms.campaign.folder
notes(lcoms.campaign.folder.CampaignFolder, "keep", lambda _, self, formula, *rest: formula)
"""
PREDICTED = """
from lcoms.prediction.result import Prediction
notes(Prediction, "write", lambda _, self, *rest: self.composition.reduced_formula)
"""


def ingest_job(folder: Path) -> Job:
    """Ingest several hundred crystals in shards of 64."""
    crystals = [shaken(crystal, 0.02, seed) for seed in range(12) for crystal in made_crystals()]
    table = {
        "material_id": [f"id-{i}" for i in range(len(crystals))],
        "numbers": [crystal.atomic_numbers.tolist() for crystal in crystals],
        "frac_coords": [crystal.frac_coords.ravel().tolist() for crystal in crystals],
        "lattice": [crystal.lattice.ravel().tolist() for crystal in crystals],
        "formation_energy_per_atom": [-0.001 * i for i in range(len(crystals))],
    }
    file = folder / "crystals.parquet"
    pq.write_table(pa.table(table), file)
    return Job(SMALL_SHARDS, lambda out: ["data", "ingest", str(file), "--out", str(out)], contents)


def fetch_job(url: str) -> Job:
    """Fetch two files, one of them with a published checksum."""
    code = LOCAL_SOURCE.format(url=url, sha256=hashlib.sha256(SlowFiles.content).hexdigest())
    return Job(code, lambda out: ["data", "fetch", "made", "--out", str(out)], contents)


def train_job(folder: Path) -> Job:
    """Train a tiny network with a checkpoint after each step; logs are not results."""
    crystals = made_crystals()
    energies = [-1.0 - 0.01 * i for i in range(len(crystals))]
    splits = ["train"] * len(crystals)
    make_store(folder / "store", crystals, energies=energies, hull=[0.0] * len(crystals), splits=splits)
    settings = [text for name in NETWORK for text in ("--model", name)]
    settings += [text for name in TRAINING for text in ("--set", name)]

    def results(out: Path) -> dict[str, bytes]:
        return {name: content for name, content in contents(out).items() if "/" not in name}

    return Job(
        STEPS, lambda out: ["train", "cdvae", str(folder / "store"), "--out", str(out), "--threads", "1", *settings],
        results,
    )  # fmt: skip


def relax_job(folder: Path) -> Job:
    """Relax with two processes; the lines of the checkpoint are in order of completion."""
    starts = [shaken(make(5.0 + 0.02 * i), 0.1, i) for i in range(12) for make in (rock_salt, zinc_blende)]
    file = folder / "starts.extxyz"
    file.write_text(to_extxyz(starts))

    def results(out: Path) -> dict[str, bytes]:
        found = contents(out)
        found["checkpoint.jsonl"] = b"\n".join(sorted(found.get("checkpoint.jsonl", b"").splitlines()))
        return found

    options = ["--oracle", "analytic", "--fmax", "0.001", "--processes", "2"]
    return Job(RELAXED, lambda out: ["relax", str(file), *options, "--out", str(out)], results)


def campaign_job(folder: Path) -> Job:
    """Run a campaign with two workers, with CHGNet if it is installed.

    Times are not results, nor is the journal, which lacks a formula that was finished just before a kill.
    """
    (folder / "weights").mkdir()
    write_weights(folder / "weights")
    file = folder / "formulas.txt"
    file.write_text("\n".join(FORMULAS))

    def results(out: Path) -> dict[str, bytes]:
        found = contents(out)
        rows = pq.read_table(out / "summary.parquet").drop_columns("seconds").to_pylist()
        lines = [json.loads(line)["formula"] for line in found["journal.jsonl"].splitlines()]
        assert len(lines) == len(set(lines))
        return found | {"summary.parquet": json.dumps(rows).encode(), "summary.csv": b"", "journal.jsonl": b""}

    options = ["--weights", str(folder / "weights"), "--processes", "2", *QUICK]
    if find_spec("chgnet") is not None:
        options += ["--oracle", "chgnet:r2scan", "--committee", "none", "--fmax", "1"]
    return Job(FORMULAS_KEPT, lambda out: ["campaign", str(file), "--out", str(out), *options], results)


def surrogate_job(folder: Path) -> Job:
    """Train a tiny surrogate for many epochs; its data are encoded again in each run, and logs are not results."""
    (folder / "weights").mkdir()
    write_weights(folder / "weights")
    crystals = made_crystals()
    splits = ["val" if i >= 60 else "train" for i in range(64)]
    energies = [-1.0 - 0.01 * i for i in range(len(crystals))]
    make_store(folder / "store", crystals, energies=energies, hull=[0.0] * len(crystals), splits=splits)
    settings = ["--set", "hidden=16", "--set", "epochs=60", "--set", "precision=float32"]
    arguments = ["train", "surrogate", str(folder / "store"), "--cdvae", str(folder / "weights" / "cdvae.safetensors")]

    def results(out: Path) -> dict[str, bytes]:
        return {name: content for name, content in contents(out).items() if not {*LOGS} & {*Path(name).parts}}

    return Job(EPOCHS, lambda out: [*arguments, "--out", str(out), *settings], results)


def predict_job(folder: Path) -> Job:
    """Predict ten formulas, with candidates relaxed by two processes."""
    (folder / "weights").mkdir()
    write_weights(folder / "weights")
    options = ["--weights", str(folder / "weights"), "--processes", "2", *QUICK, "--n-relax", "2"]
    return Job(PREDICTED, lambda out: ["predict", *FORMULAS, "--out", str(out), *options], contents)


def improve_job(folder: Path) -> Job:
    """Improve one formula in two rounds."""
    (folder / "weights").mkdir()
    write_weights(folder / "weights")
    options = ["--budget", "4", "--batch", "2", "--starts", "2", "-n", "2", "--oracle", "analytic", "--processes", "2"]
    weights = ["--weights", str(folder / "weights")]

    def results(out: Path) -> dict[str, bytes]:
        found = contents(out)
        kept = {name: found[name] for name in found if name.startswith("improve-")}
        return found | {name: b"\n".join(sorted(content.splitlines())) for name, content in kept.items()}

    return Job(RELAXED, lambda out: ["improve", "NaCl", "--out", str(out), *weights, *options], results)


class SlowFiles(BaseHTTPRequestHandler):
    """Server of one file under any name, sent in pieces over about half a second, with support for ranges."""

    content = random.Random(0).randbytes(1_000_000)
    piece, pause = 20_000, 0.01

    def do_GET(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(self.content) - start))
        self.send_header("ETag", '"always the same"')
        self.end_headers()
        for begin in range(start, len(self.content), self.piece):
            time.sleep(self.pause)
            with suppress(OSError):  # the client was killed
                self.wfile.write(self.content[begin : begin + self.piece])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


JOBS = {
    "ingest": ingest_job,
    "train": train_job,
    "surrogate": surrogate_job,
    "relax": relax_job,
    "campaign": campaign_job,
    "predict": predict_job,
    "improve": improve_job,
}
NAMES = ("fetch", *JOBS)


@contextmanager
def job_of(name: str, folder: Path) -> Iterator[Job]:
    """Yield the job of this name, with its inputs in a folder and, for fetch, a server."""
    folder.mkdir(parents=True, exist_ok=True)
    if name != "fetch":
        yield JOBS[name](folder)
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowFiles)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fetch_job(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
