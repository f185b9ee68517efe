"""Take the picture of a result that the documentation's first page shows, in a headless Chromium.

lcoms predict MgAl2O4 --effort fast --report --out results
python scripts/result_picture.py results/report.html docs/images/result.png
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COLOURS = 128  # a small file
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def main(report: Path, picture: Path) -> None:
    """Rank 1 of the first formula, with its polyhedra."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*SOFTWARE_GL])
        page = browser.new_page(viewport={"width": 1280, "height": 880}, color_scheme="light")
        page.set_default_timeout(180_000)
        page.goto(report.resolve().as_uri())
        page.locator("[data-toggle=polyhedra]").click()
        page.locator("h1").first.hover()
        taken = Image.open(BytesIO(page.screenshot()))
        browser.close()
    taken.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
