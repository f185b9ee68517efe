"""The one door between our crystals and everybody else's: pymatgen, ASE, CIF, POSCAR, extxyz.

Foreign objects are turned into `Crystal` here and travel no further.
"""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import re
import warnings
import zlib
from collections.abc import Callable
from io import BufferedIOBase, BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lcoms.core.errors import CrystalError, FileFormatError
from lcoms.structure.cif import read_cif
from lcoms.structure.crystal import Crystal
from lcoms.structure.extxyz import read_extxyz
from lcoms.structure.poscar import read_poscar
from lcoms.structure.reading import Reading, RefusedError, Remark, Topic

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

MAX_BYTES = 1 << 30
PACKERS: dict[bytes, tuple[str, Callable[[BytesIO], BufferedIOBase]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
}  # how packed files begin
UNKNOWN_KIND = "unknown kind of file; give a .cif, a POSCAR (or .vasp) or an .extxyz file."

_log = logging.getLogger("lcoms")


class ReadCrystal(NamedTuple):
    """A crystal and what is to be said of how it was read."""

    crystal: Crystal
    remarks: tuple[Remark, ...]


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
    """The only structure of a CIF text.

    Raises:
        RefusedError: the text is no CIF, or holds no structure, several, or one that cannot be read.
    """
    return only(read_cif(text)).crystal


def to_cif(crystal: Crystal, symprec: float | None = None) -> str:
    """CIF text; with `symprec` (angstrom) written with its space group and asymmetric unit."""
    from pymatgen.io.cif import CifWriter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(CifWriter(to_pymatgen(crystal), symprec=symprec))


def from_poscar(text: str) -> Crystal:
    """Raises RefusedError where the text is no POSCAR with element symbols."""
    return only([read_poscar(text)]).crystal


def to_poscar(crystal: Crystal) -> str:
    """POSCAR text; the atoms are sorted by element."""
    from pymatgen.io.vasp import Poscar

    return str(Poscar(to_pymatgen(crystal).get_sorted_structure()))


def is_structure_file(name: str) -> bool:
    """Whether a file of this name is taken for one of crystals."""
    return _kind(name) is not None


def structure_files(folder: Path) -> list[Path]:
    """The files of a folder that are taken for crystals, by name; folders in it are not looked into."""
    return sorted(file for file in folder.iterdir() if is_structure_file(file.name) and file.is_file())


def read_file(path: str | Path) -> list[Reading]:
    """All structures of a file, one reading each; a single refused one where the file itself cannot be read."""
    path = Path(path)
    try:
        kind = _kind(path.name)
        text = file_text(path)
        if kind is None:
            raise RefusedError(Topic.UNREADABLE, UNKNOWN_KIND)
    except FileFormatError as error:
        return [Reading.refused("", error)]
    return _READERS[kind](text)


def read_crystals(path: str | Path) -> list[Crystal]:
    """All crystals of a file: CIF, POSCAR/CONTCAR or extxyz, told apart by the file's name, also packed (gz, bz2, xz).

    What was mended or left out, and structures beside others that are refused, are logged as warnings.

    Raises:
        FileFormatError: the file is missing, unreadable, of another kind, or none of its structures can be read.
    """
    readings = log_remarks(path, read_file(path))
    return [reading.crystal for reading in readings if reading.crystal is not None]


def read_crystal(path: str | Path) -> Crystal:
    """The only crystal of a file; what was mended is logged.

    Raises:
        FileFormatError: as `read_crystals`, or the file holds several structures.
    """
    readings = log_remarks(path, read_file(path))
    try:
        return only(readings).crystal
    except RefusedError as error:
        raise RefusedError(error.topic, f"{path}: {error}") from error


def log_remarks(path: str | Path, readings: list[Reading]) -> list[Reading]:
    """The readings, after a warning for every remark and for every refused one beside others.

    Raises:
        RefusedError: all of them are refused.
    """
    if all(reading.error is not None for reading in readings):
        error = readings[0].error
        assert error is not None
        raise RefusedError(error.topic, f"{path}: {_where(readings[0], readings)}{error.sentence}")
    for reading in readings:
        where = f"{path}: {_where(reading, readings)}"
        if reading.error is not None:
            _log.warning("%snot read: %s", where, reading.error.sentence)
        for sentence in reading.warnings:
            _log.warning("%s%s", where, sentence)
    return readings


def _where(reading: Reading, readings: list[Reading]) -> str:
    return f"{reading.name}: " if reading.name and len(readings) > 1 else ""


def only(readings: list[Reading]) -> ReadCrystal:
    """The crystal of the only reading, and its remarks.

    Raises:
        RefusedError: it is refused, or there are several.
    """
    if len(readings) > 1:
        text = f"holds {len(readings)} structures where one is expected; give them one by one."
        raise RefusedError(Topic.SEVERAL, text)
    reading = readings[0]
    if reading.crystal is None:
        assert reading.error is not None
        raise RefusedError(reading.error.topic, reading.error.sentence)
    return ReadCrystal(reading.crystal, reading.remarks)


def file_text(path: Path) -> str:
    """Text of a file, packed by gzip, bzip2, xz or not, in UTF-8 or UTF-16, with line ends as here.

    Raises:
        RefusedError: it cannot be read, or is no text.
    """
    try:
        content = path.read_bytes()
        packer, unpack = next((one for start, one in PACKERS.items() if content.startswith(start)), ("", None))
        if unpack is not None:
            with unpack(BytesIO(content)) as file:
                content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or f"damaged {packer} file"
        raise RefusedError(Topic.UNREADABLE, f"cannot be read ({reason}).") from error
    if len(content) > MAX_BYTES:
        raise RefusedError(Topic.TOO_LARGE, f"cannot be read (more than {MAX_BYTES >> 20} MB).")
    text = content.decode(_encoding(content), errors="replace").rstrip("\x1a")  # as DOS ends a text
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(content: bytes) -> str:
    """UTF-16 by its mark, or by a first letter of two bytes of which one is zero; otherwise UTF-8."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if 0 in content[:2] and any(content[:2]):
        return "utf-16-be" if content[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def unpacked_name(name: str) -> str:
    """A file's name without the ending that a packer adds."""
    return re.sub(r"\.(gz|bz2|xz)$", "", name, flags=re.IGNORECASE)


def _kind(name: str) -> str | None:
    """Which reader a name asks for."""
    name = unpacked_name(name.lower())
    if name.endswith((".cif", ".mcif", ".mmcif")):
        return "cif"
    if name.endswith((".xyz", ".extxyz")):
        return "extxyz"
    if name.endswith(".vasp") or re.search(r"(^|[^a-z])(poscar|contcar)([^a-z]|$)", name):
        return "poscar"
    return None


_READERS: dict[str, Callable[[str], list[Reading]]] = {
    "cif": read_cif,
    "poscar": lambda text: [read_poscar(text)],
    "extxyz": read_extxyz,
}


def to_extxyz(crystals: list[Crystal]) -> str:
    """Extended XYZ text, one frame a crystal."""
    from ase.io import write

    buffer = StringIO()
    write(buffer, [to_ase(crystal) for crystal in crystals], format="extxyz")
    return buffer.getvalue()
