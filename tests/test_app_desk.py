"""One prediction at a time, and whatever becomes of it is told in a sentence."""

from __future__ import annotations

import logging
import threading
import tracemalloc

import pytest

from lcoms.app.desk import KEPT, UNEXPECTED, BusyError, Desk
from lcoms.core.errors import FormulaError

SECONDS = 10.0


def test_work_is_done_in_the_background_and_tells_how_far_it_is() -> None:
    desk, told, go_on = Desk(), threading.Event(), threading.Event()

    def work(tell) -> str:
        tell("half way")
        told.set()
        assert go_on.wait(SECONDS)
        return "<p>done</p>"

    run = desk.submit("NaCl", work)
    assert told.wait(SECONDS)
    assert (run.progress, run.page, run.ended.is_set()) == ("half way", "", False)
    with pytest.raises(BusyError, match="NaCl is being predicted, one formula at a time"):
        desk.submit("KCl", work)
    go_on.set()
    assert run.ended.wait(SECONDS)
    assert (run.page, run.complaint) == ("<p>done</p>", "")
    assert desk.find(run.number) is run
    again = desk.submit("KCl", lambda _: "")
    assert again.ended.wait(SECONDS)
    assert [r.title for r in desk.runs()] == ["KCl", "NaCl"]


def test_errors_become_sentences(caplog: pytest.LogCaptureFixture) -> None:
    def unable(_) -> str:
        raise FormulaError("too large.")

    def broken(_) -> str:
        raise ZeroDivisionError("secret")

    desk = Desk()
    first = desk.submit("NaCl", unable)
    assert first.ended.wait(SECONDS)
    assert (first.complaint, first.page) == ("too large.", "")
    with caplog.at_level(logging.ERROR):
        second = desk.submit("NaCl", broken)
        assert second.ended.wait(SECONDS)
    assert second.complaint == UNEXPECTED
    assert "secret" in caplog.text


def test_only_the_last_runs_are_kept() -> None:
    desk = Desk()
    for _ in range(KEPT + 3):
        assert desk.submit("NaCl", lambda _: "page").ended.wait(SECONDS)
    assert len(desk.runs()) == KEPT
    assert desk.find(1) is None
    assert desk.find(KEPT + 3) is not None


def test_pages_of_finished_runs_take_little_memory() -> None:
    desk, page = Desk(), "<p>the same viewer in every page</p>" * 20_000
    tracemalloc.start()
    try:
        for number in range(2 * KEPT):
            run = desk.submit(str(number), lambda _: page)
            assert run.ended.wait(10)
        assert all(run.page == page for run in desk.runs())
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(desk.runs()) == KEPT
    assert kept < len(page)
