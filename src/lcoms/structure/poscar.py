"""POSCAR and CONTCAR text to a crystal, as VASP reads it: one or three scales, negative ones, symbols on line 6."""

from __future__ import annotations

import re
from itertools import dropwhile, pairwise, takewhile

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FormulaError
from lcoms.structure.cif_expand import MAX_ATOMS
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.distances import FARTHEST, closest_pair, distance_remarks, far_out_remarks, require_cell
from lcoms.structure.elements import SYMBOLS, number_of
from lcoms.structure.formula import parse_formula
from lcoms.structure.reading import Reading, RefusedError, Remark, Topic
from lcoms.structure.site_elements import ISOTOPES

_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]+)?")
_MODE = re.compile(r"[dck]|frac|rel|red", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[0-9],[0-9]")
_UNIT = re.compile(r"\b(bohrs?|a\.u\.|nm|pm|nanomet(?:er|re)s?)(?!\w)", re.IGNORECASE)
_SYMBOL = re.compile(r"[0-9]{0,3}([A-Za-z]{1,2})(?:[0-9]{0,2}|[0-9]?[+-]|[+-][0-9])")  # also Fe1, Fe3+ and 6Li
_FLAGS = re.compile(r"(?:\s+[-+.0-9eEdD]+){3}(?:\s+\.?(?:[TF]|TRUE|FALSE)\.?){3}(?=\s|$)", re.IGNORECASE)
NO_SYMBOLS = "no element symbols (VASP 4): insert a line with them above the line of counts."


def read_poscar(text: str) -> Reading:
    """Return the crystal, or the reason for its refusal."""
    try:
        return _read(text)
    except RefusedError as error:
        message = str(error)
        return Reading.refused("", RefusedError(error.topic, f"not a POSCAR that can be read: {message}"))


def _read(text: str) -> Reading:
    lines = text.split("\n")
    if len(lines) < 8:
        raise RefusedError(Topic.UNREADABLE, f"it has {len(lines)} lines, and the shortest has 8.")
    remarks: list[Remark] = []
    matrix = np.array([_reals(lines[row], 3, f"line {row + 1}") for row in (2, 3, 4)])
    scale = _scale(lines[1], matrix)
    if unit := _UNIT.search(f"{lines[0]}\n{lines[1]}"):
        text = f"its first lines mention {unit[1]}; lengths of a POSCAR are in angstrom and are read so."
        remarks.append(Remark(Topic.CELL, text))
    at, named, counts = _counts(lines)
    flags = _words(lines[at])[:1]
    selective = bool(flags) and flags[0][0] in "sS"
    at += selective
    if at >= len(lines):
        raise RefusedError(Topic.UNREADABLE, "it ends before the coordinates.")
    mode = lines[at].strip()
    if mode and _REAL.fullmatch(mode.split()[0]):
        raise RefusedError(Topic.UNREADABLE, f"line {at + 1} should say Direct or Cartesian, not {mode[:30]!r}.")
    if not _MODE.match(mode):
        said = f"line {at + 1} says {mode[:30] or 'nothing'!r}, neither Direct nor Cartesian"
        remarks.append(Remark(Topic.CELL, f"{said}; the coordinates are read as fractional."))
    rows, total = lines[at + 1 :], sum(counts)
    if total > MAX_ATOMS:
        raise RefusedError(Topic.TOO_LARGE, f"{total} atoms are too many; at most {MAX_ATOMS} can be handled.")
    if len(rows) < total:
        raise RefusedError(Topic.UNREADABLE, f"it is cut short: {total} atoms are announced, {len(rows)} lines follow.")
    coordinates = np.array([_reals(rows[i], 3, f"atom {i + 1}") for i in range(total)])
    numbers = _elements(lines[0], named, counts, rows[:total], remarks)
    flagged = selective or any(_FLAGS.match(f" {row}") for row in rows[:total])
    source = "line 6" if named else "the comment line"
    remarks += _contradictions(numbers, rows[:total], source, first=6 if flagged else 3)
    lattice = matrix * scale
    require_cell(lattice)
    if mode[:1] in ("c", "C", "k", "K"):
        coordinates = (coordinates * scale) @ np.linalg.inv(lattice)
    else:
        remarks += far_out_remarks(coordinates, [f"atom {i + 1}" for i in range(total)])
    crystal = Crystal(lattice, coordinates, numbers)
    pair = closest_pair(crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    remarks += distance_remarks(crystal, pair, [])
    if flagged and any(word.upper().startswith(("F", ".F")) for row in rows[:total] for word in row.split()[3:6]):
        remarks.append(Remark(Topic.LEFT_OUT, "the flags of selective dynamics are not kept: all atoms may move."))
    remarks += _other_comment(lines[0], crystal) if named else []
    remarks += _beside(rows[:total], first=6 if flagged else 3)
    remarks += _left_out(rows, total)
    return Reading("", crystal, tuple(remarks))


def _words(line: str) -> list[str]:
    """Return the words of a line without comments after ! and #."""
    return re.split(r"[!#]", line)[0].split()


def _reals(line: str, n: int, where: str) -> NDArray[np.float64]:
    if len(line.split()) >= n and _DECIMAL_COMMA.search(line):
        raise RefusedError(Topic.COORDINATES, f"{where} has decimal commas, {line.strip()[:40]!r}; write points.")
    words = line.replace(",", " ").split()[:n]
    if len(words) < n or not all(_REAL.fullmatch(word) for word in words):
        raise RefusedError(Topic.COORDINATES, f"{where} should begin with {n} numbers, not {line.strip()[:40]!r}.")
    values = np.array([float(re.sub("[dD]", "e", word)) for word in words])
    if not (np.abs(values) < FARTHEST).all():
        raise RefusedError(Topic.COORDINATES, f"{where} has a number that is too large.")
    return values


def _scale(line: str, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return factors (3,) of the Cartesian components; a negative scale is the volume of the cell."""
    words = _words(line)
    n = next((i for i, word in enumerate(words) if not _REAL.fullmatch(word)), len(words))
    if n == 2 or n > 3:
        raise RefusedError(Topic.CELL, f"line 2 should have one scale or three, not {line.strip()[:40]!r}.")
    if not n:
        raise RefusedError(Topic.CELL, f"line 2 should be a scale, not {line.strip()[:40]!r}.")
    values = _reals(line, n, "line 2")
    if (values == 0).any() or (n == 3 and (values < 0).any()):
        raise RefusedError(Topic.CELL, f"a scale of {line.strip()[:40]} gives no cell.")
    if n == 3:
        return values
    if values[0] > 0:
        return np.full(3, values[0])
    volume = abs(float(np.linalg.det(matrix)))
    if not 0 < volume < np.inf:
        raise RefusedError(Topic.CELL, "the lattice vectors span no volume.")
    return np.full(3, (-values[0] / volume) ** (1 / 3))


def _counts(lines: list[str]) -> tuple[int, list[str], list[int]]:
    """Return the index of the line after the counts, the symbols (none in VASP 4) and the counts."""
    first, second = _words(lines[5]), _words(lines[6])
    if first and all(re.fullmatch("[0-9]+", word) for word in first):
        return 6, [], _whole(first)
    if not first:
        raise RefusedError(Topic.NO_SYMBOLS, NO_SYMBOLS)
    n = next((i for i, word in enumerate(second) if not re.fullmatch("[0-9]+", word)), len(second))
    counts = _whole(second[:n])
    if n < len(second) and re.match("[-+.0-9]", second[n]):
        raise RefusedError(Topic.UNREADABLE, f"{second[n]!r} on line 7 is not a number of atoms.")
    if len(first) != len(counts) or not sum(counts):
        raise RefusedError(
            Topic.UNREADABLE, f"line 6 has {len(first)} symbols and line 7 {len(counts)} counts; they must agree."
        )
    return 7, first, counts


def _whole(words: list[str]) -> list[int]:
    return [int(word[:9]) for word in words]


def _elements(
    comment: str, named: list[str], counts: list[int], rows: list[str], remarks: list[Remark]
) -> NDArray[np.int64]:
    """Return the atomic numbers; for VASP 4 from the comment or after the coordinates, with a remark."""
    symbols = named
    if not symbols:
        words = _words(comment)
        if len(words) == len(counts) and all(number_of(word) for word in words):
            symbols = words
            remarks.append(Remark(Topic.NO_SYMBOLS, f"the symbols {' '.join(words)} are those of the comment line."))
        else:
            return _behind_coordinates(rows, remarks)
    numbers = [_element(symbol, remarks) for symbol in symbols]
    return np.repeat(np.array(numbers, dtype=np.int64), counts)


def _element(word: str, remarks: list[Remark]) -> int:
    symbol = re.split("[_/]", word)[0]
    match = _SYMBOL.fullmatch(symbol)
    number = ISOTOPES.get(match[1]) or number_of(match[1].capitalize()) if match else None
    if number is None:
        raise RefusedError(Topic.UNKNOWN_ELEMENT, f"{word} on line 6 is not an element symbol.")
    if symbol != SYMBOLS[number]:
        remarks.append(Remark(Topic.ELEMENT, f"{symbol} is read as {SYMBOLS[number]}."))
    return number


def _behind_coordinates(rows: list[str], remarks: list[Remark]) -> NDArray[np.int64]:
    words = [next((word for word in row.split()[3:] if word not in ("T", "F")), "") for row in rows]
    numbers = [number_of(word) for word in words]
    if not numbers or None in numbers:
        raise RefusedError(Topic.NO_SYMBOLS, NO_SYMBOLS)
    remarks.append(Remark(Topic.NO_SYMBOLS, "the element symbols are those behind the coordinates."))
    return np.array(numbers, dtype=np.int64)


def _contradictions(numbers: NDArray[np.int64], rows: list[str], source: str, *, first: int) -> list[Remark]:
    """Return a remark if symbols after the coordinates differ from those of line 6, which VASP uses, or the comment."""
    behind = [next(filter(None, map(_element_of_label, row.split()[first:])), None) for row in rows]
    other = [i for i, (n, z) in enumerate(zip(numbers.tolist(), behind, strict=True), 1) if z not in (None, n)]
    if not other:
        return []
    text = f"symbols behind the coordinates contradict {source}, first at atom {other[0]}; {source} is read."
    return [Remark(Topic.ELEMENT, text)]


def _other_comment(comment: str, crystal: Crystal) -> list[Remark]:
    """Return a remark if the comment line is a formula of other atoms than those that are read."""
    text = "".join(comment.split())
    if not re.search("[a-z0-9]", text):
        return []  # a word in capitals
    try:
        said = Composition.from_counts(parse_formula(text, ordered=True).counts).reduced
    except FormulaError:
        return _other_comment(comment.split()[0], crystal) if len(comment.split()) > 1 else []
    if len(said.counts) < 2 or said == crystal.composition.reduced:
        return []
    text = f"the comment line says {comment.strip()[:40]!r}, but the atoms are {crystal.composition.formula}."
    return [Remark(Topic.FORMULA, text)]


def _element_of_label(word: str) -> int | None:
    """Return the element of a symbol that may be numbered, such as Ca1."""
    return number_of(re.sub("[0-9]+$", "", word))


def _beside(rows: list[str], *, first: int) -> list[Remark]:
    """Return a remark if numbers that may be occupancies stand behind the first words of the atoms' lines."""
    words = [word for row in rows for word in _words(row)[first:] if _REAL.fullmatch(word)]
    found = [word for word in words if 0 < float(re.sub("[dD]", "e", word)) < 1]
    text = (
        "numbers beside the coordinates, such as {}, are not read; if they are occupancies, the crystal is disordered."
    )
    return [Remark(Topic.LEFT_OUT, text.format(found[0]))] if found else []


def _left_out(rows: list[str], total: int) -> list[Remark]:
    """Return a remark if more structures or coordinates follow those of the atoms; velocities need none."""
    behind = rows[total:]
    configurations = sum(row.lower().startswith("direct configuration") for row in rows)
    pairs = [(_words(row), _words(below)) for row, below in pairwise(behind)]
    if configurations:
        many = "configurations follow" if configurations > 1 else "configuration follows"
        text = f"{configurations} more {many} the first one, as in an XDATCAR; only the first is read."
    elif _has_cell(behind) or any(
        a and len(a) == len(b) and all(map(number_of, a)) and all(map(str.isdecimal, b)) for a, b in pairs
    ):
        text = "another structure follows the first one; it is left out."
    elif behind and _is_place(behind[0]):
        text = f"more lines of coordinates follow than the {total} atoms that are announced; they are left out."
    elif 0 < (n := _n_places(behind)) < total:
        many = "lines of three numbers follow" if n > 1 else "line of three numbers follows"
        text = f"{n} {many} the {total} atoms, too few for velocities; this is left out."
    else:
        return []
    return [Remark(Topic.LEFT_OUT, text)]


def _has_cell(rows: list[str]) -> bool:
    """Return whether a scale, three vectors and whole numbers of atoms follow one another, as in a POSCAR of VASP 4."""
    for i, row in enumerate(rows[:-4]):
        scale, counts, vectors = row.split(), _words(rows[i + 4]), rows[i + 1 : i + 4]
        framed = len(scale) == 1 and _REAL.fullmatch(scale[0]) and counts and all(map(str.isdecimal, counts))
        if framed and all(len(vector.split()) == 3 and _is_place(vector) for vector in vectors):
            return True
    return False


def _n_places(rows: list[str]) -> int:
    """Return the number of lines of three numbers after blank lines; 0 for the sizes of a grid, which are whole."""
    some = list(takewhile(str.strip, dropwhile(lambda row: not row.strip(), rows)))
    places = list(takewhile(_is_place, some))
    whole = bool(places) and all(map(str.isdecimal, places[0].split()[:3]))
    return 0 if whole or len(places) < len(some) else len(places)


def _is_place(row: str) -> bool:
    words = row.split()[:3]
    return len(words) == 3 and all(_REAL.fullmatch(word) for word in words)
