"""Energies above the hull equal those by hand, and reference phases are read from several kinds of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import caesium_chloride, rock_salt

from lcoms.core.errors import DataError, FileFormatError
from lcoms.oracles.hull import Hull, Phase, read_entries, structure_files_at
from lcoms.oracles.references import References
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.io import to_cif, to_extxyz, to_poscar

REFERENCES = References("made", {11: -1.0, 17: -2.0})


def phase(formula: str, energy: float) -> Phase:
    return Phase(Composition.from_formula(formula), energy)


def above(hull: Hull, formula: str, energy: float) -> float | None:
    return hull.e_above_hull(Composition.from_formula(formula), energy)


def no_energies(crystals: list[Crystal]) -> list[float]:
    raise AssertionError(f"{len(crystals)} crystals should not be evaluated")


def test_the_hull_is_that_counted_by_hand() -> None:
    hull = Hull([phase("NaCl", -3.5)], REFERENCES)
    assert above(hull, "NaCl", -3.5) == pytest.approx(0.0)
    assert above(hull, "Na2Cl2", -3.3) == pytest.approx(0.2)
    assert above(hull, "NaCl", -3.8) == pytest.approx(-0.3)  # a new lowest phase
    # NaCl3 decomposes into half NaCl and half Cl: (2 * -3.5 + 2 * -2.0) / 4 per atom.
    assert above(hull, "NaCl3", -2.5) == pytest.approx(-2.5 + 2.75)
    assert above(hull, "Na", -0.9) == pytest.approx(0.1)


def test_noble_gases_give_no_warning_about_electronegativities() -> None:
    hull = Hull([phase("Ar", -1.0), phase("Xe", -2.0)], None)
    assert above(hull, "XeAr", -1.4) == pytest.approx(0.1)


def test_a_phase_above_the_line_does_not_move_the_hull() -> None:
    low = Hull([phase("NaCl", -3.5)], REFERENCES)
    high = Hull([phase("NaCl", -3.5), phase("NaCl", -3.0), phase("NaCl3", -2.6)], REFERENCES)
    assert above(high, "NaCl3", -2.5) == pytest.approx(above(low, "NaCl3", -2.5))


def test_own_elements_count_before_the_references_and_missing_ones_are_told() -> None:
    own = Hull([phase("Na", -1.4), phase("NaCl", -1.6)], REFERENCES)
    assert above(own, "NaCl", -1.7) == pytest.approx(0.0)  # the elements: (-1.4 - 2.0) / 2
    alone = Hull([phase("Na", -1.4), phase("NaCl", -3.5)], None)
    assert above(alone, "NaCl", -3.4) is None
    assert alone.missing(Composition.from_formula("NaClO")) == ["O", "Cl"]
    assert above(Hull([], REFERENCES), "NaBr", -3.0) is None


def test_phases_are_read_from_json_and_csv(tmp_path: Path) -> None:
    rows = [{"formula": "NaCl", "energy_per_atom": -3.5}, {"formula": "Na3Cl", "formation_energy_per_atom": -0.5}]
    expected = [phase("NaCl", -3.5), phase("Na3Cl", -0.5 - 1.25)]
    said = [row | {"oracle": "made"} for row in rows]
    for content in (said, {"entries": said}, {"ranked": rows, "oracle": "made"}):
        (tmp_path / "phases.json").write_text(json.dumps(content))
        assert read_entries(tmp_path / "phases.json", no_energies, REFERENCES, "made") == expected
    (tmp_path / "phases.csv").write_text(
        "formula,energy_per_atom,formation_energy_per_atom,oracle\nNaCl,-3.5,,made\nNa3Cl,,-0.5,made\n"
    )
    assert read_entries(tmp_path / "phases.csv", no_energies, REFERENCES, "made") == expected
    for name in ("phases.json", "phases.csv"):  # as spreadsheets and some editors write a file
        marked = tmp_path / f"marked-{name}"
        marked.write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
        found = read_entries(marked, no_energies, REFERENCES, "made")
        assert [one.composition for one in found] == [one.composition for one in expected]


def test_an_empty_oracle_of_a_phase_is_that_of_the_file(tmp_path: Path) -> None:
    rows = [{"formula": "NaCl", "energy_per_atom": -3.5, "oracle": None}]
    (tmp_path / "phases.json").write_text(json.dumps({"oracle": "made", "entries": rows}))
    assert len(read_entries(tmp_path / "phases.json", no_energies, REFERENCES, "made")) == 1


def test_energies_of_another_number_of_processes_are_by_the_same_model(tmp_path: Path) -> None:
    rows = [{"formula": "NaCl", "energy_per_atom": -3.5, "oracle": "gpaw:ranks=2"}]
    (tmp_path / "phases.json").write_text(json.dumps(rows))
    assert len(read_entries(tmp_path / "phases.json", no_energies, None, "gpaw:log=here")) == 1
    with pytest.raises(DataError, match=r"is by gpaw:ranks=2, not by gpaw:spin=true"):
        read_entries(tmp_path / "phases.json", no_energies, None, "gpaw:spin=true")


def test_spaces_after_the_commas_of_a_table_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "phases.csv").write_text("formula, energy_per_atom, oracle\nNaCl, -3.5, made \n")
    found = read_entries(tmp_path / "phases.csv", no_energies, REFERENCES, "made")
    assert [(one.composition.formula, one.energy_per_atom) for one in found] == [("NaCl", -3.5)]


def test_energies_of_compressed_crystals_are_refused(tmp_path: Path) -> None:
    rows = [{"formula": "NaCl", "energy_per_atom": -3.5, "enthalpy_per_atom": -3.1}]
    content = {"oracle": "made", "options": {"pressure": 0.06}, "crystals": rows}
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="relaxed under pressure"):
        read_entries(tmp_path / "results.json", no_energies, REFERENCES, "made")
    (tmp_path / "results.json").write_text(json.dumps(content | {"options": {"pressure": 0.0}}))
    assert read_entries(tmp_path / "results.json", no_energies, REFERENCES, "made") == [phase("NaCl", -3.5)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("formula,energy_per_atom\nNaCl,low\n", "entry 1: energy_per_atom is not a number but 'low'"),
        ("formula,energy_per_atom\nNaCl,nan\n", "not finite"),
        ("formula,energy\nNaCl,1\n", "needs energy_per_atom or formation_energy_per_atom"),
        ("formula,energy_per_atom\nNaCl,1\nXx,1\n", "entry 2: .*Xx"),
        ("energy_per_atom\n1\n", "its first line should name the columns"),
        ("formula,formation_energy_per_atom\nNaBr,-1\n", "needs the oracle's references for all elements of NaBr"),
    ],
)
def test_rows_that_lack_something_are_named(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "phases.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_entries(tmp_path / "phases.csv", no_energies, REFERENCES, "made")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.json", '[{"formula": "NaCl", "energy_per_atom": -3400, "oracle": "made"}]', "not an energy in eV/atom"),
        ("p.json", '[{"formula": "NaCl", "energy_per_atom": -15.0, "oracle": "made"}]', "not per formula unit"),
        ("p.json", '[{"formula": "Cl2", "energy_per_atom": -4.0, "oracle": "made"}]', "not per formula unit"),
        ("p.json", '[{"formula": "NaCl", "formation_energy_per_atom": -80, "oracle": "made"}]', "NaCl is -80.00"),
        ("p.json", '[{"formula": "NaCl", "energy_per_atom": true, "oracle": "made"}]', "is not a number but True"),
        ("p.json", json.dumps([{"formula": "NaCl", "energy_per_atom": -3.5, "formation_energy_per_atom": -3.4}]),
         "should be -2.000 eV/atom by the oracle's references, not -3.4"),
        ("p.json", "[]", "holds no reference phases"),
        ("p.csv", "formula,energy_per_atom,oracle\n", "holds no reference phases"),
        ("p.csv", "formula;energy_per_atom;oracle\nNaCl;-3,5;made\n", "should name the columns"),
        ("p.csv", "oracle,formula,energy_per_atom\nmade,NaCl,-3,5\n", "entry 1: more cells than columns; write"),
        ("p.csv", "formula,energy_per_atom,energy_per_atom,oracle\nNaCl,-3,-4,made\n", "two columns named energy_per"),
        ("p.json", json.dumps({"options": {"pressure": 0.1}, "crystals": [{"formula": "NaCl", "energy_per_atom": -3}]}),
         "relaxed under pressure"),
    ],
)  # fmt: skip
def test_energies_that_are_something_else_are_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_entries(path, no_energies, REFERENCES, "made")


def test_crystals_whose_relaxation_failed_are_no_reference_phases(tmp_path: Path) -> None:
    rows = [
        {"formula": "NaCl", "energy_per_atom": -3.5, "status": "converged"},
        {"formula": "NaCl", "energy_per_atom": -9.0, "status": "exploded"},
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"oracle": "made", "crystals": rows}))
    assert [phase.energy_per_atom for phase in read_entries(path, no_energies, REFERENCES, "made")] == [-3.5]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_phases_may_have_any_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "phases.csv"
    path.write_bytes("formula,energy_per_atom,oracle\r\n\r\nNaCl,-3.5,made\r\n,,\r\n".encode(encoding))
    assert len(read_entries(path, no_energies, REFERENCES, "made")) == 1


def test_crystals_are_evaluated(tmp_path: Path) -> None:
    crystals = [rock_salt(), caesium_chloride()]

    def energies(given: list[Crystal]) -> list[float]:
        return [-float(crystal.atomic_numbers[0]) for crystal in given]

    (tmp_path / "two.extxyz").write_text(to_extxyz(crystals))
    expected = [phase("NaCl", -11.0), phase("CsCl", -55.0)]
    assert read_entries(tmp_path / "two.extxyz", energies, None, "made") == expected
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.cif").write_text(to_cif(crystals[0]))
    (folder / "POSCAR-b").write_text(to_poscar(crystals[1]))
    (folder / "notes.txt").write_text("not a crystal")
    assert sorted(p.energy_per_atom for p in read_entries(folder, energies, None, "made")) == [-55.0, -11.0]
    with pytest.raises(DataError, match="no energy for the reference phase CsCl"):
        read_entries(folder, lambda given: [float("nan")] * len(given), None, "made")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "number.json").write_text("3")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read_entries(tmp_path / "broken.json", no_energies, None, "made")
    with pytest.raises(DataError, match="list of objects"):
        read_entries(tmp_path / "number.json", no_energies, None, "made")
    with pytest.raises(DataError, match="holds no CIF"):
        read_entries(tmp_path / "empty", no_energies, None, "made")
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_entries(tmp_path / "missing.cif", no_energies, None, "made")
    assert structure_files_at(tmp_path / "missing.cif") == [tmp_path / "missing.cif"]


@pytest.mark.parametrize(
    ("oracle", "sentence"),
    [("", "does not say by which energy model"), ("PBE", "is by PBE, not by made")],
)
def test_phases_of_another_functional_or_of_unknown_origin_are_refused(
    oracle: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "phases.csv").write_text(f"formula,energy_per_atom,oracle\nNaCl,-3.5,{oracle}\n")
    with pytest.raises(DataError, match=sentence):
        read_entries(tmp_path / "phases.csv", no_energies, REFERENCES, "made")
    (tmp_path / "phases.json").write_text(json.dumps({"entries": [{"formula": "NaCl", "energy_per_atom": -3.5}]}))
    with pytest.raises(DataError, match="do not mix"):
        read_entries(tmp_path / "phases.json", no_energies, REFERENCES, "made")


def test_the_phases_at_a_composition_are_told_with_their_shares_of_the_atoms() -> None:
    hull = Hull([Phase(Composition.from_formula("NaCl"), -3.5, "mp-1")], REFERENCES)
    place = hull.place(Composition.from_formula("NaCl3"), -2.5)
    assert place is not None
    assert {(p.formula, p.id) for p in place.decomposition} == {("NaCl", "mp-1"), ("Cl", "")}
    assert [p.share for p in place.decomposition] == pytest.approx([0.5, 0.5])
    on_it = hull.place(Composition.from_formula("NaCl"), -3.6)
    assert on_it is not None
    assert [(p.formula, p.share) for p in on_it.decomposition] == [("NaCl", 1.0)]


def test_a_place_names_the_phases_of_its_hull(tmp_path: Path) -> None:
    from lcoms.oracles.hull import phases_in

    salt = Composition.from_formula("NaCl")
    named = Hull([], REFERENCES, name=phases_in(tmp_path / "my.csv")).place(salt, -3.0)
    assert named is not None
    assert named.phases == "the phases in my.csv"
    shipped = Hull([], REFERENCES).place(salt, -3.0)
    assert shipped is not None
    assert shipped.phases == "known phases"
