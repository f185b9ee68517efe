"""Numbers as text: those in files and on the command line, and probabilities that people read."""

from __future__ import annotations

import re

_FORTRAN = re.compile(r"(?<=[0-9.])[dD](?=[+-]?[0-9])")
_MINUS = dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-")  # hyphens and dashes
_SPACES = dict.fromkeys("\u00a0\u2009\u202f\v\f", " ")  # as copied from web pages, or ends of printed pages
_PLAIN = str.maketrans(_MINUS | _SPACES)


def plain_characters(text: str) -> str:
    """Return a text with typographic minus signs and spaces, which no format has, as - and blanks."""
    return text.translate(_PLAIN)


def without_fortran(text: str) -> str:
    """Return a text with the exponents that Fortran writes with a d, such as 1.5D-03, written with an e."""
    return _FORTRAN.sub("e", text)


def real(text: str) -> float:
    """Return the number in a text.

    Python also reads 5_6 as 56 and digits of other scripts; in data these are slips.

    Raises:
        ValueError: the text is not a number in plain digits.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"not a number: {text!r}")
    return float(text)


def percent(probability: float) -> str:
    """Return a probability in percent, below certainty at most as >99%."""
    return rounded(probability, "{:.0%}", ">99%")


def rounded(probability: float, pattern: str, most: str) -> str:
    """Return a probability in a pattern; if it would read like certainty without being 1, the other text."""
    text = pattern.format(probability)
    return most if probability < 1 and text == pattern.format(1.0) else text
