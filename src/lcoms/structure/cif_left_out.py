"""Parts of a CIF block that a `Crystal` cannot represent: refused, or left out with a remark."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lcoms.structure.cif_block import Block, number
from lcoms.structure.elements import number_of
from lcoms.structure.reading import RefusedError, Remark, Topic

_WAVES = ("_cell_wave_vector", "_cell_modulation", "_atom_site_displace_", "_atom_site_fourier_wave_vector")
_VARYING = ("_atom_site_occ_fourier", "_atom_site_occ_special_func", "_atom_site_occ_legendre")
_WITH_HYDROGEN = re.compile(r"(?:O[\s_(-]*[0-9]*\)?[wWhH](?:at)?|WAT|Wat|wat|HOH)(?![a-z])")  # oxygen of water


def require_ordinary(block: Block) -> None:
    """Raise RefusedError if a structure is composite, or its occupancies are modulated."""
    if any(name.startswith("_cell_subsystem_matrix") for name in block.columns):
        text = "a composite of subsystems with different cells; give an approximant in three dimensions."
        raise RefusedError(Topic.SYMMETRY, text)
    if any(name.startswith(_VARYING) for name in block.columns):
        text = "the occupancies are modulated; give an ordered approximant in three dimensions."
        raise RefusedError(Topic.PARTLY_OCCUPIED, text)


def left_out(block: Block, counts: Mapping[int, int], *, formula_known: bool) -> list[Remark]:
    """Return remarks on moments, modulations and hydrogen atoms that the crystal does not have.

    Args:
        counts: atoms of the cell by atomic number.
        formula_known: whether the block states a formula, which was compared with the atoms.
    """
    remarks = []
    if any(name.startswith("_atom_site_moment") for name in block.columns):
        remarks.append(Remark(Topic.LEFT_OUT, "magnetic moments are not kept."))
    if any(name.startswith(_WAVES) for name in block.columns):
        remarks.append(Remark(Topic.LEFT_OUT, "a modulated structure; its modulation is not kept."))
    hydrogens = sum(number(text) or 0 for text in block.columns.get("_atom_site_attached_hydrogens", ()))
    if hydrogens:
        many = "hydrogen atoms are" if hydrogens != 1 else "hydrogen atom is"
        text = f"{hydrogens:g} {many} attached to sites without coordinates, and missing."
        remarks.append(Remark(Topic.FORMULA, text))
    elif not formula_known and number_of("H") not in counts:
        labels = [text for text in block.columns.get("_atom_site_label", ()) if _WITH_HYDROGEN.match(text)]
        if labels:
            text = f"the label {labels[0]} is that of water or hydroxide, but no hydrogen is listed; it may be missing."
            remarks.append(Remark(Topic.FORMULA, text))
    return remarks
