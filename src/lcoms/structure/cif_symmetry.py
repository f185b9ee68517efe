"""The symmetry operations of a CIF block: those it lists, or those of the Hall symbol, name or number that it states.

A statement may leave the setting open: the axes of a rhombohedral group, the origin, the unique axis. All settings that
fit the cell are candidates, each with a cost; `lcoms.structure.cif` decides between them by the atoms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.cif_block import Block
from lcoms.structure.cif_expand import Operations
from lcoms.structure.cif_listed import LISTED, MAGNETIC, listed_operations, operations_of
from lcoms.structure.cif_symmetry_items import (
    CENTRING,
    CODE,
    HALL,
    SYSTEM,
    all_given,
    cannot_know,
    names_and_numbers,
    transformed,
)
from lcoms.structure.crystal import Crystal
from lcoms.structure.reading import RefusedError, Remark, Topic
from lcoms.structure.space_group_names import (
    Setting,
    lacks_marks,
    number_of_group,
    setting_of_hall,
    settings_named,
    settings_of,
    stated_extension,
)

TRANSLATIONS = {"P": (1,), "A": (2,), "B": (2,), "C": (2,), "S": (2,), "I": (2,), "R": (1, 3), "H": (3,), "F": (4,)}
_A, _B, _C, _I = (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0), (0.5, 0.5, 0.5)
SHIFTS = {"A": (_A,), "B": (_B,), "C": (_C,), "I": (_I,), "F": (_A, _B, _C)}
MOST_TESTED, NEAR = 500, 0.1  # atoms; angstrom
SYSTEMS = (  # last space group of each, and the names under which it is stated
    (2, "triclinic anorthic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (167, "trigonal rhombohedral hexagonal"),
    (194, "hexagonal"),
    (230, "cubic isometric"),
)
_SYMBOL = re.compile(r"[PABCFIRH][-0-9mabcden/()\s_]{2,20}")  # looks like a Hermann-Mauguin symbol
MAX_STRAIN = 0.03  # relative change of the metric tensor beyond which a cell does not have the symmetry

OTHER_CHOICE = 0.05  # costs on the scale of `lcoms.structure.cif_checks`; nothing contradicts such a setting
OTHER_SETTING = 1.5  # a setting other than the standard one, if only the number is stated
NOT_AS_STATED = 4.0  # only coinciding atoms or a wrong formula outweigh it
NOT_AS_LISTED = 0.5  # the stated group, if fewer operations are listed


@dataclass(frozen=True, eq=False)
class Candidate:
    """Symmetry operations that may be meant.

    Attributes:
        number: of the space group, 0 if unknown.
        name: name used in messages.
        cost: cost of the evidence against it, before the atoms are considered.
        listed: whether the file lists the operations.
    """

    operations: Operations
    number: int
    name: str
    cost: float = 0.0
    listed: bool = False


def find_candidates(block: Block, lattice: NDArray[np.float64]) -> tuple[list[Candidate], list[Remark]]:
    """Return the candidates that fit the cell, most likely first, and remarks on the statements.

    Raises:
        RefusedError: no statement can be understood, or no candidate fits the cell.
    """
    stated, numbers, remarks = _stated(block)
    listed, sentence, said = listed_operations(block)
    if listed is None and not stated and remarks:
        needed = "its operations" if numbers else "its number or its operations"
        raise RefusedError(Topic.SYMMETRY, f"{remarks[0].sentence[:-1]}; give {needed}.")
    if sentence:
        if not stated:
            raise RefusedError(Topic.SYMMETRY, f"{sentence}; give a complete list, or the name of the space group.")
        remarks.append(Remark(Topic.SYMMETRY, f"{sentence}; the space group {stated[0].name} is used in its place."))
    if said:
        remarks.append(Remark(Topic.SYMMETRY, said))
    if sentence := _two_lists(block):
        remarks.append(Remark(Topic.SYMMETRY, sentence))
    if listed is not None:
        candidates = _with_listed(listed, stated, numbers, remarks, magnetic=bool(block.column(*MAGNETIC)))
    elif stated:
        candidates = stated
        if not all_given(block, HALL) and (sentence := transformed(block)):
            raise RefusedError(Topic.SYMMETRY, sentence)
    elif sentence := cannot_know(block):
        raise RefusedError(Topic.SYMMETRY, sentence)
    else:
        candidates = [_candidate(settings_of(1)[0])]
        remarks.append(Remark(Topic.SYMMETRY, "no symmetry is stated; all atoms are taken to be listed (P 1)."))
    fitting = [c for c in candidates if c.operations.strain(lattice) <= MAX_STRAIN]
    if not fitting:
        raise RefusedError(
            Topic.SYMMETRY,
            f"the cell cannot have the symmetry of {candidates[0].name}; correct the cell or the space group.",
        )
    first, likeliest = (min(some, key=lambda c: c.cost) for some in (fitting, candidates))
    if first.cost >= NOT_AS_STATED > likeliest.cost:
        text = f"the cell does not fit {likeliest.name}, which is stated; {first.name} is read."
        remarks.append(Remark(Topic.SYMMETRY, text))
    strain = first.operations.strain(lattice)
    if strain > 2e-3:
        text = f"the cell departs from the symmetry of {first.name} by {strain:.1%}; it is taken as it is."
        remarks.append(Remark(Topic.SYMMETRY, text))
    return fitting, remarks


def _candidate(setting: Setting, cost: float = 0.0) -> Candidate:
    return Candidate(setting.operations(), setting.number, setting.name, cost)


def _stated(block: Block) -> tuple[list[Candidate], dict[int, str], list[Remark]]:
    """Return candidates of the stated symbols, the statement behind each space group number, and remarks."""
    code = block.value(CODE).upper()
    groups: list[tuple[str, list[Candidate]]] = []
    remarks = []
    for hall in all_given(block, HALL):
        setting = setting_of_hall(hall)
        if setting is not None:
            groups.append((f"Hall symbol {hall}", _of_hall(setting)))
        else:
            remarks.append(Remark(Topic.SYMMETRY, f"the Hall symbol {hall!r} is not understood."))
    names, numbers_given = names_and_numbers(block, code)
    named = [(f"space group {name}", found) for name in names if (found := _of_name(name))]
    remarks += [_completed(name) for name in names if lacks_marks(name)]
    unknown = names[0] if names and not named else ""
    if unknown:
        remarks.append(Remark(Topic.SYMMETRY, f"the space group name {unknown!r} is not understood."))
    groups += named
    for number in numbers_given:
        match = re.fullmatch(r"([0-9]{1,3})(?:\.0*)?(?:\(0\))?", number)
        value = int(match[1]) if match else number_of_group(number)
        if 1 <= value <= 230:
            groups.append((f"number {value}", _of_number(value, code)))
        else:
            remarks.append(Remark(Topic.SYMMETRY, f"there is no space group with number {number}."))
    numbers = {next((c.number for c in found if c.number), 0): said for said, found in reversed(groups)}
    numbers.pop(0, None)
    groups = [(text, found if text[:6] != "number" else _with_centring(unknown, found)) for text, found in groups]
    if unknown and groups and not any(found for _, found in groups):
        text = f"the centring of the space group name {unknown!r} is that of no known setting of {groups[0][0]}."
        return [], numbers, [Remark(Topic.SYMMETRY, text)]
    if len(numbers) > 1:
        said = [text if text == f"number {n}" else f"{text} is {n}" for n, text in numbers.items()]
        text = " but ".join(reversed(said))
        remarks.append(Remark(Topic.SYMMETRY, f"the statements of the space group contradict one another: {text}."))
        return [c for _, found in groups for c in found], numbers, remarks
    if other := _other_setting(groups):
        text = f"{groups[0][0]} and {other[0]} are different settings"
        remarks.append(Remark(Topic.SYMMETRY, f"the statements of the space group contradict one another: {text}."))
        return [*groups[0][1], *other[1]], numbers, remarks
    return (groups[0][1] if groups else []), numbers, remarks


def _completed(name: str) -> Remark:
    meant = settings_named(name)[0].name.partition(":")[0]
    return Remark(Topic.SYMMETRY, f"the space group name {name!r} is read as {meant}.")


def _with_centring(name: str, candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates with the centring of a name that is not understood, such as B 1 21/c 1; all without one."""
    if not _SYMBOL.fullmatch(name):
        return candidates
    return [c for c in candidates if c.name[0] == name.strip()[0].upper()]


def _other_setting(groups: Sequence[tuple[str, list[Candidate]]]) -> tuple[str, list[Candidate]] | None:
    """Return the first statement of another setting of the same group than the first statement has, None without."""
    meant = [{c.name for c in found if c.number and c.cost < NOT_AS_STATED} for _, found in groups]
    places = (i for i, some in enumerate(meant) if some and meant[0] and not some & meant[0])
    return next((groups[i] for i in places), None)


def _of_hall(setting: Setting) -> list[Candidate]:
    others = [s for s in settings_of(setting.number) if s.hall != setting.hall] if setting.number else []
    return [_candidate(setting)] + [_candidate(s, NOT_AS_STATED) for s in others]


def _of_name(name: str) -> list[Candidate]:
    settings, extension = settings_named(name), stated_extension(name)
    candidates = []
    for place, setting in enumerate(settings):
        cost = OTHER_CHOICE if place and not extension else 0.0
        if extension and setting.extension != extension:
            cost = NOT_AS_STATED
        candidates.append(_candidate(setting, cost))
    return candidates


def _of_number(number: int, code: str = "") -> list[Candidate]:
    settings = settings_of(number)
    plain = settings[0].name.partition(":")[0]
    if coded := [s for s in settings if s.has_code(code)]:
        return [_candidate(s, 0.0 if s in coded else NOT_AS_STATED) for s in settings]
    return [
        _candidate(s, 0.0 if s.standard else OTHER_CHOICE if s.name.partition(":")[0] == plain else OTHER_SETTING)
        for s in settings
    ]


def _with_listed(
    listed: Operations, stated: list[Candidate], numbers: dict[int, str], remarks: list[Remark], *, magnetic: bool
) -> list[Candidate]:
    """Return the listed operations and, if the stated group has more operations, that group as well."""
    number = _number_of(listed)
    own = Candidate(listed, number, "the listed operations", listed=True)
    if magnetic or not numbers or number in numbers:
        if not magnetic and (sentence := _other_list(listed, stated)):
            remarks.append(Remark(Topic.SYMMETRY, sentence))
        return [own]
    more = [replace(c, cost=c.cost + NOT_AS_LISTED) for c in stated if len(c.operations) > len(listed)]
    if not more:
        said = next(iter(numbers.values()))
        text = f"the listed operations are those of space group {number or 'unknown'}, which contradicts {said}."
        remarks.append(Remark(Topic.SYMMETRY, text))
    return [own, *more]


def _other_list(listed: Operations, stated: list[Candidate]) -> str:
    """Return a sentence if the listed operations are those of another setting than the stated ones; otherwise empty.

    A list that belongs to none of the tabulated settings has another origin, which no name states.
    """
    meant = [c for c in stated if c.cost < NOT_AS_STATED]
    wanted = _as_set(listed)
    if not meant or any(_as_set(c.operations) == wanted for c in meant):
        return ""
    settings = settings_of(meant[0].number) if meant[0].number else []
    other = next((s for s in settings if _as_set(s.operations()) == wanted), None)
    if other is None:
        return ""
    return f"the listed operations are those of {other.name}, which contradicts {meant[0].name}; the list is read."


def _as_set(operations: Operations) -> frozenset[bytes]:
    """Return the operations in a form that can be compared, whatever their order and lattice translations."""
    turns = np.round(operations.rotations).astype(np.int8).reshape(-1, 9)
    shifts = np.round(operations.translations * 1000).astype(np.int16) % 1000
    return frozenset(row.tobytes() for row in np.concatenate([turns.astype(np.int16), shifts], axis=1))


def _number_of(operations: Operations) -> int:
    """Return the space group number of a complete list, 0 if it is not found."""
    import spglib

    if len(operations) == 1:
        return 1
    rotations = np.round(operations.rotations).astype(np.intc)
    try:
        kind = spglib.get_spacegroup_type_from_symmetry(rotations, operations.translations)
    except Exception:  # spglib's exception types differ between its releases
        return 0
    return int(kind.number) if kind is not None else 0


def _two_lists(block: Block) -> str:
    """Return a sentence if a block lists different operations under two names; the first name takes precedence."""
    lists = [operations_of(block.column(name)) for name in LISTED if any(block.column(name))]
    if all(some is None or lists[0] is None or _as_set(some) == _as_set(lists[0]) for some in lists):
        return ""
    return "two lists of operations contradict one another; that with the newer name is used."


def _leaves(crystal: Crystal, shift: Sequence[float]) -> bool:
    """Return whether a translation moves each atom onto one of its kind; not tested for large cells."""
    if crystal.n_atoms > MOST_TESTED:
        return True
    offsets = crystal.frac_coords[:, None] + np.array(shift) - crystal.frac_coords[None]
    near = np.linalg.norm((offsets - np.round(offsets)) @ crystal.lattice, axis=2) < NEAR
    return bool((near & (crystal.atomic_numbers[:, None] == crystal.atomic_numbers[None])).any(axis=1).all())


def system_remarks(block: Block, chosen: Candidate) -> list[Remark]:
    """Return a remark if a file states another crystal system than that of the space group that is read, unless P 1."""
    stated = block.value(*SYSTEM).strip().lower()
    known = {name for _, names in SYSTEMS for name in names.split()}
    own = next((names for last, names in SYSTEMS if chosen.number <= last), "")
    if chosen.number < 2 or stated not in known or stated in own.split():
        return []
    text = f"the file states the crystal system {stated}, but the symmetry that is read is that of space group"
    return [Remark(Topic.SYMMETRY, f"{text} {chosen.number}.")]


def centring_remarks(block: Block, chosen: Candidate, crystal: Crystal) -> list[Remark]:
    """Return a remark if a file states another centring of the lattice than that of the operations, or of all atoms."""
    stated = block.value(*CENTRING).strip()[-1:]
    identity = np.abs(chosen.operations.rotations - np.eye(3)).max(axis=(1, 2)) < 1e-6
    if stated not in TRANSLATIONS or int(identity.sum()) in TRANSLATIONS[stated]:
        return []
    if len(chosen.operations) == 1 and all(_leaves(crystal, shift) for shift in SHIFTS.get(stated, ())):
        return []
    text = f"the file states the centring {stated}, but the symmetry that is read, {chosen.name}, has another."
    return [Remark(Topic.SYMMETRY, text)]
