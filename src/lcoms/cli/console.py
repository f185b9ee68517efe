"""Consoles of the commands: text from users and their files is printed literally, including brackets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TextColumn


def plain_console(*, stderr: bool = False, soft_wrap: bool = False, quiet: bool = False) -> Console:
    """Return a console that prints [/b] and :smile: literally, also in tables."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=soft_wrap, quiet=quiet, markup=False, emoji=False, highlight=False)


def progress_bar(*columns: ProgressColumn, keep: bool = False) -> Progress:
    """Return a progress bar on standard error, which is hidden if that is not a terminal.

    Args:
        columns: of the bar; rich's own if none are given.
        keep: whether the bar stays on the screen at the end.
    """
    from rich.progress import Progress

    console = plain_console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=not keep)


def plain_text(text: str) -> TextColumn:
    """Return a progress column for a template such as {task.description}, whose values are printed literally."""
    from rich.progress import TextColumn

    return TextColumn(text, markup=False)


def complain(sentence: str) -> None:
    """Print one sentence to standard error."""
    typer.echo(f"lcoms: {' '.join(sentence.split())}", err=True)


def counted(n: int) -> str:
    """Return a number of crystals in words, such as 1 crystal or 3 crystals."""
    return f"{n} crystal{'' if n == 1 else 's'}"
