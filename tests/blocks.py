"""Code blocks in Markdown files, and a check that the commands in them exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from lcoms.cli.main import COMMANDS, load_command

FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """Code between fences; the mark is the comment on the line before it."""

    mark: str
    language: str
    text: str


def blocks(path: Path) -> list[Block]:
    """Return all blocks with a language in a file."""
    return [Block(m["mark"] or "", m["language"], m["text"]) for m in FENCE.finditer(path.read_text(encoding="utf-8"))]


def command_lines(some: list[Block]) -> list[str]:
    """Return the lines of the shell blocks."""
    return [line for block in some if block.language == "sh" for line in block.text.splitlines() if line.strip()]


def unknown_words(line: str) -> set[str]:
    """Return the commands and options in a line that lcoms does not have."""
    _, name, *words = shlex.split(line)
    if name not in COMMANDS:
        return {name}
    command: Any = load_command(name)
    if hasattr(command, "commands"):
        if words[0] not in command.commands:
            return {words[0]}
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    return {word.partition("=")[0] for word in words if word.startswith("-")} - known
