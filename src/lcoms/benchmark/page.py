"""The tables of the results page, from stored measurements, and their insertion into a page.

A page marks a table by two comments, `<!-- table: NAME -->` and `<!-- end -->`; the text between them is written from
the rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import median

from lcoms.benchmark.kept import Measurement, PredictionRow, read_measurements
from lcoms.benchmark.page_paper import Source, comparison_source, comparison_tables, dft_table, tau_table
from lcoms.benchmark.page_text import lines_of, share
from lcoms.core.errors import DataError
from lcoms.evaluate.energy_criterion import share_within_energy
from lcoms.evaluate.statistics import Share, share_within

BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
SIZES = ((1, 4), (5, 8), (9, 12), (13, 20), (21, 40), (41, 80), (81, 200))
"""Ranges of the number of atoms in the known primitive cell."""
BINS = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
"""Bins of stated probabilities."""
FEWEST_STATED = 2  # predictions with a stated probability, below which a set shows nothing about calibration
N_FAILURES = 10  # rows of the table of failures
ABOVE_HULL = "above the hull"
"""Subset of crystals that are not ground states, to which stated probabilities do not apply."""

Rank = Callable[[PredictionRow], int | None]
"""One of the ranks of a prediction."""


def page_tables(folder: Path, *, shipped: str) -> dict[str, str]:
    """Return every table as Markdown, by name.

    Args:
        folder: of the stored rows.
        shipped: digest of the weights in the package, to mark rows made with earlier ones.

    Raises:
        DataError: there are no stored rows, or a file is damaged.
    """
    measured = read_measurements(folder)
    predictions = [one for one in measured.values() if one.header.kind == "predictions"]
    headline = [one for one in predictions if one.header.headline]
    found = {
        "headline": headline_table(headline, shipped),
        "short": short_table(headline),
        "conventions": conventions_table(headline),
        "before-relaxation": _before_relaxation(headline),
        "energies": energies_table(headline),
        "calibration": calibration_table(predictions),
        "failures": failures_table(headline),
        "sources": sources_table(list(measured.values()), shipped, comparison_source(folder)),
    }
    for name, one in measured.items():
        if one.header.kind == "cases":
            found[name] = cases_table(one)
            continue
        found[f"{name}-conventions"] = conventions_table([one])
        if len({row.n_atoms for row in one.predictions} - {0}) > 1:
            found[f"{name}-sizes"] = sizes_table(one)
    return found | comparison_tables(folder) | tau_table(folder) | dft_table(folder)


def fill(text: str, tables: Mapping[str, str]) -> str:
    """Return the page with its tables filled in.

    Raises:
        DataError: the page names a table that does not exist.
    """

    def put(block: re.Match[str]) -> str:
        if block[2] not in tables:
            raise DataError(f"there is no table {block[2]}; choose from {', '.join(tables)}.")
        return f"{block[1]}\n{tables[block[2]]}\n{block[4]}"

    return BLOCK.sub(put, text)


def headline_table(measurements: Sequence[Measurement], shipped: str) -> str:
    """Return how often the known structure is first, among the first five and among the first twenty."""
    header = ("test set", "predictions", "first", "among 5", "among 20", "median s", "weights")
    lines = []
    for one, title, rows in _sets(measurements):
        lines.append(
            (
                title,
                str(len(rows)),
                *_found_among(rows, (1, 5, 20)),
                _seconds(rows),
                _weights(one.header.weights, shipped),
            )
        )
    return lines_of(header, lines)


def short_table(measurements: Sequence[Measurement]) -> str:
    """Return how often the known structure is first and among the first five, for the README."""
    lines = [(one.header.title, *_found_among(one.predictions, (1, 5))) for one in measurements]
    return lines_of(("test set", "known structure first", "among five"), lines)


def conventions_table(measurements: Sequence[Measurement]) -> str:
    """Return match rates by the usual, looser criterion, without and with the validity filter, and METRe."""
    header = ("test set", "match@1", "match@20", "filtered match@1", "filtered match@20", "METRe")
    lines = []
    for one, title, rows in _sets(measurements):
        shares = [_within(rows, lambda row: row.final.loose, k) for k in (1, 20)]
        shares += [_within(rows, lambda row: row.final.filtered, k) for k in (1, 20)]
        lines.append((title, *shares, share(_matched_of_every(rows, one.predictions))))
    return lines_of(header, lines)


def _matched_of_every(rows: Sequence[PredictionRow], every: Sequence[PredictionRow]) -> Share:
    """Return METRe: the share of known structures among the first K candidates of a formula with K known structures.

    Args:
        every: rows of the whole set, which determine K.
    """
    known = Counter((row.formula, row.seed) for row in every)
    found = sum((row.final.loose or inf) <= known[row.formula, row.seed] for row in rows)
    return Share(found, len(rows), len({row.name for row in rows}))


def _before_relaxation(measurements: Sequence[Measurement]) -> str:
    header = ("test set", "decoded: first", "relaxed: first", "decoded: match@1", "relaxed: match@1")
    choices: tuple[Rank, ...] = (
        lambda row: row.decoded.both,
        lambda row: row.final.both,
        lambda row: row.decoded.loose,
        lambda row: row.final.loose,
    )
    lines = [(title, *(_within(rows, choice, 1) for choice in choices)) for _, title, rows in _sets(measurements)]
    return lines_of(header, lines)


def energies_table(measurements: Sequence[Measurement]) -> str:
    """Return shares by the paper's criterion: the first candidate's energy is close to that of the known structure."""
    header = ("test set", "within 20 %", "within 5 %", "within 1 %", "within 0.02 eV/atom")
    lines = []
    for _, title, rows in _sets(measurements):
        if any(row.known_energy is not None for row in rows):
            shares = [share_within_energy(rows, limit, relative=True) for limit in (0.2, 0.05, 0.01)]
            lines.append((title, *map(share, [*shares, share_within_energy(rows, 0.02, relative=False)])))
    return lines_of(header, lines)


def sizes_table(measurement: Measurement) -> str:
    """Return shares by the number of atoms in the known cell."""
    header = ("atoms in the known cell", "predictions", "first", "among 5", "among 20", "median s")
    lines = []
    for low, high in SIZES:
        rows = [row for row in measurement.predictions if low <= row.n_atoms <= high]
        if rows:
            lines.append((f"{low} to {high}", str(len(rows)), *_found_among(rows, (1, 5, 20)), _seconds(rows)))
    return lines_of(header, lines)


def calibration_table(measurements: Sequence[Measurement]) -> str:
    """Return stated probabilities and the fractions that were correct."""
    names = [f"{low:.1f} to {high:.1f}" for low, high in BINS]
    header = ("set", "stated", "right", "expected calibration error", *names)
    lines = []
    for _, title, rows in _sets(measurements):
        bins = binned(rows)
        if not bins:
            continue
        counts = [(mean_probability(some), sum(row.final.both == 1 for row in some), len(some)) for some in bins]
        right = Share(sum(hits for _, hits, _ in counts), sum(n for _, _, n in counts))
        error = sum(abs(stated * n - hits) for stated, hits, n in counts) / right.trials
        cells = [f"{stated:.2f}: {hits} of {n}" if n else "" for stated, hits, n in counts]
        lines.append((title, str(right.trials), f"{right.value:.2f}", f"{error:.3f}", *cells))
    return lines_of(header, lines)


def binned(rows: Sequence[PredictionRow]) -> list[list[PredictionRow]]:
    """Return the rows with a stated probability in each of BINS, none if they are fewer than FEWEST_STATED.

    A probability between two bins is in the higher one; one is in the last.
    """
    stated = [(row.probability, row) for row in rows if row.probability is not None]
    if len(stated) < FEWEST_STATED:
        return []
    return [[row for p, row in stated if low <= p < high or p == high == 1.0] for low, high in BINS]


def mean_probability(rows: Sequence[PredictionRow]) -> float:
    """Return the mean stated probability; 0 without rows."""
    return sum(row.probability or 0.0 for row in rows) / max(len(rows), 1)


def failures_table(measurements: Sequence[Measurement]) -> str:
    """Return compounds whose known ground state was not first with seed 0, highest stated probability first."""
    header = (
        "compound",
        "test set",
        "known space group",
        "first candidate's",
        "rank of the known",
        "stated probability",
    )
    missed = [
        (row, one.header.title)
        for one in measurements
        for row in one.predictions
        if row.final.both != 1 and row.seed == 0 and row.subset != ABOVE_HULL
    ]
    missed.sort(key=lambda pair: (-(pair[0].probability or 0.0), pair[0].formula))
    distinct: dict[tuple[str, str], PredictionRow] = {}
    for row, title in missed:
        distinct.setdefault((row.formula, title), row)
    lines = []
    for (_, title), row in list(distinct.items())[:N_FAILURES]:
        rank = "not found" if row.final.both is None else str(row.final.both)
        stated = "" if row.probability is None else f"{row.probability:.2f}"
        lines.append((row.formula, title, _or_dash(row.space_group), _or_dash(row.first_space_group), rank, stated))
    return lines_of(header, lines)


def sources_table(measurements: Sequence[Measurement], shipped: str, more: Sequence[Source] = ()) -> str:
    """Return the content of every stored file, and the command that made it."""
    heads = [(one.header, len(one.predictions) + len(one.cases)) for one in measurements]
    found = [Source(head.measurement, head.title, n, head.command, head.weights, head.date) for head, n in heads]
    lines = [
        (f"`{one.name}`", one.title, str(one.n_rows), f"`{one.command}`", _weights(one.weights, shipped), one.date)
        for one in [*found, *more]
    ]
    return lines_of(("file", "what", "rows", "command", "weights", "date"), lines)


def cases_table(measurement: Measurement) -> str:
    """Return one line per setting: proportions for booleans, medians for numbers."""
    rows = measurement.cases
    every = dict.fromkeys(key for row in rows for key, value in row.items() if _counts(key, value))
    columns = measurement.header.columns or tuple(every)
    lines = []
    for setting in dict.fromkeys(str(row["setting"]) for row in rows):
        some = [row for row in rows if str(row["setting"]) == setting]
        there = [[row for row in some if row.get(key) is not None] for key in columns]
        cells = [
            _cell([row[key] for row in mine], len({str(row["case"]) for row in mine}))
            for key, mine in zip(columns, there, strict=True)
        ]
        lines.append((setting, str(len(some)), *cells))
    note = f"\n{measurement.header.note}\n" if measurement.header.note else ""
    return lines_of(("", "cases", *columns), lines) + note


def _found_among(rows: Sequence[PredictionRow], ks: Sequence[int]) -> list[str]:
    """Return the shares whose known structure, with its space group, is among the first k candidates."""
    return [_within(rows, lambda row: row.final.both, k) for k in ks]


def _within(rows: Sequence[PredictionRow], rank: Rank, k: int) -> str:
    """Return the share of the rows with a rank of k or better; its interval follows from the number of structures."""
    return share(share_within(map(rank, rows), k, of=[row.name for row in rows]))


def _sets(measurements: Sequence[Measurement]) -> list[tuple[Measurement, str, Sequence[PredictionRow]]]:
    """Return each measurement, followed by its subsets."""
    found: list[tuple[Measurement, str, Sequence[PredictionRow]]] = []
    for one in measurements:
        found.append((one, one.header.title, one.predictions))
        for subset in sorted({row.subset for row in one.predictions} - {""}):
            some = tuple(row for row in one.predictions if row.subset == subset)
            found.append((one, f"of these, {subset}", some))
    return found


def _weights(digest: str, shipped: str) -> str:
    if not digest:
        return ""
    return f"{digest[:8]}{'' if digest == shipped else ' (not shipped)'}"


def _seconds(rows: Sequence[PredictionRow]) -> str:
    return f"{median(row.seconds for row in rows):.1f}"


def _counts(key: str, value: object) -> bool:
    return key not in ("case", "setting", "seed") and isinstance(value, bool | int | float)


def _cell(values: Sequence[bool | int | float], n_cases: int) -> str:
    if not values:
        return ""
    if all(isinstance(value, bool) for value in values):
        return share(Share(sum(map(bool, values)), len(values), n_cases))
    return f"{median(map(float, values)) + 0.0:.3g}"  # + 0.0: no "-0"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
