"""The paper's comparison from data to tables, as a sequence of commands; finished ones are not run again.

Fetch, ingest without the compounds that are predicted, autoencoder, both surrogates, rows, tables. The commands for the
two surrogates differ only in `--conservatism`.
Source of the settings: Qi et al., Latent Conservative Objective Models (2023), sections 4 and 5 and the appendix.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from lcoms.benchmark.protocol import PAPER_GROUP
from lcoms.core.bounds import require
from lcoms.core.config import names_in, with_overrides
from lcoms.core.disk import write_whole
from lcoms.core.errors import DataError
from lcoms.core.journal import Journal
from lcoms.data.sources import find_source
from lcoms.evaluate.references import named, paper_compounds
from lcoms.models.surrogate import SurrogateConfig
from lcoms.models.weights import CDVAE_FILE, find_preset
from lcoms.oracles.registry import DEFAULT_ORACLE, make_oracle
from lcoms.train.cdvae import TrainConfig

STAGES_FILE = "stages.jsonl"
EXCLUDED_FILE = "excluded.txt"
METHODS = "lcoms,sl,cdvae,start"
SURROGATES: Mapping[str, tuple[str, ...]] = {
    "paper": ("learning_rate=3e-5", "batch_size=128", "epochs=50", "inner_steps=1", "tau=1"),
    "fast": (
        "residual=true", "learning_rate=3e-4", "epochs=3", "final_lr_fraction=0.05", "inner_steps=5", "tau=0.1",
    ),
}  # fmt: skip
"""Settings of both surrogates: those of the paper, and those with which the shipped surrogate was trained before."""
TRAININGS: Mapping[str, tuple[str, ...]] = {
    "paper": ("steps=50000", "learning_rate=1e-3"),
    "fast": ("steps=30000",),
}
MODELS: Mapping[str, tuple[str, ...]] = {"paper": ("langevin.steps_per_level=100",), "fast": ()}


@dataclass(frozen=True)
class Reproduction:
    """Options of a reproduction.

    Attributes:
        data: name of the data set.
        file: read instead of downloading the data set.
        preset: of the autoencoder and the surrogates.
        max_atoms: number of atoms in the largest cell of the training data.
        compounds: names separated by commas; None: the paper's 26.
        n_seeds: number of seeds for each method and compound.
        steps: number of steps of the descents.
        judge: oracle that gives all energies.
        model, training, surrogate: key=value, in addition to those of the preset.

    Raises:
        ConfigError, DataError, OracleError: the preset, data set, file, judge, a compound or a setting does not exist.
    """

    data: str
    file: str | None = None
    preset: str = "paper"
    max_atoms: int = 20
    compounds: str | None = None
    n_seeds: int = 3
    steps: int = 50
    judge: str = DEFAULT_ORACLE
    model: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    surrogate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        preset = find_preset(self.preset)
        find_source(self.data)
        make_oracle(self.judge)
        with_overrides(preset.config(), [*MODELS[self.preset], *self.model])
        with_overrides(TrainConfig(), [*TRAININGS[self.preset], *self.training])
        with_overrides(SurrogateConfig(), [*SURROGATES[self.preset], *self.surrogate])
        if self.compounds is not None:
            named(paper_compounds(), names_in(self.compounds, "--compounds"), PAPER_GROUP)
        if self.file is not None and not Path(self.file).exists():
            raise DataError(f"{self.file} does not exist.")
        require(self, at_least_one=["n_seeds", "max_atoms"], not_negative=["steps"])


@dataclass(frozen=True)
class Machine:
    """Settings that no result depends on.

    Attributes:
        workers: number of processes that read the data.
        threads: number of threads for training; None: all.
        device: auto, cpu or cuda.
        processes: number of processes that run the methods.
    """

    workers: int = 1
    threads: int | None = None
    device: str = "auto"
    processes: int = 1


class Stage(NamedTuple):
    """One command.

    Attributes:
        arguments: after `lcoms`.
        machine: further arguments, which may differ when the run is resumed.
    """

    name: str
    arguments: tuple[str, ...]
    machine: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command as it would be typed."""
        return shlex.join(["lcoms", *self.arguments, *self.machine])


class Done(NamedTuple):
    """A finished stage."""

    name: str
    command: str
    seconds: float


def stages(plan: Reproduction, out: Path, files: Sequence[Path], machine: Machine) -> list[Stage]:
    """Return the commands that follow the download of the data.

    Args:
        files: of the data set.
    """
    store, cdvae, weights, plain, rows = (str(out / name) for name in ("store", "cdvae", "weights", "sl", "rows"))
    device = ("--device", machine.device)
    threads = () if machine.threads is None else ("--threads", str(machine.threads))
    cells, network = ("--max-atoms", str(plan.max_atoms)), str(Path(cdvae) / CDVAE_FILE)
    learn = ("train", "surrogate", store, "--cdvae", network, *cells)
    settings = _each("--set", (*SURROGATES[plan.preset], *plan.surrogate))
    judged = ("--seeds", str(plan.n_seeds), "--steps", str(plan.steps), "--judge", plan.judge)
    compounds = () if plan.compounds is None else ("--compounds", plan.compounds)
    return [
        Stage(
            "ingest",
            ("data", "ingest", *map(str, files), "--out", store, *cells, "--exclude", str(out / EXCLUDED_FILE)),
            ("--workers", str(machine.workers)),
        ),
        Stage(
            "autoencoder",
            (
                "train", "cdvae", store, "--out", cdvae, "--preset", plan.preset, *cells,
                *_each("--model", (*MODELS[plan.preset], *plan.model)),
                *_each("--set", (*TRAININGS[plan.preset], *plan.training)),
            ),
            (*device, *threads),
        ),
        Stage("surrogate", (*learn, "--out", weights, *settings), device),
        Stage("surrogate without conservatism", (*learn, "--out", plain, *settings, "--conservatism", "off"), device),
        Stage(
            "rows",
            (
                "benchmark", "run", "--out", rows, "--track", "paper", "--methods", METHODS, "--weights", weights,
                "--sl", plain, *judged, *compounds,
            ),
            ("--processes", str(machine.processes)),
        ),
        Stage("tables", ("benchmark", "report", rows, "--out", str(out / "report"))),
    ]  # fmt: skip


def reproduce(
    plan: Reproduction,
    out: Path,
    *,
    machine: Machine,
    fetch: Callable[[Path], Sequence[Path]],
    run: Callable[[Sequence[str]], None],
    tell: Callable[[str], None],
) -> list[Done]:
    """Run the stages that are not finished according to OUT/stages.jsonl.

    Args:
        fetch: downloads the data set into a folder.
        run: runs a command of `lcoms` by its arguments, and raises its errors.
        tell: called with progress messages.

    Returns:
        All stages with their times in seconds, including those of earlier calls.

    Raises:
        ConfigError: the folder contains a run with other options.
    """
    with Journal(
        out / STAGES_FILE, Done._asdict, lambda one: Done(**one), what="a stage", header=asdict(plan)
    ) as journal:
        done = {one.name: one for one in journal.read()}
        write_whole(out / EXCLUDED_FILE, "".join(f"{name}\n" for name in excluded()))
        files: Sequence[Path] = []
        if "ingest" not in done:
            files = [Path(plan.file)] if plan.file is not None else fetch(out / "raw")
        for stage in stages(plan, out, files, machine):
            if stage.name in done:
                tell(f"{stage.name}: done before, in {done[stage.name].seconds:.0f} s")
                continue
            tell(f"{stage.name}: {stage.command}")
            clock = time.perf_counter()
            run([*stage.arguments, *stage.machine])
            done[stage.name] = Done(stage.name, stage.command, time.perf_counter() - clock)
            journal.append(done[stage.name])
    return list(done.values())


def excluded() -> list[str]:
    """Return the reduced formulas of the paper's compounds, which are not trained on, whichever are predicted."""
    return sorted({reference.composition.reduced_formula for reference in paper_compounds()})


def _each(option: str, settings: Sequence[str]) -> tuple[str, ...]:
    return tuple(text for setting in settings for text in (option, setting))
