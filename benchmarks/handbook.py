"""Structures known from experiment: write the crystals of handbook.toml as CIF files, to be predicted from formulas.

    python benchmarks/handbook.py FOLDER
    lcoms evaluate table FOLDER --relax --out rows.json

Calculated ground states are not always those found in nature: the density functional may favour another polymorph.
These crystals are from handbooks. The weights were trained on most of them; the library excludes the composition that
is predicted.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

from ase.spacegroup import crystal as from_space_group

from lcoms.structure.crystal import Crystal
from lcoms.structure.io import from_ase, to_cif
from lcoms.structure.symmetry import space_group_number

TABLE = Path(__file__).with_name("handbook.toml")
CELLS = {  # indices of the numbers for a, b and c, and gamma
    "cubic": ((0, 0, 0), 90),
    "tetragonal": ((0, 0, 1), 90),
    "hexagonal": ((0, 0, 1), 120),
    "orthorhombic": ((0, 1, 2), 90),
}


def coordinate(text: str, free: dict[str, float]) -> float:
    """Return a fractional coordinate from its text in the table: a number, fraction, free parameter, or a sum."""
    return sum(free[term] if term in free else float(Fraction(term)) for term in text.split("+"))


def crystal(structure: dict[str, Any], compound: str) -> Crystal:
    """Return the primitive cell of one compound.

    Raises:
        ValueError: its symmetry is not that in the table.
    """
    words = compound.split()
    elements = words[: len(structure["sites"])]
    numbers = [float(word) for word in words[len(elements) :]]
    order, gamma = CELLS[structure["lattice"]]
    free = dict(zip("uv", numbers[max(order) + 1 :], strict=False))
    coords = [[coordinate(c, free) for c in site.split()] for site in structure["sites"]]
    cell = [*(numbers[i] for i in order), 90, 90, gamma]
    group = structure["space_group"]
    made = from_ase(from_space_group(elements, coords, spacegroup=group, cellpar=cell, primitive_cell=True))
    if (found := space_group_number(made)) != group:
        raise ValueError(f"{structure['name']} {compound.strip()}: space group {found}")
    return made


def crystals() -> dict[str, Crystal]:
    """Return all crystals of the table, by formula and structure."""
    table = tomllib.loads(TABLE.read_text())
    made = {}
    for structure in table["structure"]:
        for compound in structure["compounds"].split(";"):
            one = crystal(structure, compound)
            made[f"{one.composition.reduced_formula}-{structure['name'].replace(' ', '-')}"] = one
    return made


def main() -> None:
    """Write the crystals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    made = crystals()
    for name, one in made.items():
        (folder / f"{name}.cif").write_text(to_cif(one))
    print(f"{len(made)} crystals written to {folder}")


if __name__ == "__main__":
    main()
