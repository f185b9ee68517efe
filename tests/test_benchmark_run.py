"""Methods under one protocol: identical starts, one row per run including failures, and resuming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_models_megnet import SMALL, new_model
from tiny import caesium_chloride, rock_salt, write_weights, wurtzite

from lcoms.benchmark import methods, searches
from lcoms.benchmark.choice import choose_methods
from lcoms.benchmark.methods import METHODS, Case, Files, Method, load_models, places, settings_of
from lcoms.benchmark.protocol import BenchmarkConfig, Judge, Task, make_start, why_unphysical
from lcoms.benchmark.rows import ROWS_FILE, Judged, Row, read_rows
from lcoms.benchmark.run import SEARCHES, run_benchmark
from lcoms.benchmark.searches import BelievedEnergy, Found, cells_of, is_milestone
from lcoms.core.errors import ConfigError, LcomsError
from lcoms.evaluate.references import Reference
from lcoms.models.energy_network import EnergyNetwork
from lcoms.models.megnet import save_megnet
from lcoms.models.surrogate_file import load_surrogate, save_surrogate
from lcoms.models.weights import SURROGATE_FILE
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.references import References
from lcoms.relax.result import RelaxConfig
from lcoms.structure.crystal import Composition, Crystal, crystal_from_dict
from lcoms.structure.symmetry import space_group_number
from lcoms.templates.library import LatentLibrary

QUICK = RelaxConfig(fmax=0.05, max_steps=80)
CONFIG = BenchmarkConfig(
    judge="analytic", steps=4, points=3, budget=25, tpe_budget=20, relaxations=4, max_units=2, effort="fast",
    relax=QUICK, search_relax=replace(QUICK, max_steps=20),
)  # fmt: skip
BY_START = ["lcoms", "cdvae", "start"]


def reference(crystal: Crystal) -> Reference:
    return Reference(crystal.composition.reduced_formula, crystal.composition.reduced, crystal)


SALT, CESIUM = reference(rock_salt()), reference(caesium_chloride())
TASKS = [Task("paper", SALT), Task("paper", CESIUM)]


def run(
    out: Path, tasks: list[Task], names: list[str], folder: Path, *, seeds: int = 1, **options: object
) -> list[Row]:
    config = options.pop("config", CONFIG)
    files = options.pop("files", Files(folder))
    chosen = {"paper": names, "formula": names}
    run_benchmark(tasks, chosen, range(seeds), config, files, out, **options)  # type: ignore[arg-type]
    return read_rows([out])


def test_methods_from_a_start_share_it(tiny_weights: Path, tmp_path: Path) -> None:
    rows = run(tmp_path, TASKS, BY_START, tiny_weights, seeds=2)
    assert len(rows) == 2 * 3 * 2
    starts = {(row.compound, row.seed): row.start for row in rows}
    assert len({str(start) for start in starts.values()}) == 4
    for row in rows:
        assert row.start == starts[row.compound, row.seed]
        assert row.status == "ok" or row.reason
        assert row.known is not None
        assert row.known.same_structure is (row.known.space_group in (221, 225))
    (one,) = [row for row in rows if row.method == "start" and (row.compound, row.seed) == ("NaCl", 0)]
    assert one.answer == one.start
    assert one.relaxed is not None
    assert one.answer is not None
    # It lies in a minimum already.
    assert one.relaxed.energy == pytest.approx(one.answer.energy, abs=2e-3)
    assert (one.n_evaluations, set(one.seconds)) == (0, {"start", "relax"})


def test_a_start_is_a_random_cell_in_a_minimum() -> None:
    start = make_start(TASKS[0], 3, AnalyticOracle(), QUICK)
    assert start.crystal.composition == rock_salt().composition
    (found,) = AnalyticOracle().evaluate([start.crystal])
    assert np.abs(found.forces).max() < 0.05 + 1e-3
    again = make_start(TASKS[0], 3, AnalyticOracle(), QUICK)
    assert (again.crystal.lattice == start.crystal.lattice).all()
    assert start.seconds > 0
    with pytest.raises(LcomsError, match="none of 10 random cells could be relaxed"):
        make_start(TASKS[0], 3, AnalyticOracle(), replace(QUICK, volume_bounds=(1e-3, 2e-3)))


def test_descent_is_split_and_its_places_are_judged(tiny_weights: Path, tmp_path: Path) -> None:
    rows = {row.method: row for row in run(tmp_path, TASKS[:1], BY_START, tiny_weights)}
    row = rows["lcoms"]
    assert len(row.descent) == CONFIG.steps + 1
    assert [point.evaluations for point in row.progress] == [0, 2, 4] == places(4, 3)
    assert [point.predicted for point in row.progress] == [row.descent[0], row.descent[2], row.descent[4]]
    assert row.progress[-1].judged == row.answer
    # The same random numbers decode the start here and for the autoencoder alone.
    assert row.progress[0].judged == rows["cdvae"].answer
    assert set(row.seconds) <= {"start", "encode", "descent", "decode", "relax"} <= set(row.seconds) | {"relax"}
    assert places(50, 0) == []
    assert places(0, 5) == [0]


def test_the_judge_tells_the_known_structure() -> None:
    judge = Judge(AnalyticOracle(), QUICK)
    (known, other) = judge.look([rock_salt(), caesium_chloride(3.4, (11, 17))], SALT)
    assert (known.strict, known.same_group, known.space_group, known.note) == (True, True, 225, "")
    assert (other.strict, other.same_group, other.space_group) == (False, False, 221)
    assert known.energy == pytest.approx(AnalyticOracle().evaluate([rock_salt()])[0].energy / 2)
    assert known.compared == known.energy  # no references: the total
    relaxed, ended = judge.look_relaxed(rock_salt(5.0), SALT)
    assert ended == "converged"
    assert relaxed.energy == pytest.approx(judge.known(TASKS[0]).energy, abs=1e-3)  # type: ignore[union-attr]
    close = Crystal(4 * np.eye(3), np.array([[0, 0, 0], [0.1, 0, 0]]), np.array([11, 17]))
    (note,) = judge.look([close], SALT)
    assert "atoms come as close as 0.40 angstrom" in note.note
    assert note.compared is None


def test_resume_gives_the_rows_of_an_unbroken_run(tiny_weights: Path, tmp_path: Path) -> None:
    names = [*BY_START, "random"]
    whole = run(tmp_path / "whole", TASKS, names, tiny_weights)
    lines = (tmp_path / "whole" / ROWS_FILE).read_text().splitlines(keepends=True)
    assert len(lines) == 8
    (tmp_path / "broken").mkdir()
    broken = tmp_path / "broken" / ROWS_FILE
    broken.write_text("".join(lines[:5]) + lines[5][:100])  # within the starts of the second compound
    seen: list[Row] = []
    rows = run(tmp_path / "broken", TASKS, names, tiny_weights, on_row=seen.append)
    assert len(seen) == 3
    assert broken.read_text().startswith("".join(lines[:5]))
    assert [row.without_clock() for row in rows] == [row.without_clock() for row in whole]
    before = broken.read_text()
    assert run_benchmark(TASKS, {"paper": names}, [0], CONFIG, Files(tiny_weights), tmp_path / "broken") == 8
    assert broken.read_text() == before


def test_one_process_has_one_thread_as_each_of_several(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    look = Judge.look

    def counted(self: Judge, crystals: Sequence[Crystal], reference: Reference) -> list[Judged]:
        threads.append(torch.get_num_threads())
        return look(self, crystals, reference)

    monkeypatch.setattr(Judge, "look", counted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(tmp_path, TASKS[:1], ["start"], tiny_weights)
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}


def test_several_processes_give_the_same_rows(tiny_weights: Path, tmp_path: Path) -> None:
    alone = run(tmp_path / "1", TASKS[:1], ["start", "random"], tiny_weights)
    both = run(tmp_path / "2", TASKS[:1], ["start", "random"], tiny_weights, processes=2)
    assert [row.without_clock() for row in both] == [row.without_clock() for row in alone]


def test_other_settings_need_another_folder(tiny_weights: Path, tmp_path: Path) -> None:
    run(tmp_path, TASKS[:1], ["lcoms"], tiny_weights)
    with pytest.raises(ConfigError, match="holds lcoms for NaCl with another steps; name another folder"):
        run(tmp_path, TASKS[:1], ["lcoms"], tiny_weights, config=replace(CONFIG, steps=5))
    # What a method does not depend on may change.
    assert len(run(tmp_path, TASKS[:1], ["lcoms"], tiny_weights, config=replace(CONFIG, budget=7))) == 1


def test_rows_of_other_structures_with_the_same_name_are_not_reused(tiny_weights: Path, tmp_path: Path) -> None:
    run(tmp_path, TASKS[:1], ["start"], tiny_weights)
    double = Crystal(rock_salt().lattice * [[1], [1], [2]], np.zeros((4, 3)), np.array([11, 11, 17, 17]))
    for other in (Task("paper", SALT, "another table"), Task("paper", replace(SALT, crystal=double))):
        with pytest.raises(ConfigError, match=r"holds start for another NaCl, NaCl with 2 atoms of '26 compounds'"):
            run(tmp_path, [other], ["start"], tiny_weights)


def test_the_judge_counts_enantiomorphs_as_one_structure() -> None:
    """Trigonal tellurium, P3121, and its mirror image, P3221."""
    hexagonal = np.array([[4.46, 0, 0], [-2.23, 4.46 * 0.75**0.5, 0], [0, 0, 5.93]])
    u = 0.263
    right = Crystal(hexagonal, np.array([[u, 0, 1 / 3], [0, u, 2 / 3], [-u, -u, 0]]) % 1, np.full(3, 52))
    left = Crystal(hexagonal * [1, 1, -1], right.frac_coords, right.atomic_numbers)
    (judged,) = Judge(AnalyticOracle(), QUICK).look([left], reference(right))
    assert {judged.space_group, space_group_number(right)} == {152, 154}
    assert (judged.strict, judged.same_group) == (True, True)


@pytest.mark.parametrize("name", ["lcoms", "lcoms-decoded"])
def test_starts_of_a_formula_leave_the_compound_itself_out(
    name: str, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    excluded: list[list[Composition]] = []
    nearest = LatentLibrary.nearest

    def spied(library: LatentLibrary, composition: Composition, *arguments: Any, **options: Any) -> Any:
        excluded.append(list(options["exclude"]))
        return nearest(library, composition, *arguments, **options)

    monkeypatch.setattr(LatentLibrary, "nearest", spied)
    run(tmp_path, [Task("formula", SALT)], [name], tiny_weights)
    assert excluded
    assert all(left_out == [SALT.composition] for left_out in excluded)


def test_a_failing_method_is_a_row_with_its_reason(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: Case) -> Found:
        raise ZeroDivisionError("the bridge is gone\nand more")

    def refuses(case: Case) -> Found:
        raise LcomsError(f"{case.task.cell} is not for me.")

    monkeypatch.setitem(METHODS, ("paper", "breaks"), Method(breaks, ("paper",)))
    monkeypatch.setitem(METHODS, ("paper", "refuses"), Method(refuses, ("paper",)))
    rows = {row.method: row for row in run(tmp_path, TASKS[:1], ["breaks", "refuses", "start"], tiny_weights)}
    assert (rows["breaks"].status, rows["breaks"].reason) == ("failed", "ZeroDivisionError: the bridge is gone")
    assert (rows["refuses"].status, rows["refuses"].reason) == ("failed", "NaCl is not for me.")
    assert rows["breaks"].answer is rows["breaks"].relaxed is None
    assert rows["start"].status == "ok"


def test_no_start_and_unknown_elements_are_rows_too(tiny_weights: Path, tmp_path: Path) -> None:
    strange = [Task("paper", reference(rock_salt(4.0, (3, 9))))]
    (row,) = run(tmp_path / "a", strange, ["lcoms"], tiny_weights)
    assert (row.status, row.answer) == ("failed", None)
    assert "no crystal with Li or F" in row.reason
    none = replace(CONFIG, relax=replace(QUICK, volume_bounds=(1e-3, 2e-3)))
    rows = run(tmp_path / "b", TASKS[:1], ["lcoms", "start"], tiny_weights, config=none)
    assert all(row.reason.startswith("no start: none of 10 random cells") for row in rows)
    assert rows[0].known is None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Files of small untrained models of every kind."""
    folder = tmp_path_factory.mktemp("models")
    weights, sl = write_weights(folder / "weights"), write_weights(folder / "sl")
    other = load_surrogate(sl / SURROGATE_FILE)[0]
    (network,) = other.networks
    assert isinstance(network, EnergyNetwork)
    network.head.bias += 0.5  # another one, of the same autoencoder
    save_surrogate(other, sl / SURROGATE_FILE)
    save_megnet(new_model(), folder / "megnet.safetensors", metadata={})
    save_megnet(new_model(replace(SMALL, smooth=True)), folder / "input.safetensors", metadata={})
    return Files(weights, sl, folder / "megnet.safetensors", folder / "input.safetensors")


@pytest.mark.parametrize("track", ["paper", "formula"])
def test_every_method_gives_a_row(track: str, files: Files, tmp_path: Path) -> None:
    task = Task(track, SALT)  # type: ignore[arg-type]
    names, left_out = choose_methods(task.track, None, files)
    assert not left_out
    assert set(names) == {name for of, name in METHODS if of == track} - {"dft-pso"}
    config = replace(CONFIG, dft="analytic", dft_relaxations=4, steps=2, points=2)
    rows = run(tmp_path, [task], [*names, "dft-pso"], tmp_path, files=files, config=config)
    assert {row.method for row in rows} == {*names, "dft-pso"}
    for row in rows:
        assert row.status == "ok", (row.method, row.reason)
        assert row.answer is not None
        assert crystal_from_dict(row.answer.crystal).composition.reduced == SALT.composition
    by_name = {row.method: row for row in rows}
    assert (by_name["megnet-random"].n_evaluations, by_name["megnet-tpe"].n_evaluations) == (25, 20)
    assert (by_name["random"].n_evaluations, by_name["dft-pso"].n_evaluations) == (config.relaxations, 4)
    assert by_name["random"].single_points > config.relaxations
    lowest = [point.predicted for point in by_name["megnet-random"].progress]
    assert lowest == sorted(lowest, reverse=True)  # type: ignore[type-var]
    if track == "paper":
        assert by_name["sl"].descent != by_name["lcoms"].descent
        assert len(by_name["input-coms"].descent) == 3
        sizes = {row.method: len(row.answer.crystal["atomic_numbers"]) for row in rows if row.answer}
        assert set(sizes.values()) == {2}


def test_energies_that_no_compound_has_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against elements at +10 eV/atom rock salt has a formation energy far below -6 eV/atom."""
    plain = BelievedEnergy(AnalyticOracle(), QUICK)([rock_salt()])
    assert np.isfinite(plain[0].energy_per_atom)
    high = References("analytic", {11: 10.0, 17: 10.0})
    assert "which no compound has" in why_unphysical(rock_salt(), 0.0, high)
    assert why_unphysical(rock_salt(), 5.0, high) == why_unphysical(rock_salt(), -50.0, None) == ""
    monkeypatch.setattr(searches, "load_references", lambda _: high)
    (answer,) = BelievedEnergy(AnalyticOracle(), QUICK)([rock_salt()])
    assert np.isnan(answer.energy_per_atom)
    assert answer.crystal.composition == rock_salt().composition
    found = searches.search_with_judge("cells", AnalyticOracle(), TASKS[0], 0, CONFIG)
    assert (found.crystal, found.n_evaluations) == (None, CONFIG.relaxations)
    assert found.reason == f"no energy: {CONFIG.relaxations} evaluations failed and 0 proposals were infeasible"


def test_a_long_search_goes_on_from_where_it_was_broken_off(tmp_path: Path, tiny_weights: Path) -> None:
    config = replace(CONFIG, dft="analytic", dft_relaxations=4)
    task = TASKS[0]
    (whole,) = run(tmp_path, [task], ["dft-pso"], tiny_weights, config=config)
    (log,) = (tmp_path / SEARCHES).glob("*/*.jsonl")
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:-1]))
    (tmp_path / ROWS_FILE).unlink()
    (again,) = run(tmp_path, [task], ["dft-pso"], tiny_weights, config=config)
    assert log.read_text().splitlines()[: len(lines) - 1] == [line.strip() for line in lines[:-1]]
    assert 0 < again.single_points < whole.single_points
    same = replace(again, single_points=whole.single_points)
    assert same.without_clock() == whole.without_clock()


def test_a_search_from_the_formula_shares_its_budget_among_cells() -> None:
    task = Task("formula", reference(wurtzite()))
    assert [cell.formula for cell in cells_of(task, 3)] == ["ZnO", "Zn2O2", "Zn3O3"]
    assert [cell.formula for cell in cells_of(Task("paper", task.reference), 3)] == ["Zn2O2"]
    assert [n for n in range(1, 1001) if is_milestone(n)] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


def test_methods_are_chosen_by_name_and_by_what_is_there(files: Files) -> None:
    bare = Files(files.weights)
    names, left_out = choose_methods("paper", None, bare)
    assert names == ["lcoms", "cdvae", "start", "random", "evolution"]
    assert left_out[0] == "sl is skipped: it needs --sl FOLDER."
    assert choose_methods("formula", ["random", "cdvae"], bare) == (["random"], [])
    with pytest.raises(ConfigError, match="there is no method 'bo'; choose from lcoms, sl, cdvae"):
        choose_methods("paper", ["bo"], bare)
    with pytest.raises(ConfigError, match="method megnet-pso needs a trained model; give it with --megnet FILE"):
        choose_methods("paper", ["megnet-pso"], bare)
    with pytest.raises(ConfigError, match="relaxations must be at least 1"):
        BenchmarkConfig(relaxations=0)


def test_the_baseline_must_have_the_same_autoencoder(files: Files, tmp_path: Path) -> None:
    assert files.sl is not None
    assert files.weights is not None
    other = write_weights(tmp_path / "other")
    path = other / methods.CDVAE_FILE
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(LcomsError, match=r"damaged|another CD-VAE"):
        load_models(replace(files, sl=other))


def test_the_baseline_differs_in_conservatism_only(files: Files, tmp_path: Path) -> None:
    plain = load_models(files).sl
    assert plain is not None
    for name, value in (("epochs", 7), ("conservatism", "off")):
        folder = write_weights(tmp_path / name)
        other = load_surrogate(folder / SURROGATE_FILE)[0]
        other.config = replace(other.config, **{name: value})
        save_surrogate(other, folder / SURROGATE_FILE)
        if name == "conservatism":
            assert load_models(replace(files, sl=folder)).sl is not None
            continue
        with pytest.raises(ConfigError, match="was trained with another epochs than the weights"):
            load_models(replace(files, sl=folder))


def test_rows_of_one_comparison_name_one_set_of_weights(files: Files) -> None:
    models = load_models(files)
    settings = [settings_of(name, "paper", CONFIG, models) for name in ("lcoms", "sl", "cdvae")]
    assert {one["weights"] for one in settings} == {models.weights.digest}
    assert settings[1]["sl"] != models.weights.digest
