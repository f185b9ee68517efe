"""Seconds per structure to decode 128 latents of 8-atom cells on one core, and seconds of whole commands.

python benchmarks/decode.py [--weights FOLDER] [--repeats 3]
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from lcoms.models.weights import load_weights
from lcoms.structure.crystal import Composition

BATCH = 128


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_weights(options.weights).cdvae
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(BATCH, model.latent_dim, generator=generator)
    cells = [Composition.from_formula("NaCl").scaled(4)] * BATCH
    model.decode(z[:4], cells[:4], generator)
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        model.decode(z, cells, generator)
        seconds.append((time.perf_counter() - start) / BATCH)
    print(f"decode, one core, batch of {BATCH}, 8 atoms: {statistics.median(seconds):.4f} s a structure (median)")
    print(f"  settings: {model.config.steps} steps, {model.config.samples} samples")
    command = shutil.which("lcoms", path=str(Path(sys.executable).parent)) or "lcoms"
    extra = [] if options.weights is None else ["--weights", str(options.weights)]
    with tempfile.TemporaryDirectory() as folder:
        for arguments in (["--help"], ["predict", "NaCl", "--out", folder, *extra]):
            times = []
            for _ in range(options.repeats):
                start = time.perf_counter()
                subprocess.run([command, *arguments], check=True, capture_output=True)
                times.append(time.perf_counter() - start)
            print(f"lcoms {' '.join(arguments[:2])}: {statistics.median(times):.2f} s (median of {options.repeats})")


if __name__ == "__main__":
    main()
