"""The energy criterion of LCOMs: is the best answer's energy within a given fraction of the known one?

Per composition, (E_pred - E_known) / |E_known| <= 0.20, with the lowest energy among the first k answers of each known
structure and the lowest known energy. In the paper's formula the difference has the opposite sign, with which every
answer would succeed. The energies are formation energies and cohesive energies (relative to free atoms, negative if
bound). Absolute thresholds in eV/atom are reported as well, because 20 % of either energy is far more than the
differences between polymorphs.

Which compositions count (`applies`) and which energies succeed (`is_within`) is the same for `lcoms score`, `lcoms
evaluate`, the benchmark and the results page. A composition whose known structure has no energy is left out of every
share, one without a unit for percentages (an element by its formation energy) of those. A composition without an
answer that has an energy counts as failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from lcoms.core.config import parse_json
from lcoms.core.errors import DataError
from lcoms.evaluate.pairing import Case
from lcoms.evaluate.statistics import Share
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.references import load_references
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.elements import number_of

RELATIVE = (0.20, 0.10, 0.05, 0.01)
ABSOLUTE = (0.1, 0.05, 0.02)
"""Absolute thresholds, eV/atom."""
ZERO = 1e-3  # eV/atom; energies below it are zero but for the relaxation
ROUNDING = 1e-9  # eV/atom, or as a fraction of the known energy
KINDS = ("formation", "cohesive", "total")

Energies = Mapping[str, float]
FreeAtoms = Mapping[int, float]


@dataclass(frozen=True)
class EnergyRow:
    """Energies of one composition.

    Attributes:
        kind: formation, cohesive or total.
        known: lowest energy of its known structures, eV/atom.
        best: lowest energy among the first k answers, by k; None if none has an energy.
        is_element: whether the composition is a single element.
    """

    formula: str
    kind: str
    known: float
    best: dict[int, float | None]
    is_element: bool


@dataclass(frozen=True)
class EnergyScore:
    """Share of compositions within a threshold, which is relative or in eV/atom."""

    kind: str
    threshold: float
    relative: bool
    k: int
    share: Share


def energy_rows(
    cases: Sequence[Case],
    energies: Callable[[object], Energies],
    ks: Sequence[int],
) -> tuple[list[EnergyRow], dict[str, list[str]]]:
    """Return rows for each kind of energy given for both sides, and by kind the formulas without a known energy.

    Args:
        energies: gives the energies of an `Answer` or a `Known`, eV/atom by kind.
    """
    rows: list[EnergyRow] = []
    left_out: dict[str, list[str]] = {}
    for kind in KINDS:
        if not any(kind in energies(answer) for case in cases for answer in case.answers):
            continue
        if not any(kind in energies(known) for case in cases for known in case.known):
            continue
        left_out[kind] = []
        for case in cases:
            known = [energies(one)[kind] for one in case.known if kind in energies(one)]
            if not known:
                left_out[kind].append(case.formula)
                continue
            best = {k: _lowest(case, k, kind, energies) for k in ks}
            is_element = len(case.known[0].crystal.composition.atomic_numbers) == 1
            rows.append(EnergyRow(case.formula, kind, min(known), best, is_element))
    return rows, left_out


def _lowest(case: Case, k: int, kind: str, energies: Callable[[object], Energies]) -> float | None:
    places = {place for mine in case.own for place in mine[:k]}
    found = [energies(case.answers[place]).get(kind) for place in places]
    return min((energy for energy in found if energy is not None), default=None)


def energy_scores(rows: Sequence[EnergyRow], ks: Sequence[int]) -> list[EnergyScore]:
    """Return scores at relative thresholds for formation and cohesive energies, then absolute ones for one kind."""
    scores = []
    for kind in ("formation", "cohesive"):
        some = [row for row in rows if row.kind == kind and _applies_to(row, relative=True)]
        if some:
            scores += [_score(some, kind, limit, k, relative=True) for k in ks for limit in RELATIVE]
    for kind in KINDS:
        some = [row for row in rows if row.kind == kind and _applies_to(row, relative=False)]
        if some:
            return scores + [_score(some, kind, limit, k, relative=False) for k in ks for limit in ABSOLUTE]
    return scores


def _applies_to(row: EnergyRow, *, relative: bool) -> bool:
    return applies(row.known, is_element=row.is_element, is_formation=row.kind == "formation", relative=relative)


def _score(rows: Sequence[EnergyRow], kind: str, limit: float, k: int, *, relative: bool) -> EnergyScore:
    hits = sum(is_within(row.best[k], row.known, limit, relative=relative) for row in rows)
    return EnergyScore(kind, limit, relative, k, Share(hits, len(rows)))


def applies(known: float | None, *, is_element: bool, is_formation: bool, relative: bool) -> bool:
    """Return whether a criterion applies to a composition.

    Args:
        known: energy of the known structure, eV/atom; None if it has none, and then no criterion applies.
        is_element: whether the composition is a single element.
        is_formation: whether the energies are formation energies, whose zero is a structure of the element itself, so
            that for elements a fraction of them means nothing.
        relative: whether the threshold is a fraction of |known|, which then must be at least `ZERO`.
    """
    if known is None:
        return False
    return not relative or (abs(known) >= ZERO and not (is_element and is_formation))


def is_within(energy: float | None, known: float, threshold: float, *, relative: bool) -> bool:
    """Return whether an energy (eV/atom) exceeds the known one by no more than a threshold; without one it does not."""
    return energy is not None and excess(energy, known, relative=relative) <= threshold + ROUNDING


def excess(predicted: float, known: float, *, relative: bool) -> float:
    """Return the predicted energy above the known one, in eV/atom or relative to |known|; negative if lower."""
    return (predicted - known) / abs(known) if relative else predicted - known


@runtime_checkable
class Compared(Protocol):
    """A prediction of a named structure, with formation energies of it and of the known structure, eV/atom or None."""

    @property
    def name(self) -> str: ...

    @property
    def formula(self) -> str: ...

    @property
    def energy(self) -> float | None: ...

    @property
    def known_energy(self) -> float | None: ...


def share_within_energy(rows: Iterable[Compared], threshold: float, *, relative: bool) -> Share:
    """Return the share of predictions whose first candidate lies no higher than a threshold above the known structure.

    This is the criterion of the paper, (E - E_known) / |E_known| <= threshold, with formation energies, or the same
    difference in eV/atom, over the predictions to which it `applies`.
    """
    counted = [(row, row.known_energy) for row in rows if row.known_energy is not None and _counts(row, relative)]
    found = sum(is_within(row.energy, known, threshold, relative=relative) for row, known in counted)
    return Share(found, len(counted), len({row.name for row, _ in counted}))


def _counts(row: Compared, relative: bool) -> bool:
    is_element = len(Composition.from_formula(row.formula).atomic_numbers) == 1
    return applies(row.known_energy, is_element=is_element, is_formation=True, relative=relative)


def read_free_atoms(path: Path) -> dict[int, float]:
    """Return energies (eV) of free atoms by atomic number, from a JSON object such as {"Na": -0.21, "Cl": -0.31}.

    Raises:
        DataError: the file cannot be read as such an object.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        energies = {number_of(symbol): float(energy) for symbol, energy in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f'{path}: cannot be read as energies of free atoms; write {{"Na": -0.21, ...}}.') from error
    if None in energies:
        raise DataError(f"{path}: names something that is not an element.")
    return {z: energy for z, energy in energies.items() if z is not None}


def with_free_atoms(composition: Composition, energies: Energies, atoms: FreeAtoms) -> dict[str, float]:
    """Return the energies, with the cohesive one if the total energy and those of all free atoms are known."""
    result = dict(energies)
    if "total" in result and all(z in atoms for z in composition.atomic_numbers):
        counts = zip(composition.atomic_numbers, composition.counts, strict=True)
        result["cohesive"] = result["total"] - sum(n * atoms[z] for z, n in counts) / composition.n_atoms
    return result


def oracle_energies(crystals: Sequence[Crystal], oracle: EnergyOracle) -> list[tuple[dict[str, float], str]]:
    """Return total and, if the oracle has references, formation energy of each crystal, or why there is none.

    Raises:
        OracleError: the oracle cannot handle the compositions.
    """
    oracle.check({crystal.composition.reduced for crystal in crystals})
    references = load_references(oracle.name)
    results: list[tuple[dict[str, float], str]] = []
    for start in range(0, len(crystals), oracle.batch_size):
        some = crystals[start : start + oracle.batch_size]
        for crystal, evaluation in zip(some, oracle.evaluate(some), strict=True):
            if not evaluation.ok:
                results.append(({}, evaluation.status))
                continue
            total = evaluation.energy / crystal.n_atoms
            formation = references.formation_energy(crystal.composition, total) if references else None
            kinds = {"total": total} if formation is None else {"total": total, "formation": formation}
            results.append((kinds, ""))
    return results
