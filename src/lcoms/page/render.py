"""The page itself: templates, styles, scripts and bundled libraries combined into one HTML text.

The page makes no network requests. Its content security policy forbids them, and allows only the scripts that it was
made with, by their hashes; external texts are escaped by the template engine.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from jinja2.utils import htmlsafe_json_dumps

from lcoms import __version__
from lcoms.core.disk import write_pieces
from lcoms.core.errors import LcomsError
from lcoms.page.views import formula_view
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.overlap import TrainingOverlap, training_overlap
from lcoms.prediction.result import Prediction

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT = "report.html"
SCRIPTS = (
    "vendor/3Dmol-min.js",
    "vendor/uPlot.iife.min.js",
    "static/geometry.js",
    "static/viewer.js",
    "static/plots.js",
    "static/report.js",
    "static/printing.js",
)
STYLES = ("vendor/uPlot.min.css", "static/page.css")
LICENCES = {"3Dmol.js": "vendor/3Dmol.LICENSE.txt", "uPlot": "vendor/uPlot.LICENSE.txt"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"


@cache
def asset(name: str) -> str:
    """Return the text of a file of this package, such as static/page.css."""
    return files("lcoms.page").joinpath(name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Return the template engine; everything inserted into a template is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("lcoms.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_html(prediction: Prediction, overlap: TrainingOverlap | None = None, *, home: str | None = None) -> str:
    """Return the page of one prediction.

    Args:
        overlap: proximity of its candidates to the training data; None: not shown.
        home: address of a link at the top; None: no link.
    """
    part = Part.of(prediction, overlap)
    return "".join(_page([part.name], iter([part.section]), iter([part.drawings]), home))


@dataclass(frozen=True)
class Part:
    """Part of a page for one formula: its name with symbols and counts, its section and its drawings."""

    name: tuple[str, tuple[tuple[str, str], ...]]
    section: str
    drawings: str

    @classmethod
    def of(cls, prediction: Prediction, overlap: TrainingOverlap | None) -> Part:
        """Return the part for a prediction, ready to be written."""
        view = formula_view(prediction, overlap)
        drawings = {candidate.anchor: candidate.drawing for candidate in view.candidates}
        section = environment().get_template("formula.html").render(view=view)
        return cls((view.formula, view.parts), section, str(htmlsafe_json_dumps(drawings))[1:-1])


class PageWriter:
    """Writer of OUT/report.html, one prediction after another; predictions are not kept in memory.

    Leaving the context completes the page; nothing is written if no prediction was added.

    Args:
        out: folder of the page.
        bundle: weights, for the proximity of candidates to the training data.
    """

    def __init__(self, out: Path, bundle: WeightBundle) -> None:
        self.path = out / REPORT
        self._bundle = bundle
        self._names: list[tuple[str, tuple[tuple[str, str], ...]]] = []
        self._sections, self._drawings = TemporaryFile("w+"), TemporaryFile("w+")  # noqa: SIM115 - closed on exit

    def __enter__(self) -> PageWriter:
        return self

    def add(self, prediction: Prediction) -> None:
        """Add a formula."""
        crystals = [candidate.crystal for candidate in prediction.candidates]
        part = Part.of(prediction, training_overlap(prediction.composition, crystals, self._bundle))
        self._names.append(part.name)
        for file, text in ((self._sections, part.section), (self._drawings, part.drawings)):
            file.write(json.dumps(text) + "\n")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._sections as sections, self._drawings as drawings:
            if not self._names:
                return
            sections.seek(0)
            drawings.seek(0)
            pieces = _page(self._names, map(json.loads, sections), map(json.loads, drawings), None)
            try:
                write_pieces(self.path, pieces)
            except OSError as error:
                raise LcomsError(
                    f"{self.path}: cannot be written ({error.strerror}); choose another folder with --out."
                ) from error


def _page(
    names: Sequence[tuple[str, tuple[tuple[str, str], ...]]],
    sections: Iterator[str],
    drawings: Iterator[str],
    home: str | None,
) -> Iterator[str]:
    """Return an iterator over the text of a page, piece by piece."""
    from markupsafe import Markup

    template = environment().get_template("report.html")
    return iter(
        template.generate(
            title=_title([name for name, _ in names]),
            formulas=names,
            sections=map(Markup, sections),
            drawings=(Markup(text) for text in drawings if text),
            policy=f"{POLICY}; script-src {' '.join(_hash(asset(name)) for name in SCRIPTS)}",
            scripts=[Markup(asset(name)) for name in SCRIPTS],
            styles=[Markup(asset(name)) for name in STYLES],
            licences={name: asset(path) for name, path in LICENCES.items()},
            version=__version__,
            home=home,
        )
    )


def _title(formulas: Sequence[str]) -> str:
    shown = ", ".join(formulas[:4])
    return f"{shown} and {len(formulas) - 4} more" if len(formulas) > 4 else shown


def _hash(script: str) -> str:
    """Return the hash of a script in the form used by a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
