"""The one door between our crystals and everybody else's: pymatgen, ASE, CIF, POSCAR, extxyz.

Foreign objects are turned into `Crystal` here and travel no further.
"""

from __future__ import annotations

import warnings
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lcoms.core.errors import CrystalError, FileFormatError
from lcoms.structure.crystal import Crystal

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

CIF_OCCUPANCY_TOLERANCE = 1.0


def from_pymatgen(structure: Structure) -> Crystal:
    """Raises CrystalError for partly occupied sites."""
    if not structure.is_ordered:
        raise CrystalError(f"{structure.composition.reduced_formula}: partly occupied sites cannot be handled.")
    numbers = np.array([site.specie.Z for site in structure])
    return Crystal(structure.lattice.matrix, structure.frac_coords, numbers)


def to_pymatgen(crystal: Crystal) -> Structure:
    """The same cell and atoms, in the same order."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(crystal.lattice), crystal.atomic_numbers.tolist(), crystal.frac_coords)


def from_ase(atoms: Atoms) -> Crystal:
    """Raises CrystalError where the atoms have no cell in all three directions."""
    if not np.all(atoms.pbc):
        raise CrystalError("the structure is not periodic in all three directions.")
    return Crystal(np.array(atoms.cell), atoms.get_scaled_positions(wrap=True), atoms.numbers)


def to_ase(crystal: Crystal) -> Atoms:
    """The same cell and atoms, in the same order, periodic in all directions."""
    from ase import Atoms

    return Atoms(crystal.atomic_numbers, scaled_positions=crystal.frac_coords, cell=crystal.lattice, pbc=True)


def from_cif(text: str) -> Crystal:
    """The first structure of a CIF text.

    Raises:
        FileFormatError: the text is no CIF, or holds no structure that can be built.
    """
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            structure = CifParser(StringIO(text), occupancy_tolerance=CIF_OCCUPANCY_TOLERANCE).parse_structures(
                primitive=False
            )[0]
            return from_pymatgen(structure)
        except CrystalError:
            raise
        except Exception as error:  # the parser raises many kinds for malformed text
            raise FileFormatError(f"not a CIF that can be read: {_first_line(error)}") from error


def to_cif(crystal: Crystal, symprec: float | None = None) -> str:
    """CIF text; with `symprec` (angstrom) written with its space group and asymmetric unit."""
    from pymatgen.io.cif import CifWriter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(CifWriter(to_pymatgen(crystal), symprec=symprec))


def from_poscar(text: str) -> Crystal:
    """Raises FileFormatError where the text is no POSCAR with element symbols."""
    from pymatgen.io.vasp import Poscar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return from_pymatgen(Poscar.from_str(text).structure)
        except CrystalError:
            raise
        except Exception as error:  # as above
            raise FileFormatError(f"not a POSCAR that can be read: {_first_line(error)}") from error


def to_poscar(crystal: Crystal) -> str:
    """POSCAR text; the atoms are sorted by element."""
    from pymatgen.io.vasp import Poscar

    return str(Poscar(to_pymatgen(crystal).get_sorted_structure()))


def read_crystals(path: str | Path) -> list[Crystal]:
    """All crystals of a file: CIF, POSCAR/CONTCAR or extxyz, told apart by the file's name.

    Raises:
        FileFormatError: the file is missing, unreadable or of another kind.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}).") from error
    name = path.name.lower()
    try:
        if name.endswith(".cif"):
            return [from_cif(text)]
        if name.startswith(("poscar", "contcar")) or name.endswith((".vasp", ".poscar")):
            return [from_poscar(text)]
        if name.endswith((".xyz", ".extxyz")):
            return _read_extxyz(text)
    except (FileFormatError, CrystalError) as error:
        raise FileFormatError(f"{path}: {error}") from error
    raise FileFormatError(f"{path}: unknown kind of file; give a .cif, a POSCAR (or .vasp) or an .extxyz file.")


def to_extxyz(crystals: list[Crystal]) -> str:
    """Extended XYZ text, one frame a crystal."""
    from ase.io import write

    buffer = StringIO()
    write(buffer, [to_ase(crystal) for crystal in crystals], format="extxyz")
    return buffer.getvalue()


def _require_whole_frames(text: str) -> None:
    """ValueError for a frame that is cut short: ASE would look for its missing lines, one by one."""
    lines, at = text.split("\n"), 0
    while at < len(lines) and lines[at].strip():
        n_atoms = int(lines[at])
        if not 0 <= n_atoms <= len(lines) - at - 2:
            raise ValueError(f"a frame of {n_atoms} atoms is cut short")
        at += n_atoms + 2
        while at < len(lines) and lines[at].lstrip().startswith("VEC"):
            at += 1


def _read_extxyz(text: str) -> list[Crystal]:
    from ase.io import read

    try:
        _require_whole_frames(text)
        frames = read(StringIO(text), index=":", format="extxyz")
    except Exception as error:  # ASE raises many kinds for malformed text
        raise FileFormatError(f"not an extxyz file that can be read: {_first_line(error)}") from error
    if not frames:
        raise FileFormatError("not an extxyz file that can be read: it is empty")
    return [from_ase(atoms) for atoms in frames]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
