"""Configurations survive a round trip through JSON, and every mistake gives one clear sentence."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcoms.core.config import from_dict, merged, to_dict, with_overrides
from lcoms.core.errors import ConfigError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Encoder:
    n_layers: int = 3
    cutoff: float = 7.0


@dataclass(frozen=True)
class Config:
    learning_rate: float = 1e-3
    n_steps: int = 50
    name: str = "fast"
    resume: bool = False
    kind: Literal["fast", "paper"] = "fast"
    weights: tuple[float, ...] = (1.0, 2.0)
    pair: tuple[int, str] = (1, "a")
    limit: int | None = None
    out: Path = Path("runs")
    colour: Colour = Colour.RED
    scales: dict[int, float] = field(default_factory=dict)
    encoder: Encoder = Encoder()

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise ValueError("n_steps must be at least 1.")


@dataclass(frozen=True)
class Needy:
    n_atoms: int


FULL = Config(
    learning_rate=3.0,
    n_steps=7,
    name="none",
    resume=True,
    kind="paper",
    weights=(0.5,),
    pair=(2, "b"),
    limit=4,
    out=Path("a/b"),
    colour=Colour.BLUE,
    scales={8: 0.25},
    encoder=Encoder(n_layers=9, cutoff=5.5),
)


@pytest.mark.parametrize("config", [Config(), FULL])
def test_round_trip_through_json(config: Config) -> None:
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


@given(
    st.builds(
        Config,
        learning_rate=st.floats(allow_nan=False, allow_infinity=False),
        n_steps=st.integers(min_value=1),
        name=st.text(),
        resume=st.booleans(),
        weights=st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
        limit=st.none() | st.integers(),
        scales=st.dictionaries(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_round_trip_of_anything(config: Config) -> None:
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_absent_keys_keep_their_defaults() -> None:
    assert from_dict(Config, {"encoder": {"cutoff": 4}}) == Config(encoder=Encoder(cutoff=4.0))
    assert isinstance(from_dict(Config, {"learning_rate": 1}).learning_rate, float)


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("learning_rate=2e-4", {"learning_rate": 2e-4}),
        ("n_steps=1e3", {"n_steps": 1000}),
        ("resume=yes", {"resume": True}),
        ("resume=False", {"resume": False}),
        ("name=a=b", {"name": "a=b"}),
        ("kind = paper", {"kind": "paper"}),
        ("weights=1,2.5,3", {"weights": (1.0, 2.5, 3.0)}),
        ("weights=[4]", {"weights": (4.0,)}),
        ("weights=()", {"weights": ()}),
        ("pair=(3, x)", {"pair": (3, "x")}),
        ("limit=12", {"limit": 12}),
        ("limit=none", {"limit": None}),
        ("out=/tmp/x", {"out": Path("/tmp/x")}),
        ("colour=blue", {"colour": Colour.BLUE}),
        ("encoder.n_layers=6", {"encoder": Encoder(n_layers=6)}),
    ],
)
def test_overrides_convert_to_the_type_of_the_field(override: str, change: dict[str, Any]) -> None:
    base = Config(limit=3, resume=override != "resume=yes")
    new = with_overrides(base, [override])
    assert new == dataclasses.replace(base, **change)
    assert [type(v) for v in to_dict(new).values()] == [
        type(v) for v in to_dict(dataclasses.replace(base, **change)).values()
    ]


def test_later_overrides_win_and_the_original_stays() -> None:
    base = Config()
    assert with_overrides(base, ["n_steps=2", "n_steps=3"]).n_steps == 3
    assert base.n_steps == 50
    assert with_overrides(base, []) == base


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learning_rat=1", "unknown option learning_rat; did you mean learning_rate?"),
        ("encoder.nlayers=1", "unknown option encoder.nlayers; did you mean encoder.n_layers?"),
        ("n_steps", "'n_steps' is not a setting; write it as key=value."),
        ("=3", "'=3' is not a setting; write it as key=value."),
        ("n_steps=ten", "option n_steps: expected a whole number, not 'ten'."),
        ("n_steps=2.5", "option n_steps: expected a whole number, not '2.5'."),
        ("n_steps=inf", "option n_steps: expected a whole number, not 'inf'."),
        ("n_steps=5_0", "option n_steps: expected a whole number, not '5_0'."),
        ("learning_rate=1_0.5", "option learning_rate: expected a number, not '1_0.5'."),
        ("learning_rate=nan", "option learning_rate: expected a number, not 'nan'."),
        ("resume=perhaps", "option resume: expected true or false, not 'perhaps'."),
        ("kind=papper", "option kind: 'papper' is not among fast, paper; did you mean paper?"),
        ("colour=red2", "option colour: 'red2' is not among red, blue; did you mean red?"),
        ("limit=a", "option limit: expected a whole number, not 'a'."),
        ("pair=1", "option pair: expected 2 values, not 1."),
        ("n_steps.x=1", "option n_steps has no options of its own; write n_steps=value."),
        ("n_steps=0", "n_steps must be at least 1."),
        ("encoder=3", "option encoder: expected a group of options, not '3'."),
        ("scales=3", "option scales: expected names with values, not '3'; set it in a file or from Python."),
    ],
)
def test_bad_overrides_get_one_sentence(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_overrides(Config(), [override])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"n_step": 3}, "unknown option n_step; did you mean n_steps?"),
        ({"encoder": {"qqq": 3}}, "unknown option encoder.qqq; known ones are n_layers, cutoff."),
        ({"n_steps": True}, "option n_steps: expected a whole number, not True."),
        ({"n_steps": "7"}, "option n_steps: expected a whole number, not '7'."),
        ({"resume": 1}, "option resume: expected true or false, not 1."),
        ({"name": 1}, "option name: expected a text, not 1."),
        ({"weights": "1,2"}, "option weights: expected several values, not '1,2'."),
        ({"encoder": 3}, "option encoder: expected a group of options, not 3."),
        ({"encoder": []}, "option encoder: expected a group of options, not []."),
    ],
)
def test_bad_mappings_get_one_sentence(mapping: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(Config, mapping)
    assert str(caught.value) == message


def test_a_field_without_default_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="option n_atoms is missing"):
        from_dict(Needy, {})


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="option learning_rate: inf cannot be written"):
        to_dict(Config(learning_rate=float("inf")))


@dataclass(frozen=True)
class Leaf:
    depth: int = 1
    width: float = 0.5


@dataclass(frozen=True)
class Branch:
    leaf: Leaf = field(default_factory=Leaf)
    spare: Leaf | None = None
    names: tuple[str, ...] = ("a", "b")


@dataclass(frozen=True)
class Tree:
    branch: Branch = field(default_factory=Branch)
    seed: int = 0


def test_merging_keeps_what_is_not_named_at_every_depth() -> None:
    tree = Tree(Branch(Leaf(7, 0.25)), seed=3)
    assert merged(tree, {"branch": {"leaf": {"depth": 2}}}) == Tree(Branch(Leaf(2, 0.25)), seed=3)
    assert merged(tree, {"branch": {"names": ["c"]}, "seed": 4}) == Tree(Branch(Leaf(7, 0.25), names=("c",)), seed=4)
    assert merged(tree, {}) == tree
    assert tree == Tree(Branch(Leaf(7, 0.25)), seed=3)


def test_merging_makes_a_group_that_was_none_and_takes_one_away() -> None:
    made = merged(Tree(), {"branch": {"spare": {"depth": 5}}})
    assert made.branch.spare == Leaf(5)
    assert merged(made, {"branch": {"spare": {"width": 0.1}}}).branch.spare == Leaf(5, 0.1)
    assert merged(made, {"branch": {"spare": None}}) == Tree()
    with pytest.raises(ConfigError, match=r"branch\.leaf"):
        merged(made, {"branch": {"leaf": None}})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seeds": 1}, "unknown option seeds; did you mean seed"),
        ({"branch": {"leaf": {"dept": 1}}}, r"unknown option branch\.leaf\.dept; did you mean branch\.leaf\.depth"),
        ({"branch": {"leaf": {"depth": "deep"}}}, r"branch\.leaf\.depth: expected a whole number, not 'deep'"),
        ({"branch": {"spare": {"colour": 1}}}, r"branch\.spare\.colour"),
        ({"branch": 3}, "branch: expected a group of options, not 3"),
    ],
)
def test_merging_refuses_what_does_not_fit(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        merged(Tree(), options)


@dataclass(frozen=True)
class Renamed:
    RENAMED: ClassVar[Mapping[str, str]] = {"tries": "samples"}
    samples: int = 8


def test_an_option_is_read_by_its_old_name_and_written_by_its_new_one() -> None:
    assert from_dict(Renamed, {"tries": 3}) == Renamed(3)
    assert to_dict(Renamed(3)) == {"samples": 3}
    with pytest.raises(ConfigError, match="unknown option tries"):
        from_dict(Renamed, {"tries": 3, "samples": 4})
