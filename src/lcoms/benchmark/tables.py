"""The tables, each a header and rows of texts, and their output as Markdown and CSV.

Results reported in the paper are in separate columns labelled as such; everything else comes from the rows of a
benchmark.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import mean, median
from typing import NamedTuple

from lcoms.benchmark.methods import METHODS
from lcoms.benchmark.protocol import PAPER_GROUP, TRACKS
from lcoms.benchmark.rows import PARTS, Row
from lcoms.benchmark.success import CRITERIA, N_SHOWN, STAGE_WORDS, STAGES, Criterion, Stage, by_seed, total
from lcoms.evaluate.statistics import Share

REFERENCE = "lcoms"
PAPER_TOTALS: dict[str, tuple[int | None, int | None]] = {
    "lcoms": (16, 19), "sl": (5, None), "cdvae": (6, None), "megnet-random": (17, 18), "megnet-pso": (6, 13),
               "megnet-tpe": (16, 10)}  # fmt: skip
"""Successes out of 26 in Table 1 of the paper, trained on OQMD and on MatBench; see PAPER_NOTE for the criteria."""
PAPER_SECONDS = {"lcoms": 2, "megnet-tpe": 80, "dft-pso": 70000}
"""Seconds per structure in Table 2 of the paper."""
TOTAL_HEADER = (
    "track", "method", "stage", "criterion", "compounds", "95 % interval", "p against lcoms", "runs",
    "95 % interval of runs", "p of runs against lcoms", "compounds of each seed",
)  # fmt: skip
PAPER_HEADER = ("paper, OQMD, of 26", "paper, MatBench, of 26")
PAPER_NOTE = (
    "The paper's totals are quoted from its Table 1: energies within 20 % by density functional theory for lcoms, sl "
    "and cdvae, structures judged by inspection by Cheng et al. (2022) for the methods with MEGNet."
)
TOTAL_NOTE = (
    "Compounds are counted by the mean energy over the seeds, as in the paper, and structures by the majority of "
    "seeds. Runs are all compounds and seeds. Wilson intervals, those of runs from the number of compounds; p-values "
    "from McNemar's exact test, which for runs treats the seeds of a compound as independent."
)


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        name: of its files.
        note: a paragraph below it.
        in_report: whether it is included in report.md, or only in a separate file.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    in_report: bool = True

    def to_markdown(self) -> str:
        """Return the table with title and note as Markdown."""
        lines = [_line(self.header), _line(["---"] * len(self.header)), *(_line(row) for row in self.rows)]
        return f"## {self.title}\n\n" + "\n".join(lines) + "\n" + (f"\n{self.note}\n" if self.note else "")

    def to_csv(self) -> str:
        """Return header and rows as CSV."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


class Column(NamedTuple):
    """The rows of one method on one track."""

    track: str
    method: str
    rows: list[Row]


def without_label(method: str) -> str:
    """Return the name of a method without a label, such as lcoms for `lcoms (paper)`; variants keep theirs."""
    name, _, rest = method.partition(" ")
    return name if rest.startswith("(") else method


def columns(rows: Sequence[Row]) -> list[Column]:
    """Return rows by track and method, in the order of `METHODS`, then those with a label; variants are left out."""
    order: list[tuple[str, str]] = [key for track in TRACKS for key in METHODS if key[0] == track]
    keys = {(row.track, row.method) for row in rows}
    mine = [key for key in keys if (key[0], without_label(key[1])) in METHODS]

    def place(key: tuple[str, str]) -> tuple[int, str, int]:
        track, method = key
        bare = without_label(method)
        return TRACKS.index(track), method[len(bare) :], order.index((track, bare))

    return [Column(*key, [row for row in rows if (row.track, row.method) == key]) for key in sorted(mine, key=place)]


def variants(rows: Sequence[Row]) -> list[Column]:
    """Return rows of variants of methods, which are not in `METHODS`, such as `lcoms tau=0.5` from a sweep."""
    keys = sorted(
        {key for row in rows if (key := (row.track, row.method)) and (key[0], without_label(key[1])) not in METHODS}
    )
    return [Column(*key, [row for row in rows if (row.track, row.method) == key]) for key in keys]


def all_tables(rows: Sequence[Row]) -> list[Table]:
    """Return every table that the rows can fill, for the paper's compounds and for each other set."""
    tables = []
    groups = {row.group for row in rows}
    for group in sorted(groups, key=lambda name: (name != PAPER_GROUP, name)):
        some = [row for row in rows if row.group == group]
        mine = []
        for track, stage in product(TRACKS, STAGES):
            mine += [success_table(some, track, stage), summary_table(some, track, stage)]
        mine += [totals_table(some), variants_table(some), seconds_table(some), decreases_table(some)]
        if group != PAPER_GROUP:
            mine = [replace(one, name=f"{one.name}-{group}", title=f"{one.title}, {group}") for one in mine]
        tables += mine
    return [table for table in [*tables, failures_table(rows)] if table.rows]


def success_table(rows: Sequence[Row], track: str, stage: Stage) -> Table:
    """Return Table 1: successful seeds of each method for each compound."""
    methods = [column for column in columns(rows) if column.track == track]
    compounds = list(dict.fromkeys(row.compound for column in methods for row in column.rows))
    lines = []
    for compound in compounds:
        cells = [compound]
        for column in methods:
            some = [row for row in column.rows if row.compound == compound]
            cells.append(_hits(some, stage) if some else "")
        lines.append(tuple(cells))
    shown = ", ".join(criterion.name for criterion in CRITERIA[:N_SHOWN])
    return Table(
        f"table1-{track}-{stage}",
        f"Table 1, track {track}, {STAGE_WORDS[stage]}",
        ("compound", *(column.method for column in methods)),
        tuple(lines),
        f"Successful seeds ({shown}) of all seeds. A dash means that the criterion does not apply to elements.",
    )


def _hits(rows: Sequence[Row], stage: Stage) -> str:
    numbers = []
    for criterion in CRITERIA[:N_SHOWN]:
        hits = [criterion.holds(getattr(row, stage), row) for row in rows]
        numbers.append("-" if None in hits else str(sum(map(bool, hits))))
    return f"{' '.join(numbers)} of {len(rows)}"


def summary_table(rows: Sequence[Row], track: str, stage: Stage) -> Table:
    """Return the last line of Table 1 with one method per line, followed by the variants."""
    found = [column for column in [*columns(rows), *variants(rows)] if column.track == track]
    lines = []
    for column in found:
        lcoms, cells = _reference(column, found), [column.method]
        for criterion in CRITERIA[:N_SHOWN]:
            one = total(column.rows, [] if column.rows is lcoms else lcoms, criterion, stage)
            number, interval = _share(one.compounds)
            p = "" if one.p_runs is None else f", p {_p(one.p_compounds)}, over runs {_p(one.p_runs)}"
            seeds = _each_seed(column.rows, criterion, stage)
            cells.append(f"{number} ({interval}{p}; of each seed {seeds})" if number else "-")
        lines.append((*cells, *map(_or_nothing, _paper_totals(column, stage))))
    header = ("method", *(criterion.name for criterion in CRITERIA[:N_SHOWN]), *PAPER_HEADER)
    title = f"Table 1, totals over compounds, track {track}, {STAGE_WORDS[stage]}"
    brackets = "Brackets give the 95 % interval, McNemar's p against lcoms, and the successes of each seed."
    note = f"{brackets} {TOTAL_NOTE} {PAPER_NOTE}" + _unequal_seeds(found)
    return Table(f"summary-{track}-{stage}", title, header, tuple(lines), note)


def _each_seed(rows: Sequence[Row], criterion: Criterion, stage: Stage) -> str:
    """Return the number of successful compounds for each seed."""
    return " ".join(str(share.successes) for share in by_seed(rows, criterion, stage).values())


def _unequal_seeds(found: Sequence[Column]) -> str:
    """Return a sentence with the numbers of seeds if methods have different ones."""
    numbers = {column.method: len({row.seed for row in column.rows}) for column in found}
    if len(set(numbers.values())) < 2:
        return ""
    return f" Numbers of seeds differ: {', '.join(f'{name} {n}' for name, n in numbers.items())}."


def _reference(column: Column, found: Sequence[Column]) -> list[Row]:
    """Return the rows of lcoms with the same label, as `lcoms (paper)` for `sl (paper)`, or those of plain lcoms."""
    label = column.method.partition(" ")[2]
    names = [f"{REFERENCE} {label}" if label.startswith("(") else REFERENCE, REFERENCE]
    return next((one.rows for name in names for one in found if one.method == name), [])


def _paper_totals(column: Column, stage: Stage) -> tuple[int | None, int | None]:
    """Return the paper's totals, which are for its own compounds, as answered and within 20 %."""
    if (column.track, stage, column.rows[0].group) != ("paper", "answer", PAPER_GROUP):
        return None, None
    return PAPER_TOTALS.get(without_label(column.method), (None, None))


def totals_table(rows: Sequence[Row]) -> Table:
    """Return the last lines of Table 1: totals, intervals, comparison with LCOMs, and the paper's totals."""
    lines = []
    found = columns(rows)
    for column in found:
        lcoms = _reference(column, [one for one in found if one.track == column.track])
        for stage, criterion in product(STAGES, CRITERIA):
            paper = _paper_totals(column, stage) if criterion is CRITERIA[0] else (None, None)
            cells = _total(column, [] if column.rows is lcoms else lcoms, criterion, stage)
            lines.append((*cells, *map(_or_nothing, paper)))
    return Table(
        "totals",
        "Table 1, totals",
        (*TOTAL_HEADER, *PAPER_HEADER),
        tuple(lines),
        f"{TOTAL_NOTE} {PAPER_NOTE}",
        in_report=False,
    )


def variants_table(rows: Sequence[Row]) -> Table:
    """Return the totals of variants of methods, each compared with standard LCOMs."""
    lcoms = {column.track: column.rows for column in columns(rows) if column.method == REFERENCE}
    lines = [
        _total(column, lcoms.get(column.track, []), criterion, stage)
        for column in variants(rows)
        for stage in STAGES
        for criterion in CRITERIA
    ]
    return Table("variants", "Variants", TOTAL_HEADER, tuple(lines), TOTAL_NOTE, in_report=False)


def _total(column: Column, others: Sequence[Row], criterion: Criterion, stage: Stage) -> tuple[str, ...]:
    one = total(column.rows, others, criterion, stage)
    return (
        column.track, column.method, STAGE_WORDS[stage], criterion.name,
        *_share(one.compounds), _p(one.p_compounds), *_share(one.runs), _p(one.p_runs),
        _each_seed(column.rows, criterion, stage),
    )  # fmt: skip


def seconds_table(rows: Sequence[Row]) -> Table:
    """Return Table 2: median seconds and evaluations per structure."""
    lines = []
    for column in columns(rows):
        done = [row for row in column.rows if row.status == "ok"]
        if not done:
            continue
        parts = [[row.seconds.get(part) for row in done] for part in PARTS]
        cells = [_seconds([v for v in values if v is not None]) for values in parts]
        totals = _seconds([row.total_seconds for row in done])
        counts = [str(round(median(getattr(row, name) for row in done))) for name in ("n_evaluations", "single_points")]
        paper = PAPER_SECONDS.get(without_label(column.method)) if column.track == "paper" else None
        lines.append((column.track, column.method, str(len(done)), *cells, totals, *counts, _or_nothing(paper)))
    return Table(
        "table2",
        "Table 2, seconds per structure",
        ("track", "method", "runs", *PARTS, "in all", "evaluations", "single points", "seconds in the paper"),
        tuple(lines),
        "Medians over the runs with an answer, one structure at a time. Evaluations: of the energy that the method "
        "optimizes (descent steps, search energies, relaxations). Single points: energies and forces from the oracle "
        "in these relaxations. Relax: final relaxation of the answer by the judge. The last column is quoted from "
        "Table 2 of the paper.",
    )


def decreases_table(rows: Sequence[Row]) -> Table:
    """Return how often and by how much the judge's energy decreases from start to answer."""
    lines = []
    for column in columns(rows):
        bare = without_label(column.method)
        if column.track != "paper" or column.rows[0].start is None or bare == "start":
            continue
        cdvae = "cdvae" + column.method[len(bare) :]
        decoded = {(row.compound, row.seed): row for row in rows if (row.track, row.method) == ("paper", cdvae)}
        starts = [(row.start, row.answer) for row in column.rows]
        begun = [(decoded[key].answer, row.answer) for row in column.rows
                 if (key := (row.compound, row.seed)) in decoded and bare != "cdvae"]  # fmt: skip
        cells, n = [], len({row.compound for row in column.rows})
        for pairs in (starts, begun):
            drops = [None if b is None or a is None or b.compared is None or a.compared is None
                     else b.compared - a.compared for b, a in pairs]  # fmt: skip
            found = [drop for drop in drops if drop is not None]
            cells += [*_share(Share(sum(drop > 0 for drop in found), len(drops), min(n, len(drops))))]
            cells.append(f"{mean(found):.3f}" if found else "")
        lines.append((column.method, *cells))
    return Table(
        "decreases",
        "How often the energy decreases",
        (
            "method", "from the start", "95 % interval", "mean decrease, eV/atom", "from the decoded start",
            "95 % interval of these", "mean of these, eV/atom",
        ),
        tuple(lines),
        "Answers are not relaxed. The start is a crystal in a minimum of the judge; the decoded start is its "
        "reconstruction by the autoencoder, without descent. Runs without an energy are counted as no decrease.",
    )  # fmt: skip


def failures_table(rows: Sequence[Row]) -> Table:
    """Return runs without an answer, and answers that cannot count, with the reasons."""
    counted: dict[tuple[str, str, str], int] = {}
    for row in rows:
        reasons = [row.reason] if row.status == "failed" else []
        reasons += [f"{STAGE_WORDS[stage]}: {judged.note}" for stage in STAGES
                    if (judged := getattr(row, stage)) is not None and judged.note]  # fmt: skip
        for reason in reasons:
            key = (row.track, row.method, reason)
            counted[key] = counted.get(key, 0) + 1
    lines = [(*key, str(n)) for key, n in sorted(counted.items())]
    return Table("failures", "Failures", ("track", "method", "reason", "runs"), tuple(lines))


def _share(share: Share) -> tuple[str, str]:
    if not share.trials:
        return "", ""
    return f"{share.successes} of {share.trials}", f"{share.low:.3f} to {share.high:.3f}"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _or_nothing(value: int | None) -> str:
    return "" if value is None else str(value)


def _seconds(values: Sequence[float]) -> str:
    return f"{median(values):.2f}" if values else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
