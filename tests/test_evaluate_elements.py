"""References are the lowest relaxed forms that kept their structure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from lcoms.core.errors import OracleError
from lcoms.evaluate.elements import forms_for, make_references
from lcoms.oracles.analytic import AnalyticOracle, depth
from lcoms.oracles.elemental import ElementalForm
from lcoms.relax import RelaxConfig, RelaxResult, Status, relax_crystals
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.symmetry import space_group_number

FACE, BODY = 2.0 * (1 - np.eye(3)), 1.7 * (1 - 2 * np.eye(3))


def result(lattice: np.ndarray, energy: float, status: Status = Status.CONVERGED) -> RelaxResult:
    return RelaxResult(crystal(lattice), energy, status, n_steps=3, fmax=0.01)


class Picky(AnalyticOracle):
    def check(self, compositions: Iterable[Composition]) -> None:
        if any(z != 29 for c in compositions for z in c.atomic_numbers):
            raise OracleError("only copper")


def crystal(lattice: np.ndarray, number: int = 29) -> Crystal:
    return Crystal(lattice, np.zeros((1, 3)), np.array([number]))


def table(*results: RelaxResult) -> dict[str, object]:
    forms = [ElementalForm("Cu", name, "made", crystal(lattice)) for name, lattice in (("fcc", FACE), ("bcc", BODY))]
    return make_references(forms, lambda _: results, {"fmax": 0.02})


def row(*results: RelaxResult) -> dict[str, object]:
    return table(*results)["elements"]["Cu"]  # type: ignore[index]


def test_the_lowest_form_counts_and_the_others_are_told() -> None:
    found = row(result(FACE, -3.0), result(BODY, -3.5))
    assert (found["prototype"], found["energy_per_atom"], found["others"]) == ("bcc", -3.5, {"fcc": -3.0})
    assert (found["status"], found["source"], found["space_group"]) == ("converged", "made", 229)


def test_a_form_that_became_another_one_does_not_count() -> None:
    lost = result(np.diag([2.0, 2.3, 2.6]), -9.0)
    found = row(result(FACE, -3.0), lost)
    assert found["prototype"] == "fcc"
    assert found["others"] == {"bcc": -9.0}
    assert row(lost, lost)["kept_its_space_group"] is False


def test_failures_are_told_and_a_step_limit_counts() -> None:
    broken = result(FACE, float("nan"), Status.ORACLE_FAILED)
    limit = result(BODY, -2.0, Status.STEP_LIMIT)
    assert row(broken, limit)["status"] == "step limit"
    none = table(broken, broken)
    assert none["elements"] == {}
    assert none["failed"] == {"Cu": "bcc: oracle failed"}
    json.dumps(table(result(FACE, -3.0), limit), allow_nan=False)


def test_forms_are_those_that_the_oracle_can_handle() -> None:
    assert {form.element for form in forms_for(Picky(), None)} == {"Cu"}
    assert {form.element for form in forms_for(AnalyticOracle(), ["Na", "Cl"])} == {"Na", "Cl"}
    with pytest.raises(OracleError, match="no structure is known here for Fr, Xx"):
        forms_for(AnalyticOracle(), ["Na", "Xx", "Fr"])
    with pytest.raises(OracleError, match="can handle none"):
        forms_for(Picky(), ["Na"])


def test_relaxed_metals_reach_the_exact_energies() -> None:
    def relax(crystals: Sequence[Crystal]) -> Sequence[RelaxResult]:
        return relax_crystals(crystals, AnalyticOracle(), RelaxConfig(fmax=0.001, max_steps=300))

    found = make_references(forms_for(AnalyticOracle(), ["Cu"]), relax, {})["elements"]["Cu"]
    assert found["prototype"] == "body-centred cubic"  # 8 first and 6 second neighbours share the well
    assert -7 * float(depth(29, 29)) < found["energy_per_atom"] < -6 * float(depth(29, 29))
    assert found["others"]["face-centred cubic"] == pytest.approx(-6 * float(depth(29, 29)), abs=1e-5)


def test_the_mirror_image_of_a_form_is_the_same_form() -> None:
    lattice = np.array([[4.4, 0, 0], [-2.2, 2.2 * 3**0.5, 0], [0, 0, 5.0]])
    chains = np.array([[0.22, 0, 1 / 3], [0, 0.22, 2 / 3], [-0.22, -0.22, 0]])
    left, right = (Crystal(lattice, frac, np.full(3, 34)) for frac in (chains, -chains))
    form, relaxed = ElementalForm("Se", "chains", "made", left), RelaxResult(right, -9.0, Status.CONVERGED, 3, 0.01)
    found = make_references([form], lambda _: [relaxed], {"fmax": 0.02})["elements"]["Se"]  # type: ignore[index]
    assert {space_group_number(left), found["space_group"]} == {152, 154}
    assert found["kept_its_space_group"]
