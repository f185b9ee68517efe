"""The list of symmetry operations of a CIF block, read as triplets such as -x+1/2,y,-z and checked to be a group."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lcoms.structure.cif_block import Block
from lcoms.structure.cif_expand import Operations
from lcoms.structure.triplets import Triplet, arrays, is_group, parse_triplet

LISTED = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz", "_symmetry_equiv_pos_as_xyz_")
MAGNETIC = (
    "_space_group_symop_magn_operation_xyz",
    "_space_group_magn_symop_operation_xyz",
    "_magnetic_space_group_symop_operation_xyz",
)
IDENTITY = parse_triplet("x,y,z")
MOST_OPERATIONS = 192 * 16
_ANY_LIST = re.compile(r"_(?:symmetry|space_group|magnetic)\w*_xyz_?")  # under names that no dictionary has
_NOT_A_LIST = re.compile("generator|ssg|_og_|cent(?:e?r|re)ing|transf|parent")
_TRIPLET = r"[^,;|()\[\]]+,[^,;|()\[\]]+,[^,;|()\[\]]+(?:,\s*[-+]?1)?"
_CENTERING = re.compile(r"_(?!\w*_og_)(?:space_group|magnetic)\w*cent(?:er|r)ing_xyz")
_NUMBERING = re.compile(r"^[0-9]{1,3}[.):]?\s+(?=[-+xyzXYZ0-9.])")


def listed_operations(block: Block) -> tuple[Operations | None, str, str]:
    """Return the listed operations (None if there are none), why they cannot be used, and what was added to them."""
    names = (*MAGNETIC, *LISTED, *_other_lists(block))
    texts = next(filter(None, (_lines(block.column(name)) for name in names)), None)
    if texts is None:
        return None, "", ""
    try:
        shifts = [_operation(text) for text in _lines(block.column(*filter(_CENTERING.fullmatch, block.columns)))]
        ops = [_operation(text) for text in texts]
        ops = [shift * op for shift in shifts for op in ops] if shifts else ops
    except ValueError as error:
        return None, f"the listed operations cannot be understood ({' '.join(str(error).split())[:80]})", ""
    whole = list(dict.fromkeys([IDENTITY, *ops]))
    if len(whole) > MOST_OPERATIONS or not is_group(whole):
        return None, "the listed operations are not a group: some are missing or wrong", ""
    said = "" if IDENTITY in ops else "the list of operations lacks the identity x,y,z, which is added."
    return Operations(*arrays(whole)), "", said


def operations_of(texts: Sequence[str]) -> Operations | None:
    """Return the operations of one column as they are listed, None if they cannot be understood."""
    try:
        return Operations(*arrays([_operation(text) for text in _lines(texts)]))
    except ValueError:
        return None


def _other_lists(block: Block) -> list[str]:
    """Return the names of further columns of operations, which programs write under other names."""
    return [name for name in block.columns if _ANY_LIST.fullmatch(name) and not _NOT_A_LIST.search(name)]


def _lines(texts: Sequence[str]) -> list[str]:
    """Return the operations of a column, of which one value may hold several, divided by lines, ; or |."""
    lines = [line.strip() for text in texts for line in re.split(r"[\n;|]", text)]
    return [operation for line in lines if line and line not in ("?", ".") for operation in _operations_in(line)]


def _operations_in(line: str) -> list[str]:
    """Return the operations of a line: in brackets, divided by blanks, or the only one."""
    bracketed = re.findall(rf"[(\[]({_TRIPLET})[)\]]", line)
    if bracketed and not re.sub(rf"[(\[]{_TRIPLET}[)\]]", "", line).strip(" ,"):
        return list(bracketed)
    words = re.sub(r"\s*,\s*", ",", line).split()
    return words if len(words) > 1 and all(re.fullmatch(_TRIPLET, word) for word in words) else [line]


def _operation(text: str) -> Triplet:
    """Return the operation of a triplet, which may have a number before it and a time reversal behind it.

    Raises:
        ValueError: it is not a triplet in three dimensions.
    """
    plain = _NUMBERING.sub("", text.strip("'\" "))
    parts = re.sub(r"\s", "", plain).lower().strip(",").split(",")
    if len(parts) == 4 and parts[3] in ("1", "+1", "-1"):  # time reversal
        parts = parts[:3]
    if len(parts) == 3 and "x1" in plain.lower():
        parts = [re.sub("x([123])", lambda match: "xyz"[int(match[1]) - 1], part) for part in parts]
    if len(parts) > 3 or any("x4" in part for part in parts):
        raise ValueError(f"{len(parts)} components in {text[:40]!r}, where three are needed")
    if not all(part.isascii() for part in parts):
        raise ValueError(f"unexpected characters in {text[:40]!r}")
    return parse_triplet(",".join(parts))
