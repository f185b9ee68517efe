"""Structures of the elements, relaxed by an oracle to give the zero of its formation energies.

The structures are in `elemental.json` next to this module, each with its source. If an element has several candidates
(close packings and bcc for metals), all are relaxed and the lowest is used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import number_of


@dataclass(frozen=True, eq=False)
class ElementalForm:
    """One structure of an element.

    Attributes:
        element: its symbol.
        prototype: short description of the structure.
        source: origin of the structure.
        crystal: primitive cell, unrelaxed.
    """

    element: str
    prototype: str
    source: str
    crystal: Crystal


@cache
def elemental_forms() -> tuple[ElementalForm, ...]:
    """Return all structures, by atomic number; 89 elements up to plutonium, without Po, At, Rn, Fr and Ra."""
    table = json.loads(files("lcoms.oracles").joinpath("elemental.json").read_text(encoding="utf-8"))
    forms = []
    for row in table["structures"]:
        frac_coords = np.array(row["frac_coords"])
        numbers = np.full(len(frac_coords), number_of(row["element"]))
        crystal = Crystal(np.array(row["lattice"]), frac_coords, numbers)
        forms.append(ElementalForm(row["element"], row["prototype"], row["source"], crystal))
    return tuple(forms)
