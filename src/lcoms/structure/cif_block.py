"""Data blocks of a CIF as plain columns of text, whatever the dialect: CIF 1 and 2, DDL1 and DDLm names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lcoms.core.numerals import plain_characters
from lcoms.structure.cif_repair import repaired, with_quoted_operations
from lcoms.structure.reading import RefusedError, Topic

if TYPE_CHECKING:
    from gemmi import cif

_NUMBER = re.compile(  # 5.64, 5.640(2), but also 5.640(-), 5.640(0.002) and 5.640 +/- 0.002
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]+)?)"
    r"(?:\s?\(\s*([-+0-9.*?]*)\s*\)|\s*(?:\u00b1|\+/?-)\s*([0-9]*\.?[0-9]+))?"
)
_FRACTION = re.compile(r"([+-]?[0-9]{1,3})/([0-9]{1,3})")
_TRIPLE = re.compile(r"'''(.*?)'''|\"\"\"(.*?)\"\"\"", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One data block.

    Attributes:
        name: the text after `data_`.
        columns: values by name; names are lower case, with underscores for dots; values are unquoted, empty for ? and .
        conflicts: names given more than once with different values.
    """

    name: str
    columns: Mapping[str, Sequence[str]]
    conflicts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def column(self, *names: str) -> Sequence[str]:
        """Return the values of the first of these names that is present; empty if none is.

        Raises:
            RefusedError: the name is given twice, with different values.
        """
        for name in names:
            if name in self.conflicts:
                first, second = (text if len(text) < 30 else f"{text[:30]}..." for text in self.conflicts[name])
                raise RefusedError(
                    Topic.UNREADABLE, f"{name} is given twice, as {first!r} and as {second!r}; take one out."
                )
            if name in self.columns:
                return self.columns[name]
        return ()

    def value(self, *names: str) -> str:
        """Return the first non-empty value of these names; empty if there is none.

        Raises:
            RefusedError: the name has several values.
        """
        for name in names:
            found = list(dict.fromkeys(" ".join(text.split()) for text in self.column(name)))
            if len(found) > 1:
                text = f"{name} has {len(found)} values, such as {found[0]!r} and {found[1]!r}; give one."
                raise RefusedError(Topic.UNREADABLE, text)
            if found and found[0]:
                return found[0]
        return ""


def parse_blocks(text: str) -> list[Block]:
    """Return all data blocks, and their save frames as blocks of their own.

    Raises:
        RefusedError: the text is not a CIF.
    """
    text = with_quoted_operations(plain_characters(text))
    try:
        document = _parsed(text)
    except (ValueError, RuntimeError, UnicodeError) as error:
        raise RefusedError(Topic.UNREADABLE, f"not a CIF that can be read: {_where(str(error), text)}") from error
    return [_block(part, name) for block in document for part, name in _with_frames(block)]


def _parsed(text: str) -> cif.Document:
    """Return the document of a text, if need be as CIF 2 or repaired; raises as gemmi does for the text itself."""
    from gemmi import cif

    try:
        return cif.read_string(text, 0)
    except (ValueError, RuntimeError):
        is_cif_2 = "CIF_2" in text[:200] or "'''" in text or '"""' in text
        with suppress(ValueError, RuntimeError):
            return cif.read_string(_as_cif_1(text) if is_cif_2 else repaired(text), 0)
        raise


def _with_frames(block: cif.Block) -> list[tuple[cif.Block, str]]:
    """Return a data block and its save frames, each with a name."""
    frames: list[Any] = [item.frame for item in block if item.frame is not None]
    name = block.name.strip()
    return [(block, name), *((frame, f"{name}, save frame {frame.name}") for frame in frames)]


def _where(message: str, text: str) -> str:
    """Return gemmi's message with the line it refers to."""
    match = re.match(r"string:([0-9]+):[0-9]+\([0-9]+\): (.*)", message, re.DOTALL)
    if match is None:
        return " ".join(message.split())
    lines = text.split("\n")
    line = lines[int(match[1]) - 1].strip() if int(match[1]) <= len(lines) else ""
    shown = f" ({line[:50]})" if line else ""
    return f"line {match[1]}{shown}: {' '.join(match[2].split())[:80]}."


def _block(block: cif.Block, name: str) -> Block:
    from gemmi import cif

    columns: dict[str, Sequence[str]] = {}
    conflicts: dict[str, tuple[str, str]] = {}

    def add(tag: str, values: list[str]) -> None:
        name = tag.lower().replace(".", "_")
        column = [cif.as_string(value) for value in values]
        known = columns.setdefault(name, column)
        if list(known) != column:
            conflicts[name] = (" ".join(known), " ".join(column))

    for item in block:
        pair: Any = item.pair
        if pair is not None:
            add(pair[0], [pair[1]])
        elif item.loop is not None:
            width = item.loop.width()
            values = list(item.loop.values)
            for place, tag in enumerate(item.loop.tags):
                add(tag, values[place::width])
    return Block(name, columns, conflicts)


def _as_cif_1(text: str) -> str:
    """Return CIF 2 text as CIF 1: triple-quoted strings are rewritten, lists and tables (never positions) dropped."""

    def as_field(match: re.Match[str]) -> str:
        content = match[1] if match[1] is not None else match[2]
        return "\n;" + content.replace("\n;", "\n ;") + "\n;\n"

    text = _TRIPLE.sub(as_field, text)
    quoted = r"'[^'\n]*'|\"[^\"\n]*\"|^;.*?^;|\#[^\n]*"
    parts = re.split(rf"({quoted})", text, flags=re.DOTALL | re.MULTILINE)
    depth, kept = 0, []
    for place, part in enumerate(parts):
        if place % 2:
            kept += [] if depth else [part]
            continue
        for character in part:
            if character in "[{":
                depth += 1
            elif character in "]}" and depth:
                depth -= 1
                kept += [] if depth else [" ? "]
            elif not depth:
                kept.append(character)
    return "".join(kept)


def number(text: str) -> float | None:
    """Return the value of a CIF number without its uncertainty, or of a fraction such as 1/3; None if it is neither."""
    return uncertain_number(text)[0]


def uncertain_number(text: str) -> tuple[float | None, float]:
    """Return the value and standard uncertainty (0 if none is given) of a CIF number."""
    text = text.strip()
    fraction = _FRACTION.fullmatch(text)
    if fraction and int(fraction[2]):
        return int(fraction[1]) / int(fraction[2]), 0.0
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > 60:
        return None, 0.0
    mantissa = re.split("[eEdD]", match[1])[0]
    value = float(match[1].replace("d", "e").replace("D", "e"))
    decimals = len(mantissa.partition(".")[2])
    if (match[2] or "").isdecimal():
        return value, float(int(match[2])) * 10.0**-decimals
    stated = re.fullmatch(r"[0-9]*\.[0-9]+", match[3] or match[2] or "")
    return value, float(stated[0]) if stated else 0.0
