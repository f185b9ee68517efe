"""`Predictor`: the only path from a composition to ranked candidates.

    check -> propose -> decode -> relax -> rank -> calibrate

The command line, the Python API, the local page, campaigns and all benchmarks use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lcoms.core.bounds import require_processes
from lcoms.core.watch import watched_by
from lcoms.diffraction.fit import PatternFitter
from lcoms.models.device import require_device
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.energy_models import models_of
from lcoms.oracles.hull import Hull
from lcoms.prediction.answer import answer
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.by_pattern import explains
from lcoms.prediction.contradictions import check_constraints
from lcoms.prediction.decode import DecodedSet, decode, nothing_decoded
from lcoms.prediction.exact_templates import with_direct_crystals
from lcoms.prediction.found import Found
from lcoms.prediction.known import direct_crystals, given_crystal
from lcoms.prediction.order import in_order
from lcoms.prediction.pattern_distortions import distorted_by_pattern
from lcoms.prediction.pattern_templates import pattern_templates
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.progress import Progress, Tell, silent
from lcoms.prediction.propose import (
    cell_sizes,
    check_composition,
    composition_seed,
    find_proposals,
    given_proposal,
    largest_tried,
)
from lcoms.prediction.refine import RelaxedSet
from lcoms.prediction.relaxing import Relaxer
from lcoms.prediction.result import Prediction, Task
from lcoms.prediction.soft_modes import ROUNDS, distort
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.stages import Candidate, Decoded, Proposal, Relaxed
from lcoms.prediction.vibrations import unrelaxed_sentences, with_phonons
from lcoms.structure.crystal import Composition, Crystal

NO_RANDOM: Mapping[str, Any] = {"search": {"random_symmetric": {"n": 0}}}


class Predictor:
    """Predictor of crystal structures with the weights of a bundle and the options of a specification.

    Args:
        bundle: everything that was fitted.
        spec: options of the predictions.
        processes: number of processes for relaxation; None: as many as the cores and the work allow. The results do
            not depend on it.

    Attributes:
        energy_models: the first relaxes, all of them rank; None if nothing is relaxed.

    Raises:
        ConfigError: less than one process, or too many.
        OracleError: an energy model of the specification does not exist or is not installed.
    """

    def __init__(self, bundle: WeightBundle, spec: PredictionSpec, *, processes: int | None = None) -> None:
        require_processes(processes)
        self.bundle, self.spec, self.processes = bundle, spec, processes
        self.energy_models = models_of(spec.models)

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        *,
        spec: PredictionSpec | None = None,
        processes: int | None = None,
        device: str = "cpu",
    ) -> Predictor:
        """Return a predictor with the weights in a folder; None: those that ship with the package.

        Args:
            spec: options of the predictions; None: the defaults of `lcoms predict`.
            processes: number of processes for relaxation; None: as many as the cores and the work allow.
            device: device for the search: cpu, cuda or auto; energy models relax on the CPU.

        Raises:
            ConfigError: the device is unknown, or there is no GPU.
            WeightsError: a file of the weights is missing, damaged, or of another version.
            OracleError: an energy model of the specification does not exist or is not installed.
        """
        place = require_device(device)
        asked = spec_for(Options()) if spec is None else spec
        return cls(WeightBundle.load(weights).on(place), asked, processes=processes)

    def with_options(self, options: Mapping[str, Any]) -> Predictor:
        """Return the predictor with options of its specification changed.

        Raises:
            ConfigError: an option is unknown or its value is invalid.
        """
        return Predictor(self.bundle, self.spec.with_options(options), processes=self.processes)

    def with_bundle(self, bundle: WeightBundle) -> Predictor:
        """Return a predictor with the same specification and other weights."""
        return Predictor(bundle, self.spec, processes=self.processes)

    @property
    def oracle(self) -> EnergyOracle | None:
        """The energy model that relaxes; None if nothing is relaxed."""
        return None if self.energy_models is None else self.energy_models.first

    def check(self, composition: Composition, pattern: PatternFitter | None = None) -> None:
        """Check that a composition can be predicted, before any work.

        Raises:
            FormulaError: the weights cannot handle it, or its powder patterns cannot be calculated.
            OracleError: the energy model that relaxes cannot handle its elements.
        """
        check_composition(composition, self.bundle, self.spec.search)
        search, largest = self.spec.search, largest_tried(self.bundle, self.spec.search)
        check_constraints(self.spec.constraints, composition, largest, search.formula_units)
        if self.oracle is not None:
            self.oracle.check([composition])
        if pattern is not None:
            pattern.check(composition)

    def predict(
        self,
        formula: str | Composition,
        *,
        structure: Crystal | None = None,
        hull: Hull | None = None,
        pattern: PatternFitter | None = None,
        progress: Tell | None = None,
    ) -> Prediction:
        """Return the ranked candidates of one composition.

        Args:
            formula: such as SrTiO3.
            structure: start from this crystal instead of the library.
            hull: of reference phases, for energies above it.
            pattern: fitter of a measured powder pattern of the compound.
            progress: called with each step of the prediction.

        Raises:
            FormulaError: the formula cannot be read, or its crystals or powder patterns cannot be calculated.
            OracleError: the energy model that relaxes cannot handle the elements.
        """
        composition = Composition.from_formula(formula) if isinstance(formula, str) else formula
        return self.run(Task(composition.reduced, structure, hull, pattern), progress)

    def predict_all(
        self, formulas: Iterable[str | Composition], *, progress: Tell | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions in the order of the formulas, each as soon as it is finished, with errors as `predict`."""
        for formula in formulas:
            yield self.predict(formula, progress=progress)

    def run(self, task: Task, progress: Tell | None = None) -> Prediction:
        """Run all stages of one prediction.

        Raises:
            FormulaError, OracleError: as for `predict`.
        """
        if task.structure is not None and self.spec.search.random_symmetric.n:  # the structure is the only start
            return self.with_options(NO_RANDOM).run(task, progress)
        tell, name = progress or silent, task.composition.reduced_formula
        self.check(task.composition, task.pattern)
        tell(Progress(name, "searching"))
        with watched_by(lambda done, total: tell(Progress(name, "searching", done, total))):
            decoded = self.decode(task.composition, structure=task.structure)
        relaxed = None if self.spec.relaxation is None else self.relax([decoded], tell=tell)[0]
        if task.pattern is not None:
            tell(Progress(name, "fitting the pattern"))
        found = Found(decoded, relaxed)
        made = self._answer(found, task)
        if task.pattern is not None:
            found, made = self.search_by_pattern(found, made, task, tell=tell)
        if self.spec.relaxation is not None and self.spec.relaxation.soft_modes:
            made = self._with_soft_modes(found, made, task, tell)
        return with_phonons(made, self.oracle, tell)

    def search_by_pattern(
        self,
        found: Found,
        made: Prediction,
        task: Task,
        *,
        tell: Tell = silent,
        allowed: Callable[[Crystal], bool] | None = None,
    ) -> tuple[Found, Prediction]:
        """Return the prediction with distortions, then templates, that the pattern asks for, until rank 1 explains it.

        Args:
            allowed: whether a further crystal may be used; None: all of them.
        """
        assert task.pattern is not None
        name = task.composition.reduced_formula
        for what in ("distortions", "templates"):
            if any(map(explains, made.candidates[:1])):
                break
            tell(Progress(name, f"looking for {what} that explain the pattern"))
            distorted = what == "distortions"
            further = (
                distorted_by_pattern(made.candidates, task.pattern, self.bundle)
                if distorted
                else pattern_templates(task.composition, self.bundle, self.spec, task.pattern)
            )
            further = [one for one in further if allowed is None or allowed(one.crystal)]
            found = self._also(found, further, tell, fixed_cell=distorted)
            found = replace(found, fitted=(*found.fitted, *further))
            if allowed is not None and found.relaxed is not None:
                usable = tuple(one for one in found.relaxed.usable if allowed(one.crystal))
                found = replace(found, relaxed=replace(found.relaxed, usable=usable))
            made = self._answer(found, task)
        return found, made

    def _with_soft_modes(self, found: Found, made: Prediction, task: Task, tell: Tell) -> Prediction:
        """Return the prediction with the top candidates distorted along their soft modes among the candidates."""
        assert self.spec.relaxation is not None
        assert self.oracle is not None
        treated: list[Relaxed | None] = []
        failures: tuple[str, ...] = ()
        n = self.spec.relaxation.soft_modes
        for _ in range(ROUNDS):
            top = made.candidates[:n]
            new = [one for one in top if one.is_relaxed and not any(one.relaxed is other for other in treated)]
            treated += [one.relaxed for one in new]
            distorted = distort(new, self.oracle, self.bundle, tell)
            failures += distorted.failures
            if not distorted.crystals:
                break
            found = self._also(found, distorted.crystals, tell)
            made = self._answer(found, task)
        return replace(made, no_phonons=(*failures, *unrelaxed_sentences("soft modes", made.candidates[:n])))

    def _also(self, found: Found, further: Sequence[Decoded], tell: Tell, *, fixed_cell: bool = False) -> Found:
        """Return what was found with further crystals, relaxed if anything is."""
        if not further:
            return found
        alone = replace(nothing_decoded(found.decoded.composition), direct=tuple(further))
        relaxed = None if found.relaxed is None else self.relax([alone], tell=tell, fixed_cell=fixed_cell)[0]
        return found.also(further, relaxed)

    def _answer(self, found: Found, task: Task) -> Prediction:
        return answer(found, task, self.bundle, self.spec, self.energy_models)

    def propose(self, composition: Composition, generator: torch.Generator) -> list[Proposal]:
        """Return the starting points of the descents.

        Raises:
            FormulaError: no cell size is left to try.
        """
        return find_proposals(composition, self.bundle, self.spec, generator)

    def decode(self, composition: Composition, *, structure: Crystal | None = None) -> DecodedSet:
        """Return decoded crystals; the same seed gives the same ones, whatever else is predicted.

        Args:
            structure: start from this crystal instead of the library.

        Raises:
            FormulaError: no cell size is left to try.
        """
        generator = self.generator(composition)
        if structure is None:
            sizes = cell_sizes(composition, self.bundle, self.spec.search)
            largest = max(sizes.high, sizes.low - 1) * composition.reduced.n_atoms
            direct = direct_crystals(composition, self.bundle, self.spec, largest)
            proposed = self.propose(composition, generator)
            proposals = [p.with_share(1 - direct.large) for p in proposed[: direct.worth_decoding(len(proposed))]]
            decoded = self.decode_from(proposals, composition, generator) if proposals else nothing_decoded(composition)
            return with_direct_crystals(decoded, direct, self.bundle, self.spec)
        given = given_proposal(structure, composition, self.bundle)
        decoded = decode([given], composition, self.bundle, self.spec.with_options(NO_RANDOM), generator)
        same = structure.composition.reduced == composition.reduced
        return replace(decoded, direct=(given_crystal(structure, given, self.bundle),)) if same else decoded

    def decode_from(
        self, proposals: Sequence[Proposal], composition: Composition, generator: torch.Generator
    ) -> DecodedSet:
        """Return the crystals decoded from the given proposals."""
        return decode(proposals, composition, self.bundle, self.spec, generator)

    def generator(self, composition: Composition) -> torch.Generator:
        """Return the random number generator of a composition."""
        return torch.Generator().manual_seed(composition_seed(self.spec.seed, composition))

    def relax(
        self,
        sets: Sequence[DecodedSet],
        *,
        tell: Tell | None = None,
        checkpoint: Path | None = None,
        fixed_cell: bool = False,
    ) -> list[RelaxedSet]:
        """Relax the best decoded crystals of each set, all sets together.

        Args:
            fixed_cell: whether only the atoms move, although the constraints have no cell.
            checkpoint: file to which each relaxation is written as soon as it is finished, and from which finished
                ones are read.

        Raises:
            OracleError: the energy model cannot be created.
        """
        assert self.energy_models is not None
        relaxer = Relaxer(self.bundle, self.spec, self.energy_models, self.processes, checkpoint, fixed_cell)
        return relaxer.relax(sets, tell)

    def rank(self, relaxed: Sequence[Relaxed]) -> list[Candidate]:
        """Return the distinct relaxed crystals, the most likely ground state first."""
        return in_order(relaxed, self.bundle, self.spec)

    def finish(
        self,
        decoded: DecodedSet,
        relaxed: RelaxedSet | None,
        *,
        hull: Hull | None = None,
        pattern: PatternFitter | None = None,
    ) -> Prediction:
        """Return the ranked candidates, each with the probability that it is the known ground state."""
        return self._answer(Found(decoded, relaxed), Task(decoded.composition, hull=hull, pattern=pattern))
