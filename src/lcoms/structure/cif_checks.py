"""How well the atoms of a cell agree with the statements of a CIF and with typical crystals.

The cost of a candidate setting is a sum over contradictions; a difference of about 1 decides between two readings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, log

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.cif_block import Block, number
from lcoms.structure.cif_expand import MAX_ATOMS, Expanded
from lcoms.structure.cif_sites import Site
from lcoms.structure.distances import ClosePair, closest_pair
from lcoms.structure.elements import SYMBOLS, atomic_volume, number_of
from lcoms.structure.reading import Remark, Topic
from lcoms.structure.site_elements import ISOTOPES, formula_sum, moiety_formula

Z, VOLUME, DENSITY = "_cell_formula_units_z", "_cell_volume", "_exptl_crystal_density_diffrn"
MOIETIES = ("_chemical_formula_moiety", "_chemical_formula_structural", "_chemical_formula_iupac")
WEIGHT = "_chemical_formula_weight"
_HEAVY_HYDROGEN = r"[23]?[DT](?![a-z])|[23]H"
CONTRADICTION = 5.0  # cost of a reading that contradicts the formula or Z of the file
MOVED_AT_ALL = 1e-3  # angstrom
MOVED_FAR = 0.03  # angstrom
DENSITY_OFF = 0.05  # relative; a hydrogen atom in a hydroxide is less
ROUNDED = 0.006  # error of a count with two decimals
AMU = 1.66053907  # g/cm^3 for 1 amu per cubic angstrom


@dataclass(frozen=True)
class Facts:
    """Statements of a block about its cell; 0 or empty if missing.

    Attributes:
        formula: counts of the formula sum.
        z: number of formula units in the cell.
        volume: cubic angstrom.
        moieties: counts of the moiety and structural formulas.
        density: g/cm^3, computed by the authors from the contents of the cell.
        weight: g/mol of a formula unit; 0 if hydrogen isotopes are listed.
        in_cell: atoms of each element in the cell.
    """

    formula: Mapping[int, float]
    z: float = 0.0
    volume: float = 0.0
    moieties: tuple[Mapping[int, float], ...] = ()
    density: float = 0.0
    weight: float = 0.0
    in_cell: Mapping[int, float] = field(default_factory=dict)

    @property
    def states_formula(self) -> bool:
        return bool(self.formula or self.moieties)


@dataclass(frozen=True, eq=False)
class Assessment:
    """Assessment of a candidate's atoms: cost, closest pair, and whether the formula sum and Z agree with them."""

    cost: float
    pair: ClosePair
    formula_agrees: bool
    z_agrees: bool


def read_facts(block: Block) -> tuple[Facts, list[Remark]]:
    """Return formula sum, formula units and volume, and a remark if the sum cannot be understood."""
    text = block.value("_chemical_formula_sum").strip("?.")
    found = formula_sum(text)
    remarks = [] if found is not None else [Remark(Topic.FORMULA, f"the formula sum {text!r} is not understood.")]
    moieties = tuple(filter(None, (moiety_formula(block.value(name)) for name in MOIETIES)))
    z, volume, density, weight = (number(block.value(name)) or 0.0 for name in (Z, VOLUME, DENSITY, WEIGHT))
    weight = 0.0 if any(re.match(_HEAVY_HYDROGEN, symbol) for symbol in _symbols(block)) else weight
    return Facts(found or {}, z, volume, moieties, density, weight, _in_cell(block)), remarks


def _symbols(block: Block) -> Sequence[str]:
    return block.columns.get("_atom_site_type_symbol") or block.columns.get("_atom_site_label", ())


def _in_cell(block: Block) -> dict[int, float]:
    """Return the stated numbers of atoms in the cell by element; empty unless all are understood."""
    symbols, texts = (block.columns.get(f"_atom_type_{name}", ()) for name in ("symbol", "number_in_cell"))
    found: dict[int, float] = {}
    for symbol, text in zip(symbols, texts, strict=False):
        match = re.match(r"[A-Z][a-z]?", symbol)
        z, count = number_of("H" if match and match[0] in ISOTOPES else match[0]) if match else None, number(text)
        if z is None or count is None:
            return {}
        found[z] = found.get(z, 0.0) + count
    return found


def assess(expanded: Expanded, sites: Sequence[Site], lattice: NDArray[np.float64], facts: Facts) -> Assessment:
    """Assess atoms by contradictions with the file, atoms too close or moved far, and an atypical volume."""
    counts = counts_of(expanded.atomic_numbers)
    pair = closest_pair(lattice, expanded.frac_coords, expanded.atomic_numbers)
    formula_agrees = not facts.formula or same_ratios(counts, facts.formula)
    z_agrees = not (facts.formula and facts.z) or _z_agrees(facts, len(expanded.atomic_numbers))
    wrong = len(_wrong_multiplicities(expanded, sites))
    expected = sum(atomic_volume(z) * n for z, n in counts.items())
    unlike = abs(log(abs(float(np.linalg.det(lattice))) / expected)) if expected else 0.0
    cost = CONTRADICTION * (not formula_agrees) + CONTRADICTION * (not z_agrees)
    if not facts.formula and not _agrees_otherwise(counts, facts, abs(float(np.linalg.det(lattice)))):
        cost += CONTRADICTION
    cost += CONTRADICTION * wrong / len(sites)
    cost += 4 * max(0.0, log(0.9 / max(pair.ratio, 1e-3)))
    cost += max(0.0, unlike - 0.2)
    cost += 5 * max(0.0, float(expanded.moved.max()) - MOVED_FAR) + len(expanded.merged) / len(sites)
    return Assessment(cost, pair, formula_agrees, z_agrees)


def _agrees_otherwise(counts: Mapping[int, int], facts: Facts, volume: float) -> bool:
    """Return whether the other formulas, the weight and the density are those of the atoms."""
    if facts.moieties:
        return same_ratios(counts, facts.moieties[0])
    near = not facts.density or abs(facts.density * volume / (AMU * _mass(counts)) - 1) < DENSITY_OFF
    return near and _weight_agrees(counts, facts)


def _z_agrees(facts: Facts, n_atoms: int) -> bool:
    """Return whether Z formula sums make up the cell; some programs give Z and the sum of the whole cell."""
    whole = sum(facts.formula.values())
    return min(abs(facts.z * whole - n_atoms), abs(whole - n_atoms)) < 0.5


def counts_of(atomic_numbers: NDArray[np.int64]) -> dict[int, int]:
    """Return the number of atoms of each element."""
    found, counts = np.unique(atomic_numbers, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def same_ratios(counts: Mapping[int, int], formula: Mapping[int, float]) -> bool:
    """Return whether the counts have the ratios of a formula, within half an atom or the rounding of the formula."""
    total, whole = sum(counts.values()), sum(formula.values())
    rounded = any(n != round(n) for n in formula.values())
    allowed = min(max(0.5, ROUNDED * total / whole if rounded else 0.0), 0.01 * total)
    return all(abs(counts.get(z, 0) - formula.get(z, 0) * total / whole) < allowed for z in {*counts, *formula})


def same_counts(counts: Mapping[int, int], stated: Mapping[int, float]) -> bool:
    """Return whether the atoms of each element are as many as stated."""
    return all(abs(counts.get(z, 0) - stated.get(z, 0)) < 0.5 for z in {*counts, *stated})


def _weight_agrees(counts: Mapping[int, int], facts: Facts) -> bool:
    """Return whether whole formula units of the stated weight make up the cell."""
    if not facts.weight:
        return True
    units = _mass(counts) / facts.weight
    wanted = [facts.z, 1.0] if facts.z else [max(1.0, round(units))]
    return any(abs(units - one) < max(0.02, 0.005 * one) for one in wanted)


def _same_weight(facts: Facts) -> bool:
    """Return whether the stated weight is that of the formula sum, or a whole multiple or fraction of it."""
    ratio = _mass(facts.formula) / facts.weight if facts.weight else 1.0
    return any(abs(one - round(one)) < 0.01 * round(one) for one in (ratio, 1 / ratio))


def _mass(counts: Mapping[int, float] | Mapping[int, int]) -> float:
    from ase.data import atomic_masses

    return sum(float(atomic_masses[z]) * n for z, n in counts.items())


def remarks_on(
    expanded: Expanded, sites: Sequence[Site], lattice: NDArray[np.float64], facts: Facts, found: Assessment
) -> list[Remark]:
    """Return remarks on corrections of the atoms and on contradictions with the file."""
    remarks = []
    if expanded.merged:
        text = f"atoms listed more than once are counted once: {', '.join(expanded.merged[:5])}"
        text += f" and {len(expanded.merged) - 5} more." if len(expanded.merged) > 5 else "."
        remarks.append(Remark(Topic.MERGED, text))
    furthest = int(np.argmax(expanded.moved))
    if expanded.moved[furthest] > MOVED_AT_ALL:
        n_moved = int((expanded.moved > MOVED_AT_ALL).sum())
        text = (
            f"{n_moved} site{'s' if n_moved > 1 else ''} moved onto special positions, {sites[furthest].label} by "
            f"{expanded.moved[furthest]:.4f} angstrom."
        )
        remarks.append(Remark(Topic.MOVED, text))
    remarks += _multiplicities(expanded, sites)
    remarks += _contents(counts_of(expanded.atomic_numbers), facts, found)
    volume = abs(float(np.linalg.det(lattice)))
    if facts.volume and abs(facts.volume / volume - 1) > 0.01:
        text = f"the cell has a volume of {volume:.2f} cubic angstrom, but the file states {facts.volume:g}."
        remarks.append(Remark(Topic.CELL, text))
    return remarks + _density(expanded, volume, facts, remarks)


def _contents(counts: dict[int, int], facts: Facts, found: Assessment) -> list[Remark]:
    """Return a remark if the formula or the number of formula units differs from the atoms of the cell."""
    n_atoms = sum(counts.values())
    if not found.formula_agrees:
        text = f"the formula sum {_text(facts.formula)} differs from the atoms of the cell, {_text(counts)}."
    elif other := next((formula for formula in facts.moieties if not same_ratios(counts, formula)), None):
        text = f"the formula {_text(other)} differs from the atoms of the cell, {_text(counts)}."
    elif facts.in_cell and not same_counts(counts, facts.in_cell):
        text = f"the file states {_text(facts.in_cell)} in the cell, which differs from its atoms, {_text(counts)}."
    elif not facts.states_formula and not _weight_agrees(counts, facts):
        text = f"the atoms of the cell, {_text(counts)}, are not formula units of {facts.weight:g} g/mol, as is stated."
    elif facts.formula and not _same_weight(facts):
        text = (
            f"the formula sum {_text(facts.formula)} does not weigh {facts.weight:g} g/mol, as is stated; atoms may be "
        )
        text += "missing."
    elif not found.z_agrees:
        units = n_atoms / sum(facts.formula.values())
        text = f"the cell holds {units:g} formula units, but the file states Z = {facts.z:g}."
    elif not facts.formula and 1 <= facts.z < MAX_ATOMS and gcd(*counts.values()) % round(facts.z):
        text = f"the atoms of the cell, {_text(counts)}, are not Z = {facts.z:g} formula units, as the file states."
    else:
        return []
    return [Remark(Topic.FORMULA, text)]


def _density(expanded: Expanded, volume: float, facts: Facts, said: Sequence[Remark]) -> list[Remark]:
    """Return a remark if the stated density is not that of the crystal and nothing said before explains it."""
    if not facts.density or any(remark.topic in (Topic.FORMULA, Topic.CELL, Topic.SYMMETRY) for remark in said):
        return []
    density = AMU * _mass(counts_of(expanded.atomic_numbers)) / volume
    if abs(facts.density / density - 1) < DENSITY_OFF:
        return []
    text = f"the crystal has a density of {density:.3g} g/cm3, but the file states {facts.density:g}"
    return [Remark(Topic.FORMULA, f"{text}; atoms may be missing.")]


def _multiplicities(expanded: Expanded, sites: Sequence[Site]) -> list[Remark]:
    """Return a remark if sites give more or fewer atoms than the file states; sites merged into others are skipped."""
    wrong = [(site, n) for site, n in _wrong_multiplicities(expanded, sites) if n]
    if not wrong:
        return []
    (first, n), more = wrong[0], len(wrong) - 1
    by_order = first.order and first.order * n != expanded.order
    stated = f"{expanded.order / first.order:g}, by its symmetry order" if by_order else f"{first.multiplicity}"
    text = f"site {first.label} gives {n} atoms, but the file states a multiplicity of {stated}"
    return [Remark(Topic.SYMMETRY, text + (f"; so do {more} more." if more else "."))]


def _wrong_multiplicities(expanded: Expanded, sites: Sequence[Site]) -> list[tuple[Site, int]]:
    """Return the sites whose multiplicity, or the order of whose symmetry, is not the stated one, and their atoms.

    SHELXL-97 writes the order of the site symmetry as multiplicity; a list that is right when so read is not wrong.
    """
    pairs = list(zip(sites, expanded.multiplicities().tolist(), strict=True))
    orders = all(not site.multiplicity or site.multiplicity * n == expanded.order for site, n in pairs)
    return [
        (site, n)
        for site, n in pairs
        if (site.multiplicity not in (0, n) and not orders) or (site.order and site.order * n != expanded.order)
    ]


def _text(counts: Mapping[int, float] | Mapping[int, int]) -> str:
    return " ".join(f"{SYMBOLS[z]}{n:g}" if n != 1 else SYMBOLS[z] for z, n in sorted(counts.items()))
