"""The viewer, the pattern and the printed page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browsers import Watched, colours, picture
from page_cases import fitted, relaxed, salt, titanate
from tiny import decoded_of

from lcoms.page import PageWriter, page_html
from lcoms.page.facts import source_address
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.stages import Known
from lcoms.structure.crystal import Crystal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
WIDE = {"width": 1400, "height": 900}
ATOMS = "Number(document.querySelector('[data-atoms]').dataset.atoms)"
SHOWN = """[...document.querySelectorAll('table.ranked')].filter((t) => t.offsetParent)
    .every((t) => t.scrollWidth <= t.parentNode.clientWidth)"""
COUNT_DRAWN = """
    window.drawn = 0;
    const draw = viewer.gl.render.bind(viewer.gl), show = viewer.gl.show.bind(viewer.gl);
    viewer.gl.show = (...rest) => { window.drawn += 1; return show(...rest); };
    viewer.gl.render = (...rest) => { window.drawn += 1; return draw(...rest); };
"""


@pytest.fixture(scope="module")
def address(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    known = replace(salt().candidates[0], known=Known("mp-22862", 0.0, 0.0))
    with PageWriter(tmp_path_factory.mktemp("page"), WeightBundle.load(tiny_weights)) as page:
        page.add(salt(candidates=(known, *salt().candidates[1:])))
        page.add(titanate())
    return page.path.as_uri()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("measured") / "report.html"
    path.write_text(page_html(fitted()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    watched = Watched(browser, viewport=WIDE)
    yield watched.page
    assert watched.complaints == []
    watched.page.close()


def toggle(page: Page, name: str) -> None:
    page.locator(f"[data-toggle={name}]").click()


def test_a_supercell_of_many_atoms_is_drawn_in_a_moment(page: Page, tmp_path: Path) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(3) / 3] * 3, indexing="ij"), -1).reshape(-1, 3)
    coords = np.concatenate([grid, grid + 1 / 6]) + np.random.default_rng(0).normal(0, 0.004, (54, 3))
    crystal = Crystal(12.4 * np.eye(3), coords % 1, np.repeat([55, 17], 27))
    path = tmp_path / "report.html"
    large = salt(candidates=(relaxed(decoded_of(crystal), -2.0, 0.0),))
    path.write_text(page_html(large), encoding="utf-8")
    page.goto(path.as_uri())
    toggle(page, "labels")
    page.evaluate(COUNT_DRAWN)
    toggle(page, "supercell")
    assert page.evaluate(ATOMS) >= 8 * 54
    assert page.evaluate("window.drawn") <= 15  # it took 43 s and more where each label drew the scene


def test_labels_are_drawn_together(page: Page, address: str) -> None:
    page.goto(address)
    page.evaluate(COUNT_DRAWN)
    toggle(page, "labels")
    assert page.evaluate("window.drawn") <= 8  # there are 27 labels


def test_boundary_atoms_corners_and_cells_have_their_numbers(page: Page, address: str) -> None:
    page.goto(address)
    assert page.evaluate(ATOMS) == 27  # 8 atoms, and their copies on the faces, edges and corners
    toggle(page, "boundary")
    assert page.evaluate(ATOMS) == 8
    toggle(page, "supercell")
    assert page.evaluate(ATOMS) == 64
    toggle(page, "primitive")
    assert page.evaluate(ATOMS) == 16
    toggle(page, "supercell")
    assert page.evaluate(ATOMS) == 2
    toggle(page, "polyhedra")
    assert page.evaluate(ATOMS) == 8  # the two atoms, and the six neighbours of sodium
    assert page.evaluate("edgesOf(viewer.cell.lattice, 2).length") == 27
    assert page.evaluate("edgesOf(viewer.cell.lattice, 1).length") == 12
    octahedron = "hullOf([[1,0,0],[-1,0,0],[0,1,0],[0,-1,0],[0,0,1],[0,0,-1]]).length"
    cube = "hullOf([0,1].flatMap((x) => [0,1].flatMap((y) => [0,1].map((z) => [x,y,z])))).length"
    assert (page.evaluate(octahedron), page.evaluate(cube)) == (8, 12)


def test_polyhedra_are_seen(page: Page, address: str) -> None:
    page.goto(f"{address}#SrTiO3/1")
    before = picture(page.locator(".canvas"))
    toggle(page, "polyhedra")
    assert np.abs(picture(page.locator(".canvas")) - before).mean() > 0.01


@pytest.mark.parametrize("width", [1400, 800, 390])
def test_no_column_is_cut_and_those_left_out_are_named(browser: Browser, address: str, measured: str, width) -> None:
    watched = Watched(browser, viewport={"width": width, "height": 844})
    for one in (address, measured):
        watched.page.goto(one)
        assert watched.page.evaluate(SHOWN)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
        hidden = watched.page.locator("section:visible .ranked thead th[hidden]").evaluate_all(
            "cells => cells.map((cell) => cell.dataset.name)"
        )
        note = watched.page.locator("section:visible .left-out")
        assert note.is_visible() == bool(hidden)
        assert all(name in note.inner_text() for name in hidden)
        assert "Space group" not in hidden
    watched.page.close()


def test_the_pattern_has_indices_and_is_exported(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(address)
    assert int(page.locator("article:visible [data-plot=pattern] .uplot").get_attribute("data-named") or 0) >= 6
    with page.expect_download() as waiting:
        page.locator("article:visible [data-kind=pattern]").click()
    assert waiting.value.suggested_filename == "NaCl-rank-01-pattern.csv"
    waiting.value.save_as(tmp_path / "pattern.csv")
    heading, *rows = (tmp_path / "pattern.csv").read_text().splitlines()
    assert heading == "two_theta_deg,intensity,d_angstrom,hkl"
    strongest = max(rows, key=lambda row: float(row.split(",")[1]))
    assert strongest == '31.73,100,2.82,"(2 0 0)"'


def test_a_measured_pattern_lies_over_the_lines(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(address)
    place = page.locator("article:visible [data-plot=pattern]")
    before = picture(place)
    angles = np.arange(10, 80, 0.1)
    counts = 20 + 900 * np.exp(-np.square((angles - 31.7) / 0.2))
    rows = [f"{x:.2f} {y:.1f}" for x, y in zip(angles, counts, strict=True)]
    (tmp_path / "my.xy").write_text("\n".join(["two_theta counts", *rows]))
    page.locator("article:visible input[type=file]").set_input_files(tmp_path / "my.xy")
    page.get_by_text("Measured", exact=True).wait_for()
    assert picture(place).shape == before.shape
    assert np.abs(picture(place) - before).mean() > 0.005
    (tmp_path / "none.xy").write_text("no pattern\n1 2\n")
    page.locator("article:visible input[type=file]").set_input_files(tmp_path / "none.xy")
    page.locator("article:visible .unread").wait_for()


def test_the_fit_to_a_measured_pattern_is_drawn_and_exported(page: Page, measured: str, tmp_path: Path) -> None:
    page.goto(measured)
    place = page.locator("article:visible [data-plot=pattern]")
    for name in ("Measured", "Fit", "Difference"):
        assert place.get_by_text(name, exact=True).is_visible()
    assert colours(picture(place)) > 20
    with page.expect_download() as waiting:
        page.locator("article:visible [data-kind=pattern]").click()
    waiting.value.save_as(tmp_path / "pattern.csv")
    table = np.genfromtxt(tmp_path / "pattern.csv", delimiter=",", names=True)
    fit = fitted().candidates[0].pattern
    assert fit is not None
    np.testing.assert_allclose(table["measured"], fit.fit.observed, rtol=1e-3)


def test_ids_are_links_that_open_their_source_only_when_followed(page: Page, address: str) -> None:
    page.goto(address)
    link = page.locator("section:visible .ranked a", has_text="mp-22862")
    assert link.get_attribute("href") == source_address("mp-22862")
    assert link.get_attribute("rel") == "noreferrer"


def test_print_has_pictures_plots_and_every_formula(browser: Browser, address: str) -> None:
    watched = Watched(browser, viewport=WIDE, color_scheme="dark")
    page = watched.page
    page.goto(address)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("section.formula:visible").count() == 2
    assert page.locator("article:visible").count() == 2
    for still in page.locator(".still").all():
        assert colours(picture(still)) > 20
    assert page.locator(".still").count() == 2
    assert page.locator("article:visible [data-plot=pattern] canvas").count() == 2
    assert page.evaluate("document.querySelector('.canvas').getBoundingClientRect().right") < 0
    image = picture(page.locator("article:visible [data-plot=pattern]").first)
    assert image.mean() > 0.9  # black on white
    assert colours(image) > 5
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert page.locator("article:visible").count() == 1
    assert page.locator(".still").count() == 0
    assert watched.page.pdf()[:4] == b"%PDF"
    assert watched.complaints == []
    page.close()
