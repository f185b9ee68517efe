"""Polymorphs of known compositions, relaxed with an energy model on the sites of their most probable templates.

Tables of DFT crystals hold only one crystal of most compositions, so they say little about energy differences between
polymorphs. Here each composition receives several structures that compete with the known one, and their starts of
moderate energy. Energies are anchored at the known crystal as those of decoys are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from pathlib import Path

from lcoms.core.errors import WeightsError
from lcoms.oracles.base import evaluate_all
from lcoms.oracles.registry import make_oracle
from lcoms.prediction.bundle import WeightBundle
from lcoms.relax.result import RelaxConfig, RelaxResult
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Crystal
from lcoms.templates.placing import TemplateChoice, choose_templates, substitute
from lcoms.train.decoys import MAX_ABOVE, Anchor, Decoy

RELAXATION = RelaxConfig(fmax=0.08, max_steps=60)
STARTS_BELOW = 0.6  # eV/atom above the anchor


def template_crystals(
    anchors: Iterable[Anchor], bundle: WeightBundle, *, per_composition: int, max_atoms: int
) -> list[tuple[Anchor, Crystal]]:
    """Return crystals of each anchor's composition on the exact sites of its most probable templates.

    Args:
        per_composition: largest number of templates, each of another structure; crystals of the same composition are
            not templates.
        max_atoms: largest number of atoms in a cell.

    Raises:
        WeightsError: the weights have no exact templates.
    """
    templates = bundle.templates
    if templates is None:
        raise WeightsError(f"{bundle.folder} has no templates.safetensors; write it with lcoms train templates.")
    pairs: list[tuple[Anchor, Crystal]] = []
    for anchor in anchors:
        composition = anchor.crystal.composition
        units = (1, max_atoms // composition.reduced.n_atoms)
        choice = TemplateChoice(
            n=per_composition, units=units, exclude_same=True, max_per_structure=1, max_per_composition=2
        )
        found = choose_templates(composition, templates, bundle.library.similarity, choice)
        pairs += [(anchor, substitute(composition, one.template, templates.element_volumes)) for one in found]
    return pairs


def make_polymorphs(
    starts: Sequence[tuple[Anchor, Crystal]],
    oracle: str,
    *,
    processes: int | None = None,
    checkpoint: Path | None = None,
    on_known: Callable[[int], None] | None = None,
    progress: Callable[[int, RelaxResult], None] | None = None,
) -> tuple[list[Decoy], int]:
    """Return relaxed polymorphs, and their starts of moderate energy; also the number of starts that gave none.

    Args:
        starts: crystals to relax, each with the known crystal of its composition.
        oracle: name of the energy model.
        on_known: called with the number of known crystals whose energies have been computed.
        processes: as in `relax_crystals`.
        checkpoint: as in `relax_crystals`.
        progress: as in `relax_crystals`.

    Raises:
        OracleError: the oracle cannot be made.
        ConfigError: the checkpoint belongs to another run.
    """
    anchors = list({id(anchor): anchor for anchor, _ in starts}.values())
    known = evaluate_all(make_oracle(oracle), [anchor.crystal for anchor in anchors], on_batch=on_known)
    reference = {id(a): one.energy / a.crystal.n_atoms for a, one in zip(anchors, known, strict=True) if one.ok}
    crystals = [crystal for _, crystal in starts]
    results = relax_crystals(
        crystals, oracle, RELAXATION, processes=processes, checkpoint=checkpoint, progress=progress
    )
    made, lost = [], 0
    for (anchor, start), result in zip(starts, results, strict=True):
        if id(anchor) not in reference or not result.usable:
            lost += 1
            continue
        zero = anchor.energy - reference[id(anchor)]
        made.append(Decoy(result.crystal, min(result.energy_per_atom + zero, anchor.energy + MAX_ABOVE), anchor.split))
        energy = result.start_energy / start.n_atoms + zero
        if isfinite(energy) and energy <= anchor.energy + STARTS_BELOW:
            made.append(Decoy(start, energy, anchor.split))
    return made, lost
