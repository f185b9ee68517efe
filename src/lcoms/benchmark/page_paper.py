"""Tables of the results page for the paper's comparison, from the rows of `lcoms benchmark` and of GPAW."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median, stdev
from typing import NamedTuple

from lcoms.benchmark.figures_descent import FIGURE_4_COMPOUNDS, NORMAL_95, energy_of, sweep_of
from lcoms.benchmark.page_text import lines_of
from lcoms.benchmark.protocol import PAPER_GROUP, TRACKS
from lcoms.benchmark.rows import Row, read_rows
from lcoms.benchmark.success import CRITERIA, N_SHOWN, STAGES, total
from lcoms.benchmark.tables import PAPER_TOTALS, REFERENCE, Column, columns, without_label
from lcoms.core.config import parse_json

COMPARISON, TAU = "comparison.jsonl.gz", "tau.jsonl.gz"
DFT = "dft_winners.json"
MADE = {COMPARISON: "2026-11-23 to 30", TAU: "2026-11-30", DFT: "2026-11-23"}
"""Dates of the rows in these files, which have no header."""
FEW = 3  # number of seeds of the searches
CLOSE = 0.010  # eV/atom


class Source(NamedTuple):
    """Content of one file of rows."""

    name: str
    title: str
    n_rows: int
    command: str
    weights: str
    date: str


SHORT = {"strict match + space group": "structure"}


def comparison_tables(folder: Path) -> dict[str, str]:
    """Return `comparison-paper`, `comparison-formula` and one table for each further set; empty without stored rows."""
    path = folder / COMPARISON
    if not path.is_file():
        return {}
    rows = read_rows([path])
    found = {}
    for group in sorted({row.group for row in rows}):
        some = [row for row in rows if row.group == group]
        for track in TRACKS:
            mine = [column for column in columns(some) if column.track == track]
            if mine:
                name = f"comparison-{track}" if group == PAPER_GROUP else f"comparison-{track}-{group}"
                found[name] = _comparison(mine, quoted=(group, track) == (PAPER_GROUP, "paper"))
    return found


def comparison_source(folder: Path) -> list[Source]:
    """Return the sources of the rows of the comparison, of Figure 4 and of GPAW."""
    found = []
    for file, title, command in (
        (COMPARISON, "The paper's comparison", "lcoms benchmark run, sweep"),
        (TAU, "Figure 4: descents for several values of tau", "lcoms benchmark sweep"),
    ):
        if not (folder / file).is_file():
            continue
        rows = read_rows([folder / file])
        shipped = [row for row in rows if file == TAU or row.method == REFERENCE]
        digests = {str(row.settings["weights"]).partition(",")[0] for row in shipped}  # without those of surrogates
        weights = min(digests) if len(digests) == 1 else ""
        found.append(Source(file.partition(".")[0], title, len(rows), command, weights, MADE[file]))
    if (folder / DFT).is_file():
        n = len(parse_json((folder / DFT).read_bytes()))
        command = "python benchmarks/dft_winners.py comparison.jsonl.gz"
        found.append(Source("dft_winners", "Winners of the comparison by GPAW", n, command, "", MADE[DFT]))
    return found


def _comparison(found: list[Column], *, quoted: bool) -> str:
    names = [SHORT.get(one.name, one.name) for one in CRITERIA[:N_SHOWN]]
    header = ["method", "seeds", *names, *(f"relaxed: {name}" for name in names), "median s"]
    if quoted:
        header.append("paper: OQMD, MatBench")
    lines = []
    for column in _beside(found):
        shares = [total(column.rows, [], one, stage).compounds for stage in STAGES for one in CRITERIA[:N_SHOWN]]
        cells = [f"{one.successes}/{one.trials}" if one.trials else "" for one in shares]
        line = [f"`{column.method}`", _seeds(column.rows), *cells, _seconds(column.rows)]
        if quoted:
            line.append(
                ", ".join(
                    "-" if one is None else f"{one}/26" for one in PAPER_TOTALS.get(without_label(column.method), ())
                )
            )
        lines.append(line)
    return lines_of(header, lines)


def _beside(found: list[Column]) -> list[Column]:
    """Return the columns, with LCOMs twice if it has more seeds than others: with all seeds, and with as many."""
    counts = sorted({len({row.seed for row in column.rows}) for column in found})
    lines = []
    for column in found:
        lines.append(column)
        if column.method == REFERENCE and FEW in counts[:-1]:
            lines.append(column._replace(rows=[row for row in column.rows if row.seed < FEW]))
    return lines


def _seeds(rows: list[Row]) -> str:
    seeds = {row.seed for row in rows}
    return f"{len(seeds)}" if len(seeds) != FEW else f"{FEW} (0 to {FEW - 1})"


def _seconds(rows: list[Row]) -> str:
    done = [row.total_seconds for row in rows if row.status == "ok"]
    return f"{median(done):.2f}" if done else ""


def tau_table(folder: Path) -> dict[str, str]:
    """Return `tau`: decreases of the energy along the descent, as predicted and by the judge; empty without rows."""
    path = folder / TAU
    if not path.is_file():
        return {}
    rows = read_rows([path])
    taus = {place[1] for row in rows if (place := sweep_of(row)) is not None}
    header, lines = ["tau"], []
    for name in FIGURE_4_COMPOUNDS:
        header += [f"{name}: predicted decrease, eV/atom", f"{name}: decrease by the judge, eV/atom"]
    for tau in sorted(taus):
        line = [f"{tau:g}"]
        for name in FIGURE_4_COMPOUNDS:
            mine = [row for row in rows if row.compound == name and sweep_of(row) == ("tau", tau) and row.descent]
            line.append(f"{mean(row.descent[0] - row.descent[-1] for row in mine):.3f}" if mine else "")
            line.append(_mean_with_interval([fall for row in mine if (fall := _judged_decrease(row)) is not None]))
        lines.append(line)
    return {"tau": lines_of(header, lines)}


def _judged_decrease(row: Row) -> float | None:
    """Return the decrease of the judge's energy from the decoded start to the answer."""
    first, last = (row.progress[0].judged if row.progress else None), row.answer
    before, after = energy_of(first), energy_of(last)
    return None if before is None or after is None else before - after


def _mean_with_interval(values: list[float]) -> str:
    if len(values) < 2:
        return ""
    half = NORMAL_95 * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.3f} [{mean(values) - half:.3f}, {mean(values) + half:.3f}], n = {len(values)}"


def dft_table(folder: Path) -> dict[str, str]:
    """Return `dft`: the winner of each method against the known structure by GPAW; empty without stored rows."""
    path = folder / DFT
    if not path.is_file():
        return {}
    kept = parse_json(path.read_bytes())
    lines = []
    for method in sorted({name for row in kept.values() for name in row["winners"]}):
        gaps = []
        for row in kept.values():
            place = row["winners"].get(method)
            energy = None if place is None else row["energies"][place]
            if energy is not None and row["energies"][0] is not None:
                gaps.append(energy - row["energies"][0])
        lower, higher = sum(gap < -CLOSE for gap in gaps), sum(gap > CLOSE for gap in gaps)
        lines.append((method, str(len(gaps)), str(lower), str(len(gaps) - lower - higher), str(higher)))
    header = ("method", "compounds", "more than 10 meV/atom below", "within 10 meV/atom", "more than 10 meV/atom above")
    return {"dft": lines_of(header, lines)}
