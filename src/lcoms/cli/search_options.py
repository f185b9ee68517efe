"""The options that say what is searched and how it is ranked, shared by `lcoms predict` and `lcoms campaign`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

from lcoms.cli.options import (
    DEFAULT_EFFORT,
    CandidatesOption,
    CellOption,
    CellToleranceOption,
    CommitteeOption,
    CrystalSystemOption,
    DensityOption,
    EffortOption,
    ExcludePrototypeOption,
    FmaxOption,
    FormulaUnitsOption,
    MaxCellOption,
    MaxEAboveOption,
    NRelaxOption,
    OracleOption,
    PhononsOption,
    PressureOption,
    PrototypeOption,
    RandomSymmetricOption,
    RelaxOption,
    SeedOption,
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
    cell_of,
    groups_of,
    names_of,
    spec_of,
    types_of,
    units_of,
)

if TYPE_CHECKING:
    from lcoms.prediction.presets import Options, Typed
    from lcoms.prediction.spec import PredictionSpec


class SearchOptions(NamedTuple):
    """As they are typed; `asked_spec` is what they come to."""

    n: CandidatesOption = 10
    formula_units: FormulaUnitsOption = None
    max_atoms: MaxCellOption = None
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
    effort: EffortOption = DEFAULT_EFFORT
    starts: StartsOption = None
    steps: StepsOption = None
    start: StartOption = None
    symmetry: SymmetryOption = True
    without_same: WithoutSameOption = False
    relax: RelaxOption = None
    oracle: OracleOption = None
    committee: CommitteeOption = None
    n_relax: NRelaxOption = None
    random_symmetric: RandomSymmetricOption = None
    fmax: FmaxOption = None
    pressure: PressureOption = None
    phonons: PhononsOption = None
    temperature: TemperatureOption = None
    spec: SpecOption = None
    seed: SeedOption = 0


def asked_spec(asked: SearchOptions) -> tuple[PredictionSpec, Typed]:
    """The specification that the options, or the file in their place, come to, and what was typed.

    Raises:
        ConfigError: an option makes no sense, or stands beside a file that says everything.
    """
    from lcoms.prediction.presets import typed

    options = _options(asked)
    file = () if asked.spec is None else (("spec", str(asked.spec)),)
    return spec_of(options, asked.spec), (*typed(options), *file)


def _options(asked: SearchOptions) -> Options:
    """Most options are typed as they are meant; the others are turned here."""
    from lcoms.prediction.presets import Options

    turned: dict[str, Any] = {
        "n_candidates": asked.n,
        "formula_units": units_of(asked.formula_units),
        "exclude_same": asked.without_same,
        "committee": names_of(asked.committee),
        "space_groups": groups_of(asked.space_group, asked.crystal_system),
        "cell": cell_of(asked.cell),
        "prototypes": types_of(asked.prototype),
        "exclude_prototypes": types_of(asked.exclude_prototype),
    }
    names = [field.name for field in fields(Options) if field.name not in turned]
    return Options(**turned, **{name: getattr(asked, name) for name in names})
