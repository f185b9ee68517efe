"""Crystals in all settings of the 230 space groups are read back, however the symmetry is stated."""

from __future__ import annotations

import pytest
from cif_cases import case, cif, images, same_places, stated
from hypothesis import given, settings
from hypothesis import strategies as st

from lcoms.structure.cif import read_cif
from lcoms.structure.space_group_names import Setting, all_settings, settings_of

WAYS = ("name", "hall", "operations", "number")


def assert_read_back(setting: Setting, how: str, seed: int) -> None:
    parameters, place = case(setting, seed)
    (reading,) = read_cif(cif(parameters, place, stated(setting, how)))
    assert reading.crystal is not None, (setting, how, reading.error)
    assert same_places(reading.crystal.frac_coords, images(setting, place)), (setting, how, reading.warnings)


def usable(setting: Setting, how: str) -> bool:
    """Return whether the text defines the setting; a number alone does so for standard settings with one origin."""
    return how != "number" or (
        setting.standard and len({s.extension for s in settings_of(setting.number)} - {"H", "R"}) == 1
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(all_settings()), st.sampled_from(WAYS), st.integers(0, 999))
def test_settings_are_read_back(setting: Setting, how: str, seed: int) -> None:
    if usable(setting, how):
        assert_read_back(setting, how, seed)


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("number", range(1, 231))
def test_all_settings_are_read_back(number: int, how: str) -> None:
    for seed, setting in enumerate(settings_of(number)):
        if usable(setting, how):
            assert_read_back(setting, how, seed)
