"""Agreement of lcoms.structure.matching with pymatgen's StructureMatcher, and its speed relative to it.

    python benchmarks/matcher.py FILE.parquet [FILE.parquet ...] [--pairs 12000] [--workers 2]

Pairs have equal composition. From the crystals of each file they are: polymorphs of one formula, crystals of different
formulas with one stoichiometry given the same elements, and each crystal with a distorted copy, a distorted supercell
in another basis, and a random crystal in a cell of the same volume. Every pair is compared in four ways: match and rms
with loose tolerances (0.3, 0.5, 10), fit and rms with pymatgen's defaults. The two that scoring needs for every pair
are timed, with crystals new to both programs: rms (loose) and fit (strict). Reported are the CPU time on one core, and
the wall-clock gain of a pool of workers.
"""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import os
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from lcoms.data.formats import open_reader
from lcoms.data.records import RowError
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_pymatgen
from lcoms.structure.matching import LOOSE, STRICT, matches, rmsd

Pair = tuple[Crystal, Crystal]
KINDS = ("polymorphs", "one stoichiometry", "distorted", "supercell", "random")
NOISE = (0.02, 0.1, 0.3, 0.6)
CHUNK = 200


def read(path: Path, max_atoms: int, limit: int, rng: np.random.Generator) -> list[Crystal]:
    """Return crystals in a file with at most `max_atoms` atoms, about `limit` of them, formula by formula."""
    if "_test" in path.name:
        raise SystemExit(f"{path.name}: test tables are for scores only; give another table.")
    reader = open_reader(path)
    groups: dict[str, list[Crystal]] = defaultdict(list)
    for row in reader.rows():
        if len(row.get("numbers") or ()) > max_atoms:
            continue
        try:
            crystal = reader.parse(row).crystal
        except RowError:
            continue
        groups[crystal.composition.reduced_formula].append(crystal)
    crystals: list[Crystal] = []
    for formula in rng.permutation(sorted(groups)).tolist():
        crystals += groups[formula]
        if len(crystals) >= limit:
            break
    return crystals


def distorted(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """Return the crystal with normal noise on the atoms, a tenth of it as strain of the cell, and another volume."""
    size = rng.choice(NOISE)
    lattice = crystal.lattice @ (np.eye(3) + rng.normal(size=(3, 3)) * 0.1 * size) * rng.uniform(0.95, 1.05)
    moves = rng.normal(size=crystal.frac_coords.shape) * size
    order = rng.permutation(crystal.n_atoms)
    frac = crystal.frac_coords + moves @ np.linalg.inv(lattice) + rng.random(3)
    return Crystal(lattice, frac[order], crystal.atomic_numbers[order])


def supercell(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """Return the cell doubled along one axis in another basis, half of the time distorted."""
    axis = int(rng.integers(3))
    scale = np.where(np.arange(3) == axis, 2, 1)
    frac = np.concatenate([crystal.frac_coords, crystal.frac_coords + (scale - 1)]) / scale
    doubled = Crystal(crystal.lattice * scale[:, None], frac, np.tile(crystal.atomic_numbers, 2))
    change = np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]])
    doubled = Crystal(change @ doubled.lattice, doubled.frac_coords @ np.linalg.inv(change), doubled.atomic_numbers)
    return distorted(doubled, rng) if rng.random() < 0.5 else doubled


def random_cell(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """Return the same atoms at random positions in a random cell of the same volume."""
    lattice = np.eye(3) + rng.normal(size=(3, 3)) * 0.3
    lattice *= (crystal.volume / abs(np.linalg.det(lattice))) ** (1 / 3)
    return Crystal(lattice, rng.random((crystal.n_atoms, 3)), crystal.atomic_numbers)


def renamed(crystal: Crystal, model: Crystal) -> Crystal:
    """Return a crystal with the elements of another one of the same stoichiometry."""
    order_1 = sorted(zip(crystal.composition.reduced.counts, crystal.composition.atomic_numbers, strict=True))
    order_2 = sorted(zip(model.composition.reduced.counts, model.composition.atomic_numbers, strict=True))
    names = {one[1]: two[1] for one, two in zip(order_1, order_2, strict=True)}
    return Crystal(crystal.lattice, crystal.frac_coords, np.array([names[z] for z in crystal.atomic_numbers.tolist()]))


def make_pairs(crystals: list[Crystal], n: int, rng: np.random.Generator) -> list[tuple[str, Pair]]:
    """Return n pairs of equal composition, all kinds in equal numbers as far as the crystals allow."""
    by_formula: dict[str, list[Crystal]] = defaultdict(list)
    by_type: dict[tuple[int, ...], list[Crystal]] = defaultdict(list)
    for crystal in crystals:
        by_formula[crystal.composition.reduced_formula].append(crystal)
        by_type[crystal.composition.stoichiometry].append(crystal)
    pairs: list[tuple[str, Pair]] = []
    while len(pairs) < n:
        first = crystals[rng.integers(len(crystals))]
        kind = KINDS[len(pairs) % len(KINDS)]
        siblings = by_formula[first.composition.reduced_formula]
        if kind == "polymorphs" and len(siblings) > 1:
            second = siblings[rng.integers(len(siblings))]
            if second is first:
                continue
        elif kind in ("polymorphs", "one stoichiometry"):
            like = by_type[first.composition.stoichiometry]
            second, kind = renamed(like[rng.integers(len(like))], first), "one stoichiometry"
        else:
            second = {"distorted": distorted, "supercell": supercell, "random": random_cell}[kind](first, rng)
        pairs.append((kind, (first, second)))
    return pairs


def fresh(pairs: list[Pair]) -> list[Pair]:
    """Return copies without cached data; a crystal in several pairs remains one object."""
    copies = {id(c): Crystal(c.lattice, c.frac_coords, c.atomic_numbers) for pair in pairs for c in pair}
    return [(copies[id(first)], copies[id(second)]) for first, second in pairs]


def ours(pairs: list[Pair]) -> list[tuple[float | None, bool]]:
    """Return rms (loose) and fit (strict) of each pair."""
    return [(rmsd(*pair, LOOSE), matches(*pair, STRICT)) for pair in pairs]


def theirs(pairs: list[Pair]) -> list[tuple[float | None, bool]]:
    """Return the same by pymatgen; the time for making its structures is not counted."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    loose = StructureMatcher(ltol=LOOSE.ltol, stol=LOOSE.stol, angle_tol=LOOSE.angle_tol)
    strict = StructureMatcher()
    made = {id(c): to_pymatgen(c) for pair in pairs for c in pair}
    structures = [(made[id(first)], made[id(second)]) for first, second in pairs]
    global _seconds
    clock = time.process_time()
    found = []
    for pair in structures:
        distance = loose.get_rms_dist(*pair)
        found.append((None if distance is None else float(distance[0]), bool(strict.fit(*pair))))
    _seconds = time.process_time() - clock
    return found


_seconds = 0.0


def in_pool(pairs: list[Pair], pool: ProcessPoolExecutor) -> list[tuple[float | None, bool]]:
    """Return `ours` computed in pieces, by workers that are already running."""
    pieces = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    return [verdict for piece in pool.map(ours, pieces) for verdict in piece]


def rejudge(
    pairs: list[Pair], found: list[tuple[float | None, bool]], expected: list[tuple[float | None, bool]]
) -> int:
    """Repeat pymatgen's comparisons that differ from ours in any bit, without its cache; return how many then agree.

    StructureMatcher caches reduced cells and uses them for structures that are equal within a tolerance, so that its
    result may depend on earlier comparisons. `expected` is changed in place.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    mended = 0
    for place, (mine, before) in enumerate(zip(found, expected, strict=True)):
        if mine != before:
            StructureMatcher._get_reduced_istructure.cache_clear()
            (expected[place],) = theirs([pairs[place]])
            mended += expected[place] == mine
    return mended


def extra(pairs: list[Pair]) -> tuple[int, int]:
    """Return the numbers of changed verdicts of the two untimed comparisons: fit (loose) and rms (strict)."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    loose = StructureMatcher(ltol=LOOSE.ltol, stol=LOOSE.stol, angle_tol=LOOSE.angle_tol)
    strict = StructureMatcher()
    changed = [0, 0]
    for first, second in pairs:
        one, two = to_pymatgen(first), to_pymatgen(second)
        changed[0] += matches(first, second, LOOSE) != bool(loose.fit(one, two))
        changed[1] += (rmsd(first, second, STRICT) is None) != (strict.get_rms_dist(one, two) is None)
    return changed[0], changed[1]


def main() -> None:
    """Measure and print; the exit code is 1 if a verdict differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=12_000)
    parser.add_argument("--crystals", type=int, default=3_000, help="read from each file, at most")
    parser.add_argument("--max-atoms", type=int, default=40)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--extra", type=int, default=2_000, help="pairs for fit (loose) and rms (strict)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    labelled = []
    for path in options.files:
        crystals = read(path, options.max_atoms, options.crystals, rng)
        labelled += make_pairs(crystals, -(-options.pairs // len(options.files)), rng)
    pairs = [pair for _, pair in labelled]
    ours(pairs[:5]), theirs(pairs[:5])  # imports
    copies = fresh(pairs)
    clock, cpu = time.perf_counter(), time.process_time()
    found = ours(copies)
    one_wall, one_core = time.perf_counter() - clock, time.process_time() - cpu
    expected = theirs(pairs)
    pymatgen = _seconds
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(ours, [pairs[:5]] * options.workers))
        clock = time.perf_counter()
        pooled = in_pool(pairs, pool)
        all_cores = time.perf_counter() - clock
    assert pooled == found
    by_memory = rejudge(pairs, found, expected)
    report(labelled, found, expected, by_memory)
    n = len(pairs)
    print(f"pymatgen {pymatgen / n * 1e3:.2f} ms a pair of one core (rms loose + fit strict)")
    print(f"lcoms    {one_core / n * 1e3:.2f} ms of one core: {pymatgen / one_core:.1f} times as fast")
    print(f"{options.workers} workers: {one_wall / all_cores:.2f} times as fast as one, by the clock")
    more = extra(pairs[:: max(1, n // options.extra)])
    print(f"changed verdicts of fit (loose) and rms (strict): {more[0]} and {more[1]}")
    wrong = sum((a is None) != (b is None) or c != d for (a, c), (b, d) in zip(found, expected, strict=True))
    raise SystemExit(1 if wrong or any(more) else 0)


def report(
    labelled: list[tuple[str, Pair]],
    found: list[tuple[float | None, bool]],
    expected: list[tuple[float | None, bool]],
    by_memory: int,
) -> None:
    """Print changed verdicts, matches by kind, and the largest difference of rms."""
    rows = list(zip([kind for kind, _ in labelled], found, expected, strict=True))
    total = Counter(kind for kind, _, _ in rows)
    loose = Counter(kind for kind, _, (rms, _) in rows if rms is not None)
    strict = Counter(kind for kind, _, (_, fit) in rows if fit)
    for kind in total:
        print(f"{kind:<18} {total[kind]:>6} pairs, {loose[kind]:>5} match loosely, {strict[kind]:>5} strictly")
    changed_loose = sum((a is None) != (b is None) for _, (a, _), (b, _) in rows)
    changed_strict = sum(a != b for _, (_, a), (_, b) in rows)
    both = [abs(a - b) for _, (a, _), (b, _) in rows if a is not None and b is not None]
    print(f"{len(rows)} pairs; changed verdicts: {changed_loose} loose, {changed_strict} strict; ", end="")
    print(f"largest difference of rms {max(both, default=0.0):.1e}")
    print(f"answers of pymatgen that depended on its earlier ones and were asked for again: {by_memory}")


if __name__ == "__main__":
    main()
