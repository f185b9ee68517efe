"""Commands killed with SIGKILL at random moments and started again, until they have come to their end.

A round is one folder: the command is killed and started again until it ends by itself. Its files are then those of a
run that nobody disturbed. Rounds go on until there were as many kills as asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from tiny import made_crystals, make_store, rock_salt, shaken, write_weights, zinc_blende

from lcoms.structure.io import to_extxyz

LONGEST = 120.0  # seconds of one run; longer ones hang
ROUNDS_PER_KILL = 5  # a run that ends before its kill costs a round
PREAMBLE = "import sys\nfrom lcoms.cli.main import main\n"
NETWORK = [
    "latent_dim=8", "channels=16", "filters=4", "vectors=4", "encoder_layers=1", "decoder_layers=1", "condition=16",
    "steps=3", "tries=1",
]  # fmt: skip
TRAINING = ["steps=40", "warmup=1", "atoms_per_batch=64", "batches_per_step=1", "log_every=1", "checkpoint_minutes=0"]
QUICK = ["--starts", "2", "--steps", "1", "-n", "2", "--n-relax", "1", "--relax", "--oracle", "analytic"]
FORMULAS = ["NaCl", "ZnO", "CsCl", "SrTiO3", "ZnS", "CsZnO", "NaCsCl2", "SrO", "TiO2", "ZnCl2"]
SMALL_SHARDS = """
from functools import partial
import lcoms.data.checks, lcoms.data.ingest
lcoms.data.ingest.CHUNK_ROWS = 16
lcoms.data.checks.IngestOptions = partial(lcoms.data.checks.IngestOptions, shard_rows=64)
"""
LOCAL_SOURCE = """
import lcoms.data.sources as known
files = known.SourceFile("one.bin", {url!r} + "/one.bin", {sha256!r}), known.SourceFile("two.bin", {url!r} + "/two.bin")
known.sources = lambda: dict(made=known.Source("made", "Made", files, "CC0", ()))
"""
AT_RENAME = """
import itertools, os, signal
moments = itertools.count()
def deadly(rename):
    def called(*arguments, **options):
        for act in (None, rename):
            if act is not None:
                act(*arguments, **options)
            if next(moments) == {moment}:
                os.kill(os.getpid(), signal.SIGKILL)
    return called
os.replace, os.rename = deadly(os.replace), deadly(os.rename)
"""
Kill = Callable[[Path, int], bool]


class Job(NamedTuple):
    """A command, ready to be run into any folder.

    Attributes:
        code: Python that comes before the command, such as small sizes that have no option.
        arguments: of lcoms, for a folder to write to.
        results: what two runs must have in common, of that folder.
    """

    code: str
    arguments: Callable[[Path], list[str]]
    results: Callable[[Path], dict[str, bytes]]


class Undisturbed(NamedTuple):
    """A run that nobody killed: what it left, and after how many seconds it began to write and was done."""

    results: dict[str, bytes]
    begun: float
    done: float


class Outcome(NamedTuple):
    """What became of the kills.

    Attributes:
        survived: those of rounds that ended with the files of an undisturbed run.
        left_over: files half written by a killed process that are still there at the end.
    """

    tried: int
    survived: int
    rounds: int
    left_over: int
    complaints: list[str]


def contents(folder: Path) -> dict[str, bytes]:
    """Every finished file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_part(path))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _is_part(path: Path) -> bool:
    return path.name.endswith(".part") or path.name.startswith(".part-")


def run_undisturbed(job: Job, out: Path) -> Undisturbed:
    clock = time.monotonic()
    with _started(job, out) as process:
        while not out.exists() and process.poll() is None:
            time.sleep(0.005)
        begun = time.monotonic() - clock
        assert process.wait(LONGEST) == 0, _complaint(out)
    return Undisturbed(job.results(out), begun, time.monotonic() - clock)


def kill_and_resume(job: Job, wanted: dict[str, bytes], folder: Path, *, kills: int, kill: Kill) -> Outcome:
    """Rounds of kills, each round until the command ends by itself or there were enough of them.

    Args:
        wanted: results of an undisturbed run.
        kill: starts the command, for the folder of a round and the number of kills in it so far, and kills it; False
            where it ended before.
    """
    tried = survived = rounds = left_over = 0
    complaints: list[str] = []
    while tried < kills and rounds < ROUNDS_PER_KILL * kills:
        out, in_round = folder / f"round-{rounds}", 0
        while tried + in_round < kills and kill(out, in_round):
            in_round += 1
        rounds, tried = rounds + 1, tried + in_round
        with _started(job, out) as process:
            code = process.wait(LONGEST)
        left_over += sum(map(_is_part, out.rglob("*")))
        problem = _complaint(out) if code else _difference(job.results(out), wanted)
        if problem:
            complaints.append(f"after {in_round} kills: {problem}")
        else:
            survived += in_round
    return Outcome(tried, survived, rounds, left_over, complaints)


def at_random(job: Job, undisturbed: Undisturbed, seed: int) -> Kill:
    """At moments between the first and the last that an undisturbed run takes; half of them with all children."""
    chance = random.Random(seed)

    def kill(out: Path, _: int) -> bool:
        send = os.killpg if chance.random() < 0.5 else os.kill
        with _started(job, out) as process:
            try:
                code = process.wait(chance.uniform(0.7 * undisturbed.begun, undisturbed.done))
            except subprocess.TimeoutExpired:
                send(process.pid, signal.SIGKILL)
                code = process.wait()
        return _was_killed(code, out)

    return kill


def at_renames(job: Job) -> Kill:
    """Just before the first file gets its name, just after it; in the next run the same with the next file."""

    def kill(out: Path, number: int) -> bool:
        with _started(job._replace(code=job.code + AT_RENAME.format(moment=number % 2)), out) as process:
            return _was_killed(process.wait(LONGEST), out)

    return kill


def _was_killed(code: int, out: Path) -> bool:
    assert code in (0, -signal.SIGKILL), _complaint(out)
    return code != 0


@contextmanager
def _started(job: Job, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process group of its own, on one thread; what it says goes beside the folder."""
    code = f"{PREAMBLE}{job.code}\nif __name__ == '__main__':\n    main(sys.argv[1:])\n"
    script = out.with_suffix(".py")  # a file, since processes that it spawns read it
    script.write_text(code)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, str(script), *job.arguments(out)]
    with out.with_suffix(".err").open("wb") as complaints:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=complaints, env=os.environ | threads, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _complaint(out: Path) -> str:
    lines = out.with_suffix(".err").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word of what was wrong"


def _difference(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    missing, surplus = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    said = {"missing": missing, "left over": surplus, "different": other}
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items() if names)


def ingest_job(folder: Path) -> Job:
    """Some hundred crystals, in shards of 64."""
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
    """Two files, one of them with a published checksum."""
    code = LOCAL_SOURCE.format(url=url, sha256=hashlib.sha256(SlowFiles.content).hexdigest())
    return Job(code, lambda out: ["data", "fetch", "made", "--out", str(out)], contents)


def train_job(folder: Path) -> Job:
    """A tiny network with a checkpoint after each step; logs are no result."""
    crystals = made_crystals()
    energies = [-1.0 - 0.01 * i for i in range(len(crystals))]
    splits = ["train"] * len(crystals)
    make_store(folder / "store", crystals, energies=energies, hull=[0.0] * len(crystals), splits=splits)
    settings = [text for name in NETWORK for text in ("--model", name)]
    settings += [text for name in TRAINING for text in ("--set", name)]

    def results(out: Path) -> dict[str, bytes]:
        return {name: content for name, content in contents(out).items() if "/" not in name}

    return Job(
        "", lambda out: ["train", "cdvae", str(folder / "store"), "--out", str(out), "--threads", "1", *settings],
        results,
    )  # fmt: skip


def relax_job(folder: Path) -> Job:
    """Two processes; the checkpoint has its lines in the order in which results came."""
    starts = [shaken(make(5.0 + 0.02 * i), 0.1, i) for i in range(12) for make in (rock_salt, zinc_blende)]
    file = folder / "starts.extxyz"
    file.write_text(to_extxyz(starts))

    def results(out: Path) -> dict[str, bytes]:
        found = contents(out)
        found["checkpoint.jsonl"] = b"\n".join(sorted(found.get("checkpoint.jsonl", b"").splitlines()))
        return found

    options = ["--oracle", "analytic", "--fmax", "0.001", "--processes", "2"]
    return Job("", lambda out: ["relax", str(file), *options, "--out", str(out)], results)


def campaign_job(folder: Path) -> Job:
    """Seconds are no result, nor is the journal: a formula that was finished just before a kill has no line there."""
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

    options = ["--weights", str(folder / "weights"), "--processes", "1", *QUICK]
    return Job("", lambda out: ["campaign", str(file), "--out", str(out), *options], results)


class SlowFiles(BaseHTTPRequestHandler):
    """Sends the same file under each name, in pieces, so that it takes about half a second; ranges are understood."""

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


@contextmanager
def job_of(name: str, folder: Path) -> Iterator[Job]:
    """The job of that name, with what it needs in a folder and, for fetch, with a server."""
    folder.mkdir(parents=True, exist_ok=True)
    if name != "fetch":
        yield {"ingest": ingest_job, "train": train_job, "relax": relax_job, "campaign": campaign_job}[name](folder)
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


NAMES = ("ingest", "fetch", "train", "relax", "campaign")


def harass(name: str, *, kills: int, seed: int | None) -> Outcome:
    """All of it for one command, in a folder that is removed at the end; without a seed, kills come at renames."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, job_of(name, Path(folder) / "in") as job:
        undisturbed = run_undisturbed(job, Path(folder) / "undisturbed")
        kill = at_renames(job) if seed is None else at_random(job, undisturbed, seed)
        return kill_and_resume(job, undisturbed.results, Path(folder), kills=kills, kill=kill)
