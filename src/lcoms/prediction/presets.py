"""Presets by effort, and the flat list of user options, converted to a specification in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lcoms.core.errors import ConfigError, OptionError
from lcoms.phonons.harmonic import require_phonopy
from lcoms.prediction.model_options import MODEL_KEYS, ModelOptions
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.structure_types import StructureType

Typed = tuple[tuple[str, Any], ...]
"""Names and values of options as the user typed them; the values can be written as JSON."""
DEFAULT_EFFORT = "normal"
EFFORTS: Mapping[str, Mapping[str, Any]] = {
    "fast": {
        "search": {"n_starts": 5, "direct": 15, "decoder": {"coded_samples": 1, "samples": 6, "more_samples": 4}},
        "relaxation": {"n_relax": 5},
    },
    "normal": {},
    "thorough": {
        "search": {
            "n_starts": 75,
            "direct": 100,
            "decoder": {"coded_samples": 4, "beside_codes": True, "kept": 2},
            "random_symmetric": {"n": 40, "drawn": 400},
        },
        "relaxation": {"n_relax": 60, "n_least": 20, "window": 0.5},
    },
}
"""Options in which each effort differs from the defaults."""
UNRELAXED: Mapping[str, Mapping[str, Any]] = {
    "fast": {"search": {"n_starts": 10}},
    "normal": {"search": {"n_starts": 30}},
    "thorough": {},
}
"""The same if nothing is relaxed: more is decoded, since templates on exact sites then win less often."""

ALONE = ("starts", "start", "random_symmetric", "formula_units", "max_atoms")
"""Options that determine which starts are chosen."""

KEYS = {
    "search.n_starts": "starts",
    "search.random_symmetric.n": "random_symmetric",
    "relaxation.n_least": "n_relax",
    "phonons.n": "phonons",
    **MODEL_KEYS,
} | {
    f"{group}.{name}": name
    for group, names in {
        "search": ("formula_units", "max_atoms", "steps", "start", "symmetry", "exclude_same"),
        "relaxation": ("n_relax", "fmax", "pressure", "soft_modes"),
        "constraints": (
            "space_groups", "volume", "density", "tolerance", "cell", "cell_tolerance", "prototypes",
            "exclude_prototypes", "max_e_above",
        ),
        "phonons": ("temperature",),
    }.items()
    for name in names
}  # fmt: skip
"""Keys of a specification, with the names of the options that set them."""


@dataclass(frozen=True)
class Options(ModelOptions):
    """User options, including those of the energy models; None leaves the choice to the effort.

    Attributes:
        effort: fast, normal or thorough.
        n_candidates: maximum number of distinct crystals returned.
        formula_units: smallest and largest number in the primitive cells that are tried; known crystals of other sizes
            are left out.
        max_atoms: number of atoms in the largest cell that is tried.
        starts: number of descents in latent space.
        steps: number of steps of latent descent; 0 decodes the starts.
        start: where descents start: library, prior or random.
        symmetry: decode within the space groups of the templates, or freely.
        exclude_same: exclude templates of the same composition.
        n_relax: number of candidates to relax.
        random_symmetric: number of random symmetric crystals to relax in addition.
        fmax: largest residual force after a relaxation, eV/angstrom.
        pressure: GPa, at which crystals are relaxed and ranked by enthalpy.
        soft_modes: number of top candidates to distort along their soft modes and relax again.
        space_groups: numbers of space groups, one of which the crystal has; none: any.
        volume: of one formula unit, cubic angstrom.
        density: g/cm^3.
        tolerance: relative tolerance of volume or density.
        cell: lengths (angstrom) and angles (degrees) of the primitive or conventional cell.
        cell_tolerance: tolerance of the cell, relative for lengths and in radians for angles.
        prototypes: structure types, one of which the crystal has; none: any.
        exclude_prototypes: structure types that the crystal must not have.
        max_e_above: largest energy above the hull, or above the lowest candidate if no hull is known, eV/atom.
        phonons: number of top candidates whose phonons are computed.
        temperature: K, for their harmonic free energies.
        seed: of all random numbers.
    """

    effort: str = DEFAULT_EFFORT
    n_candidates: int = PredictionSpec.n_candidates
    formula_units: tuple[int, int] | None = None
    max_atoms: int | None = None
    starts: int | None = None
    steps: int | None = None
    start: str | None = None
    symmetry: bool = True
    exclude_same: bool = False
    n_relax: int | None = None
    random_symmetric: int | None = None
    fmax: float | None = None
    pressure: float | None = None
    soft_modes: int | None = None
    space_groups: tuple[int, ...] = ()
    volume: float | None = None
    density: float | None = None
    tolerance: float | None = None
    cell: tuple[float, ...] | None = None
    cell_tolerance: float | None = None
    prototypes: tuple[StructureType, ...] = ()
    exclude_prototypes: tuple[StructureType, ...] = ()
    max_e_above: float | None = None
    phonons: int | None = None
    temperature: float | None = None
    seed: int = 0


def typed(options: Options) -> Typed:
    """Return the options that differ from the defaults, for the record; structure types by name."""
    default = Options()
    pairs = ((field.name, getattr(options, field.name)) for field in fields(options))
    return tuple((name, _recorded(value)) for name, value in pairs if value != getattr(default, name))


def require_use(typed: Typed) -> None:
    """Check that no option typed is ignored if descent starts from a given structure, the only start.

    Raises:
        OptionError: one is.
    """
    for name, value in typed:
        if name in ALONE and value:
            raise OptionError("{} has no effect with {}; omit one of them.", [name, "start_structure"])


def _recorded(value: Any) -> Any:
    """Return the value of an option in a form that JSON has."""
    if isinstance(value, tuple):
        return tuple(_recorded(one) for one in value)
    if isinstance(value, np.generic):
        return value.item()
    return value.name if isinstance(value, StructureType) else value


def spec_for(options: Options) -> PredictionSpec:
    """Return the specification of an effort, changed by the options.

    Raises:
        ConfigError: there is no such effort, an option is invalid, or it would have no effect; an `OptionError` has the
            names of `Options`.
    """
    try:
        spec = _spec_for(options)
        _require_kept(spec)
    except OptionError as error:
        raise error.renamed(lambda name: KEYS.get(name, name)) from error
    return spec


def _require_kept(spec: PredictionSpec) -> None:
    """Raise OptionError if phonons or soft modes of more candidates are requested than are kept."""
    soft_modes = 0 if spec.relaxation is None else spec.relaxation.soft_modes
    for name, n in (("phonons", spec.phonons.n), ("soft_modes", soft_modes)):
        if n > spec.n_candidates:
            raise OptionError(
                "{} {value} is more than the number of candidates kept; raise {}.", [name, "n_candidates"], n
            )


def _spec_for(options: Options) -> PredictionSpec:
    if not (options.relax is None or isinstance(options.relax, bool)):
        raise OptionError("option {}: expected true or false, not {value!r}.", ["relax"], options.relax)
    if options.effort not in EFFORTS:
        raise ConfigError(f"unknown effort {options.effort!r}; choose one of {', '.join(EFFORTS)}.")
    if options.temperature is not None and not options.phonons:
        raise OptionError("{} has no effect without {}; give both, or omit it.", ["temperature", "phonons"])
    if options.phonons or options.soft_modes:
        require_phonopy()
    spec, models = PredictionSpec().with_options(EFFORTS[options.effort]), options.models
    if not models:
        _require_effect(options)
        alone = spec.with_options(UNRELAXED[options.effort]).with_options(_search(options))
        return alone.with_models(()).with_options({"search": {"random_symmetric": {"n": 0}}})
    spec = spec.with_options(_search(options))
    relaxation = _given(
        n_relax=options.n_relax,
        n_least=options.n_relax,
        fmax=options.fmax,
        pressure=options.pressure,
        soft_modes=options.soft_modes,
    )
    return spec.with_models(models).with_options({"relaxation": relaxation})


def _search(options: Options) -> dict[str, Any]:
    """Return the options that determine what is decoded."""
    search = _given(
        n_starts=options.starts,
        formula_units=options.formula_units,
        max_atoms=options.max_atoms,
        steps=options.steps,
        start=options.start,
        symmetry=options.symmetry,
        exclude_same=options.exclude_same,
        random_symmetric=None if options.random_symmetric is None else {"n": options.random_symmetric},
    )
    return {
        "n_candidates": options.n_candidates,
        "seed": options.seed,
        "search": search,
        "constraints": _known(options),
        "phonons": _given(n=options.phonons, temperature=options.temperature),
    }


def _known(options: Options) -> dict[str, Any]:
    """Return the options that describe the crystal."""
    if options.cell_tolerance is not None and options.cell is None:
        raise OptionError("{} has no effect without {}; give both, or omit it.", ["cell_tolerance", "cell"])
    if options.tolerance is not None and options.volume is None and options.density is None:
        sentence = "{} has no effect without {} or {}; give one of them, or omit it."
        raise OptionError(sentence, ["tolerance", "volume", "density"])
    return _given(
        space_groups=list(options.space_groups) or None,
        volume=options.volume,
        density=options.density,
        tolerance=options.tolerance,
        cell=options.cell,
        cell_tolerance=options.cell_tolerance,
        prototypes=options.prototypes or None,
        exclude_prototypes=options.exclude_prototypes or None,
        max_e_above=options.max_e_above,
    )


def _require_effect(options: Options) -> None:
    """Raise ConfigError for an option of the relaxation if there is none."""
    without = {
        **options.named,
        "n_relax": options.n_relax,
        "random_symmetric": options.random_symmetric or None,
        "fmax": options.fmax,
        "pressure": options.pressure,
        "soft_modes": options.soft_modes or None,
    }
    for name, value in without.items():
        if value is not None:
            raise OptionError("{} has no effect without relaxation; omit it, or relax.", [name])


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
