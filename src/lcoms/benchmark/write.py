"""Tables and figures from rows, written into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from lcoms.benchmark.figures import all_figures
from lcoms.benchmark.rows import Row
from lcoms.benchmark.tables import all_tables
from lcoms.core.disk import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INDEX = "report.md"
DOTS_PER_INCH = 130


def write_benchmark(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write a CSV file for each table, a PNG file for each figure, and report.md with all of them.

    Equal rows give equal files, byte for byte.
    """
    judges = ", ".join(sorted({str(row.settings.get("judge")) for row in rows}))
    text = [f"# Benchmark\n\n{len(rows)} runs; the judge is {judges}.\n"]
    written: list[Path] = []
    for table in all_tables(rows):
        path = out / f"{table.name}.csv"
        write_whole(path, table.to_csv())
        if table.in_report:
            text.append(table.to_markdown())
        written.append(path)
    for name, figure in all_figures(rows).items():
        path = out / f"{name}.png"
        write_whole(path, to_png(figure))
        text.append(f"![{name}]({name}.png)\n")
        written.append(path)
    index = out / INDEX
    write_whole(index, "\n".join(text))
    return [index, *written]


def to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file; equal figures give equal bytes."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=DOTS_PER_INCH, metadata={"Software": None})
    return drawn.getvalue()
