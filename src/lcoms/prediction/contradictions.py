"""Constraints that no crystal of a composition can satisfy, reported in one sentence before any work."""

from __future__ import annotations

from collections.abc import Sequence

from lcoms.core.errors import FormulaError
from lcoms.prediction.constraints import groups_in_effect, target_volume
from lcoms.prediction.known_cell import CENTRINGS, KnownCell
from lcoms.prediction.spec import ConstraintSpec
from lcoms.prediction.structure_types import StructureType, is_of_type
from lcoms.structure.crystal import Composition
from lcoms.structure.symmetry import space_group_symbol
from lcoms.structure.wyckoff_choices import wyckoff_choices

LEAST_VOLUME, MOST_VOLUME = 2.0, 200.0  # cubic angstrom per atom; no crystal lies outside
MOST_NAMED = 3  # space groups listed in a message


def check_constraints(
    constraints: ConstraintSpec, composition: Composition, largest: int, units: tuple[int, int] | None = None
) -> None:
    """Check that a crystal of the composition can satisfy the constraints.

    Args:
        largest: number of atoms in the largest cell that is tried.
        units: smallest and largest requested number of formula units in the primitive cell; None: any.

    Raises:
        FormulaError: no cell of these sizes can hold the composition in the space group, or two constraints exclude
            each other.
        ConfigError: there is no prototype of a given name.
    """
    reduced = composition.reduced
    low, high = units or (1, largest)
    allowed = list(range(low, min(high, largest // reduced.n_atoms) + 1))
    _check_volume(constraints, reduced)
    _check_prototypes(constraints, reduced, allowed, largest)
    cell = constraints.known_cell
    if cell is not None:
        _check_cell(cell, constraints, reduced, largest)
        inside = set(cell.primitive_units(reduced))
        if units is not None and not inside.intersection(allowed):
            raise FormulaError(
                f"{reduced.reduced_formula}: a cell of {cell.volume:.0f} cubic angstrom does not hold "
                f"{_range(low, high)}; change --cell or --formula-units."
            )
        allowed = [one for one in allowed if one in inside]
    _check_groups(constraints, reduced, allowed, largest)


def _check_volume(constraints: ConstraintSpec, composition: Composition) -> None:
    target = target_volume(constraints, composition)
    if target is not None and not LEAST_VOLUME <= target / composition.n_atoms <= MOST_VOLUME:
        raise FormulaError(
            f"{composition.reduced_formula}: {target:.3g} cubic angstrom for a formula unit of {composition.n_atoms} "
            "atoms is not possible in a crystal; --volume counts one formula unit, --density is in g/cm^3."
        )


def _check_cell(cell: KnownCell, constraints: ConstraintSpec, composition: Composition, largest: int) -> None:
    formula, size = composition.reduced_formula, f"a cell of {cell.volume:.0f} cubic angstrom"
    held = cell.units(composition)
    if not held:
        raise FormulaError(
            f"{formula}: {size} is too small for a formula unit of {composition.n_atoms} atoms, which usually takes "
            f"{composition.reduced.usual_volume:.0f}; check --cell."
        )
    most = largest // composition.n_atoms
    if held[0] > most * max(CENTRINGS.values()) or not any(n <= most for n in cell.primitive_units(composition)):
        raise FormulaError(
            f"{formula}: {size} holds at least {held[0] * composition.n_atoms} atoms, more than the largest cells that "
            f"are tried, of {largest} primitive ones; check --cell, or raise --max-atoms."
        )
    target = target_volume(constraints, composition)
    if target is None:
        return
    errors = constraints.tolerance + 3 * constraints.cell_tolerance
    if not any(abs(cell.volume / units / target - 1) <= errors for units in held):
        option = "--volume" if constraints.density is None else "--density"
        raise FormulaError(
            f"{formula}: {size} holds {cell.volume / target:.2f} formula units of the {target:.0f} cubic angstrom that "
            f"{option} says, no whole number; omit one of the two."
        )


def _check_prototypes(
    constraints: ConstraintSpec, composition: Composition, units: Sequence[int], largest: int
) -> None:
    formula = composition.reduced_formula
    for asked in (*constraints.prototypes, *constraints.exclude_prototypes):
        if not asked.templates_for(composition):
            others = " or ".join(dict.fromkeys(one.composition.reduced_formula for one in asked.templates()))
            raise FormulaError(
                f"{formula}: prototype {asked.name} is a structure of {others}, which has another stoichiometry; "
                "choose one of the stoichiometry of the formula."
            )
    if both := [one.name for one in constraints.prototypes if _is_excluded(one, constraints, composition)]:
        raise FormulaError(f"{formula}: prototype {both[0]} is both required and excluded; remove one of them.")
    templates = [one for asked in constraints.prototypes for one in asked.templates_for(composition)]
    if templates and not any(one.composition.n_formula_units in units for one in templates):
        n = min(one.composition.n_formula_units for one in templates)
        raise FormulaError(
            f"{formula}: prototype {constraints.prototypes[0].name} has {n} formula unit{'s' if n > 1 else ''} and "
            f"{n * composition.n_atoms} atoms in its primitive cell, which --formula-units or --max-atoms ({largest}) "
            "exclude; leave one of them out."
        )


def _is_excluded(required: StructureType, constraints: ConstraintSpec, composition: Composition) -> bool:
    """Return whether all crystals of a required structure type are excluded, perhaps by another name."""
    return all(
        is_of_type(one.crystal, one.sites.space_group, constraints.exclude_prototypes)
        for one in required.templates_for(composition)
    )


def _check_groups(constraints: ConstraintSpec, composition: Composition, units: Sequence[int], largest: int) -> None:
    formula, groups = composition.reduced_formula, constraints.space_groups
    if groups and constraints.prototypes and not groups_in_effect(constraints, composition):
        types = {one.sites.space_group for asked in constraints.prototypes for one in asked.templates_for(composition)}
        raise FormulaError(
            f"{formula}: prototype {constraints.prototypes[0].name} is {_names(sorted(types))}, not {_names(groups)}; "
            "omit the space group, the crystal system or the prototype."
        )
    effective = groups_in_effect(constraints, composition)
    cell = constraints.known_cell
    if cell is not None and effective:
        fitting = [group for group in effective if cell.lattices(group)]
        if not fitting:
            said = " ".join(f"{number:g}" for number in cell.parameters)
            raise FormulaError(
                f"{formula}: a cell of {said} has no lattice of {_names(effective)} within {cell.tolerance:.0%}; "
                "change --cell, or omit the space group, crystal system or prototype."
            )
        effective = tuple(fitting)
    if effective and not any(_holds(group, composition, units) for group in effective):
        within = f" with {_range(min(units), max(units))}" if units else ""
        where = "no cell" if cell is None else f"no cell of {cell.volume:.0f} cubic angstrom"
        raise FormulaError(
            f"{formula}: {where} of up to {largest} atoms holds this composition{within} in {_names(effective)}; "
            "choose another space group, or a larger --max-atoms."
        )


def _holds(group: int, composition: Composition, units: Sequence[int]) -> bool:
    return any(wyckoff_choices(group, composition.scaled(n), conventional=False).n for n in units)


def _range(low: int, high: int) -> str:
    number = str(low) if low == high else f"{low} to {high}"
    return f"{number} formula unit{'' if number == '1' else 's'}"


def _names(groups: Sequence[int]) -> str:
    """Return the names of the first few space groups and the number of others."""
    named = " or ".join(f"{space_group_symbol(group)} ({group})" for group in groups[:MOST_NAMED])
    return f"{named} or {len(groups) - MOST_NAMED} others" if len(groups) > MOST_NAMED else named
