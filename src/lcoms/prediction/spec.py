"""Options of a prediction: one frozen tree, which `results.json` records and which can be read from a file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from lcoms.core.bounds import require
from lcoms.core.config import from_dict, merged, to_dict
from lcoms.core.errors import ConfigError, OptionError
from lcoms.oracles.registry import DEFAULT_ORACLE
from lcoms.prediction.known_cell import KnownCell, check_cell
from lcoms.prediction.model_options import RankingSpec
from lcoms.prediction.random_symmetric import RandomSymmetricSpec
from lcoms.prediction.structure_types import StructureType
from lcoms.relax.result import GIGAPASCAL, RelaxConfig, require_pressure

SPEC = "spec"  # its key in results.json
PHONONS = "phonons.n"
MOST_ATOMS = 1000  # in a cell; the largest template has 200


@dataclass(frozen=True)
class DecoderSpec:
    """Numbers of settings and samples per latent.

    Attributes:
        coded_samples: samples of each setting whose sites are known from their codes.
        known_to: noise level (angstrom) at which these start.
        beside_codes: whether latents with codes are also decoded without them.
        samples: samples of each latent in the first round; each of its settings gets at least one while they suffice.
        more_samples: samples in a second round, shared among the best settings.
        best_settings: number of these settings.
        near_enough: latent distance of a sample in the first round below which there is no second round.
        max_sequences: number of Wyckoff sequences per space group, the most frequent ones.
        max_lattices: number of lattices per sequence.
        coded_lattices: number of lattices if sites are known, so that the one their codes refer to is among them.
        max_misfit: largest misfit of a lattice to the one that the lattice head predicts.
        kept: number of distinct crystals per latent, the nearest ones.
    """

    coded_samples: int = 2
    known_to: float = 0.5
    beside_codes: bool = False
    samples: int = 12
    more_samples: int = 8
    best_settings: int = 3
    near_enough: float = 1.0
    max_sequences: int = 8
    max_lattices: int = 6
    coded_lattices: int = 54
    max_misfit: float = 0.15
    kept: int = 1

    def __post_init__(self) -> None:
        require(
            self,
            at_least_one=["max_sequences", "max_lattices", "coded_lattices", "kept"],
            positive=["known_to", "max_misfit"],
            not_negative=["coded_samples", "samples", "more_samples", "best_settings", "near_enough"],
        )


@dataclass(frozen=True)
class SearchSpec:
    """Options of the descents and of decoding their latents.

    Attributes:
        start: where descents start: latents of templates, samples of the prior, or latents of random crystals.
        n_starts: number of descents.
        formula_units: smallest and largest number of formula units in the cell; None: those of the templates.
        max_atoms: number of atoms in the largest cell that is tried; None: `direct_atoms`.
        max_polymorphs: largest number of templates of one composition.
        max_alike: largest number of templates of one structure: space group, Wyckoff sequence and cell.
        substituted: share of templates from other stoichiometries; they also replace missing ones of the same
            stoichiometry.
        exclude_same: exclude templates of the same composition, as a benchmark must.
        steps: number of steps of latent descent; 0 decodes the starts themselves.
        step_size: in normalised latent space; None: the one that the surrogate was trained against.
        symmetry: decode within the space group of each template; otherwise atoms may be anywhere in the cell.
        known: number of known crystals of the same composition used without decoding, those lowest in energy.
        direct: number of templates used without decoding, with other elements on their exact sites.
        direct_atoms: number of atoms in the largest cell of those, unless `max_atoms` is set.
        decoder: settings and samples of decoding within symmetry.
        random_symmetric: options for random symmetric crystals, which have no template.
    """

    start: Literal["library", "prior", "random"] = "library"
    n_starts: int = 10
    formula_units: tuple[int, int] | None = None
    max_atoms: int | None = None
    max_polymorphs: int = 3
    max_alike: int = 3
    substituted: float = 0.2
    exclude_same: bool = False
    steps: int = 10
    step_size: float | None = None
    symmetry: bool = True
    known: int = 6
    direct: int = 40
    direct_atoms: int = 80
    decoder: DecoderSpec = field(default_factory=DecoderSpec)
    random_symmetric: RandomSymmetricSpec = field(default_factory=RandomSymmetricSpec)

    def __post_init__(self) -> None:
        require(
            self,
            at_least_one=["n_starts", "max_atoms", "max_polymorphs", "max_alike"],
            positive=["step_size"],
            not_negative=["steps", "known", "direct", "direct_atoms"],
            at_most={"max_atoms": MOST_ATOMS, "direct_atoms": MOST_ATOMS},
        )
        if not 0 <= self.substituted <= 1:
            sentence = "{} is a fraction of the templates, from 0 to 1, not {value}."
            raise OptionError(sentence, ["substituted"], self.substituted)
        if self.start not in ("library", "prior", "random"):
            raise OptionError("{} must be library, prior or random, not {value!r}.", ["start"], self.start)
        if self.formula_units is not None and not 1 <= self.formula_units[0] <= self.formula_units[1]:
            low, high = self.formula_units
            raise ConfigError(f"formula units {low}-{high} are not a range; write, for instance, 1-4.")


@dataclass(frozen=True)
class RelaxationSpec:
    """Options for relaxing decoded crystals.

    Attributes:
        oracle: name of the energy model (`oracles.registry`).
        n_relax: largest number of crystals to relax, the best by their score before relaxation.
        n_least: number of crystals to relax in any case.
        window: eV/atom; of the others, those with a score this far above the lowest are not relaxed.
        fmax: eV/angstrom; forces and cell gradients at which a relaxation ends.
        max_steps: number of steps after which a relaxation ends in any case.
        n_final: number of top candidates that are then relaxed further.
        final_fmax: eV/angstrom, at which these relaxations end; none are made if `fmax` is no larger.
        pressure: GPa, at which crystals are relaxed and ranked by enthalpy.
        soft_modes: number of top candidates that are distorted along their soft modes and relaxed again.
    """

    oracle: str = DEFAULT_ORACLE
    n_relax: int = 20
    n_least: int = 5
    window: float = 0.2
    fmax: float = 0.1
    max_steps: int = 200
    n_final: int = 5
    final_fmax: float = 0.02
    pressure: float = 0.0
    soft_modes: int = 0

    def __post_init__(self) -> None:
        require(
            self,
            at_least_one=["n_relax", "max_steps"],
            positive=["fmax", "final_fmax"],
            not_negative=["n_final", "soft_modes", "n_least", "window"],
        )
        if self.soft_modes and self.pressure:
            sentence = "soft modes are computed only at zero pressure; omit {} or {}."
            raise OptionError(sentence, ["soft_modes", "pressure"])
        require_pressure(self.pressure)

    @property
    def config(self) -> RelaxConfig:
        """These options for `relax_crystals`."""
        pressure = self.pressure * GIGAPASCAL
        return RelaxConfig(fmax=self.fmax, max_steps=self.max_steps, pressure=pressure, trajectory="energies")


@dataclass(frozen=True)
class ConstraintSpec:
    """What the user knows about the crystal.

    Attributes:
        space_groups: numbers of space groups, one of which the crystal has; none: any.
        volume: of one formula unit, cubic angstrom; None: any.
        density: g/cm^3; None: any.
        tolerance: relative tolerance of volume or density.
        cell: lengths (angstrom) and angles (degrees) of its primitive or conventional cell in any setting; None: any.
        cell_tolerance: tolerance of the cell, relative for lengths, in radians for angles.
        prototypes: structure types, one of which the crystal has; none: any.
        exclude_prototypes: structure types that the crystal must not have.
        max_e_above: largest energy above the hull, or above the lowest candidate if no hull is known, eV/atom; None:
            any.
    """

    space_groups: tuple[int, ...] = ()
    volume: float | None = None
    density: float | None = None
    tolerance: float = 0.1
    cell: tuple[float, float, float, float, float, float] | None = None
    cell_tolerance: float = 0.05
    prototypes: tuple[StructureType, ...] = ()
    exclude_prototypes: tuple[StructureType, ...] = ()
    max_e_above: float | None = None

    def __post_init__(self) -> None:
        for group in self.space_groups:
            if not 1 <= group <= 230:
                raise ConfigError(f"{group} is not a space group; their numbers are 1 to 230.")
        if self.volume is not None and self.density is not None:
            raise OptionError("{} and {} are equivalent; give one of them.", ["volume", "density"])
        require(self, positive=["volume", "density", "tolerance"], not_negative=["max_e_above"])
        if self.cell is not None:
            check_cell(self.cell, self.cell_tolerance)

    @property
    def any(self) -> bool:
        """Whether there is any constraint."""
        return self != ConstraintSpec(tolerance=self.tolerance, cell_tolerance=self.cell_tolerance)

    @property
    def known_cell(self) -> KnownCell | None:
        """The cell with its tolerance."""
        return None if self.cell is None else KnownCell(self.cell, self.cell_tolerance)


@dataclass(frozen=True)
class PhononSpec:
    """Options for the phonons of the top candidates.

    Attributes:
        n: number of candidates.
        temperature: K, for their harmonic free energies.
    """

    n: int = 0
    temperature: float = 300.0

    def __post_init__(self) -> None:
        require(self, not_negative=["n"])
        if not 0 <= self.temperature < inf:
            raise OptionError("{} must be 0 K or more, not {value}.", ["temperature"], self.temperature)


@dataclass(frozen=True)
class PredictionSpec:
    """Everything that determines a prediction, apart from the composition and the weights.

    Attributes:
        n_candidates: maximum number of distinct crystals returned.
        relaxation: how the best crystals are relaxed; None: not at all.
        phonons: phonons of the top candidates.
        seed: of all random numbers.
    """

    n_candidates: int = 10
    search: SearchSpec = field(default_factory=SearchSpec)
    relaxation: RelaxationSpec | None = field(default_factory=RelaxationSpec)
    ranking: RankingSpec = field(default_factory=RankingSpec)
    constraints: ConstraintSpec = field(default_factory=ConstraintSpec)
    phonons: PhononSpec = field(default_factory=PhononSpec)
    seed: int = 0

    def __post_init__(self) -> None:
        require(self, at_least_one=["n_candidates"])
        if self.phonons.n and self.relaxation is None:
            raise OptionError("phonons need relaxed candidates; relax, or omit {}.", [PHONONS])
        if self.phonons.n and self.pressure:
            sentence = "phonons are computed only at zero pressure; omit {} or {}."
            raise OptionError(sentence, [PHONONS, "relaxation.pressure"])
        if self.relaxation is not None and self.relaxation.soft_modes and self.constraints.cell is not None:
            sentence = "soft modes change the cell; omit {} or {}."
            raise OptionError(sentence, ["relaxation.soft_modes", "constraints.cell"])
        self.ranking.models(None if self.relaxation is None else self.relaxation.oracle)
        if self.relaxation is None and self.constraints.max_e_above is not None:
            sentence = "{} has no effect without relaxation; omit it, or relax."
            raise OptionError(sentence, ["constraints.max_e_above"])

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the energy models, the relaxing one first; empty without relaxation."""
        return self.ranking.models(None if self.relaxation is None else self.relaxation.oracle)

    @property
    def ranked_by(self) -> str:
        """Names of the energy models whose mean energy is used in the ranking; empty without relaxation."""
        return ", ".join(self.models)

    @property
    def pressure(self) -> float:
        """Pressure, GPa; zero without relaxation."""
        return 0.0 if self.relaxation is None else self.relaxation.pressure

    @property
    def n_decoded(self) -> int:
        """Number of distinct decoded crystals kept for the later stages."""
        return max(self.n_candidates, 0 if self.relaxation is None else self.relaxation.n_relax)

    def with_options(self, options: Mapping[str, Any]) -> PredictionSpec:
        """Return this specification with options changed; nested groups are merged.

        Raises:
            ConfigError: an option is unknown or its value is invalid.
        """
        return merged(self, options)

    def with_models(self, names: Sequence[str]) -> PredictionSpec:
        """Return this specification with other energy models.

        Args:
            names: name of the relaxing model, then of the further ones; empty for no relaxation.

        Raises:
            ConfigError: an option needs relaxation, but there is none.
        """
        if not names:
            return replace(self, relaxation=None, ranking=RankingSpec())
        relaxation = replace(self.relaxation or RelaxationSpec(), oracle=names[0])
        return replace(self, relaxation=relaxation, ranking=RankingSpec(tuple(names[1:])))

    def to_dict(self) -> dict[str, Any]:
        """Return the specification ready for JSON; `from_dict` reads it back."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> PredictionSpec:
        """Return a specification from its options; missing ones keep their defaults.

        Raises:
            ConfigError: an option is unknown or its value is invalid.
        """
        return from_dict(cls, options)


def read_spec(path: Path) -> PredictionSpec:
    """Return the specification in a TOML file, a JSON file, or the results.json of an earlier run.

    Raises:
        ConfigError: the file cannot be read, or contains an option that does not exist.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); name a TOML or JSON file with --spec.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is neither TOML nor JSON; name the results.json of an earlier run.") from error
    options = content.get(SPEC, content) if isinstance(content, dict) else None
    if not isinstance(options, dict):
        raise ConfigError(f"{path} holds no specification; name the results.json of an earlier run.")
    try:
        return PredictionSpec.from_dict(options)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
