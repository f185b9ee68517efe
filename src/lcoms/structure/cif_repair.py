"""Mends of CIF text that is readable to people and not to a parser; nothing is dropped or added.

Values with spaces get quotes, spaces in block names become underscores, and a text without `data_` gets one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TEXT_FIELD = re.compile(r"(^;.*?^;)", re.DOTALL | re.MULTILINE)
_PART = r"[-+0-9./*xyzXYZ \t]*[xyzXYZ][-+0-9./*xyzXYZ \t]*"
_OPERATION = re.compile(
    rf"^([ \t]*(?:[0-9]{{1,3}}[ \t]+)?)((?![ \t]|[0-9]+[ \t]){_PART},{_PART},{_PART}(?:,[ \t]*[-+]?1[ \t]*)?)$",
    re.MULTILINE,
)
_BLOCK = re.compile(r"^([ \t]*data_\S+)[ \t]+([^_#\s][^\n]*)$", re.MULTILINE | re.IGNORECASE)
_VALUE = re.compile(r"^([ \t]*_\S+[ \t]+)([^\s'\"#;$_][^\n]*?)[ \t]*$", re.MULTILINE)
_RESERVED = re.compile(r"(?:^|\s)(?:loop_|save_|data_|_|#)", re.IGNORECASE)


def with_quoted_operations(text: str) -> str:
    """Return CIF text in which operations such as x, y, z+1/2 on lines of their own are quoted."""
    return _outside_text_fields(text, lambda part: _OPERATION.sub(_quoted_operation, part))


def repaired(text: str) -> str:
    """Return CIF text with quotes, block names and a header where they are missing."""
    text = _outside_text_fields(text, _mended)
    return text if re.search(r"^[ \t]*data_", text, re.MULTILINE | re.IGNORECASE) else f"data_\n{text}"


def _outside_text_fields(text: str, change: Callable[[str], str]) -> str:
    parts = _TEXT_FIELD.split(text)
    return "".join(part if place % 2 else change(part) for place, part in enumerate(parts))


def _quoted_operation(match: re.Match[str]) -> str:
    operation = match[2].rstrip()
    return f"{match[1]}'{operation}'" if re.search(r"\s", operation) else match[0]


def _mended(text: str) -> str:
    text = _BLOCK.sub(_joined_name, text)
    return _VALUE.sub(_quoted_value, text)


def _joined_name(match: re.Match[str]) -> str:
    if _RESERVED.search(match[2]):
        return match[0]
    return f"{match[1]}_{'_'.join(match[2].split())}"


def _quoted_value(match: re.Match[str]) -> str:
    """Return a line whose value has several words, or other than plain characters, with the value in quotes."""
    value = match[2]
    if _RESERVED.search(value) or (value.isascii() and not re.search(r"\s", value)):
        return match[0]
    quote = '"' if "'" in value else "'"
    return match[0] if quote in value else f"{match[1]}{quote}{value}{quote}"
