"""Where commands print: what users typed and what stands in their files is shown as it is, brackets included."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TextColumn


def plain_console(*, stderr: bool = False, soft_wrap: bool = False, quiet: bool = False) -> Console:
    """A console to which [/b] is text and :smile: too, in tables as well."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=soft_wrap, quiet=quiet, markup=False, emoji=False, highlight=False)


def plain_text(text: str) -> TextColumn:
    """A column of a bar of progress that shows a template such as {task.description} as it is."""
    from rich.progress import TextColumn

    return TextColumn(text, markup=False)
