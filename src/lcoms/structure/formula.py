"""Chemical formulas as people write them, turned into counts of elements.

Three kinds of brackets, hydrates (CuSO4·5H2O, also with . and *), subscripts in Unicode, LaTeX or HTML, and D (read as
H) are understood. Charges, oxidation states, variables and names are refused with a hint, fractional counts with the
smallest ordered formula close to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from lcoms.core.errors import FormulaError
from lcoms.structure.elements import number_of
from lcoms.structure.formula_hints import (
    begins_with_zero,
    foreign_letter,
    hint_for,
    is_alloy,
    look_alikes,
    name_hint,
    what_it_is,
    without_charges,
    zero_hint,
)
from lcoms.structure.formula_order import formula_text, number_text

MAX_FORMULA_ATOMS = 200
NEAR = Fraction(5, 100)  # atoms of the formula as typed by which a close ordered formula may deviate
_LIGANDS = "H2O|D2O|OH2|NH3"
_SEPARATOR = re.compile(
    rf"[·•⋅∙‧・*]|\.(?=[0-9]*(?:\.[0-9]+|/[0-9]+)?(?:{_LIGANDS}))|\.(?=[A-Z(\[{{])"
    rf"|(?<![A-Za-z)\]]0)\.(?=[0-9]+[(\[](?:{_LIGANDS})[)\]]$)"
)
_AMOUNT = r"[0-9]+/[0-9]+|[0-9]*\.?[0-9]*"
_TOKEN = re.compile(rf"([A-Z][a-z]?)({_AMOUNT})|([(\[{{])|([)\]}}])({_AMOUNT})")
_LEADING = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}|/[0-9]{1,6})?")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_VARIABLE = re.compile(
    r"[0-9)\]A-Za-z][±+-][xyzδdn]|[·*(][xyzn](?=[A-Z])|[A-Z][a-z]?[0-9.]*[xyzδ](?![a-z])(?=[A-Z(]|$)"
)
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉−–⁺⁻₊₋ₓᵧ", "0123456789--+-+-xy")
_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")  # characters without width, as copied from web pages
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_FRACTIONS = str.maketrans({"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⁄": "/"})
_MIXED = re.compile("([0-9]{1,6})([½⅓⅔¼¾])")
_SPACED = re.compile(r"\s*([·•⋅∙‧・*])\s*([0-9][0-9./]*)?\s*")


@dataclass(frozen=True)
class ParsedFormula:
    """Counts of a formula by atomic number, and notes on reinterpretations."""

    counts: Mapping[int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class OrderedApproximation:
    """A formula with integer counts close to one with fractional counts.

    Attributes:
        text: the formula as typed.
        counts: by atomic number.
        deviation: largest deviation of a count, in atoms of the formula as typed; 0 if exact.
        instead: the count with this deviation, such as "La 0.667 for 0.7"; empty if exact.
    """

    text: str
    counts: Mapping[int, int]
    deviation: float
    instead: str

    @property
    def formula(self) -> str:
        return formula_text(self.counts)

    @property
    def sentence(self) -> str:
        """The formula it approximates, and its deviation."""
        if not self.instead:
            return f"{self.formula} has the composition of {self.text}."
        return (
            f"{self.formula} is the ordered approximation of {self.text}, off by {self.deviation:.3f} ({self.instead})."
        )


def parse_formula(text: str, *, ordered: bool = False) -> ParsedFormula:
    """Read a formula.

    Args:
        ordered: replace fractional counts by the smallest ordered formula close to them, with a note.

    Raises:
        FormulaError: unknown elements, unbalanced brackets, charges, zero or fractional counts, or an empty formula.
    """
    amounts, notes = _amounts(text)
    if any(amount.denominator > 1 for amount in amounts.values()):
        near = _approximate(text, amounts, MAX_FORMULA_ATOMS)
        if ordered:
            return ParsedFormula(near.counts, (*notes, near.sentence))
        raise FormulaError(
            f"{text.strip()!r} has fractional counts, and an ordered crystal needs integers; {near.sentence} "
            f"Type {near.formula}, or use --ordered-approximation."
        )
    counts = {z: int(amount) for z, amount in amounts.items()}
    if sum(counts.values()) > MAX_FORMULA_ATOMS:
        hint = zero_hint(_plain(text), _is_formula)
        said = hint or f"at most {MAX_FORMULA_ATOMS} can be handled."
        raise FormulaError(f"{text!r} has too many atoms; {said}")
    return ParsedFormula(counts, notes)


def ordered_approximation(text: str, max_atoms: int) -> OrderedApproximation:
    """Return the smallest formula with integer counts within `NEAR` of a formula, otherwise the closest one.

    Raises:
        FormulaError: the text is not a formula, or no ordered formula has at most `max_atoms` atoms.
    """
    return _approximate(text, _amounts(text)[0], max_atoms)


def _approximate(text: str, amounts: Mapping[int, Fraction], max_atoms: int) -> OrderedApproximation:
    best: OrderedApproximation | None = None
    times = 1
    while True:
        counts = {z: max(1, round(amount * times)) for z, amount in amounts.items()}
        total = sum(counts.values())
        if total > max_atoms and times * sum(amounts.values()) > max_atoms:
            break
        z, off = max(((z, abs(Fraction(counts[z], times) - amounts[z])) for z in counts), key=lambda item: item[1])
        if total <= max_atoms and (best is None or off < best.deviation):
            instead = (
                f"{_symbol(z)} {number_text(counts[z] / times)} for {number_text(float(amounts[z]))}" if off else ""
            )
            common = gcd(*counts.values())
            best = OrderedApproximation(
                text.strip(), {key: n // common for key, n in counts.items()}, float(off), instead
            )
            if off <= NEAR:
                break
        times += 1
    if best is None:
        raise FormulaError(f"{text.strip()!r}: no ordered formula of at most {max_atoms} atoms is close.")
    return best


def _symbol(atomic_number: int) -> str:
    return formula_text({atomic_number: 1})


def _amounts(text: str) -> tuple[dict[int, Fraction], tuple[str, ...]]:
    """Return the amounts by atomic number, with brackets and hydrates expanded, and notes."""
    plain = _plain(text)
    if not plain:
        raise FormulaError("the formula is empty: type one such as NaCl.")
    _refuse_what_is_none(text, plain)
    total: dict[int, Fraction] = {}
    notes: dict[str, None] = {}
    parts = _parts(plain)
    for times, part in parts:
        for z, amount in _group(part, text, notes).items():
            total[z] = total.get(z, Fraction(0)) + times * amount
    if not total:
        raise FormulaError(f"{text!r} holds no element; type one such as NaCl.")
    if note := look_alikes(plain, _is_formula, printed=formula_text({z: max(1, int(n)) for z, n in total.items()})):
        notes[note] = None
    return total, tuple(notes)


def _plain(text: str) -> str:
    """Return the text with subscripts as plain digits and without markup."""
    plain = _UNSEEN.sub("", text).translate(_FULL_WIDTH).strip().strip("\"'")
    plain = re.sub(r"(?i:</?su[bp]>)|\$|\\cdot", lambda m: "·" if m[0] == r"\cdot" else "", plain)
    plain = plain.translate(_SUBSCRIPTS)
    plain = re.sub(rf"(?<=[0-9])(?=[½⅓⅔¼¾](?:{_LIGANDS}))", "·", plain)
    plain = _MIXED.sub(_improper, plain).translate(_FRACTIONS)
    plain = re.sub(r"[_~](?:\{([0-9]+\.?[0-9]*)\}|([0-9]+\.?[0-9]*)~?)", lambda m: m[1] or m[2], plain)
    plain = re.sub(r"\\(?:mathrm|ce|ch)\b(?:\{([^{}]*)\})?", lambda m: m[1] or "", plain)
    return _SPACED.sub(lambda m: m[1] + (m[2] or ""), plain)


def _improper(match: re.Match[str]) -> str:
    """Return a mixed number such as 2½ as a fraction."""
    above, below = match[2].translate(_FRACTIONS).split("/")
    return f"{int(match[1]) * int(below) + int(above)}/{below}"


def _refuse_what_is_none(text: str, plain: str) -> None:
    """Raise FormulaError with a hint for charges, oxidation states, variables, sets of elements and names."""
    said = name_hint(plain)
    if said:
        raise FormulaError(f"{text!r} is a name, not a formula; {said}")
    if re.fullmatch(r"(?:[A-Z][a-z]?-)+[A-Z][a-z]?", plain):
        raise FormulaError(f"{text!r} names elements without their counts; type a formula such as SrTiO3.")
    if said := what_it_is(plain, _is_formula):
        raise FormulaError(f"{text!r}{said}")
    if not _is_formula(plain) and _VARIABLE.search(plain):
        raise FormulaError(f"{text!r} has a variable in place of a count; type a number for it.")
    if re.search(r"[A-Za-z]\((?:I{1,3}|I?V|VI{1,3}|0)\)", plain):
        raise FormulaError(f"{text!r}: oxidation states in brackets are not part of a formula; leave them out.")
    if re.search(r"[A-Za-z]I{2,3}(?![a-z])", plain):
        raise FormulaError(f"{text!r}: oxidation states are not part of a formula; leave them out.")
    if re.search(r"[A-Za-z)\]][0-9]+,[0-9]", plain):
        point = re.sub("(?<=[0-9]),(?=[0-9])", ".", plain)
        raise FormulaError(f"{text!r}: decimals are written with a point; type {point}.")
    if begins_with_zero(plain):
        raise FormulaError(f"{text!r}: a count begins with 0; {zero_hint(plain, _is_formula)}")
    if is_alloy(plain):
        raise FormulaError(f"{text!r} names an alloy by percentages; type a formula with numbers of atoms.")
    if re.search(r"[+\-^²³¹]", plain):
        bare = without_charges(plain)
        try:
            clear = bare and bare != plain and not re.search(r"(?<![0-9⁰¹²³⁴-⁹])[+\-][0-9]", plain)
            hint = f"type {bare}." if clear and _group(bare, bare, {}) else "leave them out."
        except FormulaError:
            hint = "leave them out."
        raise FormulaError(f"{text!r}: charges are not part of a formula, since a crystal is neutral; {hint}")


def _parts(plain: str) -> list[tuple[Fraction, str]]:
    """Return the parts of a hydrate, each with its multiplier; one part if there is no separator."""
    parts = []
    rest, position = plain, 0
    while match := _SEPARATOR.search(rest, position):
        parts.append(rest[: match.start()])
        rest = rest[match.end() :]
        leading = _LEADING.match(rest)
        position = leading.end() if leading else 0
    parts.append(rest)
    if len(parts) == 1:
        return [(Fraction(1), plain)]
    found = []
    for part in parts:
        leading = _LEADING.match(part)
        body = part[leading.end() :] if leading else part
        times = _count(leading[0], plain) if leading else Fraction(1)
        if not body:
            raise FormulaError(f"{plain!r}: a part of it is empty; type a formula such as CuSO4·5H2O.")
        found.append((times, body))
    return found


def _group(plain: str, text: str, notes: dict[str, None]) -> dict[int, Fraction]:
    """Return the amounts of a formula without separators."""
    stack: list[dict[int, Fraction]] = [{}]
    opened: list[str] = []
    position = 0
    while position < len(plain):
        match = _TOKEN.match(plain, position)
        if match is None:
            hint = foreign_letter(plain) or hint_for(plain, _is_formula) or "type a formula such as SrTiO3 or Ca(OH)2."
            raise FormulaError(f"{text!r}: cannot read {plain[position:]!r}; {hint}")
        symbol, count, opening, closing, outer = match.groups()
        if symbol:
            z = _element(symbol, plain, notes)
            stack[-1][z] = stack[-1].get(z, Fraction(0)) + _count(count, text)
        elif opening:
            stack.append({})
            opened.append(opening)
        else:
            if not opened or _PAIRS[opened.pop()] != closing:
                raise FormulaError(f"{text!r}: a closing bracket has no opening one.")
            inner, times = stack.pop(), _count(outer, text)
            if not inner and any(letter.isalpha() for letter in plain):
                raise FormulaError(f"{text!r}: a pair of brackets is empty; remove it.")
            for z, amount in inner.items():
                stack[-1][z] = stack[-1].get(z, Fraction(0)) + amount * times
        position = match.end()
    if opened:
        raise FormulaError(f"{text!r}: an opening bracket has no closing one.")
    return stack[0]


def _element(symbol: str, plain: str, notes: dict[str, None]) -> int:
    if symbol == "D":
        notes["D is read as H."] = None
        return 1
    number = number_of(symbol)
    if number is None:
        hint = hint_for(plain, _is_formula) or "check the spelling and the capitals."
        raise FormulaError(f"{plain!r}: {symbol} is not an element; {hint}")
    return number


def _is_formula(text: str) -> bool:
    try:
        return bool(_group(text, text, {}))
    except FormulaError:
        return False


def _count(digits: str, text: str) -> Fraction:
    if not digits:
        return Fraction(1)
    if digits == ".":
        raise FormulaError(f"{text!r}: there is a dot where a count should be.")
    above, _, below = digits.partition("/")
    whole, _, decimals = above.partition(".")
    count = Fraction(f"{whole[:9] or '0'}.{decimals[:9] or '0'}")
    divisor = int(below[:9]) if below else 1
    count = count / divisor if divisor else Fraction(0)
    if count <= 0:
        raise FormulaError(f"{text!r}: a count of 0 is not possible; omit the element.")
    return count
