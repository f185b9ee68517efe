"""Predictions are queued and can be cancelled, and every outcome is reported in a sentence."""

from __future__ import annotations

import logging
import threading
import tracemalloc

import pytest

from lcoms.app.desk import CANCELLED, KEPT, UNEXPECTED, BusyError, Desk
from lcoms.core.errors import FormulaError

SECONDS = 120.0


def test_work_is_done_in_order_in_the_background_and_tells_how_far_it_is() -> None:
    desk, told, go_on = Desk(), threading.Event(), threading.Event()

    def work(tell) -> str:
        tell("half way", 0.5)
        told.set()
        assert go_on.wait(SECONDS)
        return "<p>done</p>"

    run = desk.submit("NaCl", work)
    assert told.wait(SECONDS)
    assert (run.progress, run.fraction, run.page, run.ended.is_set()) == ("half way", 0.5, "", False)
    second = desk.submit("KCl", lambda _: "<p>second</p>")
    third = desk.submit("KBr", lambda _: "<p>third</p>")
    assert [desk.ahead(one) for one in (run, second, third)] == [0, 1, 2]
    desk.cancel(second)
    assert desk.ahead(third) == 1
    go_on.set()
    assert third.ended.wait(SECONDS)
    assert (run.page, run.complaint, run.fraction) == ("<p>done</p>", "", 1.0)
    assert (second.page, second.complaint, third.page) == ("", CANCELLED, "<p>third</p>")
    assert desk.find(run.number) is run
    assert [r.title for r in desk.runs()] == ["KBr", "KCl", "NaCl"]


def test_a_run_at_work_ends_at_its_next_sign_when_it_is_cancelled() -> None:
    desk, told, go_on, went_on = Desk(), threading.Event(), threading.Event(), threading.Event()

    def work(tell) -> str:
        told.set()
        assert go_on.wait(SECONDS)
        tell("further", 0.7)
        went_on.set()
        return "<p>done</p>"

    run = desk.submit("NaCl", work)
    assert told.wait(SECONDS)
    desk.cancel(run)
    assert run.ended.is_set()
    go_on.set()
    after = desk.submit("KCl", lambda _: "<p>next</p>")
    assert after.ended.wait(SECONDS)
    assert not went_on.is_set()
    assert (run.page, run.complaint, run.fraction) == ("", CANCELLED, 0.0)
    desk.cancel(after)
    assert (after.page, after.complaint) == ("<p>next</p>", "")


def test_progress_never_goes_back() -> None:
    desk = Desk()
    seen: list[float] = []

    def work(tell) -> str:
        for fraction in (0.2, 0.1, 3.0):
            tell("working", fraction)
            seen.append(run.fraction)
        return ""

    ready = threading.Event()
    blocker = desk.submit("first", lambda _: str(ready.wait(SECONDS)))
    run = desk.submit("NaCl", work)
    ready.set()
    assert run.ended.wait(SECONDS)
    assert blocker.ended.is_set()
    assert seen == [0.2, 0.2, 1.0]


def test_a_full_queue_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.app.desk.MOST_WAITING", 1)
    desk, go_on, begun = Desk(), threading.Event(), threading.Event()

    def slow(_) -> str:
        begun.set()
        assert go_on.wait(SECONDS)
        return ""

    desk.submit("1", slow)
    assert begun.wait(SECONDS)
    last = desk.submit("2", lambda _: "")
    with pytest.raises(BusyError, match="1 predictions are queued"):
        desk.submit("3", lambda _: "")
    go_on.set()
    assert last.ended.wait(SECONDS)


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
    assert desk.submit("last", lambda _: "").ended.wait(SECONDS)
    assert len(desk.runs()) == KEPT + 1
    assert desk.find(1) is None
    assert desk.find(KEPT + 3) is not None


def test_pages_of_finished_runs_take_little_memory() -> None:
    desk, page = Desk(), "<p>the same viewer in every page</p>" * 20_000
    tracemalloc.start()
    try:
        for number in range(2 * KEPT):
            run = desk.submit(str(number), lambda _: page)
            assert run.ended.wait(SECONDS)
        assert all(run.page == page for run in desk.runs())
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(desk.runs()) == KEPT + 1
    assert kept < len(page)
