"""`lcoms phonons`: dynamical stability and harmonic free energies of crystals."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcoms.cli.console import complain
from lcoms.cli.structures import read_named, require_outputs, short_names, tell_reach
from lcoms.core.disk import write_whole
from lcoms.core.errors import LcomsError
from lcoms.core.figures import check_figure, write_figure
from lcoms.oracles.registry import DEFAULT_ORACLE

if TYPE_CHECKING:
    from lcoms.oracles.base import EnergyOracle
    from lcoms.phonons.harmonic import PhononConfig, Phonons
    from lcoms.structure.crystal import Crystal


def phonons(
    files: Annotated[list[Path], typer.Argument(help="CIF, POSCAR or extxyz files, or folders of them.")],
    oracle: Annotated[str, typer.Option(help="Energy model, such as chgnet:r2scan.")] = DEFAULT_ORACLE,
    temperature: Annotated[float, typer.Option(help="Temperature of the free energy, K.")] = 300.0,
    relax: Annotated[
        bool, typer.Option("--relax/--no-relax", help="Relax within the symmetry of the crystal first.")
    ] = True,
    displacement: Annotated[float, typer.Option(help="Displacement of the atoms, angstrom.")] = 0.03,
    most_atoms: Annotated[int, typer.Option(help="Maximum number of atoms in the supercell.")] = 220,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Plot the density of states to this file (.png, .svg, .pdf); NAME-1, NAME-2, ... for several crystals."
        ),
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the results to this JSON file.")] = None,
) -> None:
    """Compute phonons by finite displacements, and list imaginary modes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from lcoms.oracles.registry import make_oracle
    from lcoms.phonons.figure import density_figure
    from lcoms.phonons.harmonic import PhononConfig, require_phonopy

    require_phonopy()
    config = PhononConfig(temperature=temperature, displacement=displacement, most_atoms=most_atoms)
    require_outputs((json_out, figure), files)
    if figure is not None:
        check_figure(figure)
    energy_oracle = make_oracle(oracle)
    found, failed = read_named(files)
    tell_reach(found, energy_oracle)
    names = short_names([name for name, _ in found])
    rows: list[dict[str, Any]] = []
    for number, (name, crystal) in enumerate(found, 1):
        clock = time.perf_counter()
        try:
            result = _computed(crystal, energy_oracle, config, relax=relax)
        except LcomsError as error:
            failed.append((name, str(error)))
            continue
        rows.append(_row(name, result, energy_oracle.name, time.perf_counter() - clock))
        _print(names[name], result, rows[-1]["seconds"])
        if figure is not None:
            path = figure if len(found) == 1 else figure.with_stem(f"{figure.stem}-{number}")
            title = f"{result.crystal.composition.reduced_formula}, {names[name]}"
            write_figure(density_figure(result, title), path)
    for name, reason in failed:
        complain(f"{name}: {reason}")
    if json_out is not None:
        write_whole(json_out, _to_json(rows, failed))
    if failed:
        raise typer.Exit(2)


def _computed(crystal: Crystal, oracle: EnergyOracle, config: PhononConfig, *, relax: bool) -> Phonons:
    from lcoms.phonons.harmonic import compute_phonons
    from lcoms.phonons.relaxed import relaxed_in_symmetry

    if relax:
        oracle.check([crystal.composition])
        crystal = relaxed_in_symmetry(crystal, oracle)
    return compute_phonons(crystal, oracle, config)


def _row(name: str, result: Phonons, oracle: str, seconds: float) -> dict[str, Any]:
    from lcoms.structure.symmetry import space_group_number

    return {
        "name": name,
        "formula": result.crystal.composition.reduced_formula,
        "space_group": space_group_number(result.crystal, symprec=0.01),
        "oracle": oracle,
        "stable": result.stable,
        "lowest_frequency": round(result.lowest, 4),
        "soft_modes": [
            {
                "frequency": round(mode.frequency, 4),
                "wave_vector": list(mode.wave_vector),
                "point": mode.point,
                "degeneracy": mode.degeneracy,
                "irrep": mode.irrep,
                "motion": mode.motion,
            }
            for mode in result.soft
        ],
        "temperature": result.temperature,
        "free_energy": result.free_energy,
        "zero_point_energy": result.zero_point,
        "entropy": result.entropy,
        "omitted_modes": round(result.omitted, 6),
        "supercell": list(result.repeats),
        "n_displacements": result.n_displaced,
        "largest_force": round(result.largest_force, 6),
        "frequencies": result.frequencies.round(4).tolist(),
        "density_of_states": result.density.round(6).tolist(),
        "seconds": round(seconds, 3),
    }


def _to_json(rows: list[dict[str, Any]], failed: list[tuple[str, str]]) -> str:
    from lcoms import __version__

    content = {
        "lcoms_version": __version__,
        "units": {"frequency": "THz", "energy": "eV/atom", "entropy": "eV/K/atom", "force": "eV/angstrom"},
        "crystals": rows,
        "failed": [{"name": name, "reason": reason} for name, reason in failed],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _print(name: str, result: Phonons, seconds: float) -> None:
    from lcoms.phonons.harmonic import LARGEST_FORCE, LEAST_FREQUENCY, MOST_OMITTED

    formula = result.crystal.composition.reduced_formula
    cell = " x ".join(map(str, result.repeats))
    times = f"{result.n_displaced} displacement{'s' if result.n_displaced > 1 else ''}"
    how = f"{cell} conventional cells, {times}, {seconds:.1f} s"
    if result.stable:
        typer.echo(f"{formula} ({name}): stable; lowest frequency {result.lowest:.2f} THz ({how}).")
        typer.echo(
            f"  harmonic free energy at {result.temperature:g} K {result.free_energy:.4f} eV/atom, "
            f"zero-point energy {result.zero_point:.4f} eV/atom"
        )
        if result.omitted > MOST_OMITTED:
            typer.echo(
                f"  without the {result.omitted:.1%} of the modes that are imaginary or below {LEAST_FREQUENCY:g} THz; "
                "do not trust these energies."
            )
    else:
        typer.echo(f"{formula} ({name}): unstable; soft modes ({how}):")
        for mode in result.soft:
            typer.echo(f"  {mode.name}")
    if result.largest_force > LARGEST_FORCE:
        typer.echo(f"  forces of up to {result.largest_force:.2f} eV/angstrom at rest: relax the crystal first.")
