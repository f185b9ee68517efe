"""Options shared by several commands, and their conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lcoms.cli.console import complain
from lcoms.core.config import names_in, read_range
from lcoms.core.errors import ConfigError, FormulaError, OptionError

if TYPE_CHECKING:
    from lcoms.prediction.presets import Options
    from lcoms.prediction.spec import PredictionSpec
    from lcoms.prediction.structure_types import StructureType

DEFAULT_EFFORT = "normal"
NONE = "none"
BY_EFFORT = "set by --effort"
TYPED = {
    "n_candidates": "-n",
    "exclude_same": "--without-same",
    "space_groups": "--space-group",
    "prototypes": "--prototype",
    "exclude_prototypes": "--exclude-prototype",
}
"""Options of a prediction (`prediction.presets.Options`) that have another name on the command line."""

EffortOption = Annotated[
    str, typer.Option(help="fast, normal or thorough; sets the number of templates, samples and relaxations.")
]
OrderedOption = Annotated[
    bool,
    typer.Option(
        "--ordered-approximation",
        help="Approximate a fractional formula, such as Li0.5CoO2, by the smallest ordered one close to it (LiCo2O4).",
    ),
]
SpecOption = Annotated[
    Path | None,
    typer.Option(
        "--spec", help="Use the options in this TOML or JSON file, such as the results.json of an earlier run."
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        help="Threads for decoding; more than one rarely helps and slows down a busy machine.", min=1, max=256
    ),
]
RelaxProcessesOption = Annotated[
    int | None, typer.Option(help="Number of processes for relaxations.", max=512, show_default="all cores")
]
StartsOption = Annotated[
    int | None,
    typer.Option(
        help="Number of descents in latent space, each from a template or a random point.", show_default=BY_EFFORT
    ),
]
NRelaxOption = Annotated[
    int | None,
    typer.Option(
        help="Number of candidates to relax.", show_default="at most 5, 20 or 60 by effort, those of low energy"
    ),
]
RandomSymmetricOption = Annotated[
    int | None,
    typer.Option(help="Number of random symmetric crystals to relax as well.", show_default=BY_EFFORT),
]
CandidatesOption = Annotated[int, typer.Option("-n", help="Number of candidates to keep for each formula.")]
FormulaUnitsOption = Annotated[
    str | None,
    typer.Option(
        help="Formula units in the primitive cells that are tried, such as 2 or 1-4; known crystals of other sizes are "
        "left out.",
        show_default="by template",
    ),
]
MaxCellOption = Annotated[
    int | None,
    typer.Option(
        "--max-atoms",
        min=1,
        help="Largest number of atoms in the primitive cell.",
        show_default="80",
    ),
]
StepsOption = Annotated[
    int | None,
    typer.Option(
        help="Steps of gradient descent in latent space; 0 decodes the templates unchanged.", show_default="10"
    ),
]
StartOption = Annotated[
    str | None,
    typer.Option(help="Starting points of the descents: library (templates), prior or random.", show_default="library"),
]
SymmetryOption = Annotated[
    bool,
    typer.Option(
        "--symmetry/--no-symmetry", help="Decode within the space groups of the templates, or without symmetry."
    ),
]
WithoutSameOption = Annotated[
    bool, typer.Option("--without-same", help="Exclude training crystals of the same formula from the templates.")
]
RelaxOption = Annotated[
    bool | None,
    typer.Option(
        "--relax/--no-relax",
        help="Relax the best candidates and rank them with energy models.",
        show_default="if CHGNet is installed",
    ),
]
OracleOption = Annotated[
    str | None, typer.Option(help="Energy model for the relaxations.", show_default="chgnet:r2scan")
]
CommitteeOption = Annotated[
    str | None,
    typer.Option(
        help="Further energy models, separated by commas, whose energies are averaged with those of --oracle for the "
        "ranking; or none.",
        show_default="sevennet:l3i5, if installed and --oracle is not given",
    ),
]


class Models(NamedTuple):
    """Energy models for relaxation and ranking."""

    oracle: OracleOption = None
    committee: CommitteeOption = None


FmaxOption = Annotated[
    float | None,
    typer.Option(
        help="Relax until the largest force is below this, eV/angstrom.",
        show_default="0.1, then 0.02 for the first five",
    ),
]
PressureOption = Annotated[
    float | None,
    typer.Option(help="Pressure in GPa; crystals are relaxed at it and ranked by enthalpy.", show_default="0"),
]
SoftModesOption = Annotated[
    int | None,
    typer.Option(
        help="Distort this many candidates, from rank 1 on, along their imaginary phonon modes, and relax the results.",
        show_default="0",
    ),
]
PhononsOption = Annotated[
    int | None,
    typer.Option("--phonons", help="Compute phonons of this many candidates, from rank 1 on.", show_default="0"),
]
TemperatureOption = Annotated[
    float | None, typer.Option(help="Temperature of the harmonic free energies, K.", show_default="300")
]
SpaceGroupOption = Annotated[
    str | None,
    typer.Option(help="Allowed space groups, as numbers or symbols separated by commas."),
]
CrystalSystemOption = Annotated[str | None, typer.Option(help="Required crystal system, such as tetragonal.")]
VolumeOption = Annotated[float | None, typer.Option(help="Required volume per formula unit, cubic angstrom.")]
DensityOption = Annotated[float | None, typer.Option(help="Required density, g/cm^3.")]
ToleranceOption = Annotated[
    float | None, typer.Option(help="Relative tolerance of --volume or --density.", show_default="0.1")
]
CellOption = Annotated[
    str | None,
    typer.Option(
        help="Required cell, primitive or conventional: lengths (angstrom) and angles (degrees), such as "
        '"5.4 7.6 5.3 90 90 90".'
    ),
]
CellToleranceOption = Annotated[
    float | None,
    typer.Option(help="Tolerance of --cell: relative for lengths, in radians for angles.", show_default="0.05"),
]
PrototypeOption = Annotated[
    list[str] | None,
    typer.Option(help="Required structure type: a name such as B1 or rutile, or a structure file; repeatable."),
]
ExcludePrototypeOption = Annotated[
    list[str] | None, typer.Option(help="Structure type to exclude, given in the same way; repeatable.")
]
MaxEAboveOption = Annotated[
    float | None,
    typer.Option(help="Largest energy above the hull, eV/atom; above the lowest candidate if no hull is known."),
]
SeedOption = Annotated[int, typer.Option(help="Random seed.")]
WeightsOption = Annotated[Path | None, typer.Option(help="Folder of trained weights.", show_default="in the package")]


def spec_of(options: Options, spec: Path | None = None) -> PredictionSpec:
    """Return the specification given by options, or by a file instead.

    Raises:
        ConfigError: an option is invalid, or is given in addition to a file.
    """
    from lcoms.prediction.presets import Options, spec_for
    from lcoms.prediction.spec import read_spec

    if spec is None:
        try:
            return spec_for(options)
        except OptionError as error:
            raise error.renamed(lambda name: TYPED.get(name, f"--{name.replace('_', '-')}")) from error
    if options != Options():
        raise ConfigError("--spec already sets all search options; omit the other ones.")
    return read_spec(spec)


def names_of(text: str | None) -> tuple[str, ...] | None:
    """Return energy models separated by commas: an empty tuple for "none", None if nothing was typed.

    Raises:
        ConfigError: a name is empty.
    """
    if text is None:
        return None
    return () if text.strip().lower() == NONE else tuple(names_in(text, "--committee"))


def groups_of(space_group: str | None, crystal_system: str | None) -> tuple[int, ...]:
    """Return the numbers of the requested space groups; an empty tuple if any is allowed."""
    if space_group is None and crystal_system is None:
        return ()
    from lcoms.prediction.constraints import groups_asked

    return groups_asked([] if space_group is None else space_group.split(","), crystal_system)


def cell_of(text: str | None) -> tuple[float, ...] | None:
    """Return the lengths (angstrom) and angles (degrees) of a typed cell."""
    if text is None:
        return None
    from lcoms.prediction.known_cell import read_cell

    return read_cell(text)


def types_of(texts: list[str] | None) -> tuple[StructureType, ...]:
    """Return the typed structure types."""
    if not texts:
        return ()
    from lcoms.prediction.structure_types import read_structure_type

    return tuple(read_structure_type(text) for text in texts)


def units_of(text: str | None) -> tuple[int, int] | None:
    """Return the smallest and largest number of formula units typed."""
    return None if text is None else read_range(text, "--formula-units")


READ: Mapping[str, Callable[[Any], Any]] = {
    "formula_units": units_of,
    "committee": names_of,
    "cell": cell_of,
    "prototypes": types_of,
    "exclude_prototypes": types_of,
}
"""Readers of options whose typed form differs from their value."""


def formulas_of(file: Path) -> list[str]:
    """Return the formulas in a text file, one per line; text after # is ignored.

    Raises:
        FormulaError: the file cannot be read as text.
    """
    from lcoms.structure.io import encoding_of

    try:
        content = file.read_bytes()
        lines = content.decode(encoding_of(content)).rstrip("\x1a").splitlines()  # as DOS ends a text
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise FormulaError(f"{file}: cannot be read as a text file of formulas ({reason}).") from error
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def tell_repeated(texts: Sequence[str]) -> None:
    """Say which formulas were given again, in whatever spelling."""
    if texts:
        more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
        complain(f"given more than once: {texts[0]}{more}; each formula is predicted once.")
