"""Invented and damaged inputs from Hypothesis, for every kind of file and text that a user can give to a command.

Each example must end with exit code 0 or 2 and sentences, within `LONGEST` seconds; anything else raises an error.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from faults import MEGNET, NETWORK, QUICK, TRAINING, make_inputs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tiny import perovskite, rock_salt

import lcoms
from lcoms.cli.main import run
from lcoms.evaluate.judging import time_limit
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Crystal
from lcoms.structure.io import to_cif, to_extxyz, to_poscar

LONGEST = 120.0  # seconds, on a busy machine; a few on an idle one
ODD = [
    "", "0", "-1", "nan", "inf", "-inf", "1e308", "1e-308", "9" * 12, "9" * 5000, "²", "٣", "0x10", "1_0", "?", ".",
    "'", '"', "#", "loop_", "data_", "\x00", "\ud7ff", "\ufeff", "\r", "\n\n", ";\n", "Qq", "Na+", "D", "X", "{", "[",
    "}", "]", "null", "true", "1(2)", "__import__('os').system('true')", "!!python/object/apply:os.system [true]",
    "%s" * 9, "{0}", "../../x",
]  # fmt: skip
FORMULAS = ["NaCl", "SrTiO3", "Ca3(PO4)2", "Fe2O3", "Na 2 Cl 2", "CuSO4.5H2O", "LiFePO₄", "(NH4)2SO4"]
WEIGHTS = (
    "cdvae.safetensors", "surrogate.safetensors", "library.safetensors", "orbits.json", "ranking.json",
    "calibration.json",
)  # fmt: skip
SHIPPED = Path(lcoms.__file__).parent / "weights"
SPEC = (
    "n_candidates = 3\nseed = 1\n\n[search]\nformula_units = [1, 2]\nsubstituted = 0.2\n\n[search.decoder]\nkept = 2\n"
)
SETTINGS = [*NETWORK, *TRAINING, *MEGNET, "encoder.n_layers=2", "basis.cutoff=5.0", "conservatism.mode=on", "steps=3"]


class Example(NamedTuple):
    """Arguments of a command, including `{file}` and `{out}`, and the content of the file."""

    arguments: Sequence[str]
    name: str = ""
    content: bytes = b""


class Place(NamedTuple):
    """A folder with intact inputs."""

    folder: Path
    inputs: Any


def text_like(seeds: Sequence[str]) -> st.SearchStrategy[str]:
    """Draw one of the seeds after some damage, or arbitrary text."""
    return st.one_of(_damaged(st.sampled_from(list(seeds))), st.text(max_size=200))


@st.composite
def _damaged(draw: st.DrawFn, seeds: st.SearchStrategy[str]) -> str:
    text = draw(seeds)
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["cut", "insert", "word", "repeat", "lines", "end"]))
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 40)))
        if kind == "cut":
            text = text[:start] + text[stop:]
        elif kind == "insert":
            text = text[:start] + draw(st.one_of(st.sampled_from(ODD), st.text(max_size=8))) + text[start:]
        elif kind == "word":
            words = text.split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(ODD))
            text = " ".join(words)
        elif kind == "repeat":
            text = text[:start] + text[start:stop] * draw(st.integers(2, 5)) + text[stop:]
        elif kind == "lines":
            lines = text.split("\n")
            i, j = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
        else:
            text = text[:start]
    return text


@st.composite
def bytes_like(draw: st.DrawFn, seed: bytes) -> bytes:
    """Draw the seed after some damage, mostly near the beginning, where headers are."""
    content = bytearray(seed)
    for _ in range(draw(st.integers(0, 4))):
        end = len(content) if draw(st.booleans()) else min(len(content), 300)
        start = draw(st.integers(0, end))
        piece = draw(st.binary(max_size=16))
        kind = draw(st.sampled_from(["over", "cut", "insert", "end"]))
        if kind == "over":
            content[start : start + len(piece)] = piece
        elif kind == "cut":
            del content[start : start + draw(st.integers(1, 64))]
        elif kind == "insert":
            content[start:start] = piece
        else:
            del content[start:]
    return bytes(content)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@st.composite
def json_like(draw: st.DrawFn, seed: Any) -> bytes:
    """Draw JSON with several values of the seed replaced, with damaged text, or deeply nested."""
    if draw(st.integers(0, 9)) == 0:
        return b"[" * draw(st.integers(1, 200_000))
    if draw(st.integers(0, 4)) == 0:
        return draw(_damaged(st.just(json.dumps(seed)))).encode("utf-8", "surrogatepass")
    return _json_bytes(draw(_replaced(json.loads(json.dumps(seed)))))


@st.composite
def _replaced(draw: st.DrawFn, value: Any) -> Any:
    if draw(st.integers(0, 7)) == 0:
        return draw(JSON_VALUES)
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 7)) == 0:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: draw(_replaced(value[key]))}
    if isinstance(value, list) and value:
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(_replaced(value[place])), *value[place + 1 :]]
    return draw(JSON_VALUES)


@st.composite
def parquet_like(draw: st.DrawFn) -> bytes:
    """Draw a table of crystals in which each column is correct, of another type, or missing."""
    good: dict[str, list[Any]] = {
        "material_id": ["a", "b"],
        "numbers": [[11, 17], [12, 8]],
        "frac_coords": [[0.0, 0, 0, 0.5, 0.5, 0.5]] * 2,
        "lattice": [[3.0, 0, 0, 0, 3.0, 0, 0, 0, 3.0]] * 2,
        "formation_energy_per_atom": [-1.0, None],
        "cif": [to_cif(rock_salt()), "data_"],
        "split": ["train", "val"],
        "rank": [1, 2],
    }
    numbers = st.floats() | st.integers(-(2**62), 2**62)
    kinds = [
        st.lists(st.none() | st.text(max_size=6), min_size=2, max_size=2),
        st.lists(st.none() | st.binary(max_size=6), min_size=2, max_size=2),
        st.lists(st.none() | st.floats(), min_size=2, max_size=2),
        st.lists(st.none() | st.booleans(), min_size=2, max_size=2),
        st.lists(st.lists(st.none() | st.floats(), max_size=10), min_size=2, max_size=2),
        st.lists(st.lists(st.integers(-5, 300), max_size=4), min_size=2, max_size=2),
        st.lists(st.lists(st.lists(numbers.map(float), max_size=3), max_size=3), min_size=2, max_size=2),
        st.lists(st.dictionaries(st.sampled_from("ab"), st.floats(), max_size=2), min_size=2, max_size=2),
        st.lists(st.none(), min_size=2, max_size=2),
    ]
    columns = {}
    for name, values in good.items():
        choice = draw(st.integers(0, 5))
        if choice:
            columns[name] = values if choice > 1 else draw(st.one_of(kinds))
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(pa.table(columns), sink)
    except (pa.ArrowException, TypeError, ValueError):  # not every mixture can be stored as Parquet
        return b"PAR1"
    content = sink.getvalue().to_pybytes()
    return draw(bytes_like(content)) if draw(st.integers(0, 4)) == 0 else content


def _crystals() -> list[Crystal]:
    return [rock_salt(), perovskite()]


def examples_of(kind: str, place: Place) -> st.SearchStrategy[Example]:
    """Return the strategy for examples of one kind."""
    rank = ("rank", "{file}", "--oracle", "toy_oracles:Springs")
    ingest = ("data", "ingest", "{file}", "--out", "{out}")
    crystals = _crystals()

    def file(name: str, arguments: Sequence[str], texts: st.SearchStrategy[str]) -> st.SearchStrategy[Example]:
        return texts.map(lambda text: Example(arguments, name, text.encode("utf-8", "surrogatepass")))

    if kind == "formulas":
        plain = text_like(FORMULAS).map(lambda text: Example(("predict", "--weights", "nowhere", "--", text)))
        listed = file("formulas.txt", ("campaign", "{file}", "--weights", "nowhere"), text_like(["\n".join(FORMULAS)]))
        return plain | listed
    if kind == "cif":
        return file("x.cif", rank, text_like([to_cif(c, symprec=s) for c in crystals for s in (None, 0.01)]))
    if kind == "poscar":
        return file("POSCAR", rank, text_like([to_poscar(c) for c in crystals]))
    if kind == "extxyz":
        seeds = text_like([to_extxyz(crystals), to_extxyz(crystals[:1])])
        return file("x.extxyz", rank, seeds) | file("x.extxyz", ingest, seeds)
    if kind == "json":
        rows = json_like({"data": [_json_row(c, layout) for c in crystals for layout in range(4)]})
        lines = _damaged(st.just("\n".join(json.dumps(_json_row(c, 3)) for c in crystals)))
        phases = json_like([{"formula": "Na", "energy_per_atom": -1.0}, {"formula": "Cl2", "energy_per_atom": -2.0}])
        hull = ("rank", str(place.inputs.cif), "--oracle", "toy_oracles:Springs", "--hull", "{file}")
        return (
            rows.map(lambda content: Example(ingest, "x.json", content))
            | file("x.jsonl", ingest, lines)
            | phases.map(lambda content: Example(hull, "hull.json", content))
        )
    if kind == "csv":
        header = "material_id,cif,e_form\n"
        seeds = [header + 'a,"' + to_cif(c) + '",-1.0\nb,,\n' for c in crystals]
        seeds.append('id,unit_cell,sites\n1,"[3, 0, 0], [0, 3, 0], [0, 0, 3]","Na @ 0 0 0, Cl @ 0.5 0.5 0.5"\n')
        return file("x.csv", ingest, text_like(seeds))
    if kind == "parquet":
        return parquet_like().map(lambda content: Example(ingest, "x.parquet", content))
    if kind == "options":
        commands = [("cdvae", "--set"), ("cdvae", "--model"), ("megnet", "--set"), ("megnet", "--model")]
        return st.tuples(st.sampled_from(commands), text_like(SETTINGS)).map(
            lambda drawn: Example(
                ("train", drawn[0][0], "nowhere", "--out", "{out}", f"{drawn[0][1]}={drawn[1]}")
            )
        )  # fmt: skip
    if kind == "weights":
        return st.sampled_from(WEIGHTS).flatmap(lambda name: _weights_like(place.inputs.weights / name))
    if kind == "spec":
        arguments = ("predict", "NaCl", "--weights", "nowhere", "--spec", "{file}")
        repeated = json_like({"spec": PredictionSpec().to_dict()})
        return repeated.map(lambda content: Example(arguments, "results.json", content)) | file(
            "spec.toml", arguments, text_like([SPEC])
        )
    raise KeyError(kind)


def _weights_like(path: Path) -> st.SearchStrategy[Example]:
    whole = (path if path.is_file() else SHIPPED / path.name).read_bytes()
    arguments = ("predict", "NaCl", "--no-relax", *QUICK, "--weights", "{folder}", "--out", "{out}")
    if path.suffix == ".json":
        return json_like(json.loads(whole)).map(lambda content: Example(arguments, path.name, content))
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    facts = json.loads(header["__metadata__"]["lcoms"])

    def joined(changed: bytes) -> bytes:
        new = json.dumps(header | {"__metadata__": {"lcoms": changed.decode("utf-8", "replace")}}).encode()
        return len(new).to_bytes(8, "little") + new + data

    contents = bytes_like(whole) | json_like(facts).map(joined)
    return contents.map(lambda content: Example(arguments, path.name, content))


def _json_row(crystal: Crystal, layout: int) -> dict[str, Any]:
    """Return a crystal in one of the layouts that `lcoms data ingest` reads."""
    symbols = [{11: "Na", 17: "Cl", 38: "Sr", 22: "Ti", 8: "O"}[z] for z in crystal.atomic_numbers.tolist()]
    coords, lattice = crystal.frac_coords.tolist(), crystal.lattice.tolist()
    if layout == 0:
        sites = [{"species": [{"element": s, "occu": 1}], "abc": abc} for s, abc in zip(symbols, coords, strict=True)]
        return {"structure": {"lattice": {"matrix": lattice}, "sites": sites}, "e_form": -1.0}
    if layout == 1:
        return {
            "atoms": {"lattice_mat": lattice, "coords": coords, "elements": symbols, "cartesian": False},
            "jid": "x",
        }
    if layout == 2:
        sites = [f"{s} @ {x} {y} {z}" for s, (x, y, z) in zip(symbols, coords, strict=True)]
        return {"unit_cell": lattice, "sites": sites, "entry_id": 7}
    return {"numbers": crystal.atomic_numbers.tolist(), "frac_coords": coords, "lattice": lattice, "e_above_hull": 0.1}


KINDS = ("formulas", "cif", "poscar", "extxyz", "json", "csv", "parquet", "options", "weights", "spec")


def try_out(example: Example, place: Place) -> None:
    """Run a command on an example; raise AssertionError, or its exception, if it does not end as required."""
    out, folder = place.folder / "out", place.folder / "given"
    for old in (out, folder):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir()
    if "{folder}" in example.arguments:
        for file in place.inputs.weights.iterdir():
            if file.name != example.name:
                (folder / file.name).symlink_to(file)
    file = folder / example.name
    if example.name:
        file.write_bytes(example.content)
    known = {"{file}": str(file), "{out}": str(out), "{folder}": str(folder)}
    said, complained = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(complained), time_limit(LONGEST):
        code = run([known.get(argument, argument) for argument in example.arguments])
    lines = complained.getvalue().splitlines()
    assert code in (0, 2), code
    assert "Traceback" not in complained.getvalue()
    assert code == 0 or any(line.startswith("lcoms: ") for line in lines) or "dropped" in said.getvalue(), lines


@contextmanager
def a_place() -> Iterator[Place]:
    """Yield a folder for examples, removed at the end."""
    with tempfile.TemporaryDirectory() as name:
        yield Place(Path(name), make_inputs(Path(name) / "in"))


def fuzz(kind: str, place: Place, n: int, *, seed: int | None = None) -> int:
    """Try examples of a kind; return the number tried, or raise the error of the smallest that fails."""
    tried = 0

    def one(example: Example) -> None:
        nonlocal tried
        tried += 1
        try_out(example, place)

    check: Callable[[], None] = settings(
        max_examples=n, deadline=None, database=None, derandomize=seed is None, print_blob=False,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
    )(given(examples_of(kind, place))(one))  # fmt: skip
    if seed is not None:
        from hypothesis import seed as with_seed

        check = with_seed(seed)(check)
    check()
    return tried
