"""Exact templates of the training crystals of a store, of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch.nn.functional import smooth_l1_loss

from lcoms.core.errors import DataError
from lcoms.data.store import Store
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import N_ELEMENTS, atomic_volume
from lcoms.structure.exact_sites import EXACT_LADDER, exact_sites, own_tolerance
from lcoms.structure.symmetry import STANDARD_SYMPREC
from lcoms.structure.wyckoff import wyckoff_orbits
from lcoms.templates.exact import ExactTemplates
from lcoms.templates.exact_build import KnownCrystal, as_known, build_templates, can_be_packed, structure_id
from lcoms.templates.stoichiometry import elements_in_order
from lcoms.train.latents import map_rows, select_rows

LEAST_VOLUME = 2.0  # cubic angstrom, at the start of a fit
SAME_VOLUME = 0.05  # difference of logarithms below which the loss is quadratic
STAY = 1e-5  # weight of the squared change from the start of a fit


def training_rows(store: Store, sources: Sequence[str] = ()) -> NDArray[np.int64]:
    """Return the rows of training crystals of any size with a plausible volume.

    Args:
        sources: prefixes of the sources to use; empty: all.
    """
    rows = select_rows(store, max_atoms=int(store.n_atoms.max(initial=1)), split="train")
    if not sources:
        return rows
    names = store.columns("source")["source"][rows]
    return rows[np.array([str(name).startswith(tuple(sources)) for name in names], dtype=bool)]


def make_templates(
    store: Store,
    *,
    sources: Sequence[str] = (),
    processes: int | None = None,
    on_chunk: Callable[[int], None] | None = None,
) -> ExactTemplates:
    """Return exact templates of all training crystals of a store; the metadata state how many could not be described.

    Args:
        sources: prefixes of the sources to use; empty: all.
        processes: processes that search symmetries; None: as many as there are cores.
        on_chunk: called with the number of crystals finished since the last call.

    Raises:
        DataError: the store has no training crystal that can be described.
    """
    rows = training_rows(store, sources)
    known = describe_known(store, rows, processes=processes, on_chunk=on_chunk)
    found = [(row, one) for row, one in zip(rows.tolist(), known, strict=True) if one is not None]
    if not found:
        raise DataError(f"{store.path} has no training crystal that can be a template.")
    crystals = [store[row] for row, _ in found]
    volumes = fit_element_volumes(crystals, np.array([one.structure for _, one in found]))
    metadata: dict[str, Any] = {"stores": [store.fingerprint], "not_described": len(rows) - len(found)}
    if sources:
        metadata["sources"] = list(sources)
    return build_templates([one for _, one in found], volumes, metadata=metadata)


def extend_templates(
    templates: ExactTemplates,
    store: Store,
    *,
    processes: int | None = None,
    on_chunk: Callable[[int], None] | None = None,
) -> ExactTemplates:
    """Add templates of a store's training crystals whose ids are new; element volumes do not change."""
    ids = store.columns("material_id")["material_id"]
    rows = np.array(
        [row for row in training_rows(store).tolist() if templates.row_of(ids[row]) is None], dtype=np.int64
    )
    known = [one for one in describe_known(store, rows, processes=processes, on_chunk=on_chunk) if one is not None]
    there = [as_known(templates[row]) for row in range(len(templates))]
    metadata = dict(templates.metadata)
    metadata["stores"] = [*metadata.get("stores", []), store.fingerprint]
    metadata["not_described"] = metadata.get("not_described", 0) + len(rows) - len(known)
    return build_templates([*there, *known], templates.element_volumes, metadata=metadata)


def differences(made: ExactTemplates, other: ExactTemplates) -> list[str]:
    """Return sentences on the differences between two files of templates."""
    mine, theirs = set(made.ids), set(other.ids)
    lines = [f"{len(mine - theirs)} crystals are new, {len(theirs - mine)} are gone."]
    same = made.ids == other.ids
    for name in sorted({*made.arrays, *other.arrays}):
        if name not in made.arrays or name not in other.arrays:
            lines.append(f"Column {name} is in one of them only.")
        elif made.arrays[name].shape != other.arrays[name].shape:
            lines.append(f"Column {name} has {made.arrays[name].size} values, not {other.arrays[name].size}.")
        elif n := int((made.arrays[name] != other.arrays[name]).sum()):
            off = float(np.abs(made.arrays[name].astype(np.float64) - other.arrays[name]).max())
            lines.append(f"Column {name}: {n} of {made.arrays[name].size} values differ, by {off:.3g} at most.")
    if same and len(lines) == 1:
        lines.append("All columns are equal.")
    return lines


def describe_known(
    store: Store,
    rows: NDArray[np.int64],
    *,
    processes: int | None = None,
    on_chunk: Callable[[int], None] | None = None,
) -> list[KnownCrystal | None]:
    """Return the packed properties of the rows' crystals; None where a crystal cannot be described."""
    return list(map_rows(partial(_describe_rows, store.path), rows, processes=processes, on_chunk=on_chunk))


def fit_element_volumes(crystals: Sequence[Crystal], structures: Int[NDArray[np.integer], " n"]) -> NDArray[np.float64]:
    """Fit atomic volumes (104,), cubic angstrom, whose sums reproduce the volume ratios of crystals of one structure.

    Each crystal is paired with the next of its structure; elements that occur in no pair keep their tabulated volume.

    Args:
        structures: labels, equal for crystals of one structure.
    """
    usual = [max(LEAST_VOLUME, atomic_volume(z)) for z in range(1, N_ELEMENTS + 1)]
    start = torch.tensor([LEAST_VOLUME, *usual], dtype=torch.float64).log()
    shares = np.stack([np.bincount(c.atomic_numbers, minlength=N_ELEMENTS + 1) / c.n_atoms for c in crystals])
    measured = torch.tensor([np.log(c.volume / c.n_atoms) for c in crystals], dtype=torch.float64)
    order = np.argsort(structures, kind="stable")
    same = structures[order[1:]] == structures[order[:-1]]
    first, second = (torch.from_numpy(part[same]) for part in (order[:-1], order[1:]))
    if not len(first):
        return start.exp().numpy()
    return _fitted(torch.from_numpy(shares), measured, first, second, start)


def _fitted(
    shares: Float[torch.Tensor, "n z"],
    measured: Float[torch.Tensor, " n"],
    first: Int[torch.Tensor, " m"],
    second: Int[torch.Tensor, " m"],
    start: Float[torch.Tensor, " z"],
) -> NDArray[np.float64]:
    logs = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([logs], max_iter=150, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        predicted = torch.log(shares @ logs.exp())
        off = predicted[first] - predicted[second] - (measured[first] - measured[second])
        total = smooth_l1_loss(off, torch.zeros_like(off), beta=SAME_VOLUME) + STAY * ((logs - start) ** 2).mean()
        total.backward()
        return total

    optimizer.step(loss)
    return np.asarray(logs.detach().exp().numpy(), dtype=np.float64)


def _describe_rows(path: Path, rows: NDArray[np.int64]) -> list[KnownCrystal | None]:
    store = Store.open(path)
    columns = store.columns("material_id", "e_above_hull", "formation_energy_per_atom")
    return [
        describe_one(
            store[row],
            str(columns["material_id"][row]),
            float(columns["e_above_hull"][row]),
            float(columns["formation_energy_per_atom"][row]),
        )
        for row in rows.tolist()
    ]


def describe_one(crystal: Crystal, name: str, e_above_hull: float, formation_energy: float) -> KnownCrystal | None:
    """Return the packed properties of a crystal; None without a symmetry that leaves its atoms in place."""
    elements = elements_in_order(crystal.composition)
    symprec = own_tolerance(crystal)
    sites = None if symprec is None else exact_sites(crystal, symprec=symprec, elements=elements)
    if sites is None or not can_be_packed(sites):
        return None
    alike: tuple[int, tuple[tuple[str, int], ...]] | None = (sites.space_group, sites.orbits)
    if symprec != EXACT_LADDER[0]:
        alike = wyckoff_orbits(crystal, symprec=STANDARD_SYMPREC, elements=elements)
    number, orbits = alike or (sites.space_group, sites.orbits)
    structure = structure_id(crystal.composition, number, orbits)
    return KnownCrystal(name, sites, structure, e_above_hull, formation_energy)
