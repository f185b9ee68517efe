"""The 26 compounds equal the paper's table, and tables from users can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import perovskite, prototypes, rock_salt, wurtzite

from lcoms.core.errors import DataError
from lcoms.evaluate.references import Reference, paper_compounds, references_from_file, sample
from lcoms.structure.crystal import Composition
from lcoms.structure.io import to_cif, to_extxyz
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.symmetry import space_group_number

GROUPS = {
    225: "LiF NaF KF RbF CsF LiCl NaCl KCl RbCl MgO CaO SrO BaO CdO MgS CaS SrS BaS",
    221: "CsCl",
    216: "BeS ZnS",
    186: "BeO ZnO CdS",
    194: "C",
    227: "Si",
}
BONDS = {"NaCl": 2.82, "CsCl": 3.57, "ZnS": 2.34, "ZnO": 1.98, "C": 1.42, "Si": 2.35, "MgO": 2.11}


@pytest.fixture(scope="module")
def compounds() -> list[Reference]:
    return paper_compounds()


def test_there_are_26_compounds_with_the_right_space_groups(compounds: list[Reference]) -> None:
    found: dict[int, list[str]] = {}
    for reference in compounds:
        found.setdefault(space_group_number(reference.crystal, symprec=0.01), []).append(reference.name)
    assert {group: sorted(names) for group, names in found.items()} == {
        group: sorted(names.split()) for group, names in GROUPS.items()
    }
    assert len(compounds) == 26


def test_names_compositions_cells_and_bonds_agree(compounds: list[Reference]) -> None:
    for reference in compounds:
        crystal = reference.crystal
        assert reference.name == reference.composition.reduced_formula
        assert reference.composition == crystal.composition.reduced == Composition.from_formula(reference.name)
        group = space_group_number(crystal)
        assert crystal.n_atoms == (4 if group in (186, 194) else 2)
        if reference.name in BONDS:
            bond = shortest_distance(crystal.lattice, crystal.frac_coords)
            assert bond == pytest.approx(BONDS[reference.name], abs=0.01)


def write_cifs(folder: Path) -> Path:
    folder.mkdir()
    for number, crystal in enumerate(prototypes().values()):
        (folder / f"{number}.cif").write_text(to_cif(crystal))
    return folder


def test_references_from_a_folder_of_cifs(tmp_path: Path) -> None:
    folder = write_cifs(tmp_path / "cifs")
    references, left_out = references_from_file(folder, max_atoms=20)
    assert left_out == 0
    for reference, crystal in zip(references, prototypes().values(), strict=True):
        assert matches(reference.crystal, crystal, STRICT)
        assert reference.composition == crystal.composition.reduced
    small, left_out = references_from_file(folder, max_atoms=4)
    assert (len(small), left_out) == (4, 1)
    (folder / "5.cif").write_text("nothing of a crystal")
    assert references_from_file(folder, max_atoms=4)[1] == 2
    with pytest.raises(DataError, match="no structure of up to 1 atoms"):
        references_from_file(folder, max_atoms=1)


def test_references_from_extxyz(tmp_path: Path) -> None:
    path = tmp_path / "some.extxyz"
    path.write_text(to_extxyz([rock_salt(), wurtzite(), perovskite()]))
    references, _ = references_from_file(path, max_atoms=20)
    assert [reference.composition.reduced_formula for reference in references] == ["NaCl", "ZnO", "SrTiO3"]
    assert len({reference.name for reference in references}) == 3


def test_a_sample_keeps_order_and_follows_from_its_seed(compounds: list[Reference]) -> None:
    assert sample(compounds, None, 0) == sample(compounds, 99, 0) == compounds
    some = sample(compounds, 10, 0)
    places = [compounds.index(reference) for reference in some]
    assert places == sorted(set(places))
    assert sample(compounds, 10, 0) == some
    assert any(sample(compounds, 10, seed) != some for seed in (1, 2))


def test_an_id_that_comes_again_is_numbered(tmp_path: Path) -> None:
    file = tmp_path / "known.csv"
    cifs = [to_cif(crystal).replace('"', '""') for crystal in (rock_salt(), perovskite(), wurtzite())]
    file.write_text("material_id,cif\n" + "".join(f'one,"{cif}"\n' for cif in cifs))
    references, left_out = references_from_file(file, max_atoms=20)
    assert ([reference.name for reference in references], left_out) == (["one", "one (2)", "one (3)"], 0)
