"""A local Flask page for predictions: the form for a formula, the progress of a prediction, and its report.

The server answers only to the host names it was given, accepts forms only from its own page, accepts no paths and
writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hmac import compare_digest

from flask import Flask, Response, abort, jsonify, redirect, render_template, request, url_for
from jinja2 import ChoiceLoader, PackageLoader
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from lcoms.app.desk import BusyError, Desk, Run
from lcoms.app.fields import FIRST, form_fields, label_of, read_fields
from lcoms.app.working import Order, doubts_of, work_for
from lcoms.core.errors import ConfigError, FormulaError, LcomsError, OptionError
from lcoms.page.render import asset
from lcoms.prediction.hulls import predicted_hull
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.structure.crystal import Composition
from lcoms.structure.elements import SYMBOLS

COOKIE = "lcoms-token"
MAX_FORM = 10_000  # bytes
MAX_FORMULA = 200  # characters
MOST_PHASES = 8  # in a hull, in addition to the compound
LOCAL_NAMES = ("127.0.0.1", "localhost")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Settings:
    """Settings of the server.

    Attributes:
        predictor: makes the predictions; forms may change its options.
        options: options that it was made with.
        names: host names that the server answers to; None: any.
        token: required from users on other machines; None: not required.
    """

    predictor: Predictor
    options: Options
    names: tuple[str, ...] | None = LOCAL_NAMES
    token: str | None = None


def make_app(settings: Settings) -> Flask:
    """Return the application, for any WSGI server; results are kept in memory only."""
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
            order = read_form(request.form, settings)
            notes = [*_reading(request.form.get("formula", "")), *doubts_of(order)]
            run = desk.submit(order.composition.reduced_formula, work_for(order), notes)
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
        return render_template("run.html", title=run.title, run=run, progress=_progress(desk, run))

    @app.get("/runs/<int:number>/progress")
    def progress(number: int) -> Response:
        run = _found(desk, number)
        told = _progress(desk, run)
        return jsonify(progress=told, fraction=run.fraction, complaint=run.complaint, ended=run.ended.is_set())

    @app.post("/runs/<int:number>/cancel")
    def cancel(number: int) -> AnyResponse:
        desk.cancel(_found(desk, number))
        return redirect(url_for("home"), 303)

    return app


def read_form(form: Mapping[str, str], settings: Settings) -> Order:
    """Return the prediction requested by a form.

    Raises:
        FormulaError: a formula cannot be read or handled.
        ConfigError: another field cannot be read.
        OracleError: the oracle cannot handle the elements.
    """
    composition = _composition(form.get("formula", ""))
    names = form.get("hull", "").replace(",", " ").split()
    if len(names) > MOST_PHASES:
        raise ConfigError(f"at most {MOST_PHASES} further phases are allowed, not {len(names)}.")
    try:
        spec = spec_for(read_fields(form, settings.options))
        if names and spec.relaxation is None:
            raise ConfigError("the hull needs relaxed energies; start lcoms app with --relax.")
        hull = predicted_hull([], spec) if names else None  # raises now if there can be none
    except OptionError as error:
        raise error.renamed(label_of) from error
    predictor = Predictor(settings.predictor.bundle, spec, processes=settings.predictor.processes)
    phases = tuple(dict.fromkeys(_composition(name) for name in names))
    order = Order(composition, predictor, tuple(phase for phase in phases if phase != composition))
    for one in (composition, *order.phases):
        order.predictor_of(one).check(one)
    elements = {SYMBOLS[one.atomic_numbers[0]] for one in order.phases if len(one.atomic_numbers) == 1}
    if hull is not None and (lacking := [one for one in hull.missing(composition) if one not in elements]):
        raise ConfigError(f"the hull needs the elements, too; add {', '.join(lacking)} to the further phases.")
    return order


def _composition(formula: str) -> Composition:
    if len(formula) > MAX_FORMULA:
        raise FormulaError(f"the formula is too long; the limit is {MAX_FORMULA} characters.")
    return Composition.from_formula(formula).reduced


def _reading(formula: str) -> list[str]:
    """Return a sentence, in a list, if a formula is predicted as a multiple of a smaller one."""
    composition = Composition.from_formula(formula)
    several = composition.n_formula_units > 1
    return [f"{formula.strip()} is predicted as {composition.reduced_formula}."] if several else []


def _progress(desk: Desk, run: Run) -> str:
    ahead = desk.ahead(run)
    return f"queued, {ahead} ahead" if ahead else run.progress


def _form(desk: Desk, settings: Settings, values: Mapping[str, str], complaint: str) -> str:
    fields = form_fields(settings.options)
    return render_template(
        "form.html",
        title="Predict",
        values=values,
        first=[field for field in fields if field.name in FIRST],
        fields=[field for field in fields if field.name not in FIRST],
        longest=MAX_FORMULA,
        complaint=complaint,
        relaxation=settings.predictor.spec.relaxation,
        runs=[(run, _progress(desk, run)) for run in desk.runs()],
    )


def _found(desk: Desk, number: int) -> Run:
    run = desk.find(number)
    if run is None:
        abort(404)
    return run


def _only_with_token(token: str) -> AnyResponse | None:
    """Require the token; opening the address with it sets a cookie, which no page of another site can send."""
    given = request.args.get("token", "")
    if given and compare_digest(given.encode(), token.encode()):
        answer = redirect(url_for("home"), 303)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
        return answer
    if not compare_digest(request.cookies.get(COOKIE, "").encode(), token.encode()):
        abort(401)
    return None


def _only_own_forms() -> None:
    """Reject forms from pages of other sites."""
    if request.method != "POST":
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    foreign = origin is not None and origin != request.host_url.rstrip("/") if site is None else site != "same-origin"
    if foreign:
        abort(403)


def _guarded(response: Response) -> Response:
    """Add security headers: pages run only their own scripts, which a report lists by their hashes."""
    is_report = response.mimetype == "text/html" and b"Content-Security-Policy" in response.data[:2000]
    response.headers["Content-Security-Policy"] = "frame-ancestors 'none'" if is_report else POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response


def _http_error(error: HTTPException) -> tuple[str, int]:
    sentences = {
        400: "lcoms does not answer this address or request.",
        401: "this page needs its full address, which lcoms app printed in its terminal.",
        403: "pages of other sites may not request predictions.",
        404: "there is no such page; lcoms app keeps only the last few results, and only while it runs.",
        413: "the form is too long.",
    }
    code = error.code or 500
    return render_template("error.html", title="Error", sentence=sentences.get(code, error.name.lower() + ".")), code
