"""The Python interface."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from pymatgen.core import Composition as PymatgenComposition
from pymatgen.core import Structure
from tiny import wurtzite

import lcoms
from lcoms.core.errors import ConfigError, DataError, FileFormatError, FormulaError, OracleError, WeightsError
from lcoms.prediction.pipeline import Predictor, Progress
from lcoms.prediction.presets import Options
from lcoms.prediction.result import is_finished
from lcoms.prediction.spec import PredictionSpec, RelaxationSpec, SearchSpec
from lcoms.structure.io import to_ase, to_cif, to_pymatgen


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_predict_gives_ranked_pymatgen_structures(tiny_weights: Path) -> None:
    found = lcoms.predict("NaCl", relax=False, weights=tiny_weights, starts=6, steps=3, seed=2)
    assert isinstance(found, lcoms.Prediction)
    assert len(found) > 0
    assert all(isinstance(structure, Structure) for structure in found)
    assert {structure.composition.reduced_formula for structure in found} == {"NaCl"}
    assert [structure.properties["rank"] for structure in found] == list(range(1, len(found) + 1))
    first = found[0].properties
    assert set(first) >= {"surrogate_energy", "space_group", "source"}
    assert np.isfinite(first["surrogate_energy"])
    again = lcoms.predict("NaCl", relax=False, weights=str(tiny_weights), starts=6, steps=3, seed=2)
    assert [s.lattice.matrix.tolist() for s in again] == [s.lattice.matrix.tolist() for s in found]
    assert found.to_dataframe()["rank"].tolist() == [s.properties["rank"] for s in found]


def test_options_are_those_of_the_command_line(tiny_weights: Path) -> None:
    (only,) = lcoms.predict(
        "SrTiO3", relax=False, weights=tiny_weights, starts=24, n_candidates=1, formula_units=1, steps=0
    )
    assert len(only) == 5
    for wrong, meant in (
        ("n_starts", "starts"),
        ("n", "n_candidates"),
        ("candidates", "n_candidates"),
        ("efort", "effort"),
    ):
        with pytest.raises(TypeError, match=f"predict has no option '{wrong}'; did you mean {meant}\\?"):
            lcoms.predict("NaCl", weights=tiny_weights, **{wrong: 3})
    with pytest.raises(ConfigError, match="'colour'; see help"):
        lcoms.predict("NaCl", colour="blue")  # type: ignore[call-arg]
    with pytest.raises(FormulaError, match=r"lcoms\.predict_all takes several"):
        lcoms.predict(["NaCl", "ZnO"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="n_relax has no effect without relaxation"):
        lcoms.predict("NaCl", relax=False, n_relax=3, weights=tiny_weights)
    with pytest.raises(ConfigError, match="'two' is not a number or a range"):
        lcoms.predict("NaCl", relax=False, formula_units="two", weights=tiny_weights)


@pytest.mark.parametrize("units", [2, "2", (2, 2)])
def test_formula_units_are_a_number_a_text_or_a_range(units: int | str | tuple[int, int], tiny_weights: Path) -> None:
    found = lcoms.predict("NaCl", relax=False, weights=tiny_weights, starts=3, steps=0, formula_units=units)
    assert found.spec.search.formula_units == (2, 2)
    assert {len(structure) for structure in found} <= {2, 4}


def test_compositions_of_pymatgen_and_of_lcoms_are_taken(tiny_weights: Path) -> None:
    options = {"relax": False, "weights": tiny_weights, "starts": 3, "steps": 0}
    texts = [
        lcoms.predict(formula, **options).files()["results.json"]  # type: ignore[arg-type]
        for formula in ("NaCl", PymatgenComposition("Na2Cl2"), lcoms.Composition.from_formula("NaCl"))
    ]
    assert texts[0] == texts[1] == texts[2]


def test_fractions_are_predicted_as_an_ordered_formula_when_asked(
    tiny_weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"relax": False, "weights": tiny_weights, "starts": 3, "steps": 0}
    for formula in ("Na0.5Cl0.5", PymatgenComposition("Na0.5Cl0.5")):
        with pytest.raises(FormulaError, match=r"'Na0\.5Cl0\.5' has fractional counts"):
            lcoms.predict(formula, **options)  # type: ignore[arg-type]
        caplog.clear()
        found = lcoms.predict(formula, ordered_approximation=True, **options)  # type: ignore[arg-type]
        assert found.composition.reduced_formula == "NaCl"
        assert "NaCl has the composition of Na0.5Cl0.5." in caplog.text


def test_a_formula_that_is_predicted_as_another_one_is_named(
    tiny_weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = Options(relax=False, starts=2, steps=0)
    found = list(lcoms.predict_all(["Na2Cl2", PymatgenComposition("Na2Cl2"), "NaCl"], options, weights=tiny_weights))
    assert {one.composition.reduced_formula for one in found} == {"NaCl"}
    assert caplog.text.count("Na2Cl2 is predicted as NaCl.") == 1


def test_a_structure_of_pymatgen_or_of_a_file_is_the_only_start(tiny_weights: Path, tmp_path: Path) -> None:
    options = {"relax": False, "weights": tiny_weights, "steps": 1}
    file = tmp_path / "start.cif"
    file.write_text(to_cif(wurtzite()))
    with pytest.raises(FileFormatError, match=r"none\.cif: cannot be read"):
        lcoms.predict("NaCl", start_structure=tmp_path / "none.cif", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="start_structure must be a structure of pymatgen, ASE or lcoms"):
        lcoms.predict("NaCl", start_structure=3, **options)  # type: ignore[arg-type]
    for structure in (wurtzite(), to_pymatgen(wurtzite()), to_ase(wurtzite()), file, str(file)):
        found = lcoms.predict("NaCl", start_structure=structure, **options)  # type: ignore[arg-type]
        assert found.decoded.n_proposals == 1
        assert found[0].properties["source"] == "given"
        named = str(file) if isinstance(structure, str | Path) else type(structure).__name__
        assert dict(found.options)["start_structure"] == named
        assert not is_finished(found.write(tmp_path).parent, found.composition, found.spec, found.weights_digest)
    for other in ({"starts": 3}, {"random_symmetric": 5}, {"formula_units": 2}, {"max_atoms": 20}, {"start": "prior"}):
        with pytest.raises(ConfigError, match=f"{min(other)} has no effect with start_structure; omit one of them"):
            lcoms.predict("NaCl", start_structure=file, weights=tiny_weights, **other)  # type: ignore[arg-type]


def test_a_whole_specification_takes_the_place_of_options(tiny_weights: Path) -> None:
    spec = PredictionSpec(2, SearchSpec(n_starts=3, steps=0), relaxation=None, seed=4)
    assert lcoms.predict("NaCl", spec=spec, weights=tiny_weights).spec == spec
    with pytest.raises(ConfigError, match="spec contains all options"):
        lcoms.predict("NaCl", spec=spec, starts=3, weights=tiny_weights)


def test_bad_formulas_and_weights(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(FormulaError, match="did you mean NaCl"):
        lcoms.predict("Nacl", weights=tmp_path)  # the formula is read before the weights
    with pytest.raises(FormulaError, match="no crystal with Au"):
        lcoms.predict("AuCl", relax=False, weights=tiny_weights)
    with pytest.raises(WeightsError, match="there is no file"):
        lcoms.predict("NaCl", relax=False, weights=tmp_path)


def test_relaxed_structures_come_with_the_energies_of_the_model(tiny_weights: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    options = {"starts": 4, "steps": 1, "n_relax": 2, "n_candidates": 2, "fmax": 0.5}
    found = lcoms.predict("NaCl", weights=tiny_weights, oracle="analytic", processes=1, progress=told.append, **options)  # type: ignore[arg-type]
    assert 1 <= len(found) <= 2
    assert min(structure.properties["energy_above_lowest"] for structure in found) == 0
    assert str(told[-1]) == "relaxing: 2 of 2"
    with pytest.raises(OracleError, match="crystal ball"):
        lcoms.predict("NaCl", weights=tiny_weights, oracle="analytic", committee=["crystal ball"])
    with pytest.raises(DataError, match=r"none\.json"):
        lcoms.predict("NaCl", weights=tiny_weights, oracle="analytic", hull=tmp_path / "none.json")


def test_elements_without_a_phase_in_the_hull_are_logged(
    tiny_weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = '[{"formula": "Na", "energy_per_atom": 0}]'
    (tmp_path / "phases.json").write_text(f'{{"oracle": "analytic", "entries": {entries}}}')
    options = {"starts": 1, "steps": 0, "n_relax": 1, "n_candidates": 1, "fmax": 0.5, "processes": 1}
    hull = tmp_path / "phases.json"
    lcoms.predict("NaCl", weights=tiny_weights, oracle="analytic", hull=hull, **options)  # type: ignore[arg-type]
    assert "NaCl: the hull needs a phase of Cl; add one to --hull." in caplog.text


def test_under_pressure_crystals_are_denser_and_enthalpies_make_the_order(tiny_weights: Path) -> None:
    options = {"starts": 4, "steps": 1, "n_relax": 2, "n_candidates": 2, "fmax": 0.5, "processes": 1}
    free, pressed = (
        lcoms.predict("NaCl", weights=tiny_weights, oracle="analytic", pressure=pressure, **options)  # type: ignore[arg-type]
        for pressure in (None, 50.0)
    )
    volumes = [min(c.crystal.volume / c.crystal.n_atoms for c in made.candidates) for made in (free, pressed)]
    assert volumes[1] < 0.95 * volumes[0]
    energies = [c.relaxed.energy_per_atom for c in pressed.candidates if c.relaxed is not None and c.relaxed.usable]
    assert energies == sorted(energies)
    assert pressed.probability is None
    relaxation = pressed.to_dict()["candidates"][0]["relaxation"]
    assert relaxation["enthalpy_per_atom"] > relaxation["total_energy_per_atom"]
    assert (relaxation["formation_energy_per_atom"], relaxation["e_above_hull"]) == (None, None)


@pytest.mark.parametrize(("options", "wanted"), [({}, 1), ({"threads": 2}, 2)])
def test_networks_decode_with_one_thread_unless_told_otherwise(
    options: dict[str, int], wanted: int, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command line does: with all cores beside other programs it took ten times as long."""
    used: list[int] = []
    decode = Predictor.decode
    monkeypatch.setattr(Predictor, "decode", lambda *a, **k: (used.append(torch.get_num_threads()), decode(*a, **k))[1])
    torch.set_num_threads(2)
    lcoms.predict("NaCl", relax=False, starts=3, steps=0, weights=tiny_weights, **options)  # type: ignore[arg-type]
    list(lcoms.predict_all(["NaCl"], Options(relax=False, starts=3, steps=0), weights=tiny_weights, **options))  # type: ignore[arg-type]
    assert used == [wanted, wanted]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threads": 0}, "threads must be from 1 to 256, not 0."),
        ({"threads": 100_000}, "threads must be from 1 to 256, not 100000."),
        ({"processes": 0}, "at least one process is needed, not 0."),
        ({"processes": 100_000}, "at most 512 processes can be handled, not 100000."),
    ],
)
def test_threads_and_processes_are_checked_before_any_work(wrong: dict[str, int], said: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    for ask in (
        lambda: lcoms.predict("NaCl", relax=False, weights=tmp_path, **wrong),  # type: ignore[arg-type]
        lambda: lcoms.predict_all(["NaCl"], Options(relax=False), weights=tmp_path, **wrong),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert str(caught.value) == said
    assert torch.get_num_threads() == before


def test_all_formulas_are_checked_before_the_first_is_predicted(tiny_weights: Path) -> None:
    told: list[Progress] = []
    with pytest.raises(FormulaError, match="no crystal with Au"):
        lcoms.predict_all(["NaCl", "AuCl"], Options(relax=False), weights=tiny_weights, progress=told.append)
    assert told == []


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("NaCl",), {}, "predict_all takes several formulas in a list; lcoms.predict takes one."),
        ((["NaCl"], {"relax": False}), {}, "options must be lcoms.Options or lcoms.PredictionSpec, not dict."),
        ((["NaCl"],), {"relax": False}, "did you mean options=lcoms.Options(relax=...)?"),
    ],
)
def test_what_several_formulas_cannot_be_asked_for_is_one_sentence(
    arguments: tuple[Any, ...], options: dict[str, Any], said: str
) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # it would complain first
    try:
        with pytest.raises(lcoms.LcomsError) as caught:
            lcoms.predict_all(*arguments, **options)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert said in str(caught.value)


def test_options_of_several_formulas_and_all_errors_are_on_the_front_page(tiny_weights: Path) -> None:
    options = lcoms.Options(relax=False, starts=3, steps=0)
    (made,) = lcoms.predict_all(["NaCl"], options, weights=tiny_weights)
    assert made.spec.search.n_starts == 3
    with pytest.raises(lcoms.LcomsError, match="did you mean NaCl"):
        lcoms.predict_all(["Nacl"], options, weights=tiny_weights)


def test_several_predictions_come_each_as_it_is_finished(tiny_weights: Path) -> None:
    told: list[Progress] = []
    options = Options(relax=False, starts=3, steps=0)
    predictions = lcoms.predict_all(["NaCl", "ZnO"], options, weights=tiny_weights, progress=told.append)
    assert told == []
    first = next(predictions)
    assert first.composition.reduced_formula == "NaCl"
    assert {one.formula for one in told} == {"NaCl"}
    assert [p.composition.reduced_formula for p in predictions] == ["ZnO"]
    alone = lcoms.predict("NaCl", relax=False, starts=3, steps=0, weights=tiny_weights)
    assert first.files() == alone.files()


def test_the_front_page_names_what_it_has() -> None:
    assert set(lcoms.__all__) <= set(dir(lcoms))
    for name in lcoms.__all__:
        assert getattr(lcoms, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'predictt'"):
        _ = lcoms.predictt
    assert lcoms.PredictionSpec().relaxation == RelaxationSpec()


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Return the public names of the package, with the methods and properties of its classes."""
    for name in lcoms.__all__:
        found = getattr(lcoms, name)
        if inspect.isfunction(found):
            yield name, found
        elif inspect.isclass(found):
            for inner, member in inspect.getmembers(found):
                function = member.fget if isinstance(member, property) else member
                if not inner.startswith("_") and (inspect.isfunction(function) or inspect.ismethod(function)):
                    yield f"{name}.{inner}", function


@pytest.mark.parametrize(("name", "function"), list(public_functions()))
def test_what_the_front_page_offers_is_typed_and_told(name: str, function: Callable[..., Any]) -> None:
    text, source = inspect.getdoc(function) or "", inspect.getsource(function)
    signature = inspect.signature(function)
    untyped = [
        p.name for p in signature.parameters.values() if p.name not in ("self", "cls") and p.annotation is p.empty
    ]
    assert text, f"{name} has no docstring"
    assert not untyped
    assert signature.return_annotation is not inspect.Signature.empty
    assert "Raises:" in text or not re.search(r"^ +raise \w", source, re.MULTILINE), f"{name} does not tell its errors"
    listed = re.search(r"Args:\n(.*?)(\n\n|$)", text, re.DOTALL)
    told = re.findall(r"^    (\w+(?:, \w+)*):", listed[1], re.MULTILINE) if listed else []
    assert set(", ".join(told).split(", ")) - {""} <= set(signature.parameters), (
        f"{name} tells of what it does not take"
    )


def test_classes_of_the_front_page_tell_their_shapes_and_units() -> None:
    for kind in (lcoms.Composition, lcoms.Crystal, lcoms.Prediction, lcoms.PredictionSpec, lcoms.Predictor):
        assert re.search(r"Attributes:|Args:", inspect.getdoc(kind) or ""), kind
    assert "angstrom" in (lcoms.Crystal.__doc__ or "")
    assert "(3, 3)" in (lcoms.Crystal.__doc__ or "")
