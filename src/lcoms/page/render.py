"""The page itself: templates, styles, scripts and bundled libraries put into one HTML text.

The page asks nothing of the network. Its content security policy forbids it to, and lets run only the scripts that are
in it when it is made, by their hashes; texts from outside are escaped by the template engine.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lcoms import __version__
from lcoms.core.disk import write_whole
from lcoms.core.errors import LcomsError
from lcoms.page.views import FormulaView, formula_view
from lcoms.prediction.overlap import TrainingOverlap
from lcoms.prediction.pipeline import Prediction

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT = "report.html"
SCRIPTS = ("vendor/3Dmol-min.js", "vendor/uPlot.iife.min.js", "static/drawing.js", "static/report.js")
STYLES = ("vendor/uPlot.min.css", "static/page.css")
LICENCES = {"3Dmol.js": "vendor/3Dmol.LICENSE.txt", "uPlot": "vendor/uPlot.LICENSE.txt"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"


@cache
def asset(name: str) -> str:
    """Text of a file of this package, such as static/page.css."""
    return files("lcoms.page").joinpath(name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """The template engine; whatever is put into a template is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("lcoms.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_html(
    predictions: Sequence[Prediction],
    overlaps: Sequence[TrainingOverlap | None] | None = None,
    *,
    home: str | None = None,
) -> str:
    """One page with all candidates of some predictions.

    Args:
        overlaps: one for each prediction; None leaves the training data unmentioned.
        home: address that a link at the top leads to; None: no link.
    """
    from markupsafe import Markup

    given = [None] * len(predictions) if overlaps is None else overlaps
    views = [formula_view(prediction, overlap) for prediction, overlap in zip(predictions, given, strict=True)]
    return (
        environment()
        .get_template("report.html")
        .render(
            title=_title(views),
            views=views,
            drawings={candidate.anchor: candidate.drawing for view in views for candidate in view.candidates},
            policy=f"{POLICY}; script-src {' '.join(_hash(asset(name)) for name in SCRIPTS)}",
            scripts=[Markup(asset(name)) for name in SCRIPTS],
            styles=[Markup(asset(name)) for name in STYLES],
            licences={name: asset(path) for name, path in LICENCES.items()},
            version=__version__,
            home=home,
        )
    )


def write_page(
    predictions: Sequence[Prediction], out: Path, overlaps: Sequence[TrainingOverlap | None] | None = None
) -> Path:
    """Write OUT/report.html; returns its path.

    Raises:
        LcomsError: it cannot be written.
    """
    path = out / REPORT
    text = page_html(predictions, overlaps)
    try:
        write_whole(path, text)
    except OSError as error:
        raise LcomsError(f"{path}: cannot be written ({error.strerror}); choose another folder with --out.") from error
    return path


def _title(views: Sequence[FormulaView]) -> str:
    shown = ", ".join(view.formula for view in views[:4])
    return f"{shown} and {len(views) - 4} more" if len(views) > 4 else shown


def _hash(script: str) -> str:
    """A script as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
