"""A headless Chromium for the page tests; without one they are skipped with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The page itself is drawn without GL, because software GL is slow.
SOFTWARE_GL = (
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-rasterization",
    "--disable-gpu-compositing",
)  # fmt: skip

PATIENCE = 180_000  # milliseconds; 3D in software is slow on a busy machine


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser that draws 3D without a graphics card."""
    api = pytest.importorskip("playwright.sync_api", reason="the extra browser is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    with api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path  # of playwright install chromium
        if program is None and Path(own).exists():
            program = own
        if program is None:
            pytest.skip(f"none of {', '.join(NAMES)} is installed, nor the chromium of playwright")
        browser = playwright.chromium.launch(executable_path=program, args=[*SOFTWARE_GL], timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a file."""
    with chromium() as found:
        yield found


class Watched:
    """A page that records its errors and its requests."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.page: Page = browser.new_page(**options)
        self.page.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and "GL Driver Message" not in text:  # software GL warns that it is slow
            self.complaints.append(text)


def picture(place: Locator) -> np.ndarray:
    """Return the image of an element, (height, width, 3) from 0 to 1."""
    from matplotlib.image import imread

    return np.asarray(imread(BytesIO(place.screenshot(animations="disabled")), format="png"))[..., :3]


def colours(image: np.ndarray) -> int:
    """Return the number of different colors, rounded to 16 levels."""
    return len(np.unique((image * 15).round().astype(int).reshape(-1, 3), axis=0))
