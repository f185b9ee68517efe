"""The relaxations of predictions: which crystals, by which energy model, and to which forces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.energy_models import EnergyModels
from lcoms.oracles.references import References, load_references
from lcoms.oracles.wrappers import RememberingOracle
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.choice import worth_relaxing
from lcoms.prediction.decode import DecodedSet
from lcoms.prediction.in_cell import starts
from lcoms.prediction.known import in_known_order
from lcoms.prediction.order import in_order
from lcoms.prediction.progress import Tell, counted
from lcoms.prediction.refine import RelaxedSet, collect, more_symmetric, with_further
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec
from lcoms.relax.result import RelaxResult
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.operations import operations_of

WORTH_A_PROCESS = 300  # independent atoms, below which a quick energy model relaxes faster in this process alone


@dataclass(frozen=True, eq=False)
class Relaxer:
    """Relaxation of decoded crystals with the options of a specification.

    Attributes:
        bundle: its weights determine which crystals come first and are relaxed to smaller forces.
        spec: must include relaxation.
        energy_models: the first relaxes; all evaluate the relaxed crystals.
        processes: number of processes for relaxation; None: as many as the cores and the work allow.
        checkpoint: file to which each relaxation is written as soon as it is finished, and from which finished ones
            are read.
        fixed_cell: whether only the atoms move, and distortions are kept.
    """

    bundle: WeightBundle
    spec: PredictionSpec
    energy_models: EnergyModels
    processes: int | None = None
    checkpoint: Path | None = None
    fixed_cell: bool = False

    def relax(self, sets: Sequence[DecodedSet], tell: Tell | None = None) -> list[RelaxedSet]:
        """Relax the best decoded crystals of each set, all sets together.

        Raises:
            OracleError: the energy model cannot be created.
        """
        spec = self._relaxation
        weights, oracle = self.bundle.ranking.unrelaxed, self._oracle
        choices = [worth_relaxing(decoded, oracle, weights, spec) for decoded in sets]
        chosen = [choice.crystals for choice in choices]
        names = [s.composition.reduced_formula for s, some in zip(sets, chosen, strict=True) for _ in some]
        every = [one.crystal for some in chosen for one in some]
        run = partial(self._run, fmax=spec.fmax, checkpoint=self.checkpoint)
        first = run(starts(every, self.spec, oracle), counted(tell, "relaxing", names))
        began = [one for some in chosen for one in some]
        counted_results = [(one, one.n_steps + 1) for one in first]
        results = iter(counted_results if self.fixed_cell else more_symmetric(first, run, began))
        ask = self.energy_models.further_energies
        found = []
        for some, choice in zip(chosen, choices, strict=True):
            mine = [next(results) for _ in some]
            one = collect(some, [result for result, _ in mine], self._formation_energy, ask)
            found.append(replace(one, n_oracle_calls=choice.n_evaluations + sum(n for _, n in mine)))
        return [self._further(one, decoded.composition) for one, decoded in zip(found, sets, strict=True)]

    def _further(self, relaxed: RelaxedSet, composition: Composition) -> RelaxedSet:
        """Return the set with the candidates that now rank first relaxed to smaller forces."""
        spec, path = self._relaxation, self.checkpoint
        if spec.final_fmax >= spec.fmax:
            return relaxed
        ranked = in_order(relaxed.usable, self.bundle, self.spec)
        order = in_known_order(ranked, composition, self.bundle, self.spec)
        first = [one.crystal for one in order[: spec.n_final]]
        final = None if path is None else path.with_name(f"{path.stem}-final{path.suffix}")
        again = self._run(first, fmax=spec.final_fmax, checkpoint=final)
        pairs = list(zip(first, again, strict=True))
        return with_further(relaxed, pairs, self._formation_energy, self.energy_models.further_energies)

    @property
    def _relaxation(self) -> RelaxationSpec:
        assert self.spec.relaxation is not None
        return self.spec.relaxation

    @cached_property
    def _oracle(self) -> EnergyOracle:
        """The relaxing model; relaxations begin with evaluations that the choice of crystals has already made."""
        return RememberingOracle(self.energy_models.first)

    @cached_property
    def _references(self) -> References | None:
        return load_references(self._relaxation.oracle)

    def _formation_energy(self, composition: Composition, energy_per_atom: float) -> float | None:
        """Return the formation energy, eV/atom, from a total energy by the relaxing model; None without references."""
        return None if self._references is None else self._references.formation_energy(composition, energy_per_atom)

    def _run(
        self,
        crystals: Sequence[Crystal],
        progress: Callable[[int, RelaxResult], None] | None = None,
        *,
        fmax: float,
        checkpoint: Path | None,
    ) -> Sequence[RelaxResult]:
        fixed = self.fixed_cell or self.spec.constraints.cell is not None
        config, processes = replace(self._relaxation.config, fmax=fmax, fixed_cell=fixed), self.processes
        if processes is None and self.energy_models.first.quick:
            few = sum(operations_of(crystal).n_independent for crystal in crystals) < WORTH_A_PROCESS
            processes = 1 if few else None
        here = processes == 1 and checkpoint is None  # other processes and checkpoints need the oracle's name
        oracle = self._oracle if here else self._relaxation.oracle
        return relax_crystals(crystals, oracle, config, processes=processes, checkpoint=checkpoint, progress=progress)
