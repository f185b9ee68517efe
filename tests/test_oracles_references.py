"""Formation energies refer to the elements, and the shipped tables state the origin of their values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import caesium_chloride, rock_salt, wurtzite

from lcoms.core.errors import OracleError
from lcoms.oracles.references import References, load_references, read_tables, to_json
from lcoms.oracles.registry import make_oracle
from lcoms.structure.crystal import Composition
from lcoms.structure.elements import SYMBOLS

TABLE = {"version": "made 1", "fmax": 0.1, "elements": {"Na": {"energy_per_atom": -1.5}, "Cl": {"energy_per_atom": -2}}}
# Formation energies in eV/atom that another program (ASE's FIRE, CHGNet's own graphs) found with the same weights.
KNOWN = {
    "chgnet:r2scan": {"LiF": -3.16, "NaCl": -2.02, "MgO": -3.00, "ZnO": -1.65},
    "chgnet:0.3.0": {"LiF": -3.15, "NaCl": -2.07, "MgO": -3.06, "ZnO": -1.79},
}


def test_formation_energies_are_counted_by_hand() -> None:
    references = References("made", {11: -1.5, 17: -2.0})
    composition = Composition.from_formula("Na3Cl")
    assert references.formation_energy(composition, -3.0) == pytest.approx(-3.0 - (3 * -1.5 - 2.0) / 4)
    assert references.formation_energy(composition.scaled(2), -3.0) == references.formation_energy(composition, -3.0)
    assert references.formation_energy(Composition.from_formula("Na"), -1.5) == 0.0
    assert references.formation_energy(Composition.from_formula("NaBr"), -3.0) is None


@pytest.mark.parametrize("name", KNOWN)
def test_shipped_references_cover_the_elements_that_were_trained_on(name: str) -> None:
    references = load_references(name)
    assert references is not None
    untrained = {"Po", "At", "Rn", "Fr", "Ra"} | ({"Yb"} if name == "chgnet:r2scan" else set())
    assert {SYMBOLS[z] for z in references.energies} == set(SYMBOLS[1:95]) - untrained
    tables = json.loads((Path(__file__).parent.parent / "src/lcoms/oracles/references.json").read_text())["oracles"]
    assert tables[name]["version"].startswith("chgnet 0.4")
    for row in tables[name]["elements"].values():
        assert row["kept_its_space_group"]
        assert row["status"] == "converged"
        assert row["fmax"] <= tables[name]["fmax"]
        assert row["source"]


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_formation_energies_of_simple_compounds(name: str) -> None:
    """Unrelaxed crystals near their lattice constants lie slightly above the relaxed ones."""
    pytest.importorskip("chgnet")
    crystals = {
        "LiF": rock_salt(4.03, (3, 9)),
        "NaCl": rock_salt(5.65),
        "MgO": rock_salt(4.21, (12, 8)),
        "ZnO": wurtzite(numbers=(30, 8)),
    }
    references = load_references(name)
    assert references is not None
    for (formula, crystal), result in zip(
        crystals.items(), make_oracle(name).evaluate(list(crystals.values())), strict=True
    ):
        found = references.formation_energy(crystal.composition, result.energy / crystal.n_atoms)
        assert found == pytest.approx(KNOWN[name][formula], abs=0.02)


def test_an_oracle_without_references_has_none() -> None:
    assert load_references("analytic") is None
    assert caesium_chloride().composition.reduced_formula == "CsCl"


def test_tables_go_to_a_file_and_back(tmp_path: Path) -> None:
    file = tmp_path / "references.json"
    file.write_text(to_json({"made": TABLE, "other": TABLE}))
    assert read_tables(file) == {"made": TABLE, "other": TABLE}
    assert load_references("made", file) == References("made", {11: -1.5, 17: -2.0})
    with pytest.raises(OracleError, match="no references for analytic, only for made, other"):
        load_references("analytic", file)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 9, "oracles": {}}', "\x00"])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "references.json"
    file.write_text(text)
    with pytest.raises(OracleError, match="references"):
        load_references("made", file)
    with pytest.raises(OracleError, match="cannot be read"):
        load_references("made", tmp_path)


def test_damaged_rows_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "references.json"
    file.write_text('{"format": 1, "oracles": {"made": {"elements": {"Na": {"energy": 3}}}}}')
    with pytest.raises(OracleError, match="damaged"):
        load_references("made", file)


@pytest.mark.parametrize(
    ("elements", "sentence"),
    [
        ({"Na": {"energy_per_atom": float("nan")}}, "damaged"),
        ({"Na": {"energy_per_atom": float("inf")}}, "damaged"),
        ({"Xx": {"energy_per_atom": -1.0}}, "Xx is not an element"),
    ],
)
def test_energies_that_are_no_references_are_refused(
    elements: dict[str, dict[str, float]], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "references.json").write_text(json.dumps({"format": 1, "oracles": {"made": {"elements": elements}}}))
    with pytest.raises(OracleError, match=sentence):
        load_references("made", tmp_path / "references.json")
