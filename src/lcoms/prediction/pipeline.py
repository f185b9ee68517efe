"""`Predictor`: the one way from a composition to ranked candidates.

    check -> propose -> decode -> relax -> rank -> calibrate

The command line, the Python API, the local page, campaigns and all measurements go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from lcoms.diffraction.fit import PatternFitter
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.committee import models_of
from lcoms.oracles.hull import Hull
from lcoms.oracles.references import References, load_references
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.by_pattern import rank_by_pattern
from lcoms.prediction.calibrate import evidence
from lcoms.prediction.constraints import satisfying
from lcoms.prediction.contradictions import check_constraints
from lcoms.prediction.decode import DecodedSet, decode, drop_duplicates, nothing_decoded
from lcoms.prediction.known import direct_crystals, given_crystal, in_known_order
from lcoms.prediction.pattern_templates import joined, none_explains, pattern_templates, with_direct
from lcoms.prediction.phases import shipped_hull, with_spread
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.pressure import compressed
from lcoms.prediction.progress import Progress, Tell, counted, silent
from lcoms.prediction.propose import (
    cell_sizes,
    check_composition,
    composition_seed,
    find_proposals,
    given_proposal,
    largest_tried,
)
from lcoms.prediction.rank import rank_decoded, rank_relaxed, ranking_models, with_hull
from lcoms.prediction.refine import RelaxedSet, collect, more_symmetric, with_further
from lcoms.prediction.result import Prediction, Task
from lcoms.prediction.scoring import ENTHALPY_ALONE
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec
from lcoms.prediction.stages import Candidate, Proposal, Relaxed
from lcoms.prediction.vibrations import with_phonons
from lcoms.relax.result import RelaxResult
from lcoms.relax.run import relax_crystals
from lcoms.structure.crystal import Composition, Crystal


class Predictor:
    """Predicts crystal structures with the weights of a bundle, as a specification says.

    Args:
        bundle: everything that was fitted.
        spec: what is asked for.
        processes: that relax; None: as many as there are cores and work for them. The answers do not depend on it.

    Attributes:
        oracle: the energy model that relaxes; None where nothing is relaxed.
        committee: further models that rank; None where there are none.

    Raises:
        OracleError: an energy model of the specification does not exist or is not installed.
    """

    def __init__(self, bundle: WeightBundle, spec: PredictionSpec, *, processes: int | None = None) -> None:
        self.bundle, self.spec, self.processes = bundle, spec, processes
        self.oracle, self.committee = models_of(spec.models)

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        *,
        spec: PredictionSpec | None = None,
        processes: int | None = None,
    ) -> Predictor:
        """A predictor with the weights of a folder; None: those that ship with the package.

        Args:
            spec: what is asked for; None: what `lcoms predict` does without options.
            processes: that relax; None: as many as there are cores and work for them.

        Raises:
            WeightsError: a file of the weights is missing, damaged, or of another version.
            OracleError: an energy model of the specification does not exist or is not installed.
        """
        return cls(WeightBundle.load(weights), spec_for(Options()) if spec is None else spec, processes=processes)

    def with_options(self, options: Mapping[str, Any]) -> Predictor:
        """The same predictor with some options of its specification chosen otherwise.

        Raises:
            ConfigError: an unknown option, or a value that makes no sense.
        """
        return Predictor(self.bundle, self.spec.with_options(options), processes=self.processes)

    def with_bundle(self, bundle: WeightBundle) -> Predictor:
        """The same specification with other weights."""
        return Predictor(bundle, self.spec, processes=self.processes)

    @property
    def models(self) -> tuple[EnergyOracle, ...]:
        """All energy models, the one that relaxes first."""
        further = () if self.committee is None else self.committee.models
        return () if self.oracle is None else (self.oracle, *further)

    @cached_property
    def references(self) -> References | None:
        """Energies of the elements by the model that relaxes; None where there are none."""
        return None if self.spec.relaxation is None else load_references(self.spec.relaxation.oracle)

    def check(self, composition: Composition) -> None:
        """Whether a composition can be predicted, before any work.

        Raises:
            FormulaError: the weights cannot handle it.
            OracleError: the energy model that relaxes cannot handle its elements.
        """
        check_composition(composition, self.bundle, self.spec.search)
        search, largest = self.spec.search, largest_tried(self.bundle, self.spec.search)
        check_constraints(self.spec.constraints, composition, largest, search.formula_units)
        if self.oracle is not None:
            self.oracle.check([composition])

    def predict(
        self,
        formula: str | Composition,
        *,
        structure: Crystal | None = None,
        hull: Hull | None = None,
        pattern: PatternFitter | None = None,
        progress: Tell | None = None,
    ) -> Prediction:
        """The ranked candidates of one composition.

        Args:
            formula: such as SrTiO3.
            structure: start from this crystal instead of the library.
            hull: of reference phases, for the energies above it.
            pattern: a powder pattern that the compound gave.
            progress: called with what is being done.

        Raises:
            FormulaError: the formula cannot be read, or the weights cannot handle it.
            OracleError: the energy model that relaxes cannot handle the elements.
        """
        composition = Composition.from_formula(formula) if isinstance(formula, str) else formula
        return self.run(Task(composition.reduced, structure, hull, pattern), progress)

    def predict_all(
        self, formulas: Iterable[str | Composition], *, progress: Tell | None = None
    ) -> Iterator[Prediction]:
        """Predictions in the order of the formulas, each as soon as it is finished; errors as of `predict`, in turn."""
        for formula in formulas:
            yield self.predict(formula, progress=progress)

    def run(self, task: Task, progress: Tell | None = None) -> Prediction:
        """One prediction, all stages of it.

        Raises:
            FormulaError, OracleError: as `predict`.
        """
        tell, name = progress or silent, task.composition.reduced_formula
        self.check(task.composition)
        tell(Progress(name, "searching"))
        decoded = self.decode(task.composition, structure=task.structure)
        relaxed = None if self.spec.relaxation is None else self.relax([decoded], tell=tell)[0]
        if task.pattern is not None:
            tell(Progress(name, "fitting the pattern"))
        made = self.finish(decoded, relaxed, hull=task.hull, pattern=task.pattern)
        if task.pattern is not None and none_explains(made.candidates):
            tell(Progress(name, "looking for templates that explain the pattern"))
            further = pattern_templates(task.composition, self.bundle, self.spec, task.pattern)
            alone = replace(nothing_decoded(task.composition), direct=tuple(further))
            again = None if relaxed is None else joined(relaxed, self.relax([alone], tell=tell)[0])
            made = self.finish(with_direct(decoded, further), again, hull=task.hull, pattern=task.pattern)
        return with_phonons(made, self.oracle, tell)

    def propose(self, composition: Composition, generator: torch.Generator) -> list[Proposal]:
        """Where descents start.

        Raises:
            FormulaError: no cell size is left to try.
        """
        return find_proposals(composition, self.bundle, self.spec, generator)

    def decode(self, composition: Composition, *, structure: Crystal | None = None) -> DecodedSet:
        """Decoded crystals; the same seed gives the same ones whatever else is predicted beside them.

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
            proposals = [p.with_share(1 - direct.large) for p in self.propose(composition, generator)]
            decoded = self.decode_from(proposals, composition, generator) if proposals else nothing_decoded(composition)
            return replace(
                decoded,
                direct=direct.crystals,
                contradicting=decoded.contradicting + direct.contradicting,
                left_out=(direct.left_out, direct.larger),
                known_passed_over=direct.passed_over,
            )
        nothing = {"search": {"random_symmetric": {"n": 0}}}
        given = given_proposal(structure, composition, self.bundle)
        decoded = decode([given], composition, self.bundle, self.spec.with_options(nothing), generator)
        same = structure.composition.reduced == composition.reduced
        return replace(decoded, direct=(given_crystal(structure, given, self.bundle),)) if same else decoded

    def decode_from(
        self, proposals: Sequence[Proposal], composition: Composition, generator: torch.Generator
    ) -> DecodedSet:
        """Decoded crystals from proposals of one's choice."""
        return decode(proposals, composition, self.bundle, self.spec, generator)

    def generator(self, composition: Composition) -> torch.Generator:
        """The source of a composition's random numbers."""
        return torch.Generator().manual_seed(composition_seed(self.spec.seed, composition))

    def relax(
        self, sets: Sequence[DecodedSet], *, tell: Tell | None = None, checkpoint: Path | None = None
    ) -> list[RelaxedSet]:
        """The best decoded crystals of each set relaxed, those of all sets together.

        Args:
            checkpoint: a file that keeps each relaxation as soon as it is there, and from which known ones are taken.

        Raises:
            OracleError: the energy model cannot be made.
        """
        spec = self._relaxation
        chosen = [decoded.to_relax(spec.n_relax) for decoded in sets]
        names = [s.composition.reduced_formula for s, some in zip(sets, chosen, strict=True) for _ in some]
        crystals = compressed([one.crystal for some in chosen for one in some], self.oracle, spec.pressure)
        first = self._relaxations(crystals, counted(tell, "relaxing", names), checkpoint=checkpoint)
        results = iter(more_symmetric(first, partial(self._relaxations, checkpoint=checkpoint)))
        found = [
            collect(some, [next(results) for _ in some], self.formation_energy, self._committee_energies)
            for some in chosen
        ]
        final = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.stem}-final{checkpoint.suffix}")
        return [self._further(one, decoded.composition, final) for one, decoded in zip(found, sets, strict=True)]

    def _further(self, relaxed: RelaxedSet, composition: Composition, checkpoint: Path | None) -> RelaxedSet:
        """With the first candidates, as they stand now, relaxed to smaller forces."""
        spec = self._relaxation
        if spec.final_fmax >= spec.fmax:
            return relaxed
        order = in_known_order(self.rank(relaxed.usable), composition, self.bundle, self.spec)
        first = [one.crystal for one in order[: spec.n_final]]
        again = self._relaxations(first, fmax=spec.final_fmax, checkpoint=checkpoint)
        pairs = list(zip(first, again, strict=True))
        return with_further(relaxed, pairs, self.formation_energy, self._committee_energies)

    def rank(self, relaxed: Sequence[Relaxed]) -> list[Candidate]:
        """Distinct relaxed crystals, the most likely ground state first."""
        return rank_relaxed(relaxed, ENTHALPY_ALONE if self.spec.pressure else self.bundle.ranking.relaxed)

    def finish(
        self,
        decoded: DecodedSet,
        relaxed: RelaxedSet | None,
        *,
        hull: Hull | None = None,
        pattern: PatternFitter | None = None,
    ) -> Prediction:
        """The answer: candidates in order, with the probability that the first is the known ground state."""
        kept = decoded.crystals[: self.spec.n_decoded]
        if relaxed is None:
            every = drop_duplicates([*decoded.direct, *kept])
            merged = len(decoded.direct) + len(kept) - len(every)
            candidates, relaxed = rank_decoded(every), RelaxedSet((), ())
        else:
            ranked = self.rank(relaxed.usable)
            failed = [replace(Candidate.of_decoded(one.decoded), relaxed=one) for one in relaxed.failed]
            rest = [one for one in kept if one not in relaxed.chosen]
            candidates = [*ranked, *failed, *rank_decoded(rest)]
            merged = len(relaxed.usable) - len(ranked)
        candidates = in_known_order(candidates, decoded.composition, self.bundle, self.spec)
        models = ranking_models(relaxed.usable, self.spec.models)
        probability = self._probability(candidates, models, decoded.left_out[0])
        if pattern is not None:
            candidates, probability = rank_by_pattern(candidates, pattern), None
        hull = hull or shipped_hull(decoded.composition, self.bundle.phases, self.spec)
        candidates = candidates if hull is None else list(with_hull(candidates, hull))
        candidates, contradictions = satisfying(candidates, self.spec.constraints, decoded.composition)
        shown = tuple(candidates[: self.spec.n_candidates])
        return Prediction(
            composition=decoded.composition,
            candidates=shown if hull is None else with_spread(shown, self.bundle.templates, self.committee),
            decoded=decoded,
            spec=self.spec,
            weights_digest=self.bundle.digest,
            ranked_by=models,
            n_duplicates=decoded.n_duplicates + merged,
            failures=relaxed.failures,
            left_out=tuple((decoded.contradicting + contradictions).sentences()),
            probability=probability,
            n_relaxations=relaxed.n_relaxations,
            n_oracle_calls=relaxed.n_oracle_calls,
            evidence=tuple(evidence(candidates)),
        )

    def formation_energy(self, composition: Composition, energy_per_atom: float) -> float | None:
        """In eV/atom, of a total energy by the model that relaxes; None without references."""
        return None if self.references is None else self.references.formation_energy(composition, energy_per_atom)

    @property
    def _relaxation(self) -> RelaxationSpec:
        assert self.spec.relaxation is not None
        return self.spec.relaxation

    def _relaxations(
        self,
        crystals: Sequence[Crystal],
        progress: Callable[[int, RelaxResult], None] | None = None,
        *,
        fmax: float | None = None,
        checkpoint: Path | None = None,
    ) -> Sequence[RelaxResult]:
        config, oracle = replace(self._relaxation.config, fmax=fmax or self._relaxation.fmax), self._relaxation.oracle
        return relax_crystals(
            crystals, oracle, config, processes=self.processes, checkpoint=checkpoint, progress=progress
        )

    def _committee_energies(self, crystals: Sequence[Crystal]) -> list[tuple[float, ...]]:
        return [() for _ in crystals] if self.committee is None else self.committee.energies_by_model(crystals)

    def _probability(self, candidates: Sequence[Candidate], models: Sequence[str], left_out: float) -> float | None:
        """None where nothing was fitted for predictions made like this one, or where the first is a known crystal.

        What could not be searched is taken off.
        """
        if not models or self.spec.pressure or (candidates and candidates[0].known is not None):
            return None
        model = self.bundle.calibration.find(self.spec.with_options({"ranking": {"committee": list(models[1:])}}))
        features = [] if model is None else evidence(candidates)
        return model.probability(features) * (1 - left_out) if model is not None and features else None
