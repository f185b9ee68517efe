"""Commands killed with SIGKILL at random moments and restarted until they finish.

A round uses one folder: the command is killed and restarted until it ends by itself. Its files must then equal those of
an undisturbed run, no unit of work finished before a kill may be repeated after it, and no process may outlive a
command. Rounds are repeated until the requested number of kills is reached.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

LONGEST = 900.0  # seconds of one run; longer runs are considered hanging
ROUNDS_PER_KILL = 5  # a run that ends before its kill costs a round
PATIENCE = 30.0  # seconds, on a busy machine, in which processes of a killed command must end
PREAMBLE = """
import sys
from lcoms.cli.main import main
OUT, WORK = {out!r}, {work!r}
noted = set()
def notes(owner, name, unit):
    act = getattr(owner, name)
    def called(*arguments, **options):
        result = act(*arguments, **options)
        said = unit(result, *arguments)
        if said is not None and said not in noted:
            noted.add(said)
            with open(WORK, "a") as file:
                file.write(f"{{said}}\\n")
        return result
    setattr(owner, name, called)
"""
FORGETS = """
if __name__ == "__main__":  # as if no command ever resumed
    import shutil
    shutil.rmtree(OUT, ignore_errors=True)
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
orphans: list[int] = []


class Job(NamedTuple):
    """A command that can be run into any folder.

    Attributes:
        code: Python run before the command: small sizes without an option, and calls of `notes` that name the functions
            after which a unit of work is on disk.
        arguments: of lcoms, for an output folder.
        results: content of that folder that must be equal for two runs.
    """

    code: str
    arguments: Callable[[Path], list[str]]
    results: Callable[[Path], dict[str, bytes]]


class Undisturbed(NamedTuple):
    """A run without kills: its results, and the times (s) at which it began to write and finished."""

    results: dict[str, bytes]
    begun: float
    done: float


class Outcome(NamedTuple):
    """Result of the kills.

    Attributes:
        survived: kills in rounds that ended with the files of an undisturbed run and lost no finished work.
        left_over: partial files of killed processes that remain at the end.
        orphans: processes that outlived a killed command.
        again: units of work that were repeated although they were finished before a kill.
    """

    tried: int
    survived: int
    rounds: int
    left_over: int
    orphans: int
    again: int
    complaints: list[str]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every finished file below a folder."""
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
    """Run rounds of kills, each until the command ends by itself or the number of kills is reached.

    Args:
        wanted: results of an undisturbed run.
        kill: starts the command, given the folder of a round and the number of kills in it so far, and kills it;
            returns False if the command ended first.
    """
    tried = survived = rounds = left_over = again = 0
    orphans.clear()
    complaints: list[str] = []
    while tried < kills and rounds < ROUNDS_PER_KILL * kills:
        out, in_round = folder / f"round-{rounds}", 0
        while tried + in_round < kills and kill(out, in_round):
            in_round += 1
        rounds, tried = rounds + 1, tried + in_round
        with _started(job, out) as process:
            code = process.wait(LONGEST)
        left_over += sum(map(_is_part, out.rglob("*")))
        twice = _done_twice(out)
        again += len(twice)
        problem = _complaint(out) if code else _difference(job.results(out), wanted)
        problem = problem or (f"done again: {', '.join(twice)}" if twice else "")
        if problem:
            complaints.append(f"after {in_round} kills: {problem}")
        else:
            survived += in_round
    return Outcome(tried, survived, rounds, left_over, len(orphans), again, complaints)


def at_random(job: Job, undisturbed: Undisturbed, seed: int) -> Kill:
    """Kill at random moments of an undisturbed run; half of the kills include all children.

    A new run that ends before its kill, because the machine is less busy, updates the duration of a run.
    """
    chance, pace = random.Random(seed), 1.0

    def kill(out: Path, number: int) -> bool:
        nonlocal pace
        send = os.killpg if chance.random() < 0.5 else os.kill
        moment, clock = chance.uniform(0.7 * undisturbed.begun, undisturbed.done), time.monotonic()
        with _started(job, out) as process:
            try:
                code = process.wait(pace * moment)
                if number == 0:
                    pace = min(pace, (time.monotonic() - clock) / undisturbed.done)
            except subprocess.TimeoutExpired:
                send(process.pid, signal.SIGKILL)
                code = process.wait()
            orphans.extend(_end_session(process.pid))
        return _was_killed(code, out)

    return kill


def at_renames(job: Job) -> Kill:
    """Kill just before and just after the first file is renamed, then the second, and again in the next run."""

    def kill(out: Path, number: int) -> bool:
        with _started(job._replace(code=job.code + AT_RENAME.format(moment=number % 4)), out) as process:
            return _was_killed(process.wait(LONGEST), out)

    return kill


def _was_killed(code: int, out: Path) -> bool:
    assert code in (0, -signal.SIGKILL), _complaint(out)
    return code != 0


@contextmanager
def _started(job: Job, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command in a separate process group, on one thread, with its output next to the folder."""
    before = PREAMBLE.format(out=str(out), work=str(out.with_suffix(".work")))
    code = f"{before}{job.code}\nif __name__ == '__main__':\n    main(sys.argv[1:])\n"
    script = out.with_suffix(".py")  # a file, because the processes that it spawns read it
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


def _end_session(session: int) -> list[int]:
    """Return the processes of a session that do not end by themselves within `PATIENCE`, after ending them."""
    end = time.monotonic() + PATIENCE
    while (living := _living(session)) and time.monotonic() < end:
        time.sleep(0.05)
    for process in living:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return living


def _living(session: int) -> list[int]:
    """Return the processes of a session from /proc, without zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, theirs, *_ = path.read_text().rpartition(")")[2].split()
            if int(theirs) == session and state not in "ZX":
                found.append(int(path.parent.name))
    return found


def _done_twice(out: Path) -> list[str]:
    work = out.with_suffix(".work")
    units = Counter(work.read_text().splitlines() if work.exists() else [])
    return sorted(unit for unit, count in units.items() if count > 1)


def _complaint(out: Path) -> str:
    lines = out.with_suffix(".err").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word of what was wrong"


def _difference(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    missing, surplus = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    said = {"missing": missing, "left over": surplus, "different": other}
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items() if names)


def harass(name: str, *, kills: int, seed: int | None, patch: str = "") -> Outcome:
    """Test one command in a folder that is removed at the end; without a seed, kills are at renames.

    Args:
        patch: Python run before each restarted command, such as `FORGETS`.
    """
    from kill_jobs import job_of

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, job_of(name, Path(folder) / "in") as job:
        undisturbed = run_undisturbed(job, Path(folder) / "undisturbed")
        job = job._replace(code=job.code + patch)
        kill = at_renames(job) if seed is None else at_random(job, undisturbed, seed)
        return kill_and_resume(job, undisturbed.results, Path(folder), kills=kills, kill=kill)
