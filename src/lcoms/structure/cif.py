"""CIF text to crystals: every data block is read, or refused with a reason, and every correction is reported.

If the stated symmetry leaves the setting open, the atoms decide: formula sum, Z, multiplicities, distances and the
typical volume of such atoms (`lcoms.structure.cif_checks`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import CrystalError, FileFormatError
from lcoms.structure.cif_block import Block, number, parse_blocks
from lcoms.structure.cif_checks import Assessment, Facts, assess, counts_of, read_facts, remarks_on
from lcoms.structure.cif_expand import Expanded, expand
from lcoms.structure.cif_left_out import left_out, require_ordinary
from lcoms.structure.cif_sites import CARTN, FRACT, Site, read_sites
from lcoms.structure.cif_symmetry import NOT_AS_STATED, Candidate, centring_remarks, find_candidates, system_remarks
from lcoms.structure.cif_symmetry_items import elsewhere_stated
from lcoms.structure.crystal import Crystal
from lcoms.structure.distances import LONGEST_EDGE, SHORTEST_EDGE, distance_remarks, far_out_remarks, require_cell
from lcoms.structure.lattice import lattice_from_parameters
from lcoms.structure.reading import Reading, RefusedError, Remark, Topic
from lcoms.structure.symmetry import same_space_group, space_group_number

LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
UNITS = {"": 1.0, "_pm": 0.01, "_nm": 10.0}  # early CIF dictionaries had names with other units
_UNIT = re.compile(r"\s*(?:\u00c5|\u212b|A|\u00b0|deg\.?|degrees?|[\u00e5a]ngstroe?ms?|ang\.?)$", re.IGNORECASE)
CLEAR = 0.15  # smaller differences of cost are not decisive
FAVOURED = 0.5  # larger differences of cost by the atoms are reported


@dataclass(frozen=True, eq=False)
class _Choice:
    """A candidate setting with its atoms."""

    candidate: Candidate
    expanded: Expanded
    found: Assessment

    @property
    def cost(self) -> float:
        return self.candidate.cost + self.found.cost


def read_cif(text: str) -> list[Reading]:
    """Return a reading for every data block with a structure, refused ones included; one refusal for a bad text."""
    try:
        blocks = parse_blocks(text)
    except RefusedError as error:
        return [Reading.refused("", error)]
    wanted = [block for block in blocks if _has_atoms(block)]
    if not wanted:
        cells = [block.name for block in blocks if block.column(*LENGTHS[:1])]
        what = f"data block {cells[0]} has a cell and no atoms" if cells else "no data block has a cell and atoms"
        refusal = RefusedError(Topic.COORDINATES, f"not a CIF that can be read: {what}.")
        return [Reading.refused("", refusal)]
    readings = [_read(block, elsewhere_stated(block, blocks)) for block in wanted]
    for block in blocks:
        if block not in wanted and block.columns.get(LENGTHS[0]):
            text = f"data block {block.name} has a cell and no atoms; it is left out."
            readings[0] = readings[0].with_remark(Topic.LEFT_OUT, text)
    return readings


def _has_atoms(block: Block) -> bool:
    return any(block.columns.get(name) for name in (*FRACT, *CARTN))


def _read(block: Block, elsewhere: str) -> Reading:
    """Return the crystal of a block or its refusal, also if only another block, `elsewhere`, states its symmetry."""
    try:
        if elsewhere:
            text = f"states no symmetry, but data block {elsewhere} does; write that of this structure into its block."
            raise RefusedError(Topic.SYMMETRY, text)
        return _crystal(block)
    except FileFormatError as error:
        return Reading.refused(block.name, error)
    except CrystalError as error:
        return Reading.refused(block.name, RefusedError(Topic.CELL, str(error)))


def _crystal(block: Block) -> Reading:
    """Return the crystal of a block; raises RefusedError."""
    lattice, remarks = _lattice(block)
    try:
        return _with_cell(block, lattice, remarks)
    except RefusedError as error:
        if not remarks:
            raise
        raise RefusedError(error.topic, " ".join([str(error), *map(str, remarks)])) from error


def _with_cell(block: Block, lattice: NDArray[np.float64], remarks: list[Remark]) -> Reading:
    """Return the crystal of a block, given its lattice and the remarks on it; raises RefusedError."""
    require_ordinary(block)
    facts, more = read_facts(block)
    remarks = remarks + more
    sites, more = read_sites(block, lattice, tuple(facts.formula))
    places = np.array([site.frac_coords for site in sites])
    remarks += more + far_out_remarks(places, [f"site {site.label}" for site in sites])
    candidates, more = find_candidates(block, lattice)
    remarks += more
    chosen, more = _choose(candidates, sites, lattice, facts)
    remarks += more
    remarks += remarks_on(chosen.expanded, sites, lattice, facts, chosen.found)
    counts = counts_of(chosen.expanded.atomic_numbers)
    remarks += left_out(block, counts, formula_known=facts.states_formula)
    crystal = Crystal(lattice, chosen.expanded.frac_coords, chosen.expanded.atomic_numbers)
    remarks += distance_remarks(crystal, chosen.found.pair, [sites[i].label for i in chosen.expanded.sites])
    remarks += centring_remarks(block, chosen.candidate, crystal) + system_remarks(block, chosen.candidate)
    remarks += _unlisted(candidates, chosen, crystal)
    return Reading(block.name, crystal, tuple(remarks))


def _lattice(block: Block) -> tuple[NDArray[np.float64], list[Remark]]:
    remarks = []
    parameters = []
    for name in LENGTHS:
        suffix = next((suffix for suffix in UNITS if block.value(name + suffix)), "")
        text = block.value(name + suffix)
        value = number(_UNIT.sub("", text))
        if value is None:
            raise RefusedError(Topic.CELL, f"{name} is {repr(text) if text else 'missing'}; give it in angstrom.")
        parameters.append(value * UNITS[suffix])
    missing = [name for name in ANGLES if not block.value(name)]
    angles = [number(_UNIT.sub("", block.value(name))) or 0.0 for name in ANGLES]
    if min(angles) > 0 and max(angles) <= np.pi:
        stated = ", ".join(f"{angle:g}" for angle in angles)
        raise RefusedError(Topic.CELL, f"the cell angles {stated} are as small as radians; give them in degrees.")
    for name in ANGLES:
        text = block.value(name) or "90"
        value = number(_UNIT.sub("", text))
        if value is None or not 0 < value < 180:
            raise RefusedError(Topic.CELL, f"{name} is {text!r}; give it in degrees.")
        parameters.append(value)
    if missing:
        remarks.append(Remark(Topic.CELL, f"{', '.join(missing)} not given; taken as 90 degrees."))
    if min(parameters[:3]) < SHORTEST_EDGE or max(parameters[:3]) > LONGEST_EDGE:
        edges = ", ".join(f"{length:g}" for length in parameters[:3])
        raise RefusedError(Topic.CELL, f"a cell of {edges} angstrom cannot hold a crystal; check the lengths.")
    with np.errstate(all="ignore"):
        lattice = lattice_from_parameters(np.array(parameters[:3]), np.array(parameters[3:]))
    require_cell(lattice)
    return lattice, remarks


def _choose(
    candidates: list[Candidate], sites: list[Site], lattice: NDArray[np.float64], facts: Facts
) -> tuple[_Choice, list[Remark]]:
    """Return the most likely candidate, and a remark if the file did not decide."""
    choices = []
    for candidate in candidates:
        expanded = expand(sites, candidate.operations, lattice)
        choices.append(_Choice(candidate, expanded, assess(expanded, sites, lattice, facts)))
    if len(choices) == 1:
        return choices[0], []
    ordered = sorted(choices, key=lambda choice: choice.cost)
    best = ordered[0]
    listed = next((choice for choice in choices if choice.candidate.listed), None)
    if listed is not None:
        return (listed if listed.cost <= best.cost + CLEAR else best), []
    rival = next((c for c in ordered[1:] if c.cost < best.cost + CLEAR and not _alike(c, best)), None)
    first = min(choices, key=lambda choice: choice.candidate.cost)
    if rival is None:
        if best is first or _alike(best, first):
            return best, _better_otherwise(best, ordered)
        text = f"{best.candidate.name} fits the atoms better than {first.candidate.name} and is read."
        if best.candidate.number == first.candidate.number:
            text = f"the setting is not stated; {text}"
        return best, [Remark(Topic.ORIGIN, text)]
    if min(best.candidate.cost, rival.candidate.cost) > 0.1:
        raise RefusedError(
            Topic.SYMMETRY,
            f"the setting is not stated, and {best.candidate.name} and {rival.candidate.name} fit the atoms equally; "
            "give the name of the space group in its setting, or its operations.",
        )
    likelier = min(best, rival, key=lambda choice: choice.candidate.cost)
    other = rival if likelier is best else best
    text = f"the setting is not stated; {likelier.candidate.name} is taken, {other.candidate.name} would fit as well."
    return likelier, [Remark(Topic.ORIGIN, text)]


def _better_otherwise(best: _Choice, choices: list[_Choice]) -> list[Remark]:
    """Return a remark if the atoms alone favour another setting of the group, though not enough to choose it."""
    others = [choice for choice in choices if choice.candidate.cost < NOT_AS_STATED]
    other = min(others, key=lambda choice: choice.found.cost, default=best)
    if best.found.cost - other.found.cost < FAVOURED or _alike(best, other):
        return []
    names = best.candidate.name, other.candidate.name
    text = f"the setting is not stated; {names[0]} is taken, though {names[1]} would fit the atoms better."
    return [Remark(Topic.ORIGIN, text)]


def _alike(first: _Choice, second: _Choice) -> bool:
    """Return whether two candidates give the same atoms, judged by counts and shortest distances."""
    same_counts = counts_of(first.expanded.atomic_numbers) == counts_of(second.expanded.atomic_numbers)
    near = first.found.pair.ratio - second.found.pair.ratio
    return same_counts and abs(near) < 1e-3 and abs(first.found.cost - second.found.cost) < 1e-3


def _unlisted(candidates: list[Candidate], chosen: _Choice, crystal: Crystal) -> list[Remark]:
    """Return a remark if fewer operations are listed than the stated group has, unless all atoms are listed."""
    listed = next((candidate for candidate in candidates if candidate.listed), None)
    stated = next((candidate for candidate in candidates if not candidate.listed), None)
    if listed is None or stated is None:
        return []
    if chosen.candidate is not listed:
        text = f"the listed operations contradict the space group {stated.name}; the atoms fit {chosen.candidate.name}."
        return [Remark(Topic.SYMMETRY, f"{text[:-1]}, which is read.")]
    if same_space_group(space_group_number(crystal, symprec=0.05), stated.number):
        return []
    text = f"the listed operations contradict the space group {stated.name}; the list is read."
    return [Remark(Topic.SYMMETRY, text)]
