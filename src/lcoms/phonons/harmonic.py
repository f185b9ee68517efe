"""Phonons from finite displacements in a supercell: soft modes, density of states and free energies.

Frequencies are in THz; imaginary ones are negative. Free energies are harmonic (Togo and Tanaka 2015).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import ConfigError, CrystalError, OptionError, OracleError
from lcoms.oracles.base import EnergyOracle, evaluate_all
from lcoms.phonons.modes import SoftMode, soft_modes
from lcoms.structure.crystal import Crystal
from lcoms.structure.symmetry import EXACT_SYMPREC, conventional, primitive_standard

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.phonon.mesh import Mesh

LEAST_EDGE = 7.5  # angstrom, of the supercell
MOST_ATOMS = 220  # in the supercell
DISPLACEMENT = 0.03  # angstrom; large enough for forces to exceed the noise of single precision
MESH = 45.0  # angstrom; phonopy's measure of the density of sampled wave vectors
KJ_PER_MOL = 96.48533212  # of an eV
LEAST_FREQUENCY = 0.01  # THz; slower modes are left out of free energies, to which they would add without bound
MOST_OMITTED = 0.01  # fraction of the modes; the acoustic modes at a single wave vector are fewer
LARGEST_FORCE = 0.05  # eV/angstrom; with larger forces the crystal is not at a minimum


@dataclass(frozen=True)
class PhononConfig:
    """How vibrations are computed.

    Attributes:
        temperature: K, of the free energy.
        displacement: angstrom.
        least_edge: angstrom; the conventional cell is repeated until its edges are at least this long.
        most_atoms: largest number of atoms in the supercell, which is smaller for large cells.

    Raises:
        ConfigError: a value is out of range.
    """

    temperature: float = 300.0
    displacement: float = DISPLACEMENT
    least_edge: float = LEAST_EDGE
    most_atoms: int = MOST_ATOMS

    def __post_init__(self) -> None:
        if not (isfinite(self.temperature) and self.temperature >= 0):
            raise OptionError("{} must be 0 K or more, not {value}.", ["temperature"], self.temperature)
        if not 0 < self.displacement <= 0.3:
            sentence = "{} must be above 0 and at most 0.3 angstrom, not {value}."
            raise OptionError(sentence, ["displacement"], self.displacement)
        if not (isfinite(self.least_edge) and self.least_edge > 0):
            raise OptionError("{} must be a positive length, not {value}.", ["least_edge"], self.least_edge)
        if self.most_atoms < 1:
            raise OptionError("{} must be at least 1, not {value}.", ["most_atoms"], self.most_atoms)


@dataclass(frozen=True, eq=False)
class Phonons:
    """Vibrations of one crystal.

    Attributes:
        crystal: conventional cell that is repeated.
        primitive: primitive cell, to which the eigenvectors of the soft modes refer.
        masses: (n,) amu, of its atoms.
        repeats: repeats along each axis.
        n_displaced: number of displaced supercells.
        largest_force: eV/angstrom, in the undisplaced crystal.
        soft: unstable modes at the wave vectors that fit the supercell, the softest first.
        lowest: THz; lowest frequency at these wave vectors, negative where imaginary, without acoustic modes at Γ.
        frequencies: (n,) THz, abscissa of the density of states.
        density: (n,) states per THz and primitive cell.
        temperature: K.
        free_energy: eV/atom, harmonic, without the static energy; None where modes are unstable.
        zero_point: eV/atom, at 0 K; None where modes are unstable.
        entropy: eV/K/atom; None where modes are unstable.
        omitted: fraction of the modes that these three leave out, since they are imaginary or below `LEAST_FREQUENCY`.
    """

    crystal: Crystal
    primitive: Crystal
    masses: NDArray[np.float64]
    repeats: tuple[int, int, int]
    n_displaced: int
    largest_force: float
    soft: tuple[SoftMode, ...]
    lowest: float
    frequencies: NDArray[np.float64]
    density: NDArray[np.float64]
    temperature: float
    free_energy: float | None
    zero_point: float | None
    entropy: float | None
    omitted: float = 0.0

    @property
    def stable(self) -> bool:
        """Whether there are no soft modes."""
        return not self.soft


def require_phonopy() -> None:
    """Check that phonopy is installed.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("phonopy") is None:
        raise ConfigError('phonopy is not installed; type: pip install "lcoms[phonons]"')


def compute_phonons(
    crystal: Crystal,
    oracle: EnergyOracle,
    config: PhononConfig | None = None,
    *,
    on_batch: Callable[[int], None] | None = None,
) -> Phonons:
    """Compute the vibrations of a crystal as given; relax it first, with the same oracle.

    Args:
        on_batch: called with the number of finished supercells.

    Raises:
        ConfigError: phonopy is not installed.
        CrystalError: the cell is too large for a supercell.
        OracleError: the oracle cannot handle the crystal.
    """
    require_phonopy()
    config = config or PhononConfig()
    oracle.check([crystal.composition])
    cell = conventional(crystal, symprec=EXACT_SYMPREC)
    repeats = supercell_repeats(cell, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        phonons = _displaced(cell, repeats, crystal, config)
        displaced = [_from_phonopy(one) for one in phonons.supercells_with_displacements or []]
        answers = evaluate_all(oracle, [cell, *displaced], on_batch=on_batch)
        failed = [answer.status for answer in answers if not answer.ok]
        if failed:
            raise OracleError(f"{crystal.composition.formula}: {oracle.name} cannot compute the forces: {failed[0]}")
        phonons.forces = [answer.forces for answer in answers[1:]]
        phonons.produce_force_constants()
        phonons.symmetrize_force_constants()
        largest = float(np.linalg.norm(answers[0].forces, axis=1).max())
        return _result(phonons, cell, repeats, len(displaced), largest, config)


def supercell_repeats(cell: Crystal, config: PhononConfig) -> tuple[int, int, int]:
    """Return the repeats of each edge: increased until all edges are long enough or there would be too many atoms.

    Raises:
        CrystalError: the cell itself has too many atoms.
    """
    if cell.n_atoms > config.most_atoms:
        raise CrystalError(
            f"{cell.composition.formula}: {cell.n_atoms} atoms in the conventional cell; "
            f"phonons can be computed for at most {config.most_atoms}."
        )
    edges = np.linalg.norm(cell.lattice, axis=1)
    repeats = np.ones(3, dtype=int)
    while (edges * repeats).min() < config.least_edge:
        longer = repeats.copy()
        longer[np.argmin(edges * repeats)] += 1
        if longer.prod() * cell.n_atoms > config.most_atoms:
            break
        repeats = longer
    return int(repeats[0]), int(repeats[1]), int(repeats[2])


def _displaced(cell: Crystal, repeats: tuple[int, int, int], crystal: Crystal, config: PhononConfig) -> Phonopy:
    from ase.data import atomic_masses
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    primitive = primitive_standard(crystal, symprec=EXACT_SYMPREC).crystal.lattice @ np.linalg.inv(cell.lattice)
    atoms = PhonopyAtoms(
        numbers=cell.atomic_numbers,
        scaled_positions=cell.frac_coords,
        cell=cell.lattice,
        masses=atomic_masses[cell.atomic_numbers],  # phonopy has none for technetium, plutonium and others
    )
    phonons = Phonopy(atoms, np.diag(repeats), primitive_matrix=primitive.T, symprec=1e-4)
    phonons.generate_displacements(distance=config.displacement)
    return phonons


def _from_phonopy(atoms: object) -> Crystal:
    from phonopy.structure.atoms import PhonopyAtoms

    if not isinstance(atoms, PhonopyAtoms):  # phonopy uses None for displacements that are not needed
        raise TypeError("a displaced supercell is missing.")
    return Crystal(np.array(atoms.cell), np.array(atoms.scaled_positions), np.array(atoms.numbers))


def _result(
    phonons: Phonopy,
    cell: Crystal,
    repeats: tuple[int, int, int],
    n_displaced: int,
    largest_force: float,
    config: PhononConfig,
) -> Phonons:
    soft, lowest = soft_modes(phonons, cell, repeats)
    phonons.run_mesh(MESH)
    mesh = cast("Mesh", phonons.mesh)  # other kinds of mesh have no frequencies of all wave vectors
    slow = np.average((mesh.frequencies < LEAST_FREQUENCY).mean(axis=1), weights=mesh.weights)
    dos = phonons.run_total_dos()
    free = zero = entropy = None
    if not soft:
        found = phonons.run_thermal_properties(temperatures=[0.0, config.temperature], cutoff_frequency=LEAST_FREQUENCY)
        n_atoms = len(phonons.primitive)
        zero, free = (float(value) / KJ_PER_MOL / n_atoms for value in np.array(found.free_energy))
        entropy = float(np.array(found.entropy)[1]) / KJ_PER_MOL / 1000 / n_atoms  # phonopy has J/K/mol
    return Phonons(
        crystal=cell,
        primitive=_from_phonopy(phonons.primitive),
        masses=np.array(phonons.primitive.masses),
        repeats=repeats,
        n_displaced=n_displaced,
        largest_force=largest_force,
        soft=soft,
        lowest=lowest,
        frequencies=np.array(dos.frequency_points),
        density=np.array(dos.dos),
        temperature=config.temperature,
        free_energy=free,
        zero_point=zero,
        entropy=entropy,
        omitted=float(slow),
    )
