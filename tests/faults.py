"""Commands that write files, their inputs, and disk faults that can occur while they run."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tiny import made_crystals, make_store, rock_salt, shaken, write_weights

from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_cif, to_extxyz

CAP_DAC_OVERRIDE = 1
CAPABILITIES_VERSION = 0x20080522
NETWORK = [
    "latent_dim=8", "channels=16", "filters=4", "vectors=4", "encoder_layers=1", "decoder_layers=1", "condition=16",
    "steps=3", "samples=1",
]  # fmt: skip
TRAINING = ["warmup=1", "atoms_per_batch=64", "batches_per_step=1", "log_every=1", "checkpoint_minutes=0"]
MEGNET = ["n_gaussians=20", "embedding=8", "n_blocks=1", "hidden=16", "width=8", "units=4"]


class Inputs(NamedTuple):
    """Files that commands read; no command writes to their folder."""

    weights: Path
    store: Path
    table: Path
    cif: Path
    known: Path
    formulas: Path


def options(name: str, settings: list[str]) -> list[str]:
    return [text for setting in settings for text in (name, setting)]


def make_inputs(folder: Path) -> Inputs:
    """Write tiny weights, and the same crystals as a store and as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("weights", "store", "table.parquet", "salt.cif", "known.extxyz", "formulas.txt")
    inputs = Inputs(*(folder / name for name in names))
    inputs.weights.mkdir()
    write_weights(inputs.weights)
    crystals = made_crystals()[::2]
    n = len(crystals)
    splits = ["val" if i >= n - 4 else "train" for i in range(n)]
    make_store(inputs.store, crystals, energies=[-1 - 0.01 * i for i in range(n)], hull=[0.0] * n, splits=splits)
    write_table(inputs.table, crystals)
    inputs.cif.write_text(to_cif(shaken(rock_salt(5.0), 0.05)))
    inputs.known.write_text(to_extxyz([rock_salt(5.0)]))
    inputs.formulas.write_text("NaCl\nZnO\n")
    return inputs


def write_table(path: Path, crystals: list[Crystal]) -> None:
    """Write a Parquet file that `lcoms data ingest` reads."""
    columns = {
        "material_id": [f"id-{i}" for i in range(len(crystals))],
        "numbers": [c.atomic_numbers.tolist() for c in crystals],
        "frac_coords": [c.frac_coords.ravel().tolist() for c in crystals],
        "lattice": [c.lattice.ravel().tolist() for c in crystals],
        "formation_energy_per_atom": np.linspace(-2, 0, len(crystals)),
    }
    pq.write_table(pa.table(columns), path)


QUICK = ["--starts", "2", "--steps", "1", "-n", "2"]
WRITERS: dict[str, Callable[[Inputs, Path], list[str]]] = {
    "ingest": lambda i, out: ["data", "ingest", str(i.table), "--out", str(out)],
    "cdvae": lambda i, out: [
        "train", "cdvae", str(i.store), "--out", str(out), *options("--model", NETWORK),
        *options("--set", [*TRAINING, "steps=3"]),
    ],
    "surrogate": lambda i, out: [
        "train", "surrogate", str(i.store), "--out", str(out), "--cdvae", str(i.weights / "cdvae.safetensors"),
        *options("--set", ["hidden=16", "epochs=2", "precision=float32"]),
    ],
    "library": lambda i, out: ["train", "library", str(i.store), "--out", str(out), "--weights", str(i.weights)],
    "megnet": lambda i, out: [
        "train", "megnet", str(i.store), "--out", str(out), "--threads", "1", *options("--model", MEGNET),
        *options("--set", ["epochs=1", "edges_per_batch=500", "log_every=1"]),
    ],
    "decoys": lambda i, out: [
        "train", "decoys", str(i.store), "--out", str(out / "decoys.parquet"), "-n", "2", "--starts", "1", "--steps",
        "1", "--oracle", "analytic", "--weights", str(i.weights),
    ],
    "polymorphs": lambda i, out: [
        "train", "polymorphs", str(i.store), "--out", str(out / "polymorphs.parquet"), "-n", "2", "--templates", "1",
        "--oracle", "analytic", "--processes", "1",
    ],
    "predict": lambda i, out: [
        "predict", "NaCl", "--no-relax", "--report", *QUICK, "--weights", str(i.weights), "--out", str(out),
    ],
    "campaign": lambda i, out: [
        "campaign", str(i.formulas), "--no-relax", "--processes", "1", *QUICK, "--weights", str(i.weights), "--out",
        str(out),
    ],
    "relax": lambda i, out: [
        "relax", str(i.cif), "--oracle", "toy_oracles:Springs", "--processes", "1", "--out", str(out), "--trajectory",
        "frames", "--steps", "50",
    ],
    "rank": lambda i, out: [
        "rank", str(i.cif), "--oracle", "analytic", "--cache", str(out / "cache.db"), "--json", str(out / "rank.json"),
    ],
    "score": lambda i, out: ["score", str(i.known), str(i.known), "--workers", "1", "--json", str(out / "score.json")],
    "references": lambda _, out: [
        "oracle", "references", "toy_oracles:Springs", "--elements", "Na", "--steps", "20", "--processes", "1", "--out",
        str(out / "references.json"),
    ],
    "evaluate": lambda i, out: [
        "evaluate", "table", str(i.table), "-n", "1", "--seeds", "1", "--no-relax", "--weights", str(i.weights),
        "--out", str(out / "rows.json"),
    ],
}  # fmt: skip
"""Arguments of every command that writes, all of it into one folder."""


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Limit the size of files, which acts like a quota or a full file system on any machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[bool]:
    """Mount a separate disk of this many KiB on the folder; yield False, without a disk, if that is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def permissions_count() -> Iterator[None]:
    """Drop the superuser's privilege to ignore permissions; for other users nothing changes."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    before = data[0]
    data[0] = before & ~(1 << CAP_DAC_OVERRIDE)
    assert libc.capset(header, data) == 0
    try:
        yield
    finally:
        data[0] = before
        assert libc.capset(header, data) == 0


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
