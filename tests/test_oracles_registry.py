"""Oracles are found by name, and an unknown name gives one sentence."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import rock_salt

from lcoms.core.errors import ConfigError, OracleError
from lcoms.oracles import dft, installed
from lcoms.oracles.analytic import AnalyticOracle
from lcoms.oracles.registry import DEFAULT_ORACLE, NAMES, identity_of, make_oracle
from lcoms.oracles.wrappers import cache_key
from lcoms.structure.crystal import Crystal

MODULE = """
from ase.calculators.emt import EMT
from lcoms.oracles.analytic import AnalyticOracle

READY = EMT()
NUMBER = 3
SEEN = {}

def factory(scale=1.0, words="none", numbers=()):
    SEEN.update(scale=scale, words=words, numbers=numbers)
    return EMT()

def broken():
    raise RuntimeError("no licence\\nsecond line")

class Mine(AnalyticOracle):
    pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "made_for_registry.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "made_for_registry"  # type: ignore[misc]
    sys.modules.pop("made_for_registry", None)


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    real = importlib.util.find_spec
    for target in (installed, dft):
        monkeypatch.setattr(target, "find_spec", lambda name: None if name == package else real(name))


def test_the_closed_form_needs_nothing() -> None:
    oracle = make_oracle("analytic")
    assert isinstance(oracle, AnalyticOracle)
    assert oracle.name == "analytic"
    assert make_oracle(" analytic ").evaluate([rock_salt()])[0].ok


@pytest.mark.parametrize("name", ["nothing", "chgnet:1.0", "chgnet:", "analytic:2", "", "a b:c"])
def test_unknown_names_are_answered_with_what_there_is(name: str) -> None:
    with pytest.raises(OracleError) as caught:
        make_oracle(name)
    text = str(caught.value)
    assert all(known in text for known in NAMES)
    assert DEFAULT_ORACLE in NAMES
    assert "import path" in text


def test_calculators_come_by_import_path(module: str) -> None:
    for path in ("READY", "factory"):
        oracle = make_oracle(f"{module}:{path}")
        assert oracle.name == f"{module}:{path}"
        assert "No EMT-potential" in oracle.evaluate([rock_salt()])[0].status
    assert make_oracle("ase.calculators.emt:EMT?fixed_cutoff=True").name.startswith("ase.calculators.emt:EMT")


def test_options_after_the_question_mark_reach_the_factory(module: str) -> None:
    make_oracle(f"{module}:factory?scale=0.5, words=a b,numbers=[1, 2]")
    assert sys.modules[module].SEEN == {"scale": 0.5, "words": "a b", "numbers": [1, 2]}


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ("scale=2,words='a,b'", {"scale": 2, "words": "a,b", "numbers": ()}),
        ("words='a',numbers=\"b\",scale=1", {"scale": 1, "words": "a", "numbers": "b"}),
        ("numbers=[(1,2),(3,4)],scale=2", {"scale": 2, "words": "none", "numbers": [(1, 2), (3, 4)]}),
        ("words={'a': [1,2], 'b': 3},scale=2", {"scale": 2, "words": {"a": [1, 2], "b": 3}, "numbers": ()}),
        ("words=it's,scale=2", {"scale": 2, "words": "it's", "numbers": ()}),
    ],
)
def test_commas_within_brackets_and_quotation_marks_separate_nothing(
    module: str, options: str, seen: dict[str, object]
) -> None:
    make_oracle(f"{module}:factory?{options}")
    assert seen == sys.modules[module].SEEN


def test_an_oracle_of_ones_own_takes_the_name_it_was_called_by(module: str) -> None:
    oracle = make_oracle(f"{module}:Mine")
    assert oracle.name == f"{module}:Mine"
    assert oracle.evaluate([rock_salt()])[0].ok


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        ("broken", "cannot be made: RuntimeError: no licence$"),
        ("NUMBER", "is neither an ASE calculator nor an energy model"),
        ("missing", "has no attribute 'missing'"),
        ("factory?scal=2", "cannot be made: TypeError: .*unexpected keyword argument 'scal'"),
    ],
)
def test_what_a_module_does_wrong_is_one_sentence(module: str, ending: str, sentence: str) -> None:
    with pytest.raises(OracleError, match=sentence):
        make_oracle(f"{module}:{ending}")


def test_options_must_be_pairs(module: str) -> None:
    with pytest.raises(ConfigError, match="write key=value"):
        make_oracle(f"{module}:factory?scale")


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OracleError, match="pip install no_such_package_here"):
        make_oracle("no_such_package_here.calculators:Best")
    without(monkeypatch, "chgnet")
    with pytest.raises(OracleError, match=r'pip install "lcoms\[chgnet\]"'):
        make_oracle("chgnet:r2scan")
    without(monkeypatch, "gpaw")
    with pytest.raises(OracleError, match="make gpaw"):
        make_oracle("gpaw")


def test_settings_of_gpaw_are_read_from_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dft, "find_spec", lambda name: name)
    monkeypatch.setattr(dft, "_setup_elements", lambda: frozenset({"Na", "Cl"}))
    monkeypatch.setattr(dft.shutil, "which", lambda name: name)
    assert make_oracle("gpaw").name == "gpaw"
    oracle = make_oracle("gpaw:cutoff=500,kpts=2,ranks=2,spin=true")
    assert oracle.name == "gpaw:cutoff=500.0,kpts=2.0,spin=true,ranks=2"
    assert make_oracle(oracle.name).name == oracle.name
    crystal = Crystal(4 * np.eye(3), np.zeros((1, 3)), np.array([11]))
    two, other = make_oracle("gpaw:ranks=2,log=here"), make_oracle("gpaw:cutoff=500")
    assert cache_key(two, crystal) == cache_key(make_oracle("gpaw"), crystal) != cache_key(other, crystal)
    with pytest.raises(ConfigError, match="did you mean cutoff"):
        make_oracle("gpaw:cutof=300")
    with pytest.raises(ConfigError, match="must be positive"):
        make_oracle("gpaw:kpts=0")


def test_settings_on_which_no_energy_depends_are_no_part_of_the_identity() -> None:
    assert identity_of("gpaw:ranks=2") == identity_of("gpaw:log=here,ranks=4") == identity_of("gpaw") == "gpaw"
    assert identity_of("gpaw:ranks=2,cutoff=500") == identity_of("gpaw:cutoff=500.0") == "gpaw:cutoff=500.0"
    assert identity_of("gpaw:ranks=0") == "gpaw:ranks=0"  # no oracle
    assert identity_of("chgnet:r2scan") == "chgnet:r2scan"
