"""The result of a prediction: a sequence of pymatgen structures, also available as a table and a folder of files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lcoms import __version__
from lcoms.core.config import parse_json
from lcoms.core.errors import FormulaError, LcomsError
from lcoms.core.numerals import percent
from lcoms.diffraction.fit import PatternFitter
from lcoms.oracles.hull import Hull
from lcoms.prediction.cif_record import Made
from lcoms.prediction.decode import DecodedSet
from lcoms.prediction.output import (
    FORMATS,
    RESULTS,
    candidate_files,
    candidate_record,
    results_folder,
    row,
    to_structure,
    write_files,
)
from lcoms.prediction.presets import Typed
from lcoms.prediction.spec import SPEC, PredictionSpec
from lcoms.prediction.stages import Candidate, Decoded
from lcoms.structure.crystal import Composition, Crystal

if TYPE_CHECKING:
    from pandas import DataFrame
    from pymatgen.core import Structure

SCHEMA_VERSION = 1
BESIDE_SPEC = frozenset({"start_structure", "hull", "pattern", "wavelength", "budget"})
"""Recorded options that change the answer but are not in the specification; the last is that of `lcoms improve`."""


@dataclass(frozen=True, eq=False)
class Task:
    """One prediction to be made.

    Attributes:
        structure: start from this crystal instead of the library; None: from the library.
        hull: of reference phases, for energies above it; None: of the phases in the weights.
        pattern: fitter of a measured powder pattern of the compound; None: none.
    """

    composition: Composition
    structure: Crystal | None = None
    hull: Hull | None = None
    pattern: PatternFitter | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """The ranked candidates of one composition, best first; iterating gives pymatgen structures.

    Attributes:
        decoded: all crystals before relaxation, and counts of those discarded.
        spec: options of the prediction.
        weights_digest: hash of the weights used.
        ranked_by: names of the energy models whose mean energy was used in the ranking; empty if nothing was relaxed.
        n_duplicates: number of crystals equal to a better candidate.
        doubts: one sentence for each reason why the prediction is doubtful, whatever was found.
        failures: one sentence for each relaxation that could not be ranked.
        no_phonons: one sentence for each candidate whose phonons or soft modes could not be computed.
        n_relaxations: number of crystals relaxed.
        n_oracle_calls: number of energy evaluations.
        left_out: one sentence for each reason why candidates contradict the constraints.
        options: options as the user typed them.
        calibrated_atoms: number of atoms in the largest cell on which the probability was calibrated; None if none is
            stated.
    """

    composition: Composition
    candidates: tuple[Candidate, ...]
    decoded: DecodedSet
    spec: PredictionSpec
    weights_digest: str
    ranked_by: tuple[str, ...] = ()
    n_duplicates: int = 0
    failures: tuple[str, ...] = ()
    no_phonons: tuple[str, ...] = ()
    n_relaxations: int = 0
    n_oracle_calls: int = 0
    doubts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    options: Typed = ()
    calibrated_atoms: int | None = None

    @cached_property
    def structures(self) -> tuple[Structure, ...]:
        """The candidates as pymatgen structures.

        `properties` holds rank, score, probability, space_group, prototype_probability, known (id of the known crystal
        that it is), source of the proposal, surrogate_energy (formation energy that the surrogate predicts before
        relaxation) and, if anything was relaxed, formation_energy (by the relaxing model, relative to the elements),
        energy_above_lowest (mean of all models) and e_above_hull (by the relaxing model); energies in eV/atom.
        """
        return tuple(to_structure(rank, candidate) for rank, candidate in enumerate(self.candidates, 1))

    @property
    def probability(self) -> float | None:
        """Probability that the first candidate is the known ground state; None if none is stated."""
        return self.candidates[0].probability if self.candidates else None

    @property
    def made(self) -> Made:
        """How the candidates were made, as stated in their CIFs."""
        formula = self.composition.reduced_formula
        return Made(formula, len(self.candidates), self.spec, self.ranked_by)

    def __iter__(self) -> Iterator[Structure]:
        return iter(self.structures)

    def __len__(self) -> int:
        return len(self.candidates)

    @overload
    def __getitem__(self, index: int) -> Structure: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Structure]: ...

    def __getitem__(self, index: int | slice) -> Structure | Sequence[Structure]:
        return self.structures[index]

    def to_dataframe(self) -> DataFrame:
        """Return a table with one row per candidate; energies in eV/atom, volume in cubic angstrom per atom."""
        from pandas import DataFrame

        return DataFrame([row(rank, candidate) for rank, candidate in enumerate(self.candidates, 1)])

    def _repr_html_(self) -> str:
        """Return the table of candidates for notebooks."""
        stated = "" if self.probability is None else f"; rank 1 with a probability of {percent(self.probability)}"
        title = f"<b>{self.composition.reduced_formula}</b>: {len(self)} candidates{stated}"
        table: str = self.to_dataframe().to_html(index=False, float_format=lambda value: f"{value:.3f}", na_rep="-")
        return f"<div>{title}{table}</div>"

    def __repr__(self) -> str:
        first = f", first {self.candidates[0].space_group}" if self.candidates else ""
        return f"Prediction({self.composition.reduced_formula}: {len(self)} candidates{first})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything about the prediction, ready for JSON, described by results.schema.json of this package."""
        return {
            "schema_version": SCHEMA_VERSION,
            "formula": self.composition.reduced_formula,
            "lcoms_version": __version__,
            "weights": self.weights_digest,
            "options": {name: list(value) if isinstance(value, tuple) else value for name, value in self.options},
            SPEC: self.spec.to_dict(),
            "units": {
                "energy": "eV/atom; surrogate_energy (once energy_per_atom) is a formation energy by the surrogate",
                "length": "Å",
            },
            "ranked_by": list(self.ranked_by),
            "probability": self.probability,
            "n_proposals": self.decoded.n_proposals,
            "dropped": {
                "invalid": self.decoded.n_invalid,
                "atoms too close": self.decoded.n_too_close,
                "duplicates": self.n_duplicates,
            },
            "failed_relaxations": list(self.failures),
            "failed_phonons": list(self.no_phonons),
            "left_out": list(self.left_out),
            "candidates": [candidate_record(rank, c) for rank, c in enumerate(self.candidates, 1)],
        }

    def files(self, formats: Sequence[str] = ("cif",)) -> dict[str, str]:
        """Return the names and texts of the files of this prediction, results.json last.

        Raises:
            ConfigError: a format is unknown.
        """
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        return candidate_files(self.candidates, self.made, formats) | {RESULTS: text}

    def write(self, folder: str | Path, formats: Sequence[str] = ("cif",)) -> Path:
        """Write FOLDER/FORMULA/rank-01.cif ... and results.json, replacing an earlier prediction there.

        Args:
            formats: file formats of the candidates: cif, poscar, extxyz, qe (input of pw.x).

        Returns:
            The folder of this formula.

        Raises:
            ConfigError: a format is unknown.
            LcomsError: the folder cannot be written.
        """
        return write_files(results_folder(Path(folder), self.composition.reduced_formula), self.files(formats))


def is_finished(
    folder: Path,
    composition: Composition,
    spec: PredictionSpec,
    weights_digest: str,
    formats: Sequence[str] = ("cif",),
) -> bool:
    """Return whether FOLDER/FORMULA has a prediction of this composition by this version, specification and weights.

    Results that also depend on input files, or of `lcoms improve`, are others.

    Args:
        formats: file formats in which every candidate must be there.
    """
    place = results_folder(folder, composition.reduced_formula)
    try:
        found = parse_json((place / RESULTS).read_text(encoding="utf-8"))
        same = Composition.from_formula(str(found["formula"])).reduced == composition.reduced
        made = (found["lcoms_version"], found["weights"], found[SPEC])
        stems = [Path(one["cif"]).stem for one in found["candidates"]]
        names = {f"{stem}.{FORMATS[name].suffix}" for stem in stems for name in formats}
        written = names <= {path.name for path in place.iterdir()}
        plain = BESIDE_SPEC.isdisjoint(found["options"])
        return same and written and plain and made == (__version__, weights_digest, spec.to_dict())
    except (OSError, ValueError, KeyError, TypeError, LcomsError):
        return False


def require_candidates(prediction: Prediction) -> Prediction:
    """Return the prediction if it has candidates.

    Raises:
        FormulaError: there is no valid crystal, or none satisfies the constraints.
    """
    if not prediction.candidates:
        formula, n = prediction.composition.reduced_formula, prediction.decoded.n_proposals
        if prediction.left_out:
            raise FormulaError(f"{formula}: nothing satisfies the constraints. {' '.join(prediction.left_out)}")
        raise FormulaError(f"{formula}: none of {n} proposals gave a valid crystal.")
    return prediction


def decoded_candidates(prediction: Prediction) -> list[Decoded]:
    """Return the decoded crystals that were kept for the later stages, in the surrogate's order."""
    return list(prediction.decoded.crystals[: prediction.spec.n_decoded])
