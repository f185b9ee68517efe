"""The Python interface: `lcoms.predict("NaCl")`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lcoms.core.bounds import require_processes
from lcoms.core.config import read_range
from lcoms.core.errors import ConfigError, FormulaError, OptionError
from lcoms.core.keywords import named_options
from lcoms.models.device import require_device
from lcoms.prediction.by_pattern import read_fitter
from lcoms.prediction.constraints import groups_asked
from lcoms.prediction.hulls import missing_phases, read_hull
from lcoms.prediction.known_cell import read_cell
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, Typed, require_use, spec_for, typed
from lcoms.prediction.progress import Progress
from lcoms.prediction.reach import doubts
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec
from lcoms.prediction.structure_types import StructureType, read_structure_type
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import from_ase, from_pymatgen, read_crystal

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Composition as PymatgenComposition
    from pymatgen.core import Structure

    Formula = str | Composition | PymatgenComposition

_log = logging.getLogger("lcoms")
MAX_THREADS = 256
UNITS = "formula_units"

SYNONYMS = {
    "callback": "progress",
    "composition": "formula",
    "model": "oracle",
    "n": "n_candidates",
    "n_jobs": "processes",
    "n_starts": "starts",
    "n_steps": "steps",
    "structure": "start_structure",
    "verbose": "progress",
    "without_same": "exclude_same",
    "workers": "processes",
}
"""Names of options in other programs and on the command line, with the names used here."""


@named_options(SYNONYMS)
def predict(
    formula: Formula,
    *,
    effort: Literal["fast", "normal", "thorough"] = "normal",
    n_candidates: int = 10,
    formula_units: int | str | tuple[int, int] | None = None,
    max_atoms: int | None = None,
    starts: int | None = None,
    steps: int | None = None,
    start: Literal["library", "prior", "random"] | None = None,
    start_structure: Structure | Atoms | Crystal | str | Path | None = None,
    symmetry: bool = True,
    exclude_same: bool = False,
    relax: bool | None = None,
    oracle: str | None = None,
    committee: Sequence[str] | None = None,
    n_relax: int | None = None,
    random_symmetric: int | None = None,
    fmax: float | None = None,
    pressure: float | None = None,
    soft_modes: int | None = None,
    phonons: int | None = None,
    temperature: float | None = None,
    space_group: int | str | Sequence[int | str] | None = None,
    crystal_system: str | None = None,
    volume: float | None = None,
    density: float | None = None,
    tolerance: float | None = None,
    cell: str | Sequence[float] | None = None,
    cell_tolerance: float | None = None,
    prototype: str | Path | Sequence[str | Path] | None = None,
    exclude_prototype: str | Path | Sequence[str | Path] | None = None,
    max_e_above: float | None = None,
    ordered_approximation: bool = False,
    hull: str | Path | None = None,
    pattern: str | Path | None = None,
    wavelength: str | None = None,
    seed: int = 0,
    spec: PredictionSpec | None = None,
    weights: str | Path | None = None,
    processes: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
) -> Prediction:
    """Return ranked crystals of a formula, best first.

    Args:
        formula: such as "SrTiO3", or a pymatgen Composition.
        effort: preset for the amount of work; the options below override it.
        n_candidates: maximum number of distinct crystals returned.
        formula_units: number in the primitive cells that are tried, such as 2, "1-4" or (1, 4); known crystals of other
            sizes are left out.
        max_atoms: number of atoms in the largest cell that is tried.
        starts: number of descents in latent space, each from a template or a random point.
        steps: number of steps of latent descent; 0 decodes the starts.
        start: where descents start.
        start_structure: crystal (pymatgen, ASE or lcoms) or file to start from instead of the library.
        symmetry: decode within the space groups of the templates, or freely.
        exclude_same: exclude templates of the same composition.
        relax: relax the best candidates and rank by energy models; None: if CHGNet is installed.
        oracle: energy model for relaxation, such as "chgnet:r2scan" or "package.module:Calculator".
        committee: further energy models, with equal weight in the ranking; an empty one for none.
        n_relax: number of candidates to relax.
        random_symmetric: number of random symmetric crystals to relax in addition.
        fmax: largest residual force after a relaxation, eV/angstrom.
        pressure: GPa, at which crystals are relaxed and ranked by enthalpy.
        soft_modes: number of top candidates to distort along their soft modes and relax again.
        phonons: number of top candidates whose phonons are computed.
        temperature: K, for their harmonic free energies.
        space_group: numbers or symbols of space groups that the crystal may have.
        crystal_system: such as "tetragonal".
        volume: of one formula unit, cubic angstrom.
        density: g/cm^3.
        tolerance: relative tolerance of volume or density.
        cell: lengths (angstrom) and angles (degrees) of the primitive or conventional cell.
        cell_tolerance: tolerance of the cell, relative for lengths and in radians for angles.
        prototype: structure types that the crystal may have: names such as "rutile", or structure files.
        exclude_prototype: structure types that the crystal must not have.
        max_e_above: largest energy above the hull, or above the lowest candidate if no hull is known, eV/atom.
        ordered_approximation: replace a formula with fractions by the smallest ordered one close to it, which is
            logged: LiCo2O4 for Li0.5CoO2.
        hull: a file or folder of reference phases, for energies above their hull.
        pattern: a file with a powder pattern of the compound (columns, CIF, xrdml, GSAS, cpi, ...), for the ranking.
        wavelength: of the pattern: CuKa (the doublet), CuKa1, CoKa, ..., angstrom, or "neutron 1.54".
        seed: of all random numbers.
        spec: a complete specification instead of the options above.
        weights: a folder of trained weights; None: those that ship with the package.
        processes: number of processes for relaxation; None: as many as the cores and the work allow.
        threads: number of threads for decoding; more bring no gain, and a large loss if other programs are running.
        device: device for the search: "cpu", "cuda" (an NVIDIA GPU) or "auto" (a GPU if there is one). Energy models
            relax on the CPU, which takes most of the time; the last digits of a search differ between devices.
        progress: called with each step of the prediction.

    Returns:
        A sequence of pymatgen structures with a table, candidates and files (`prediction.result.Prediction`).

    Raises:
        FormulaError: a formula cannot be read or handled.
        FileFormatError: a file of phases, a pattern or a structure cannot be read.
        ConfigError: an option is invalid.
        OracleError: an energy model is unknown, not installed, or cannot handle the elements.
        WeightsError: the weights are missing or damaged.
    """
    if isinstance(formula, list | tuple | set | frozenset):
        raise FormulaError("predict takes one formula; lcoms.predict_all takes several.")
    composition = _composition(formula, ordered=ordered_approximation)
    options = Options(
        effort=effort,
        n_candidates=n_candidates,
        formula_units=_units(formula_units),
        max_atoms=max_atoms,
        starts=starts,
        steps=steps,
        start=start,
        symmetry=symmetry,
        exclude_same=exclude_same,
        relax=relax,
        oracle=oracle,
        committee=None if committee is None else _models(committee),
        n_relax=n_relax,
        random_symmetric=random_symmetric,
        fmax=fmax,
        pressure=pressure,
        soft_modes=soft_modes,
        phonons=phonons,
        temperature=temperature,
        space_groups=groups_asked(_names(space_group), crystal_system),
        volume=volume,
        density=density,
        tolerance=tolerance,
        cell=_numbers(cell),
        cell_tolerance=cell_tolerance,
        prototypes=_types(prototype, "prototype"),
        exclude_prototypes=_types(exclude_prototype, "exclude_prototype"),
        max_e_above=max_e_above,
        seed=seed,
    )
    if spec is not None and options != Options():
        raise ConfigError("spec contains all options; change it with spec.with_options, or omit the other options.")
    if start_structure is not None:
        require_use(typed(options))
    chosen = spec_for(options) if spec is None else spec
    predictor = _loaded(chosen, weights, processes, threads, device)
    _check(composition, predictor)
    crystal = _crystal(start_structure)
    phases = None if (references := _file(hull, "hull")) is None else read_hull(references, chosen)
    if phases is not None and (sentence := missing_phases(composition, phases)):
        _log.warning("%s: %s", composition.reduced_formula, sentence)
    fitter = read_fitter(_file(pattern, "pattern"), wavelength, predictor.bundle.pattern)
    found = predictor.predict(composition, structure=crystal, hull=phases, pattern=fitter, progress=progress)
    inputs = {"start_structure": start_structure, "hull": hull, "pattern": pattern, "wavelength": wavelength}
    return replace(found, options=(*typed(options), *_inputs(inputs)))


@named_options(SYNONYMS | {field.name: f"options=lcoms.Options({field.name}=...)" for field in fields(Options)})
def predict_all(
    formulas: Iterable[Formula],
    options: Options | PredictionSpec | None = None,
    *,
    ordered_approximation: bool = False,
    weights: str | Path | None = None,
    processes: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[Prediction]:
    """Return an iterator over the predictions of several formulas, in their order, each as soon as it is finished.

    Args:
        formulas: such as ["NaCl", "SrTiO3"]; all are checked before the first is predicted.
        options: `lcoms.Options`, which take the keywords of `predict`, or a complete specification; None: the defaults.
        ordered_approximation: as for `predict`.
        weights: as for `predict`.
        processes: as for `predict`.
        threads: as for `predict`.
        device: as for `predict`.
        progress: as for `predict`.

    Raises:
        FormulaError, ConfigError, OracleError, WeightsError: as for `predict`.
    """
    if isinstance(formulas, str | Composition):
        raise FormulaError("predict_all takes several formulas in a list; lcoms.predict takes one.")
    if options is not None and not isinstance(options, Options | PredictionSpec):
        raise ConfigError(f"options must be lcoms.Options or lcoms.PredictionSpec, not {type(options).__name__}.")
    spec = options if isinstance(options, PredictionSpec) else spec_for(options or Options())
    compositions = [_composition(formula, ordered=ordered_approximation) for formula in formulas]
    predictor = _loaded(spec, weights, processes, threads, device)
    for composition in compositions:
        _check(composition, predictor)
    asked = typed(options) if isinstance(options, Options) else ()
    found = predictor.predict_all(compositions, progress=progress)
    return (replace(prediction, options=asked) for prediction in found)


def _composition(formula: Formula, *, ordered: bool) -> Composition:
    composition = Composition.of(formula, ordered_approximation=ordered)
    if isinstance(formula, str) and composition.n_formula_units > 1:
        _log.warning("%s is predicted as %s.", formula.strip(), composition.reduced_formula)
    return composition


def _loaded(
    spec: PredictionSpec, weights: str | Path | None, processes: int | None, threads: int, device: str
) -> Predictor:
    import torch

    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise ConfigError(f"threads must be from 1 to {MAX_THREADS}, not {threads}.")
    require_processes(processes)
    require_device(device)
    torch.set_num_threads(threads)
    return Predictor.load(weights, spec=spec, processes=processes, device=device)


def _check(composition: Composition, predictor: Predictor) -> None:
    predictor.check(composition)
    for sentence in doubts(predictor.energy_models, composition):
        _log.warning("%s: %s", composition.reduced_formula, sentence)


def _models(committee: Sequence[str]) -> tuple[str, ...]:
    if isinstance(committee, str) or not all(isinstance(name, str) for name in _several(committee, "committee")):
        raise OptionError("{} must be a list of names of energy models, not {value!r}.", ["committee"], committee)
    return tuple(committee)


def _names(space_group: int | str | Sequence[int | str] | None) -> list[str]:
    given = [space_group] if isinstance(space_group, Integral | str) else space_group or []
    return [str(one) for one in _several(given, "space_group")]


def _numbers(cell: str | Sequence[float] | None) -> tuple[float, ...] | None:
    if isinstance(cell, str):
        return read_cell(cell)
    try:
        return None if cell is None else tuple(map(float, cell))
    except (TypeError, ValueError):
        sentence = "{} must be three lengths in angstrom and three angles in degrees, not {value!r}."
        raise OptionError(sentence, ["cell"], cell) from None


def _types(types: str | Path | Sequence[str | Path] | None, option: str) -> tuple[StructureType, ...]:
    given = [types] if isinstance(types, str | Path) else types or []
    return tuple(read_structure_type(str(one)) for one in _several(given, option))


def _several(values: object, option: str) -> Iterable[Any]:
    if not isinstance(values, Iterable):
        raise OptionError("{} must be one value or a list, not {value!r}.", [option], values)
    return values


def _file(path: str | Path | None, option: str) -> Path | None:
    if not (path is None or isinstance(path, str | PathLike)):
        raise OptionError("{} must be the path of a file, not {value!r}.", [option], path)
    return None if path is None else Path(path)


def _inputs(given: Mapping[str, object]) -> Typed:
    """Return the input files that were given, for results.json; a structure that is no file by its type."""
    named = ((name, value) for name, value in given.items() if value is not None)
    return tuple((name, str(one) if isinstance(one, str | PathLike) else type(one).__name__) for name, one in named)


def _crystal(structure: object) -> Crystal | None:
    if isinstance(structure, str | Path):
        return read_crystal(structure)
    if structure is None or isinstance(structure, Crystal):
        return structure
    from ase import Atoms
    from pymatgen.core import Structure

    if isinstance(structure, Atoms):
        return from_ase(structure)
    if isinstance(structure, Structure):
        return from_pymatgen(structure)
    kind = type(structure).__name__
    raise ConfigError(f"start_structure must be a structure of pymatgen, ASE or lcoms, or a file, not {kind}.")


def _units(units: object) -> tuple[int, int] | None:
    """Return the smallest and largest number of formula units."""
    if isinstance(units, str):
        return read_range(units, UNITS)
    ends = tuple(units) if isinstance(units, list | tuple) else (units, units)
    whole = all(type(end) is not bool and isinstance(end, Integral) for end in ends)
    if units is not None and not (len(ends) == 2 and whole):
        raise OptionError('{} must be a number or a range, such as 2, "1-4" or (1, 4), not {value!r}.', [UNITS], units)
    return None if units is None else (int(ends[0]), int(ends[1]))
