"""The documentation, opened from disk in a real browser: its search works, and all pages fit a phone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers import Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def test_the_search_works_from_disk_without_a_network(browser: Browser, site: Path) -> None:
    watched = Watched(browser, viewport={"width": 1400, "height": 900})
    watched.page.goto((site / "index.html").as_uri())
    watched.page.locator("input.md-search__input").click()
    watched.page.keyboard.type("Dollase")
    found = watched.page.locator(".md-search-result__link").first
    found.wait_for()
    assert "html" in (found.get_attribute("href") or "")
    assert all(url.startswith(("file:", "data:", "blob:")) for url in watched.requests)
    watched.page.close()


@pytest.mark.parametrize("name", ["index.html", "method.html", "tutorial.html", "results.html", "api/lcoms.html"])
def test_no_page_is_wider_than_a_phone(browser: Browser, site: Path, name: str) -> None:
    watched = Watched(browser, viewport={"width": 390, "height": 844})
    watched.page.goto((site / name).as_uri())
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    spills = """[...document.querySelectorAll('.md-content math, .md-content p, .md-content table')].filter((one) => {
        for (let box = one; box && !box.matches('.md-content'); box = box.parentElement)
            if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX)) return false;
        return one.getBoundingClientRect().right > 391; }).length"""
    assert watched.page.evaluate(spills) == 0
    watched.page.close()


def test_the_home_page_shows_a_result(browser: Browser, site: Path) -> None:
    watched = Watched(browser, viewport={"width": 1400, "height": 900})
    watched.page.goto((site / "index.html").as_uri())
    picture = watched.page.locator(".md-content img[src*='images/result.png']")
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 1280
    assert "MgAl" in (picture.get_attribute("alt") or "")
    watched.page.close()


def test_the_front_page_of_the_api_shows_every_public_name(browser: Browser, site: Path) -> None:
    import lcoms

    watched = Watched(browser)
    watched.page.goto((site / "api" / "lcoms.html").as_uri())
    shown = set(watched.page.locator(".doc-heading").evaluate_all("all => all.map((one) => one.id)"))
    assert {f"lcoms.{name}" for name in lcoms.__all__ if name != "__version__"} <= shown
    assert not any(part.startswith("_") for name in shown for part in name.split("."))
    watched.page.close()
