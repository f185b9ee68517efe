"""Whatever a file or an option contains, a command ends with 0 or 2 and a sentence, and executes none of it.

The long run is benchmarks/fuzz.py.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz import KINDS, WEIGHTS, Example, Place, a_place, fuzz, try_out

from lcoms.cli.main import run
from lcoms.evaluate.judging import OutOfTime
from lcoms.structure.crystal import Composition


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with a_place() as made:
        yield made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_that_are_made_up_or_damaged(kind: str, place: Place) -> None:
    assert fuzz(kind, place, 12) >= 9


@pytest.mark.parametrize("fault", [ValueError("planted"), RecursionError(), KeyError("Na")])
def test_a_fault_is_found_and_made_small(fault: Exception, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Composition.from_formula

    def broken(text: str, *, ordered_approximation: bool = False) -> Composition:
        if "Fe" in text:
            raise fault
        return read(text, ordered_approximation=ordered_approximation)

    monkeypatch.setattr("lcoms.structure.crystal.Composition.from_formula", staticmethod(broken))
    with pytest.raises(type(fault)) as caught:
        fuzz("formulas", place, 300)
    assert "Fe" in str(caught.value.__notes__)
    assert len(str(caught.value.__notes__)) < 300


def test_a_command_without_end_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.LONGEST", 0.05)
    monkeypatch.setattr("fuzz.run", lambda _: time.sleep(20))
    with pytest.raises(OutOfTime):
        try_out(Example(("predict", "NaCl")), place)


class _Payload:
    """Creates a folder when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def _pickles(folder: Path, mark: Path) -> dict[str, bytes]:
    torch.save({"state_dict": _Payload(mark)}, folder / "torch")
    np.save(folder / "array.npy", np.array([_Payload(mark)], dtype=object), allow_pickle=True)
    return {
        "pickle": pickle.dumps(_Payload(mark)),
        "torch": (folder / "torch").read_bytes(),
        "numpy": (folder / "array.npy").read_bytes(),
    }


def _readers(place: Place) -> list[Example]:
    predict = ("predict", "NaCl", "--no-relax", "--weights", "{folder}", "--out", "{out}")
    ingest, rank = ("data", "ingest", "{file}", "--out", "{out}"), ("rank", "{file}", "--oracle", "toy_oracles:Springs")
    salt, store = str(place.inputs.cif), str(place.inputs.store)
    return [
        *(Example(predict, name) for name in WEIGHTS),
        Example(("predict", "NaCl", "--weights", "nowhere", "--spec", "{file}"), "spec.toml"),
        *(Example(ingest, f"x{suffix}") for suffix in (".parquet", ".csv", ".json", ".jsonl", ".json.gz", ".extxyz")),
        *(Example(rank, name) for name in ("x.cif", "POSCAR", "x.extxyz")),
        Example(("rank", salt, "--oracle", "toy_oracles:Springs", "--hull", "{file}"), "hull.json"),
        Example(("train", "cdvae", store, "--out", "{out}", "--start-from", "{file}"), "x.safetensors"),
        Example(("predict", "NaCl", "--weights", str(place.inputs.weights), "--oracle", "chgnet:{file}"), "x.pth.tar"),
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["pickle", "torch", "numpy"])
def test_nothing_that_is_read_is_unpickled(form: str, place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    content = _pickles(tmp_path, mark)[form]
    pickle.loads(pickle.dumps(_Payload(tmp_path / "control")))
    assert (tmp_path / "control").is_dir()
    for example in _readers(place):
        try_out(example._replace(content=content), place)
        assert not mark.exists(), example


@pytest.mark.parametrize("form", ["!!python/object/apply:os.mkdir [{}]", "__import__('os').mkdir('{}')", "$(mkdir {})"])
@pytest.mark.parametrize("command", ["set", "model", "oracle", "formula", "config"])
def test_no_option_is_evaluated(form: str, command: str, place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text, store, out = form.format(mark), str(place.inputs.store), str(tmp_path / "out")
    arguments = {
        "set": ["train", "cdvae", store, "--out", out, "--set", f"epochs={text}"],
        "model": ["train", "cdvae", store, "--out", out, "--model", f"channels={text}"],
        "oracle": ["rank", str(place.inputs.cif), "--oracle", f"toy_oracles:Springs,k={text}"],
        "formula": ["predict", "--", text],
        "config": ["train", "megnet", store, "--out", out, "--set", text],
    }[command]
    assert run(arguments) == 2
    assert not mark.exists()
