"""Options that several commands share, and what they come to."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcoms.core.config import read_range
from lcoms.core.errors import FormulaError
from lcoms.oracles.registry import DEFAULT_ORACLE

if TYPE_CHECKING:
    from lcoms.prediction.pipeline import PredictConfig, RefineConfig

DEFAULT_EFFORT = "normal"

EffortOption = Annotated[
    str, typer.Option(help="fast, normal or thorough: how many starts, tries and relaxations there are.")
]
ThreadsOption = Annotated[
    int,
    typer.Option(help="Threads that decode; more gain nothing, and lose much where other programs run.", min=1),
]
StartsOption = Annotated[int | None, typer.Option(help="Latents to descend from.", show_default="as the effort says")]
NRelaxOption = Annotated[int | None, typer.Option(help="Candidates to relax.", show_default="as the effort says")]
ExploreOption = Annotated[
    int | None,
    typer.Option(help="Crystals without a template to relax beside them.", show_default="as the effort says"),
]
CandidatesOption = Annotated[int, typer.Option("-n", help="Candidates to keep for each formula.")]
FormulaUnitsOption = Annotated[
    str | None, typer.Option(help="Formula units in the cell, such as 2 or 1-4.", show_default="as found")
]
MaxCellOption = Annotated[
    int | None,
    typer.Option(
        "--max-atoms",
        min=1,
        help="Atoms in the largest cell to try.",
        show_default="20 for formula units of up to 5 atoms, else 40",
    ),
]
StepsOption = Annotated[int, typer.Option(help="Steps of latent descent; 0 decodes the starts.")]
StartOption = Annotated[str, typer.Option(help="Where starts come from: library, prior or random.")]
SymmetryOption = Annotated[
    bool, typer.Option("--symmetry/--no-symmetry", help="Decode within the space groups of the starts, or freely.")
]
WithoutSameOption = Annotated[
    bool, typer.Option("--without-same", help="Leave training crystals of the very formula out of the starts.")
]
RelaxOption = Annotated[
    bool | None,
    typer.Option(
        "--relax/--no-relax",
        help="Relax the best candidates and rank them by the oracle's energy.",
        show_default="where CHGNet is installed",
    ),
]
OracleOption = Annotated[str, typer.Option(help="Energy oracle that relaxes.")]
SecondOracleOption = Annotated[
    str | None,
    typer.Option(
        help="Oracle whose energies of the relaxed crystals count as much in the order as those of --oracle, or none.",
        show_default="sevennet:l3i5, where sevenn is installed and --oracle is not given",
    ),
]
FmaxOption = Annotated[float, typer.Option(help="Largest force left by a relaxation, eV/angstrom.")]
SeedOption = Annotated[int, typer.Option(help="Seed of all random numbers.")]
WeightsOption = Annotated[
    Path | None, typer.Option(help="Folder of trained weights.", show_default="those in the package")
]


def settings(
    effort: str,
    *,
    n: int,
    formula_units: str | None,
    max_atoms: int | None,
    starts: int | None,
    steps: int,
    start: str,
    symmetry: bool,
    without_same: bool,
    relax: bool | None,
    oracle: str,
    second_oracle: str | None,
    n_relax: int | None,
    explore: int | None,
    fmax: float,
    seed: int,
) -> tuple[PredictConfig, RefineConfig | None]:
    """How to search and, unless it is not wanted, how to relax; the arguments are those of the options above.

    Raises:
        ConfigError: an option has a value that makes no sense.
    """
    from lcoms.prediction.presets import configs_for

    if relax is None:
        relax = find_spec("chgnet") is not None or oracle != DEFAULT_ORACLE
    search = {
        "n_candidates": n,
        "n_starts": starts,
        "start": start,
        "formula_units": None if formula_units is None else read_range(formula_units, "--formula-units"),
        "max_atoms": max_atoms,
        "steps": steps,
        "symmetry": symmetry,
        "exclude_same": without_same,
        "seed": seed,
    }
    exploration = None if explore is None else {"n": explore}
    refinement = {
        "oracle": oracle,
        "second_oracle": second_oracle,
        "n_relax": n_relax,
        "explore": exploration,
        "fmax": fmax,
    }
    config, refined = configs_for(effort, search=search, refinement=refinement)
    return config, refined if relax else None


def formulas_of(file: Path) -> list[str]:
    """Formulas of a text file, one a line; what stands behind # is left out.

    Raises:
        FormulaError: it cannot be read as text.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormulaError(f"{file}: cannot be read as a text file of formulas ({type(error).__name__}).") from error
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
