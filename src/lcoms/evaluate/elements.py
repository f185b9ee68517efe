"""Elemental references of an oracle: all forms of each element relaxed, the lowest one kept with its provenance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lcoms import __version__
from lcoms.core.errors import OracleError
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.elemental import ElementalForm, elemental_forms
from lcoms.relax import RelaxResult
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import same_space_group, space_group_number


def forms_for(oracle: EnergyOracle, elements: Sequence[str] | None) -> list[ElementalForm]:
    """Return the forms of these elements, or of all, that the oracle can handle.

    Raises:
        OracleError: a requested element has no form here, or none is left.
    """
    forms = elemental_forms()
    unknown = sorted(set(elements or ()) - {form.element for form in forms})
    if unknown:
        said = ", ".join(name or "an empty name" for name in unknown)
        raise OracleError(f"no structure is known here for {said}; leave them out.")
    chosen = [form for form in forms if elements is None or form.element in elements]
    kept = []
    for form in chosen:
        try:
            oracle.check([form.crystal.composition])
        except OracleError:
            continue
        kept.append(form)
    if not kept:
        raise OracleError(f"{oracle.name} can handle none of these elements.")
    return kept


def make_references(
    forms: Sequence[ElementalForm],
    relax: Callable[[Sequence[Crystal]], Sequence[RelaxResult]],
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """Return a table for `oracles.references` with the lowest relaxed form of each element.

    A form that leaves its space group during relaxation has become another structure, possibly an artefact of the
    oracle: it is used only if no form of the element keeps its space group. A form that stopped at the step limit is
    used with this status: its energy is an upper bound.

    Args:
        relax: function from crystals to their relaxations, in order.
        provenance: settings of the relaxation, stored in the table.

    Returns:
        The table, ready for JSON; elements without a usable form are listed under `failed` with a reason.
    """
    results = relax([form.crystal for form in forms])
    rows: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    for form, result in zip(forms, results, strict=True):
        if result.usable:
            rows.setdefault(form.element, []).append(_row(form, result))
        else:
            failed[form.element] = f"{form.prototype}: {result.status}"
    elements = {}
    for element in dict.fromkeys(form.element for form in forms):
        by_energy = sorted(rows.get(element, ()), key=_place)
        if by_energy:
            others = {row["prototype"]: row["energy_per_atom"] for row in by_energy[1:]}
            elements[element] = by_energy[0] | ({"others": others} if others else {})
    lost = {element: reason for element, reason in failed.items() if element not in elements}
    return {**provenance, "lcoms_version": __version__, "unit": "eV/atom", "failed": lost, "elements": elements}


def _place(row: dict[str, Any]) -> tuple[bool, float]:
    return not row["kept_its_space_group"], row["energy_per_atom"]


def _row(form: ElementalForm, result: RelaxResult) -> dict[str, Any]:
    space_group = space_group_number(result.crystal)
    return {
        "energy_per_atom": round(result.energy / result.crystal.n_atoms, 6),
        "prototype": form.prototype,
        "space_group": space_group,
        "kept_its_space_group": same_space_group(space_group, space_group_number(form.crystal)),
        "n_atoms": result.crystal.n_atoms,
        "volume_per_atom": round(result.crystal.volume / result.crystal.n_atoms, 4),
        "status": str(result.status),
        "fmax": round(result.fmax, 5),
        "n_steps": result.n_steps,
        "source": form.source,
    }
