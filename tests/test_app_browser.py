"""The local page in a real browser: a formula is submitted, progress is shown, and the report appears."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers import PATIENCE, Watched, chromium, colours, picture
from page_cases import overlap_of, salt

pytest.importorskip("flask", reason="the extra app is not installed")

from werkzeug.serving import make_server

from lcoms.app import Settings, make_app
from lcoms.app import working as module
from lcoms.prediction.pipeline import Predictor, Progress
from lcoms.prediction.presets import Options, spec_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
SECONDS = 180.0


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Event that releases predictions with a known answer."""
    event = threading.Event()

    def known(*_: object, progress, **__: object):
        progress(Progress("NaCl", "relaxing", 3, 20))
        assert event.wait(SECONDS)
        return salt()

    monkeypatch.setattr(Predictor, "predict", known)
    monkeypatch.setattr(module, "training_overlap", lambda *_: overlap_of(salt()))
    return event


@pytest.fixture
def address(tiny_weights: Path) -> Iterator[str]:
    options = Options(relax=False)
    predictor = Predictor.load(tiny_weights, spec=spec_for(options), processes=1)
    server = make_server("127.0.0.1", 0, make_app(Settings(predictor, options)), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def shows_one_candidate(page: Page) -> None:
    """Wait for the report and its script, without which all candidates are visible, as in print."""
    from playwright.sync_api import expect

    page.locator("article:visible h2").first.wait_for()
    expect(page.locator("article:visible h2")).to_have_count(1, timeout=PATIENCE)


@pytest.mark.parametrize("size", [{"width": 360, "height": 740}, {"width": 1300, "height": 900}], ids=["phone", "wide"])
def test_a_formula_is_typed_and_its_report_appears(address: str, go_on: threading.Event, size) -> None:
    with chromium() as browser:
        watched = Watched(browser, viewport=size)
        page = watched.page
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        page.keyboard.type("Nacl")  # the field has the focus
        page.keyboard.press("Enter")
        page.get_by_text("did you mean NaCl?").wait_for()
        assert page.locator("#formula").input_value() == "Nacl"
        # A refused form is an answer with the status 400, of which browsers make a note.
        watched.complaints.clear()
        page.locator("#formula").fill("NaCl")
        page.keyboard.press("Enter")
        page.get_by_text("relaxing: 3 of 20").wait_for()
        assert 0.3 < page.evaluate("document.querySelector('progress').value") < 0.5
        go_on.set()
        shows_one_candidate(page)
        assert colours(picture(page.locator(".canvas"))) > 30
        page.get_by_text("New prediction").click()
        assert "done" in page.locator(".runs").inner_text()
        assert watched.complaints == []
        assert all(url.startswith((address, "data:", "blob:")) for url in watched.requests)


def test_formulas_queue_and_are_cancelled(address: str, go_on: threading.Event) -> None:
    with chromium() as browser:
        watched = Watched(browser, viewport={"width": 800, "height": 900})
        page = watched.page
        for formula in ("NaCl", "ZnO"):
            page.goto(address)
            page.get_by_text("Cell sizes, constraints").click()
            page.get_by_label("Space groups or crystal system").fill("cubic")
            page.get_by_label("Effort").select_option("fast")
            page.locator("#formula").fill(formula)
            page.get_by_role("button", name="Predict").click()
        page.get_by_text("queued, 1 ahead").wait_for()
        page.get_by_role("button", name="Cancel").click()
        page.locator(".runs").wait_for()
        assert page.locator(".runs li").all_inner_texts() == ["ZnO cancelled", "NaCl relaxing: 3 of 20"]
        page.get_by_role("link", name="NaCl").click()
        go_on.set()
        shows_one_candidate(page)
        assert watched.complaints == []
