"""Every search option typed on the command line reaches the options of the package."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from lcoms.cli.groups import with_groups
from lcoms.cli.options import formulas_of
from lcoms.cli.search_options import SearchOptions, _flat, options_of
from lcoms.core.errors import FormulaError
from lcoms.prediction.presets import Options

TYPED = {
    "n": 3,
    "formula_units": "1-2",
    "max_atoms": 9,
    "space_group": "225",
    "crystal_system": "cubic",
    "volume": 44.0,
    "density": 2.1,
    "tolerance": 0.2,
    "cell": "4 4 4 90 90 90",
    "cell_tolerance": 0.1,
    "prototype": ["rocksalt"],
    "exclude_prototype": ["wurtzite"],
    "max_e_above": 0.05,
    "effort": "fast",
    "starts": 3,
    "steps": 2,
    "start": "prior",
    "symmetry": False,
    "without_same": True,
    "relax": False,
    "oracle": "analytic",
    "committee": "none",
    "n_relax": 4,
    "random_symmetric": 7,
    "fmax": 0.02,
    "pressure": 5.0,
    "soft_modes": 2,
    "phonons": 2,
    "temperature": 100.0,
    "seed": 8,
}


def search_options(**typed: Any) -> SearchOptions:
    """Return the options as the command line makes them."""
    made: list[SearchOptions] = []

    @with_groups
    def command(*, asked: SearchOptions) -> None:
        made.append(asked)

    names = inspect.signature(command).parameters
    command(**{name: typed.get(name, option.default) for name, option in names.items()})
    return made[0]


def test_every_option_is_tried_here() -> None:
    assert {*TYPED, "spec"} == {name for name, _ in _flat(SearchOptions())}
    assert search_options() == SearchOptions()


def test_options_that_are_not_typed_have_the_defaults_of_the_package() -> None:
    assert options_of(SearchOptions()) == Options()


@pytest.mark.parametrize("name", TYPED)
def test_an_option_that_is_typed_changes_what_is_asked_for(name: str) -> None:
    assert options_of(search_options(**{name: TYPED[name]})) != options_of(SearchOptions())


def test_a_file_of_formulas_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(FormulaError, match=r"none\.txt: .* \(No such file or directory\)"):
        formulas_of(tmp_path / "none.txt")
    (tmp_path / "bytes.txt").write_bytes(b"Na\xe4")
    with pytest.raises(FormulaError, match=r"bytes\.txt: .* \(not UTF-8 text\)"):
        formulas_of(tmp_path / "bytes.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_formulas_may_have_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list.txt").write_bytes("NaCl\r\nFe₂O₃ # hematite\r\n".encode(encoding))
    assert formulas_of(tmp_path / "list.txt") == ["NaCl", "Fe₂O₃"]
