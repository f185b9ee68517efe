"""A local page where a formula is typed, by Flask: the form, the progress of a prediction, and its report.

The server answers only to the names it was told, takes forms only from its own page, takes no paths and writes no
files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hmac import compare_digest
from typing import Any

from flask import Flask, Response, abort, jsonify, redirect, render_template, request, url_for
from jinja2 import ChoiceLoader, PackageLoader
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from lcoms.app.desk import BusyError, Desk, Run
from lcoms.core.config import read_range
from lcoms.core.errors import ConfigError, FormulaError, LcomsError
from lcoms.page import page_html
from lcoms.page.render import asset
from lcoms.prediction.overlap import training_overlap
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.result import require_candidates
from lcoms.structure.crystal import Composition

COOKIE = "lcoms-token"
MAX_FORM = 10_000  # bytes
MAX_FORMULA = 200  # characters
MOST_CANDIDATES = 50
LOCAL_NAMES = ("127.0.0.1", "localhost")
NUMBERS = ("n_candidates", "seed")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Settings:
    """What the page does with a formula.

    Attributes:
        predictor: what predicts; forms choose some of its options otherwise.
        names: host names that the server answers to; None: any.
        token: that whoever is not on this machine must know; None: nobody is asked.
    """

    predictor: Predictor
    names: tuple[str, ...] | None = LOCAL_NAMES
    token: str | None = None


def make_app(settings: Settings) -> Flask:
    """The application, for any WSGI server; it keeps what it found in memory only."""
    app = Flask(__name__)
    app.jinja_loader = ChoiceLoader([PackageLoader("lcoms.app"), PackageLoader("lcoms.page")])
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_FORM, TRUSTED_HOSTS=None if settings.names is None else list(settings.names)
    )
    desk = Desk()
    if settings.token is not None:
        app.before_request(partial(_only_with_token, settings.token))
    app.before_request(_only_own_forms)
    app.after_request(_guarded)
    app.register_error_handler(HTTPException, _http_error)
    app.add_url_rule("/style.css", "style", lambda: Response(asset("static/page.css"), mimetype="text/css"))

    @app.get("/")
    def home() -> str:
        return _form(desk, settings, {}, "")

    @app.post("/predict")
    def predict() -> AnyResponse | tuple[str, int]:
        try:
            composition, predictor = read_form(request.form, settings)
            run = desk.submit(composition.reduced_formula, _work(composition, predictor))
        except BusyError as error:
            return _form(desk, settings, request.form, str(error)), 503
        except LcomsError as error:
            return _form(desk, settings, request.form, str(error)), 400
        return redirect(url_for("show", number=run.number), 303)

    @app.get("/runs/<int:number>")
    def show(number: int) -> Response | str:
        run = _found(desk, number)
        if page := run.page:
            return Response(page, mimetype="text/html")
        return render_template("run.html", title=run.title, run=run)

    @app.get("/runs/<int:number>/progress")
    def progress(number: int) -> Response:
        run = _found(desk, number)
        return jsonify(progress=run.progress, complaint=run.complaint, ended=run.ended.is_set())

    return app


def read_form(form: Mapping[str, str], settings: Settings) -> tuple[Composition, Predictor]:
    """What was asked for.

    Raises:
        FormulaError: the formula cannot be read or handled.
        ConfigError: another field cannot be read.
        OracleError: the oracle cannot handle the elements.
    """
    formula = form.get("formula", "")
    if len(formula) > MAX_FORMULA:
        raise FormulaError(f"the formula is too long; at most {MAX_FORMULA} characters can be read.")
    composition = Composition.from_formula(formula).reduced
    options: dict[str, Any] = {"search": {"exclude_same": bool(form.get("exclude_same"))}}
    options |= {name: _whole(form[name], name) for name in NUMBERS if form.get(name, "").strip()}
    if units := form.get("formula_units", "").strip():
        options["search"]["formula_units"] = list(read_range(units[:20], "formula units"))
    predictor = settings.predictor.with_options(options)
    if predictor.spec.n_candidates > MOST_CANDIDATES:
        raise ConfigError(f"n_candidates must be at most {MOST_CANDIDATES} here, not {predictor.spec.n_candidates}.")
    predictor.check(composition)
    return composition, predictor


def _whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"option {name}: expected a whole number, not {text[:20]!r}.") from None


def _work(composition: Composition, predictor: Predictor) -> Callable[[Callable[[str], None]], str]:
    def work(tell: Callable[[str], None]) -> str:
        found = predictor.predict(composition, progress=lambda progress: tell(str(progress)))
        prediction = require_candidates(found)
        tell("writing the page")
        overlap = training_overlap(composition, [c.crystal for c in prediction.candidates], predictor.bundle)
        return page_html(prediction, overlap, home="/")

    return work


def _form(desk: Desk, settings: Settings, values: Mapping[str, str], complaint: str) -> str:
    return render_template(
        "form.html",
        title="Predict",
        values=values,
        defaults=settings.predictor.spec,
        most=MOST_CANDIDATES,
        longest=MAX_FORMULA,
        complaint=complaint,
        relaxation=settings.predictor.spec.relaxation,
        runs=desk.runs(),
    )


def _found(desk: Desk, number: int) -> Run:
    run = desk.find(number)
    if run is None:
        abort(404)
    return run


def _only_with_token(token: str) -> AnyResponse | None:
    """Whoever opens the address with the token gets it as a cookie, which no page of another site can send."""
    given = request.args.get("token", "")
    if given and compare_digest(given.encode(), token.encode()):
        answer = redirect(url_for("home"), 303)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
        return answer
    if not compare_digest(request.cookies.get(COOKIE, "").encode(), token.encode()):
        abort(401)
    return None


def _only_own_forms() -> None:
    """Another site's page may not make this server work."""
    if request.method != "POST":
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    foreign = origin is not None and origin != request.host_url.rstrip("/") if site is None else site != "same-origin"
    if foreign:
        abort(403)


def _guarded(response: Response) -> Response:
    """Pages run no scripts but their own; a report names its own by their hashes."""
    is_report = response.mimetype == "text/html" and b"Content-Security-Policy" in response.data[:2000]
    response.headers["Content-Security-Policy"] = "frame-ancestors 'none'" if is_report else POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response


def _http_error(error: HTTPException) -> tuple[str, int]:
    sentences = {
        400: "this address or request is not one that lcoms answers to.",
        401: "this page is kept for those who have its whole address, which lcoms app printed in its terminal.",
        403: "a page of another site may not ask for predictions.",
        404: "there is no such page; results are kept only as long as lcoms app runs, the last few of them.",
        413: "the form is too long.",
    }
    code = error.code or 500
    return render_template("error.html", title="Error", sentence=sentences.get(code, error.name.lower() + ".")), code
