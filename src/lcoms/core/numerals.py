"""Numbers in files and on the command line, without what only Python takes for a number."""

from __future__ import annotations


def real(text: str) -> float:
    """Return the number in a text.

    Python also reads 5_6 as 56 and digits of other scripts; in data these are slips.

    Raises:
        ValueError: the text is not a number in plain digits.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"not a number: {text!r}")
    return float(text)
