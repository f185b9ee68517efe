"""Every format returns the crystal that was written, and bad files give one sentence with their name."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from tiny import left_handed_tellurium

from lcoms.core.errors import CrystalError, FileFormatError
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import (
    from_ase,
    from_cif,
    from_poscar,
    from_pymatgen,
    read_crystals,
    read_file,
    structure_files,
    to_ase,
    to_cif,
    to_extxyz,
    to_poscar,
    to_pymatgen,
)
from lcoms.structure.symmetry import space_group_number

NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def triclinic() -> Crystal:
    lattice = np.array([[3.1, 0.2, -0.1], [0.4, 4.2, 0.3], [-0.5, 0.6, 5.3]])
    return Crystal(lattice, np.array([[0.1, 0.2, 0.3], [0.6, 0.5, 0.9], [0.35, 0.8, 0.0]]), np.array([38, 22, 8]))


def assert_same(actual: Crystal, expected: Crystal, atol: float = 1e-12) -> None:
    np.testing.assert_array_equal(actual.atomic_numbers, expected.atomic_numbers)
    np.testing.assert_allclose(actual.lattice, expected.lattice, atol=atol)
    difference = actual.frac_coords - expected.frac_coords
    np.testing.assert_allclose(difference - np.round(difference), 0, atol=atol)


def assert_same_metric(actual: Crystal, expected: Crystal) -> None:
    """Check that two crystals agree for formats that keep lengths and angles but not the orientation."""
    np.testing.assert_array_equal(actual.atomic_numbers, expected.atomic_numbers)
    np.testing.assert_allclose(actual.lattice @ actual.lattice.T, expected.lattice @ expected.lattice.T, atol=1e-5)
    np.testing.assert_allclose(actual.frac_coords, expected.frac_coords, atol=1e-6)


def test_pymatgen_and_back() -> None:
    assert_same(from_pymatgen(to_pymatgen(triclinic())), triclinic())
    np.testing.assert_allclose(to_pymatgen(triclinic()).cart_coords, triclinic().cart_coords)


def test_ase_and_back() -> None:
    assert_same(from_ase(to_ase(triclinic())), triclinic())
    np.testing.assert_allclose(to_ase(triclinic()).positions, triclinic().cart_coords)


def test_cif_and_back() -> None:
    assert_same_metric(from_cif(to_cif(triclinic())), triclinic())


def test_poscar_and_back() -> None:
    assert_same(from_poscar(to_poscar(triclinic())), triclinic(), atol=1e-6)


@pytest.mark.parametrize("through", [lambda c: from_cif(to_cif(c)), lambda c: from_poscar(to_poscar(c))])
def test_a_left_handed_cell_does_not_become_its_mirror_image(through: Callable[[Crystal], Crystal]) -> None:
    crystal = left_handed_tellurium()
    assert np.linalg.det(crystal.lattice) < 0
    assert [space_group_number(one) for one in (crystal, through(crystal))] == [152, 152]


def test_poscar_sorts_atoms_by_element() -> None:
    order = [2, 0, 1]
    mixed = Crystal(triclinic().lattice, triclinic().frac_coords[order], triclinic().atomic_numbers[order])
    assert_same(from_poscar(to_poscar(mixed)), triclinic(), atol=1e-6)


def test_cif_with_symmetry_names_the_space_group_and_rebuilds_the_cell() -> None:
    text = to_cif(from_pymatgen(NACL), symprec=0.01)
    assert "_symmetry_Int_Tables_number   225" in text
    sites = [line.split() for line in text.split("_atom_site_occupancy\n")[1].splitlines()]
    assert [(site[0], int(site[2])) for site in sites] == [("Na", 4), ("Cl", 4)]
    crystal = from_cif(text)
    assert crystal.composition.formula == "Na4Cl4"
    assert crystal.volume == pytest.approx(5.64**3)


def test_files_are_told_apart_by_their_names(tmp_path: Path) -> None:
    contents = {
        "a.cif": to_cif(triclinic()),
        "b.CIF": to_cif(triclinic()),
        "POSCAR": to_poscar(triclinic()),
        "CONTCAR_3": to_poscar(triclinic()),
        "SPOSCAR": to_poscar(triclinic()),
        "c.vasp": to_poscar(triclinic()),
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
        (crystal,) = read_crystals(tmp_path / name)
        assert_same_metric(crystal, triclinic())


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.cif.gz", gzip.compress),
        ("a.CIF.BZ2", bz2.compress),
        ("a.cif.xz", lzma.compress),
        ("unnamed.cif", bz2.compress),
        ("utf16.cif", lambda text: text.decode().encode("utf-16")),
        ("unmarked.cif", lambda text: text.decode().encode("utf-16-le")),
        ("big-endian.cif", lambda text: text.decode().encode("utf-16-be")),
        ("utf32.cif", lambda text: text.decode().encode("utf-32")),
        ("twice.cif", lambda text: ("\ufeff" + text.decode()).encode("utf-16")),
        ("dos.cif", lambda text: text.replace(b"\n", b"\r\n") + b"\x1a"),
    ],
)
def test_packed_and_foreign_text_is_read(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / name).write_bytes(pack(to_cif(triclinic()).encode()))
    (file,) = structure_files(tmp_path)
    assert_same_metric(read_crystals(file)[0], triclinic())


def test_a_link_that_leads_nowhere_is_refused_and_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.cif").symlink_to(tmp_path / "nowhere.cif")
    (file,) = structure_files(tmp_path)
    (reading,) = read_file(file)
    assert reading.error is not None
    assert "cannot be read (No such file or directory)" in reading.error.sentence


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)])
def test_damaged_archives_get_one_sentence(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "x.cif").write_bytes(pack(to_cif(triclinic()).encode())[:-10])
    with pytest.raises(FileFormatError, match=rf"cannot be read \(damaged {name} file\)\.$"):
        read_crystals(tmp_path / "x.cif")


def test_all_frames_of_an_extxyz_file(tmp_path: Path) -> None:
    crystals = [triclinic(), from_pymatgen(NACL)]
    (tmp_path / "many.extxyz").write_text(to_extxyz(crystals))
    for actual, expected in zip(read_crystals(tmp_path / "many.extxyz"), crystals, strict=True):
        assert_same(actual, expected, atol=1e-6)


def test_partly_occupied_sites_are_refused() -> None:
    alloy = Structure(Lattice.cubic(3.0), [{"Cu": 0.5, "Zn": 0.5}], [[0, 0, 0]])
    with pytest.raises(CrystalError, match="partly occupied"):
        from_pymatgen(alloy)
    with pytest.raises(FileFormatError, match="partly occupied"):
        from_cif(alloy.to(fmt="cif"))
    atoms = to_ase(triclinic())
    atoms.info["occupancy"] = {"0": {"Cu": 0.5, "Zn": 0.5}}
    with pytest.raises(CrystalError, match="partly occupied"):
        from_ase(atoms)


def test_molecules_are_refused() -> None:
    atoms = to_ase(triclinic())
    atoms.pbc = [True, True, False]
    with pytest.raises(CrystalError, match="not periodic"):
        from_ase(atoms)
    with pytest.raises(CrystalError, match="not periodic"):
        from_pymatgen(Structure(Lattice(np.eye(3) * 4, pbc=(True, True, False)), ["Cu"], [[0, 0, 0]]))


def test_periodic_atoms_without_a_cell_are_refused() -> None:
    atoms = to_ase(triclinic())
    atoms.cell[:] = 0
    with pytest.raises(CrystalError, match="span a volume"):
        from_ase(atoms)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.cif", "not a cif", "not a CIF that can be read"),
        ("x.cif", "", "not a CIF that can be read"),
        ("x.cif", "data_x\n_cell_length_a 3\n", "not a CIF that can be read"),
        ("POSCAR", "hello\nworld\n", "not a POSCAR that can be read"),
        ("POSCAR", "", "not a POSCAR that can be read"),
        ("x.xyz", "three\n", "not an extxyz file that can be read"),
        ("x.xyz", "", "not an extxyz file that can be read"),
        ("x.xyz", "999999999\n\nNa 0 0 0\n", "a frame of 999999999 atoms is cut short"),
        ("x.xyz", "1\n\nH 0 0 0\n", "not periodic"),
        ("x.docx", "", "unknown kind of file; give a .cif, a POSCAR"),
    ],
)
def test_bad_files_get_one_sentence_with_their_name(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileFormatError) as caught:
        read_crystals(tmp_path / name)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "no.cif", tmp_path):
        with pytest.raises(FileFormatError, match="cannot be read"):
            read_crystals(path)


def test_binary_rubbish_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.cif").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(FileFormatError, match="not a CIF"):
        read_crystals(tmp_path / "x.cif")
