"""Where commands print: what users typed and what stands in their files is shown as it is, brackets included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TextColumn


def plain_console(*, stderr: bool = False, soft_wrap: bool = False, quiet: bool = False) -> Console:
    """A console to which [/b] is text and :smile: too, in tables as well."""
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
    """A column of a bar of progress that shows a template such as {task.description} as it is."""
    from rich.progress import TextColumn

    return TextColumn(text, markup=False)


def complain(sentence: str) -> None:
    """Print one sentence to standard error."""
    typer.echo(f"lcoms: {' '.join(sentence.split())}", err=True)
