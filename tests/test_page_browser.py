"""The page in a real browser: it draws, sorts, downloads, and fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browsers import PATIENCE, Watched, colours, picture
from page_cases import overlap_of, proposal, salt, titanate
from tiny import perovskite, rock_salt

from lcoms.page import PageWriter, page_html
from lcoms.prediction.bundle import WeightBundle
from lcoms.structure.io import from_cif, from_poscar
from lcoms.structure.matching import STRICT, matches

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
NASTY = "\"'></td></script><script>alert(1)</script><img src=x onerror=alert(2)>"
PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 720}
NO_WEBGL = """
for (const canvas of [HTMLCanvasElement, OffscreenCanvas]) {
  const get = canvas.prototype.getContext;
  canvas.prototype.getContext = function (kind, ...rest) {
    return kind.includes("webgl") ? null : get.call(this, kind, ...rest);
  };
}
"""


@pytest.fixture(scope="module")
def address(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    with PageWriter(tmp_path_factory.mktemp("page"), WeightBundle.load(tiny_weights)) as page:
        page.add(salt())
        page.add(titanate())
    return page.path.as_uri()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    made = Watched(browser, viewport=WIDE)
    yield made
    assert made.complaints == []
    made.page.close()


def canvas(page: Page):  # type: ignore[no-untyped-def]
    return page.locator(".canvas")


def order(page: Page) -> list[str]:
    return page.locator("section[data-formula=NaCl] tbody tr[data-anchor] th a").all_inner_texts()


def test_the_curve_of_a_relaxation_under_pressure_is_an_enthalpy(watched: Watched, tmp_path: Path) -> None:
    for pressure, name in ((0.0, "Energy"), (0.1, "Enthalpy")):
        (first, *others) = salt().candidates
        assert first.relaxed is not None
        pressed = replace(first, relaxed=replace(first.relaxed, pressure=pressure))
        file = tmp_path / f"{name}.html"
        file.write_text(page_html(salt(candidates=(pressed, *others))), encoding="utf-8")
        watched.page.goto(file.as_uri())
        curve = watched.page.locator("article:not([hidden]) [data-plot=relaxation] .curve")
        assert (curve.get_attribute("aria-label") or "").startswith(f"{name} along the relaxation: from ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
def test_the_page_loads_draws_and_asks_for_nothing(browser: Browser, address: str, size, scheme) -> None:
    watched = Watched(browser, viewport=size, color_scheme=scheme, offline=True)
    watched.page.goto(address)
    image = picture(canvas(watched.page))
    assert colours(image) > 30
    sodium = (image[..., 2] > image[..., 1] + 0.2) & (image[..., 0] > image[..., 1] + 0.1)
    chlorine = (image[..., 1] > image[..., 0] + 0.2) & (image[..., 1] > image[..., 2] + 0.2)
    assert sodium.mean() > 0.01
    assert chlorine.mean() > 0.01
    corner = image[3:9, 30:36].mean()
    assert corner > 0.9 if scheme == "light" else corner < 0.2
    for kind in ("descent", "relaxation", "pattern"):
        plot = watched.page.locator(f"article:visible [data-plot={kind}] .u-wrap")
        plot.scroll_into_view_if_needed()
        assert colours(picture(plot)) > 5
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert [url for url in watched.requests if not url.startswith(("data:", "blob:"))] == [address]
    assert watched.complaints == []
    watched.page.close()


def test_the_narrowest_phone_does_not_scroll_sideways(browser: Browser, address: str) -> None:
    watched = Watched(browser, viewport={"width": 320, "height": 600})
    watched.page.goto(address)
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 320
    watched.page.close()


def test_headings_sort_the_table_both_ways(watched: Watched, address: str) -> None:
    page = watched.page
    page.set_viewport_size({"width": 1600, "height": 720})  # with room for all columns
    page.goto(address)
    assert order(page) == ["1", "2", "3"]
    volume = page.locator("section[data-formula=NaCl] thead button", has_text="Volume")
    volume.click()
    assert order(page) == ["2", "3", "1"]
    volume.focus()
    page.keyboard.press("Enter")
    assert order(page) == ["1", "3", "2"]
    heading = page.locator("section[data-formula=NaCl] thead th", has_text="Volume")
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("section[data-formula=NaCl] [aria-sort]").count() == 1
    formation = page.locator("section[data-formula=NaCl] thead button", has_text="E form")
    formation.click()
    assert order(page) == ["1", "2", "3"]
    formation.click()
    assert order(page) == ["2", "1", "3"]  # the one without a value stays last


def test_files_that_are_downloaded_hold_the_crystal(watched: Watched, address: str, tmp_path: Path) -> None:
    page = watched.page
    page.goto(address)
    for kind, name, read in (("CIF", "cif", from_cif), ("POSCAR", "vasp", from_poscar)):
        with page.expect_download() as waiting:
            page.locator("article:visible button", has_text=kind).click()
        assert waiting.value.suggested_filename == f"NaCl-rank-01.{name}"
        waiting.value.save_as(tmp_path / name)
        assert matches(read((tmp_path / name).read_text()), rock_salt(), STRICT)
    page.locator("[data-toggle=primitive]").click()
    with page.expect_download() as waiting:
        page.locator("article:visible button", has_text="POSCAR").click()
    assert waiting.value.suggested_filename == "NaCl-rank-01-primitive.vasp"
    waiting.value.save_as(tmp_path / "primitive")
    assert from_poscar((tmp_path / "primitive").read_text()).n_atoms == 2
    page.goto(f"{address}#SrTiO3/1")
    with page.expect_download() as waiting:
        page.locator("article:visible button", has_text="CIF").click()
    waiting.value.save_as(tmp_path / "other")
    assert matches(from_cif((tmp_path / "other").read_text()), perovskite(), STRICT)


def test_a_candidate_is_chosen_by_mouse_keyboard_and_address(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address)

    def shown() -> list[str | None]:
        return [a.get_attribute("data-anchor") for a in page.locator("article:visible").all()]

    assert shown() == ["NaCl/1"]
    before = picture(canvas(page))
    page.locator("tr[data-anchor='NaCl/2'] td").first.click()
    assert shown() == ["NaCl/2"]
    assert page.url.endswith("#NaCl/2")
    assert np.abs(picture(canvas(page)) - before).mean() > 0.005
    page.locator("tr[data-anchor='NaCl/3'] a").focus()
    page.keyboard.press("Enter")
    assert shown() == ["NaCl/3"]
    page.go_back()
    assert shown() == ["NaCl/2"]
    page.locator("nav a", has_text="SrTiO").click()
    assert shown() == ["SrTiO3/1"]
    page.goto(f"{address}#NaCl/3")
    page.reload()
    assert shown() == ["NaCl/3"]
    page.goto(f"{address}#%3Cscript%3E/99")
    page.reload()
    assert shown() == ["NaCl/1"]


def test_the_cell_turns_by_keys_and_buttons(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address)
    canvas(page).focus()
    images = [picture(canvas(page))]
    for press in (
        lambda: page.keyboard.press("ArrowLeft"),
        lambda: page.keyboard.press("-"),
        lambda: page.locator("[data-view=a]").click(),
        lambda: page.locator("[data-toggle=labels]").click(),
        lambda: page.locator("[data-toggle=bonds]").click(),
        lambda: page.locator("[data-toggle=polyhedra]").click(),
        lambda: page.locator("[data-toggle=boundary]").click(),
        lambda: page.locator("[data-toggle=primitive]").click(),
    ):
        press()
        images.append(picture(canvas(page)))
        assert np.abs(images[-1] - images[-2]).max() > 0.2
    assert page.locator("[data-toggle=bonds]").get_attribute("aria-pressed") == "false"
    page.locator("[data-view=reset]").click()


def test_the_view_along_an_axis_has_its_symmetry(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address)
    page.locator("[data-view=c]").click()
    image = picture(canvas(page))
    purple = (image[..., 2] > image[..., 1] + 0.2) & (image[..., 0] > image[..., 1] + 0.1)
    rows, places = np.nonzero(purple)
    # Rock salt seen along c is a square, with its corners upright and alike.
    assert np.ptp(rows) == pytest.approx(np.ptp(places), rel=0.04)
    box = purple[rows.min() : rows.max() + 1, places.min() : places.max() + 1]
    assert (box == box[:, ::-1]).mean() > 0.9


def test_the_tab_key_reaches_everything(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address)
    reached = set()
    for _ in range(50):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(document.activeElement.textContent || '').trim().slice(0, 30)"))
    for name in ("Skip to the results", "SrTiO3", "1", "CIF", "Along a", "2 × 2 × 2", "Strongest lines"):
        assert name in reached, name


def test_texts_from_outside_do_nothing(watched: Watched, tmp_path: Path) -> None:
    prediction = salt()
    decoded = replace(prediction.candidates[0].decoded, proposal=proposal(NASTY, NASTY))
    first = replace(prediction.candidates[0], decoded=decoded)
    prediction = replace(prediction, candidates=(first,), failures=(NASTY,), weights_digest=NASTY)
    near = overlap_of(prediction)
    near = replace(near, crystals=tuple(replace(c, nearest=NASTY, formula=NASTY) for c in near.crystals))
    path = tmp_path / "report.html"
    path.write_text(page_html(prediction, near), encoding="utf-8")
    watched.page.goto(path.as_uri())
    assert watched.page.locator("img").count() == 0
    assert watched.page.locator("body").inner_text().count("alert(1)") >= 3


def test_a_script_that_was_slipped_in_does_not_run(browser: Browser, tmp_path: Path) -> None:
    """Even if escaping failed, the content security policy would prevent it."""
    path = tmp_path / "report.html"
    text = page_html(titanate())
    path.write_text(text.replace("</main>", "<script>alert(1)</script><p onclick='alert(2)'>press</p></main>"))
    watched = Watched(browser)
    watched.page.goto(path.as_uri())
    watched.page.locator("p", has_text="press").click()
    assert watched.complaints
    assert all("Content Security Policy" in complaint for complaint in watched.complaints)
    watched.page.close()


def test_without_scripts_all_figures_are_there(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("article:visible").count() == 4
    assert page.get_by_text("Without JavaScript").is_visible()
    context.close()


def test_without_webgl_the_rest_still_works(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport=WIDE)
    page.set_default_timeout(PATIENCE)
    page.add_init_script(NO_WEBGL)
    page.goto(address)
    assert "cannot draw in 3D" in canvas(page).inner_text()
    page.locator("tr[data-anchor='NaCl/2'] td").first.click()
    assert page.locator("article:visible").get_attribute("data-anchor") == "NaCl/2"
    assert colours(picture(page.locator("article:visible [data-plot=pattern] .u-wrap"))) > 5
    page.close()
