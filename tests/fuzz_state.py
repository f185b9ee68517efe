"""Files that commands store - calibration, journals, caches, checkpoints, stores - damaged between two calls.

Each example must end with exit code 0 or 2 and sentences; if it ends with 0 and the damage cannot be intended, the
answers must equal those of an undisturbed run. Relaxations use toy models.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from campaigns import InlineWorkers
from faults import QUICK
from fuzz import LONGEST, Place, bytes_like, json_like
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tiny import made_crystals, make_store

from lcoms.cli import campaign
from lcoms.cli.main import run
from lcoms.data.store import MANIFEST, Store
from lcoms.evaluate.judging import time_limit
from lcoms.prediction.calibrate import Calibration, CalibrationModel
from lcoms.prediction.ranking_file import load_ranking
from lcoms.prediction.spec import PredictionSpec

RELAXED = [
    "--overwrite",
    *QUICK,
    "--relax",
    "--oracle",
    "analytic",
    "--committee",
    "none",
    "--n-relax",
    "1",
    "--processes",
    "1",
]
SALT = "{inputs}/salt.cif"


class Kept(NamedTuple):
    """A command and a file that it stores.

    Attributes:
        arguments: containing {out}, {weights} and {inputs}.
        file: path below the folder that contains `out` and `weights`.
        answers: results of an undisturbed run; None if the file itself may change the results.
    """

    arguments: list[str]
    file: str
    answers: Callable[[Path], Any] | None = None


def _candidates(out: Path) -> Any:
    found = json.loads((out / "NaCl" / "results.json").read_text())
    stated = found["probability"]
    assert stated is None or 0 <= stated <= 1
    return [(one["cif"], one["primitive_cell"]) for one in found["candidates"]]


def _energies(out: Path) -> Any:
    return [(row["name"], row["energy_per_atom"]) for row in json.loads((out / "rank.json").read_text())["ranked"]]


def _formulas(out: Path) -> Any:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("*/*")) if path.is_file()}


def _rows(out: Path) -> Any:
    return repr(Store.open(out).table().to_pylist())  # as text, because NaN differs from NaN


PREDICT = ["predict", "NaCl", "--weights", "{weights}", "--out", "{out}"]
CAMPAIGN = ["campaign", "{inputs}/formulas.txt", "--no-relax", *QUICK, "--weights", "{weights}", "--out", "{out}"]
SURROGATE = [
    "train", "surrogate", "{weights}/../store", "--out", "{out}", "--cdvae", "{inputs}/weights/cdvae.safetensors",
    "--set", "hidden=8", "--set", "epochs=1", "--set", "precision=float32",
]  # fmt: skip
KEPT = {
    "calibration": Kept([*PREDICT, *RELAXED], "weights/calibration.json", _candidates),
    "ranking": Kept([*PREDICT, *RELAXED], "weights/ranking.json"),
    "results": Kept([*PREDICT, "--no-relax", *QUICK], "out/NaCl/results.json"),
    "journal": Kept(CAMPAIGN, "out/journal.jsonl", _formulas),
    "campaign": Kept(CAMPAIGN, "out/campaign.json", _formulas),
    "cache": Kept(
        ["rank", SALT, "--oracle", "toy_oracles:Springs", "--cache", "{out}/cache.db", "--json", "{out}/rank.json"],
        "out/cache.db", _energies,
    ),
    "checkpoint": Kept(
        ["relax", SALT, "--oracle", "toy_oracles:Springs", "--processes", "1", "--out", "{out}", "--steps", "20"],
        "out/checkpoint.jsonl",
    ),
    "surrogate": Kept(SURROGATE, "out/surrogate-on/checkpoint.safetensors"),
    "manifest": Kept(["data", "info", "{out}"], f"out/{MANIFEST}", _rows),
    "shard": Kept(["data", "info", "{out}"], "out/crystals-00000.arrow", _rows),
}  # fmt: skip


def prepare(kind: str, place: Place) -> tuple[Path, Any]:
    """Return the folder of an undisturbed run, made once, and the answers of that run."""
    kept, base = KEPT[kind], place.folder / f"undisturbed-{kind}"
    if not base.exists():
        shutil.copytree(place.inputs.weights, base / "weights")
        model = CalibrationModel(0.04, 0.1, -0.03, 10, 40, _spec_of_relaxed(base, place))
        Calibration((model,)).save(base / "weights")
        load_ranking(base / "weights").save(base / "weights")
        (base / "weights" / "digest.json").unlink()  # it would reject every change
        if kind == "surrogate":
            crystals = made_crystals()[::8]
            n, splits = len(crystals), ["val", *["train"] * (len(crystals) - 1)]
            make_store(
                base / "store", crystals, energies=[-1 - 0.1 * i for i in range(n)], hull=[0.0] * n, splits=splits
            )
        if kept.arguments[0] == "data":
            shutil.copytree(place.inputs.store, base / "out")
        else:
            code, said = _run(kept, base, place)
            assert code in (0, 2), said
    return base, None if kept.answers is None else kept.answers(base / "out")


def _spec_of_relaxed(base: Path, place: Place) -> PredictionSpec:
    out = base / "spec"
    code, said = _run(Kept([*PREDICT[:-1], str(out), *RELAXED], ""), base, place)
    assert code == 0, said
    spec = PredictionSpec.from_dict(json.loads((out / "NaCl" / "results.json").read_text())["spec"])
    shutil.rmtree(out)
    return spec


def _run(kept: Kept, folder: Path, place: Place) -> tuple[int, str]:
    names = {"out": folder / "out", "weights": folder / "weights", "inputs": place.folder / "in"}
    arguments = [text.format(**names) if "{" in text else text for text in kept.arguments]
    said = io.StringIO()
    before = campaign._workers
    campaign._workers = lambda plan, *_: InlineWorkers(plan)  # type: ignore[assignment]
    try:
        with redirect_stdout(said), redirect_stderr(said), time_limit(LONGEST):
            return run(arguments), said.getvalue()
    finally:
        campaign._workers = before


def try_out(kind: str, content: bytes, place: Place) -> None:
    """Replace the content of the file, run the command again, and check how it ends."""
    base, wanted = prepare(kind, place)
    kept, folder = KEPT[kind], place.folder / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    (folder / kept.file).write_bytes(content)
    code, said = _run(kept, folder, place)
    assert code in (0, 2), code
    assert "Traceback" not in said
    assert code == 0 or "lcoms: " in said, said
    if code == 0 and kept.answers is not None:
        assert kept.answers(folder / "out") == wanted, said


def contents_like(whole: bytes, name: str) -> st.SearchStrategy[bytes]:
    """Draw the content of a file after some damage."""
    if name.endswith(".json"):
        return json_like(json.loads(whole))
    if name.endswith(".jsonl"):
        lines = [json.loads(line) for line in whole.splitlines()]
        changed = st.tuples(*(json_like(line) for line in lines)).map(b"\n".join)
        return bytes_like(whole) | changed
    return bytes_like(whole)


def fuzz_kept(kind: str, place: Place, n: int, *, seed: int = 0) -> int:
    """Try examples; return the number tried, or raise the error of the smallest that fails."""
    from hypothesis import seed as with_seed

    base, _ = prepare(kind, place)
    tried = 0

    def one(content: bytes) -> None:
        nonlocal tried
        tried += 1
        try_out(kind, content, place)

    given_one = given(contents_like((base / KEPT[kind].file).read_bytes(), KEPT[kind].file))(one)
    with_seed(seed)(
        settings(
            max_examples=n, deadline=None, database=None, print_blob=False, suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )(given_one)
    )()  # fmt: skip
    return tried
