"""Tables of text whose lines are neither cut nor wrapped within a name or a number."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from shutil import get_terminal_size

import typer

GAP = "  "


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[str] = ()) -> None:
    """Print a table that fits the terminal; if the output is not a terminal, each row is one line of any length.

    Args:
        headings: of the columns; the last column is for names, and a text in it may have several lines.
        rows: texts of each row.
        left: headings of the other columns that are aligned to the left.
    """
    for line in table_lines(headings, rows, left=left, width=terminal_width()):
        typer.echo(line)


def terminal_width() -> int | None:
    """Return the width of the terminal in characters; None if the output is not a terminal."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def table_lines(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[str] = (), width: int | None = None
) -> list[str]:
    """Return the lines of a table; if one is longer than the width, the names follow on separate lines below each row.

    Args:
        headings: of the columns.
        rows: texts of each row.
        left: headings of the columns that are aligned to the left.
        width: in characters; None: unlimited.
    """
    *before, last = headings
    widths = [max(len(text) for text in column) for column in zip(before, *(row[:-1] for row in rows), strict=True)]

    def aligned(texts: Sequence[str]) -> str:
        pairs = zip(before, texts, widths, strict=True)
        return GAP.join(f"{text:<{n}}" if name in left else f"{text:>{n}}" for name, text, n in pairs)

    start = sum(widths) + len(GAP) * len(widths)
    longest = max((_length(line) for row in rows for line in row[-1].split("\n")), default=0)
    if width is None or start + max(longest, len(last)) <= width:
        lines = [f"{aligned(before)}{GAP}{last}"]
        for row in rows:
            first, *more = row[-1].split("\n")
            lines += [f"{aligned(row[:-1])}{GAP}{first}", *(" " * start + line for line in more)]
        return [line.rstrip() for line in lines]
    indent = " " * (widths[0] + len(GAP))
    lines = [aligned(before), indent + last]
    for row in rows:
        lines += [aligned(row[:-1]), *(indent + line for line in row[-1].split("\n"))]
    return [line.rstrip() for line in lines]


def _length(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    from rich.cells import cell_len

    return cell_len(text)
