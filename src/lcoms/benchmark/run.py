"""Run methods and judge their answers: every run gives a row, even if it fails; existing rows are not run again.

Methods that need a start run together, so that the start is made only once; the start of an existing row is reused for
those that are still missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lcoms.benchmark.methods import METHODS, Case, Context, Files, Models, load_models, settings_of
from lcoms.benchmark.protocol import BenchmarkConfig, Judge, Start, Task, Track, make_start
from lcoms.benchmark.rows import ROWS_FILE, Judged, Key, Point, Row, RowLog
from lcoms.benchmark.searches import Found
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError, DataError, LcomsError
from lcoms.core.parallel import parallel_map
from lcoms.core.pool import WorkerDiedError
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Crystal, crystal_from_dict

SEARCHES = "searches"


class Job(NamedTuple):
    """Methods to be run on one task with one seed.

    Attributes:
        start: from a row of the same task and seed, if there is one.
    """

    task: Task
    seed: int
    methods: tuple[str, ...]
    start: Start | None = None


def run_benchmark(
    tasks: Sequence[Task],
    methods: Mapping[Track, Sequence[str]],
    seeds: Sequence[int],
    config: BenchmarkConfig,
    files: Files,
    out: Path,
    *,
    processes: int = 1,
    label: str = "",
    on_row: Callable[[Row], None] | None = None,
) -> int:
    """Run everything that is not yet in OUT/rows.jsonl.

    Args:
        methods: names by track.
        label: appended to the names of methods in the rows.
        on_row: called with each new row.

    Returns:
        Number of rows that already existed.

    Raises:
        ConfigError: the file contains rows of the same runs with other settings, or of other structures with the same
            names.
        DataError: a process was ended from outside.
    """
    models = load_models(files)
    with RowLog(out / ROWS_FILE) as log:
        jobs, n_done = plan(tasks, methods, seeds, config, models, log.rows, label=label)
        for row in _rows(jobs, config, files, models, out / SEARCHES, processes, label):
            kept = log.append(row)
            if on_row is not None:
                on_row(kept)
    return n_done


def plan(
    tasks: Sequence[Task],
    methods: Mapping[Track, Sequence[str]],
    seeds: Sequence[int],
    config: BenchmarkConfig,
    models: Models,
    rows: Mapping[Key, Row],
    *,
    label: str = "",
) -> tuple[list[Job], int]:
    """Return the jobs to be run, seed by seed, and the number of runs that are done.

    Raises:
        ConfigError: a row was made with other settings, or for another known structure.
    """
    jobs: list[Job] = []
    n_done = 0
    for seed in seeds:
        for task in tasks:
            missing = []
            for name in methods[task.track]:
                row = rows.get(Key(task.track, name + label, task.reference.name, seed))
                if row is None:
                    missing.append(name)
                    continue
                _check_task(row, task)
                _check_settings(row, settings_of(name, task.track, config, models))
                n_done += 1
            together = tuple(name for name in missing if METHODS[task.track, name].from_start)
            if together:
                jobs.append(Job(task, seed, together, _known_start(rows, task, seed, config)))
            jobs += [Job(task, seed, (name,)) for name in missing if name not in together]
    return jobs, n_done


def _check_task(row: Row, task: Task) -> None:
    """Check that a row belongs to a task, since structures of two files may have one name."""
    theirs = (row.group, row.formula, row.n_atoms)
    if theirs != (task.group, task.reference.composition.reduced_formula, task.cell.n_atoms):
        raise ConfigError(
            f"the folder holds {row.method} for another {row.compound}, {row.formula} with {row.n_atoms} atoms of "
            f"{row.group!r}; name another folder."
        )


def _check_settings(row: Row, wanted: Mapping[str, Any]) -> None:
    wanted = json.loads(json.dumps(wanted))
    different = sorted(key for key in {*row.settings, *wanted} if row.settings.get(key) != wanted.get(key))
    if different:
        raise ConfigError(
            f"the folder holds {row.method} for {row.compound} with another {', '.join(different)}; "
            "name another folder, or give the same settings."
        )


def _known_start(rows: Mapping[Key, Row], task: Task, seed: int, config: BenchmarkConfig) -> Start | None:
    own = json.loads(json.dumps(to_dict(config)))
    for row in rows.values():
        if (row.track, row.compound, row.seed, row.group) != (task.track, task.reference.name, seed, task.group):
            continue
        same = all(row.settings.get(name) == own[name] for name in ("judge", "relax", "start"))
        if same and row.start is not None:
            return Start(crystal_from_dict(row.start.crystal), row.seconds["start"])
    return None


class Runner:
    """Runner of jobs in one process.

    Args:
        searches: folder that stores long searches.

    Attributes:
        judge: evaluates all answers.
    """

    def __init__(
        self, config: BenchmarkConfig, models: Models, searches: Path | None = None, *, label: str = ""
    ) -> None:
        self.config, self.label = config, label
        self.judge = Judge(config.judge, config.relax)
        self.context = Context(config, models, self.judge.oracle, searches)
        self._starter = make_oracle(config.start) if config.start else self.judge.oracle

    def run(self, job: Job) -> Iterator[Row]:
        """Yield a row for each method of a job."""
        start, reason = job.start, ""
        if start is None and METHODS[job.task.track, job.methods[0]].from_start:
            try:
                start = make_start(job.task, job.seed, self._starter, self.config.relax)
            except LcomsError as error:
                reason = f"no start: {error}"
        for name in job.methods:
            yield self._row(name, job, start, reason)

    def _row(self, name: str, job: Job, start: Start | None, reason: str) -> Row:
        found, began = Found(None, {}, reason=reason), None
        if not reason:
            try:
                method = METHODS[job.task.track, name]
                found = method.run(Case(self.context, job.task, job.seed, None if start is None else start.crystal))
            except LcomsError as error:
                found = Found(None, {}, reason=str(error))
            except Exception as error:  # a failing method is a result, and must not end the benchmark
                found = Found(None, {}, reason=_one_line(error))
        reference = job.task.reference
        if start is not None:
            (began,) = self.judge.look([start.crystal], reference)
        answer, relaxed, ended, seconds = self._judge(found.crystal, job.task)
        return Row(
            track=job.task.track,
            method=name + self.label,
            compound=reference.name,
            seed=job.seed,
            group=job.task.group,
            formula=reference.composition.reduced_formula,
            n_atoms=job.task.cell.n_atoms,
            status="failed" if found.crystal is None else "ok",
            reason=found.reason,
            known=self.judge.known(job.task),
            settings=settings_of(name, job.task.track, self.config, self.context.models),
            start=began,
            answer=answer,
            relaxed=relaxed,
            relaxation=ended,
            seconds=({} if start is None else {"start": start.seconds}) | dict(found.seconds) | seconds,
            n_evaluations=found.n_evaluations,
            single_points=found.single_points,
            descent=found.descent,
            progress=self._progress(found, job.task),
        )

    def _judge(self, crystal: Crystal | None, task: Task) -> tuple[Judged | None, Judged | None, str, dict[str, float]]:
        if crystal is None:
            return None, None, "", {}
        (answer,) = self.judge.look([crystal], task.reference)
        clock = time.perf_counter()
        relaxed, ended = self.judge.look_relaxed(crystal, task.reference)
        return answer, relaxed, ended, {"relax": time.perf_counter() - clock}

    def _progress(self, found: Found, task: Task) -> tuple[Point, ...]:
        there = [place for place in found.way if place[3] is not None]
        looked = iter(self.judge.look([place[3] for place in there if place[3] is not None], task.reference))
        return tuple(
            Point(n, seconds, predicted, None if crystal is None else next(looked))
            for n, seconds, predicted, crystal in found.way
        )


def _one_line(error: Exception) -> str:
    text = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {text}"


def _rows(
    jobs: Sequence[Job],
    config: BenchmarkConfig,
    files: Files,
    models: Models,
    searches: Path,
    processes: int,
    label: str,
) -> Iterator[Row]:
    """Yield rows as they are finished."""
    if not jobs:
        return
    if processes == 1:
        torch.set_num_threads(1)  # as in worker processes, whose last digits and times it would otherwise not have
        runner = Runner(config, models, searches, label=label)
        for job in jobs:
            yield from runner.run(job)
        return
    arguments = (config, files, searches, label)
    try:
        for rows in parallel_map(
            _run, jobs, processes=processes, prepare=_prepare, arguments=arguments, in_order=False
        ):
            yield from rows
    except WorkerDiedError as error:
        raise DataError("a worker process was ended; run the same command again; it resumes from there.") from error


_HERE: dict[str, Runner] = {}


def _prepare(config: BenchmarkConfig, files: Files, searches: Path, label: str) -> None:
    torch.set_num_threads(1)
    _HERE["runner"] = Runner(config, load_models(files), searches, label=label)


def _run(job: Job) -> list[Row]:
    return list(_HERE["runner"].run(job))
