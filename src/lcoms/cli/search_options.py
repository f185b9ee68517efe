"""Options of search and ranking, and their conversion to a specification."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from lcoms.cli.groups import is_group
from lcoms.cli.options import (
    DEFAULT_EFFORT,
    READ,
    CandidatesOption,
    CellOption,
    CellToleranceOption,
    CrystalSystemOption,
    DensityOption,
    EffortOption,
    ExcludePrototypeOption,
    FmaxOption,
    FormulaUnitsOption,
    MaxCellOption,
    MaxEAboveOption,
    Models,
    NRelaxOption,
    PhononsOption,
    PressureOption,
    PrototypeOption,
    RandomSymmetricOption,
    RelaxOption,
    SeedOption,
    SoftModesOption,
    SpaceGroupOption,
    SpecOption,
    StartOption,
    StartsOption,
    StepsOption,
    SymmetryOption,
    TemperatureOption,
    ToleranceOption,
    VolumeOption,
    WithoutSameOption,
    groups_of,
    spec_of,
)

if TYPE_CHECKING:
    from lcoms.prediction.presets import Options, Typed
    from lcoms.prediction.spec import PredictionSpec


class Descents(NamedTuple):
    """Options for the amount of work."""

    effort: EffortOption = DEFAULT_EFFORT
    starts: StartsOption = None


class Knowledge(NamedTuple):
    """Constraints from prior knowledge of the crystal."""

    space_group: SpaceGroupOption = None
    crystal_system: CrystalSystemOption = None
    volume: VolumeOption = None
    density: DensityOption = None
    tolerance: ToleranceOption = None
    cell: CellOption = None
    cell_tolerance: CellToleranceOption = None
    prototype: PrototypeOption = None
    exclude_prototype: ExcludePrototypeOption = None
    max_e_above: MaxEAboveOption = None


class Relaxation(NamedTuple):
    """Options of the relaxation."""

    relax: RelaxOption = None
    models: Models = Models()
    n_relax: NRelaxOption = None
    random_symmetric: RandomSymmetricOption = None
    fmax: FmaxOption = None
    pressure: PressureOption = None
    soft_modes: SoftModesOption = None


class Vibrations(NamedTuple):
    """Options for phonons of the first candidates."""

    phonons: PhononsOption = None
    temperature: TemperatureOption = None


class SearchOptions(NamedTuple):
    """All search options as typed; `asked_spec` converts them to a specification."""

    n: CandidatesOption = 10
    formula_units: FormulaUnitsOption = None
    max_atoms: MaxCellOption = None
    known: Knowledge = Knowledge()
    descents: Descents = Descents()
    steps: StepsOption = None
    start: StartOption = None
    symmetry: SymmetryOption = True
    without_same: WithoutSameOption = False
    relaxation: Relaxation = Relaxation()
    vibrations: Vibrations = Vibrations()
    spec: SpecOption = None
    seed: SeedOption = 0


def asked_spec(asked: SearchOptions) -> tuple[PredictionSpec, Typed]:
    """Return the specification given by the options, or by a file instead, and the options that were typed.

    Raises:
        ConfigError: an option is invalid, or is given in addition to a file.
    """
    from lcoms.prediction.presets import typed

    options = options_of(asked)
    file = () if asked.spec is None else (("spec", str(asked.spec)),)
    return spec_of(options, asked.spec), (*typed(options), *file)


@runtime_checkable
class Group(Protocol):
    """Typed options of a command: a NamedTuple, for `cli.groups.with_groups`."""

    def _asdict(self) -> dict[str, Any]: ...


RENAMED = {
    "n": "n_candidates",
    "without_same": "exclude_same",
    "prototype": "prototypes",
    "exclude_prototype": "exclude_prototypes",
}


def options_of(asked: Group) -> Options:
    """Return the typed options of a prediction; options that the command lacks keep their defaults.

    Raises:
        ConfigError: an option cannot be read.
    """
    from lcoms.prediction.presets import Options

    typed = {RENAMED.get(name, name): value for name, value in _flat(asked)}
    names = {field.name for field in fields(Options)} & {*typed}
    groups = groups_of(typed.get("space_group"), typed.get("crystal_system"))
    return Options(space_groups=groups, **{name: READ.get(name, _as_typed)(typed[name]) for name in names})


def _as_typed(value: Any) -> Any:
    return value


def _flat(asked: Group) -> Iterator[tuple[str, Any]]:
    """Yield names and values of all options of a group and of the groups within it."""
    for name, value in asked._asdict().items():
        yield from _flat(value) if is_group(value) else [(name, value)]
