"""Structures of the elements, to be relaxed by an oracle and serve as the zero of its formation energies.

The forms come from `elemental.json` beside this module, each with its source. Where an element may take several forms
(close packings and bcc of the metals), all of them are relaxed and the lowest counts.
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
    """One form of an element.

    Attributes:
        element: its symbol.
        prototype: a few words for the structure.
        source: where the structure is taken from.
        crystal: primitive cell, not relaxed.
    """

    element: str
    prototype: str
    source: str
    crystal: Crystal


@cache
def elemental_forms() -> tuple[ElementalForm, ...]:
    """All forms, by atomic number; 89 elements up to plutonium, without Po, At, Rn, Fr and Ra."""
    table = json.loads(files("lcoms.oracles").joinpath("elemental.json").read_text(encoding="utf-8"))
    forms = []
    for row in table["structures"]:
        frac_coords = np.array(row["frac_coords"])
        numbers = np.full(len(frac_coords), number_of(row["element"]))
        crystal = Crystal(np.array(row["lattice"]), frac_coords, numbers)
        forms.append(ElementalForm(row["element"], row["prototype"], row["source"], crystal))
    return tuple(forms)
