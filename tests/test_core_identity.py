"""Options of an earlier run that differ from those of this one."""

from __future__ import annotations

from lcoms.core.identity import differences


def test_the_first_differences_are_named_and_the_others_counted() -> None:
    here = {"seed": 1, "search": {"steps": 2, "samples": 3}, "fmax": 0.1, "oracle": "a"}
    assert differences(here, here) == []
    assert differences({"seed": 2, "oracle": "a"}, {"seed": 1, "oracle": "a"}) == ["seed is 2 there, 1 here"]
    assert differences({**here, "search": {"steps": 1, "samples": 3}}, here) == ["steps is 1 there, 2 here"]
    assert differences({**here, "search": None}, here) == ["search: without there"]
    other = {"seed": 2, "search": {"steps": 1, "samples": 1}, "fmax": 0.2, "oracle": "b"}
    assert differences(other, here)[2:] == ["samples is 1 there, 3 here", "and 2 more"]
