"""The filter rejects what chemistry and geometry forbid, each with its reason."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from tiny import caesium_chloride, perovskite, rock_salt

from lcoms.core.errors import DataError
from lcoms.evaluate import validity
from lcoms.evaluate.validity import invalid_because, is_plausible
from lcoms.structure.crystal import Composition, Crystal


@pytest.mark.parametrize(
    ("formula", "plausible"),
    [("NaCl", True), ("SrTiO3", True), ("Si", True), ("Cu3Au", True), ("NaCl2", False), ("Na2Cl", False),
     ("HeCl", False), ("Fe3O4", False), ("H3S", False), ("TaB", False)],
)  # fmt: skip
def test_chemistry(formula: str, plausible: bool) -> None:
    """Elements, alloys and neutral salts pass, but nothing that no set of single oxidation states makes neutral.

    H3S would be neutral with the less electronegative hydrogen as anion; SMACT's later table would let TaB pass.
    """
    assert is_plausible(Composition.from_formula(formula)) == plausible


def test_good_crystals_pass() -> None:
    assert invalid_because(rock_salt()) == invalid_because(perovskite()) == invalid_because(caesium_chloride()) == ""


@pytest.mark.parametrize(("distance", "reason"), [(0.49, "atoms closer than 0.5 angstrom"), (0.51, "")])
def test_atoms_must_not_touch(distance: float, reason: str) -> None:
    crystal = Crystal(5 * np.eye(3), np.array([[0, 0, 0], [0, 0, distance / 5]]), np.array([11, 17]))
    assert invalid_because(crystal) == reason


def test_copies_of_one_atom_count_and_so_does_the_volume() -> None:
    thin = Crystal(np.diag([0.45, 5, 5.0]), np.zeros((1, 3)), np.array([14]))
    assert invalid_because(thin) == "atoms closer than 0.5 angstrom"
    tiny = Crystal(0.46 * np.eye(3), np.zeros((1, 3)), np.array([14]))  # 0.097 cubic angstrom
    assert invalid_because(tiny) == "volume below 0.1 angstrom^3"


def test_geometry_is_looked_at_before_chemistry_and_chemistry_is_looked_at() -> None:
    assert invalid_because(rock_salt(numbers=(11, 2))) == "composition fails SMACT"


def test_without_smact_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    validity.is_plausible.cache_clear()
    monkeypatch.setitem(sys.modules, "smact.screening", None)
    with pytest.raises(DataError, match="pip install smact"):
        is_plausible(Composition.from_formula("NaCl"))
    validity.is_plausible.cache_clear()
