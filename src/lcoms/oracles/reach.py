"""Check that neighbours are within a model's cutoff, which may be too short for large atoms such as caesium.

In body-centred cubic crystals the second shell is 2/sqrt(3) times as far as the first. If the first is beyond
sqrt(3)/2 of the cutoff, the second is ignored, forces end at the cutoff, and atoms may fly apart in a relaxation.
"""

from __future__ import annotations

from math import sqrt

from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.elemental import elemental_forms
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.neighbors import neighbor_list

SEEN_SHARE = sqrt(3) / 2


def beyond_reach(oracle: EnergyOracle, crystal: Crystal) -> str:
    """Return a sentence if the nearest neighbours of an atom are near or beyond the model's cutoff; else empty."""
    if oracle.cutoff is None:
        return ""
    batch = CrystalBatch.from_crystals([crystal])
    edges = neighbor_list(batch, cutoff=oracle.cutoff)  # an isolated atom gets its nearest neighbour, however far
    lengths = edges.vectors(batch).norm(dim=-1)
    nearest = lengths.new_full((crystal.n_atoms,), float("inf")).scatter_reduce(0, edges.target, lengths, "amin")
    far = nearest > SEEN_SHARE * oracle.cutoff
    if not bool(far.any()):
        return ""
    symbols = ", ".join(SYMBOLS[z] for z in sorted({crystal.atomic_numbers[i] for i in far.nonzero()[:, 0].tolist()}))
    where = "beyond" if float(nearest.max()) > oracle.cutoff else "near"
    return (
        f"the nearest neighbours of {symbols} ({float(nearest.max()):.2f} angstrom) lie {where} the cutoff of "
        f"{oracle.name} ({oracle.cutoff:g} angstrom), which sees no further shell; do not trust its results for "
        "this crystal. A model without a cutoff is gpaw."
    )


def element_beyond_reach(oracle: EnergyOracle, composition: Composition) -> str:
    """Return the same for the known structures of an element, before any prediction; empty for compounds."""
    if len(composition.atomic_numbers) > 1:
        return ""
    (number,) = composition.atomic_numbers
    forms = (form.crystal for form in elemental_forms() if form.crystal.atomic_numbers[0] == number)
    return next(filter(None, (beyond_reach(oracle, crystal) for crystal in forms)), "")
