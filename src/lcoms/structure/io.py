"""Conversion between `Crystal` and other formats, in this module only: pymatgen, ASE, CIF, POSCAR, extxyz.

Foreign objects are converted to `Crystal` here and go no further.
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
from lcoms.core.numerals import plain_characters
from lcoms.structure.cif import read_cif
from lcoms.structure.crystal import Crystal
from lcoms.structure.extxyz import is_partly_occupied, read_extxyz
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
UNREAD = (
    ".res", ".ins", ".cell", ".xsf", ".cube", ".pdb", ".gen", ".in", ".pwi", ".pwo", ".struct", ".fdf", ".lmp", ".mol",
    ".cssr", ".gin", ".cfg", ".traj", ".vesta", ".magres", ".castep", ".xtl", ".abi", ".mol2", ".sdf", ".cml", ".bcif",
    ".pcr", ".gpx", ".m40", ".m50", "xdatcar", "chgcar", "outcar", "vasprun.xml",
    "locpot", "parchg", "elfcar", "aeccar0", "aeccar1", "aeccar2", ".amc", ".d12", ".str", ".inp", ".json",
)  # fmt: skip
OWN = ("results.json", "campaign.json", "config.json", "store.json")  # written by lcoms, and no structures
ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar")
_COPY = re.compile(r"\.(cif|mcif|mmcif|vasp|poscar|xyz|extxyz)(?![a-z])", re.IGNORECASE)
UNKNOWN_KIND = "unknown kind of file; give a .cif, a POSCAR (or .vasp) or an .extxyz file."

_log = logging.getLogger("lcoms")


class ReadCrystal(NamedTuple):
    """A crystal and remarks on how it was read."""

    crystal: Crystal
    remarks: tuple[Remark, ...]


def from_pymatgen(structure: Structure) -> Crystal:
    """Convert a pymatgen structure; raises CrystalError for partly occupied sites, or if it is not periodic."""
    if not structure.is_ordered:
        raise CrystalError(f"{structure.composition.reduced_formula}: partly occupied sites cannot be handled.")
    if not all(structure.lattice.pbc):
        raise CrystalError("the structure is not periodic in all three directions.")
    numbers = np.array([site.specie.Z for site in structure])
    return Crystal(structure.lattice.matrix, structure.frac_coords, numbers)


def to_pymatgen(crystal: Crystal) -> Structure:
    """Return a pymatgen structure with the same cell and atoms, in the same order."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(crystal.lattice), crystal.atomic_numbers.tolist(), crystal.frac_coords)


def from_ase(atoms: Atoms) -> Crystal:
    """Convert ASE atoms; raises CrystalError unless they are periodic in all three directions and fully occupied."""
    if not np.all(atoms.pbc):
        raise CrystalError("the structure is not periodic in all three directions.")
    if is_partly_occupied(atoms):
        raise CrystalError(f"{atoms.get_chemical_formula()}: partly occupied sites cannot be handled.")
    return Crystal(np.array(atoms.cell), atoms.get_scaled_positions(wrap=True), atoms.numbers)


def to_ase(crystal: Crystal) -> Atoms:
    """Return ASE atoms with the same cell and order of atoms, periodic in all directions."""
    from ase import Atoms

    return Atoms(crystal.atomic_numbers, scaled_positions=crystal.frac_coords, cell=crystal.lattice, pbc=True)


def right_handed(crystal: Crystal) -> Crystal:
    """Return the crystal in a right-handed cell: lengths and angles alone make a mirror image of a left-handed one.

    Vectors and coordinates change their signs, so that no atom moves.
    """
    if np.linalg.det(crystal.lattice) > 0:
        return crystal
    return Crystal(-crystal.lattice, -crystal.frac_coords, crystal.atomic_numbers)


def from_cif(text: str) -> Crystal:
    """Return the only structure of a CIF text.

    Raises:
        RefusedError: the text is not a CIF, or contains no structure, several, or one that cannot be read.
    """
    return only(read_cif(text)).crystal


def to_cif(crystal: Crystal, symprec: float | None = None) -> str:
    """Return CIF text; if `symprec` (angstrom) is given, with the space group and the asymmetric unit."""
    from pymatgen.io.cif import CifWriter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(CifWriter(to_pymatgen(right_handed(crystal)), symprec=symprec))


def from_poscar(text: str) -> Crystal:
    """Return the crystal of a POSCAR; raises RefusedError if the text is not a POSCAR with element symbols."""
    return only([read_poscar(text)]).crystal


def to_poscar(crystal: Crystal) -> str:
    """Return POSCAR text; the atoms are sorted by element."""
    from pymatgen.io.vasp import Poscar

    return str(Poscar(to_pymatgen(right_handed(crystal)).get_sorted_structure()))


def is_structure_file(name: str) -> bool:
    """Return whether the name is that of a structure file."""
    return _kind(name) is not None


def structure_files(folder: Path) -> list[Path]:
    """Return the structure files of a folder, judged and sorted by name; subfolders are not searched."""
    found = (file for file in folder.iterdir() if is_structure_file(file.name))
    return sorted(file for file in found if file.is_file() or not file.exists())  # links that lead nowhere are reported


def say_unread(folder: Path) -> None:
    """Log a warning if a folder has structure files of formats that are not read."""
    names = sorted(file.name for file in folder.iterdir() if _is_unread(file.name))
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        _log.warning("%s: only CIF, POSCAR and extxyz files are read, not %s%s", folder, ", ".join(names[:3]), more)


def _is_unread(name: str) -> bool:
    """Return whether a file is one of structures by its name and is not read, such as x.res, x.json or x.cif.zip."""
    ending = unpacked_name(name.lower()).endswith((*UNREAD, *ARCHIVES)) and name not in OWN
    return ending or (_kind(name) is None and bool(_COPY.search(name)))


def no_structure_files(folder: Path) -> str:
    """Return a sentence on a folder without structure files, which names its folders that have some."""
    text = "holds no CIF, POSCAR or extxyz file"
    inner = sorted(place.name for place in folder.iterdir() if _has_structures(place))
    if not inner:
        return f"{text}."
    more = f" and {len(inner) - 3} more" if len(inner) > 3 else ""
    return f"{text}; its {'folders' if len(inner) > 1 else 'folder'} {', '.join(inner[:3])}{more} can be given."


def _has_structures(place: Path) -> bool:
    try:
        return place.is_dir() and bool(structure_files(place))
    except OSError:
        return False


def read_file(path: str | Path) -> list[Reading]:
    """Return all structures of a file, one reading each; one refused reading if the file itself cannot be read."""
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
    """Return all crystals of a CIF, POSCAR/CONTCAR or extxyz file, recognised by name, also compressed (gz, bz2, xz).

    Corrections, omissions, and structures refused while others are read are logged as warnings.

    Raises:
        FileFormatError: the file is missing, unreadable, of unknown kind, or none of its structures can be read.
    """
    readings = log_remarks(path, read_file(path))
    return [reading.crystal for reading in readings if reading.crystal is not None]


def read_crystal(path: str | Path) -> Crystal:
    """Return the only crystal of a file; corrections are logged.

    Raises:
        FileFormatError: as for `read_crystals`, or the file contains several structures.
    """
    readings = log_remarks(path, read_file(path))
    try:
        return only(readings).crystal
    except RefusedError as error:
        raise RefusedError(error.topic, f"{path}: {error}") from error


def log_remarks(path: str | Path, readings: list[Reading]) -> list[Reading]:
    """Log a warning for every remark and, if others are read, every refusal; return the readings.

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
    """Return the crystal of the only reading, and its remarks.

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
    """Return the text of a file, compressed (gzip, bzip2, xz) or not, in UTF-8, 16 or 32 or Windows-1252.

    Raises:
        RefusedError: the file cannot be read, or is too large.
    """
    return decoded(file_bytes(path))


def decoded(content: bytes) -> str:
    """Return the text of a file's content in UTF-8, 16, 32 or Windows-1252, with plain signs and Unix line ends."""
    encoding = encoding_of(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252" if encoding == "utf-8-sig" else encoding, errors="replace")
    text = plain_characters(text.lstrip("\ufeff").rstrip("\x1a\0"))  # as DOS ends a text
    return re.sub("\r+\n|\r", "\n", text)


def file_bytes(path: Path) -> bytes:
    """Return the content of a file, unpacked if it is compressed (gzip, bzip2, xz).

    Raises:
        RefusedError: the file cannot be read, or is too large.
    """
    packer = ""
    try:
        content = path.read_bytes()
        packer, unpack = next((one for start, one in PACKERS.items() if content.startswith(start)), ("", None))
        if unpack is not None:
            with unpack(BytesIO(content)) as file:
                content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or (f"damaged {packer} file" if packer else "not a file name")
        raise RefusedError(Topic.UNREADABLE, f"cannot be read ({reason}).") from error
    if len(content) > MAX_BYTES:
        raise RefusedError(Topic.TOO_LARGE, f"cannot be read (more than {MAX_BYTES >> 20} MB).")
    return content


def encoding_of(content: bytes) -> str:
    """Return the encoding: UTF-16 or UTF-32 by its byte order mark or zeros among the first bytes; otherwise UTF-8."""
    if content[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if 0 in content[:2] and any(content[:2]):
        return "utf-16-be" if content[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def unpacked_name(name: str) -> str:
    """Return a file name without the suffix of a compressed file."""
    return re.sub(r"\.(gz|bz2|xz)$", "", name, flags=re.IGNORECASE)


def _kind(name: str) -> str | None:
    """Return the name of the reader for a file name; None if there is none."""
    name = unpacked_name(name.lower())
    if name.endswith((".cif", ".mcif", ".mmcif")):
        return "cif"
    if name.endswith((".xyz", ".extxyz")):
        return "extxyz"
    if name.endswith(".vasp") or re.search(r"(^|[^a-z])[bmps]?(poscar|contcar)([^a-z]|$)", name):
        return "poscar"
    return None


_READERS: dict[str, Callable[[str], list[Reading]]] = {
    "cif": read_cif,
    "poscar": lambda text: [read_poscar(text)],
    "extxyz": read_extxyz,
}


def to_extxyz(crystals: list[Crystal]) -> str:
    """Return extended XYZ text, one frame per crystal."""
    from ase.io import write

    buffer = StringIO()
    write(buffer, [to_ase(crystal) for crystal in crystals], format="extxyz")
    return buffer.getvalue()
