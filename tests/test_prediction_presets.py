"""Efforts: more starts, tries and relaxations from one to the next; what is chosen otherwise counts."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lcoms.core.errors import ConfigError
from lcoms.oracles import registry
from lcoms.prediction.pipeline import PredictConfig, RefineConfig
from lcoms.prediction.presets import EFFORTS, configs_for


def test_each_effort_does_more_than_the_one_before() -> None:
    for less, more in pairwise([configs_for(name) for name in ("fast", "normal", "thorough")]):
        assert less[0].n_starts < more[0].n_starts
        assert less[0].within.coded_tries < more[0].within.coded_tries
        assert less[1].n_relax < more[1].n_relax
    assert set(EFFORTS) == {"fast", "normal", "thorough"}


def test_normal_is_the_default_of_the_settings() -> None:
    assert configs_for("normal", refinement={"second_oracle": "none"}) == (PredictConfig(), RefineConfig())


def test_the_second_oracle_is_the_default_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(**refinement: str) -> str:
        return configs_for("normal", refinement=refinement)[1].second_oracle

    monkeypatch.setattr(registry, "find_spec", lambda _name: object())
    assert chosen() == "sevennet:l3i5"
    assert chosen(second_oracle="none") == chosen(oracle="analytic") == chosen(oracle="sevennet:l3i5") == ""
    assert chosen(oracle="analytic", second_oracle="chgnet:r2scan") == "chgnet:r2scan"
    assert chosen(second_oracle="chgnet:r2scan") == ""  # it is the first one already
    monkeypatch.setattr(registry, "find_spec", lambda _name: None)
    assert chosen() == ""


def test_a_choice_counts_more_than_the_effort_and_none_leaves_it() -> None:
    search, refinement = configs_for("fast", search={"n_starts": 3, "seed": 7}, refinement={"n_relax": None})
    assert (search.n_starts, search.seed) == (3, 7)
    assert search.within == configs_for("fast")[0].within
    assert refinement.n_relax == configs_for("fast")[1].n_relax


def test_wrong_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no effort 'hard'; choose one of fast, normal, thorough"):
        configs_for("hard")
    with pytest.raises(ConfigError):
        configs_for("fast", search={"n_startz": 3})
