"""The options that say what is searched and how it is ranked, and what they come to."""

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
    """How much is tried."""

    effort: EffortOption = DEFAULT_EFFORT
    starts: StartsOption = None


class Knowledge(NamedTuple):
    """What is known of the crystal."""

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
    """What is relaxed, and how."""

    relax: RelaxOption = None
    models: Models = Models()
    n_relax: NRelaxOption = None
    random_symmetric: RandomSymmetricOption = None
    fmax: FmaxOption = None
    pressure: PressureOption = None
    soft_modes: SoftModesOption = None


class Vibrations(NamedTuple):
    """Of the first candidates."""

    phonons: PhononsOption = None
    temperature: TemperatureOption = None


class SearchOptions(NamedTuple):
    """As they are typed; `asked_spec` is what they come to."""

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
    """The specification that the options, or the file in their place, come to, and what was typed.

    Raises:
        ConfigError: an option makes no sense, or stands beside a file that says everything.
    """
    from lcoms.prediction.presets import typed

    options = options_of(asked)
    file = () if asked.spec is None else (("spec", str(asked.spec)),)
    return spec_of(options, asked.spec), (*typed(options), *file)


@runtime_checkable
class Group(Protocol):
    """Options of a command as they are typed: a NamedTuple, for `cli.groups.with_groups`."""

    def _asdict(self) -> dict[str, Any]: ...


RENAMED = {
    "n": "n_candidates",
    "without_same": "exclude_same",
    "prototype": "prototypes",
    "exclude_prototype": "exclude_prototypes",
}


def options_of(asked: Group) -> Options:
    """The options of a prediction among those typed; those that the command does not have keep their defaults.

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
    """Names and values of all options of a group and of those in it."""
    for name, value in asked._asdict().items():
        yield from _flat(value) if is_group(value) else [(name, value)]
