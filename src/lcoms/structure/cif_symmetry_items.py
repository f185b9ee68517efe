"""The data items of a CIF block that state its symmetry, as text: symbols, numbers, codes of settings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lcoms.structure.cif_block import Block
from lcoms.structure.cif_listed import LISTED, MAGNETIC
from lcoms.structure.space_group_names import number_of_schoenflies, settings_named, stated_extension, without_number

HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
REFERENCE = "_space_group_name_h-m_ref"
NAME = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    REFERENCE,
    "_space_group_name_h-m",
    "_symmetry_space_group_name_h-m_alt",
)
NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
CODE, CODES = "_space_group_it_coordinate_system_code", ("1", "2", "H", "R")  # those of origins and rhombohedral axes
SCHOENFLIES = ("_space_group_name_schoenflies", "_space_group_schoenflies")
CENTRING = ("_space_group_centring_type", "_space_group_bravais_type")
SYSTEM = ("_space_group_crystal_system", "_symmetry_cell_setting")
_TRANSFORM = re.compile(r"_space_group_transform_(?:pp_abc|qq_xyz)")
_SAME = re.compile(r"[ax],[by],[cz](?:;0,0,0)?")
_OF_ANOTHER = re.compile("magn|ssg|patterson|laue|point_group|parent|transf|subgroup|supergroup")


def names_and_numbers(block: Block, code: str) -> tuple[list[str], list[str]]:
    """Return all different names, those that state a setting first, and all numbers of the space group."""
    parts = [without_number(text) for text in all_given(block, NAME) or _under_other_names(block)]
    names = list(dict.fromkeys(name for name, _ in parts if name))
    if code in CODES:
        names = [name if stated_extension(name) else f"{name}:{code}" for name in names]
    numbers = [
        text.lstrip("0") or "0" for text in (*all_given(block, NUMBER), *(beside for _, beside in parts)) if text
    ]
    if number := number_of_schoenflies(block.value(*SCHOENFLIES)):
        numbers.append(str(number))
    return sorted(names, key=lambda name: not stated_extension(name)), list(dict.fromkeys(numbers))


def _under_other_names(block: Block) -> list[str]:
    """Return the space group names given under names that no dictionary has, such as _space_group_symbol."""
    known = {*HALL, *NUMBER, *SCHOENFLIES, *LISTED, CODE}
    others = [
        name
        for name, values in block.columns.items()
        if name.startswith(("_symmetry", "_space_group")) and name not in known and len(values) == 1
    ]
    texts = [block.value(name) for name in others if not _OF_ANOTHER.search(name)]
    return [text for text in texts if text and settings_named(without_number(text)[0])]


def all_given(block: Block, names: Sequence[str]) -> list[str]:
    """Return the different values of these names, in their order, without placeholders."""
    return list(dict.fromkeys(filter(None, (_given(block.value(name)) for name in names))))


def _given(text: str) -> str:
    """Return the text; empty for the placeholders ? and ., which some programs put in quotes."""
    return "" if text.strip() in ("?", ".") else text


def transformed(block: Block) -> str:
    """Return why a reference setting that is only to be transformed cannot be used; empty without a transformation."""
    names = [name for name in block.columns if _TRANSFORM.fullmatch(name)]
    texts = (re.sub(r"\s", "", block.value(name)).lower() for name in names)
    if any(block.value(name) for name in NAME if name != REFERENCE) or all(_SAME.fullmatch(t) for t in texts if t):
        return ""
    return "the setting is stated by a transformation of the axes only; list the symmetry operations."


def cannot_know(block: Block) -> str:
    """Return why the symmetry of a block cannot be read in three dimensions; empty if none is stated at all."""
    if any(re.match(r"_space_group\w*_ssg_", name) for name in block.columns):
        return "a modulated structure in superspace; give an approximant in three dimensions."
    if any(name.startswith(("_space_group_magn_", "_space_group_symop_magn_", "_magnetic_")) for name in block.columns):
        return "the magnetic space group is named, but its operations are not listed; list them."
    if any(name.startswith(("_space_group_symop_generator", "_space_group_generator")) for name in block.columns):
        return "only generators of the space group are listed; list all of its operations."
    return ""


def elsewhere_stated(block: Block, blocks: Sequence[Block]) -> str:
    """Return the name of a block without atoms that states a symmetry, if this block states none; otherwise empty."""
    if _states_symmetry(block):
        return ""
    places = ("_atom_site_fract_x", "_atom_site_cartn_x")
    others = [other for other in blocks if not any(name in other.columns for name in places)]
    return next((other.name for other in others if _states_symmetry(other)), "")


def _states_symmetry(block: Block) -> bool:
    names = (*HALL, *NAME, *NUMBER, *SCHOENFLIES, *LISTED, *MAGNETIC)
    return any(_given(text) for name in names for text in block.columns.get(name, ()))
