"""Full disks, folders without write permission, damaged files: one sentence, exit code 2, other files unchanged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from campaigns import InlineWorkers
from faults import QUICK, WRITERS, Inputs, contents, largest_file, make_inputs, permissions_count, small_disk
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lcoms.cli.main import run

CHANGING = ("logs/", "tensorboard/", "journal.jsonl", "summary.", "metrics.csv", "cache.db", ".lock")
"""Files that tell of time and runs, and so are not equal for equal runs."""
Call = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inputs") / "in")


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcoms.cli.campaign._workers", lambda plan, *_: InlineWorkers(plan))


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command; return exit code and error lines, one for code 2 and none for 0."""

    def call(arguments: list[str]) -> tuple[int, list[str]]:
        code = run(arguments)
        complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lcoms: ")]
        assert (code, len(complaints)) in ((0, 0), (2, 1)), complaints
        return code, complaints

    return call


def lasting(folder: Path) -> dict[str, bytes]:
    """Return the content that equal runs share: the numbers of weights, and rankings and evaluations without times."""
    found = {name: content for name, content in contents(folder).items() if not any(c in name for c in CHANGING)}
    for name, content in found.items():
        if name.endswith(".safetensors"):
            found[name] = content[8 + int.from_bytes(content[:8], "little") :]
        elif name == "rank.json":
            found[name] = json.dumps(json.loads(content) | {"seconds": 0}).encode()
        elif name == "rows.json":
            found[name] = json.dumps([row | {"seconds": 0} for row in json.loads(content)]).encode()
        elif name == "digest.json":  # of files that hold seconds
            found[name] = json.dumps(sorted(json.loads(content)["sha256"])).encode()
    return found


@pytest.fixture(scope="module")
def undisturbed(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """Return the files of an undisturbed command."""
    found: dict[str, dict[str, bytes]] = {}

    def of(name: str) -> dict[str, bytes]:
        if name not in found:
            out = tmp_path_factory.mktemp(name) / "out"
            assert run(WRITERS[name](inputs, out)) == 0
            found[name] = lasting(out)
        return found[name]

    return of


DEAR = ("cdvae", "megnet", "references")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in DEAR else ()) for n in WRITERS])
def test_a_disk_that_is_full_is_one_sentence_and_the_same_command_goes_on(
    name: str, inputs: Inputs, undisturbed: Callable[[str], dict[str, bytes]], tmp_path: Path, call: Call
) -> None:
    out, expected = tmp_path / "out", undisturbed(name)
    with largest_file(max(map(len, expected.values())) // 2):
        code, complaints = call(WRITERS[name](inputs, out))
    assert code == 2
    assert str(out) in complaints[0]
    assert not list(out.rglob("*.part"))
    assert call(WRITERS[name](inputs, out)) == (0, [])
    assert lasting(out) == expected
    with largest_file(0):
        call(WRITERS[name](inputs, out))
    assert lasting(out) == expected


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_written_is_one_sentence(name: str, inputs: Inputs, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    out.chmod(0o555)
    with permissions_count():
        code, complaints = call(WRITERS[name](inputs, out))
    assert code == 2
    assert str(out) in complaints[0]
    assert contents(out) == {"mine.txt": b"kept"}
    assert call(WRITERS[name](inputs, tmp_path / "out" / "mine.txt"))[0] == 2
    assert contents(out) == {"mine.txt": b"kept"}


@pytest.mark.parametrize(("name", "kib"), [("ingest", 8), ("cdvae", 1600), ("surrogate", 256), ("campaign", 16)])
def test_a_small_disk_that_is_made_larger(
    name: str, kib: int, inputs: Inputs, undisturbed: Callable[[str], dict[str, bytes]], tmp_path: Path, call: Call
) -> None:
    with small_disk(tmp_path / "disk", kib) as mounted:
        if not mounted:
            pytest.skip("no disk can be mounted here; the limit on the size of files stands in for it")
        out = tmp_path / "disk" / "out"
        assert call(WRITERS[name](inputs, out))[0] == 2
        subprocess.run(["mount", "-o", "remount,size=20m", str(tmp_path / "disk")], check=True)
        assert call(WRITERS[name](inputs, out)) == (0, [])
        assert lasting(out) == undisturbed(name)


READERS = {
    "store/store.json": ["data", "info", "{in}/store"],
    "store/crystals-00000.arrow": ["data", "info", "{in}/store"],
    "weights/cdvae.safetensors": [
        "predict",
        "NaCl",
        "--no-relax",
        *QUICK,
        "--weights",
        "{in}/weights",
        "--out",
        "{out}",
    ],
    "weights/surrogate.safetensors": [
        "predict",
        "NaCl",
        "--no-relax",
        *QUICK,
        "--weights",
        "{in}/weights",
        "--out",
        "{out}",
    ],
    "weights/library.safetensors": [
        "predict",
        "NaCl",
        "--no-relax",
        *QUICK,
        "--weights",
        "{in}/weights",
        "--out",
        "{out}",
    ],
    "weights/orbits.json": ["predict", "NaCl", "--no-relax", *QUICK, "--weights", "{in}/weights", "--out", "{out}"],
    "table.parquet": ["data", "ingest", "{in}/table.parquet", "--out", "{out}"],
    "salt.cif": ["rank", "{in}/salt.cif", "--oracle", "analytic"],
    "known.extxyz": ["score", "{in}/known.extxyz", "{in}/known.extxyz", "--workers", "1"],
}
"""What each input file is read by."""
RESUMED = {
    "ingest": ["crystals-00000.arrow"],
    "cdvae": ["checkpoint.safetensors"],
    "surrogate": ["surrogate-on/checkpoint.safetensors"],
    "megnet": ["checkpoint.safetensors", "graphs.safetensors"],
    "campaign": ["campaign.json", "journal.jsonl", "NaCl/results.json"],
    "relax": ["checkpoint.jsonl"],
    "rank": ["cache.db"],
    "references": ["references.json"],
}
"""Files of a run that the same command reads when it is given again."""


SOME = ("half", "overwritten", "an empty object")
MANY = pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)])


def damages(content: bytes, *, many: bool) -> dict[str, bytes]:
    """Return the content truncated, overwritten, or replaced by other readable content."""
    middle = len(content) // 2
    found = {
        "empty": b"",
        "one byte": content[:1],
        "half": content[:middle],
        "without its end": content[:-1],
        "overwritten": content[:middle] + bytes(64) + content[middle + 64 :],
        "a list": b"[]\n",
        "nothing": b"null\n",
        "an empty object": b"{}\n",
        "not text": bytes(range(256)),
    }
    return found if many else {name: found[name] for name in SOME}


@MANY
@pytest.mark.parametrize("file", READERS)
def test_an_input_that_is_damaged_is_one_sentence(
    file: str, many: bool, inputs: Inputs, tmp_path: Path, call: Call
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(inputs.store.parent, folder)
    whole, complained = (folder / file).read_bytes(), 0
    arguments = [text.format(**{"in": folder, "out": out}) for text in READERS[file]]
    for name, content in damages(whole, many=many).items():
        (folder / file).write_bytes(content)
        code, complaints = call(arguments)
        assert code == 0 or "salt" in file or file.split("/")[-1].split(".")[0] in complaints[0], name
        complained += code == 2
        assert (folder / file).read_bytes() == content
    assert complained >= (7 if many else 1)  # what is overwritten may be numbers like all others
    (folder / file).write_bytes(whole)
    assert call(arguments) == (0, [])


@MANY
@pytest.mark.parametrize("name", RESUMED)
def test_a_run_whose_files_are_damaged_goes_on_or_is_refused(
    name: str, many: bool, inputs: Inputs, undisturbed: Callable[[str], dict[str, bytes]], tmp_path: Path, call: Call
) -> None:
    out, expected = tmp_path / "out", undisturbed(name)
    for file in RESUMED[name]:
        shutil.rmtree(out, ignore_errors=True)
        assert call(WRITERS[name](inputs, out)) == (0, [])
        if name == "ingest":
            (out / "store.json").unlink()
        before = contents(out)
        for what, content in damages(before[file], many=many).items():
            for path, old in before.items():
                (out / path).write_bytes(old)
            (out / file).write_bytes(content)
            code, complaints = call(WRITERS[name](inputs, out))
            if code == 2:
                assert str(out) in complaints[0] or file.split("/")[0] in complaints[0], what
                assert contents(out)[file] == content or name == "rank", what  # SQLite mends what it opens
            elif what != "overwritten":
                assert lasting(out) | {file: b""} == expected | {file: b""}, what
        for path, old in before.items():
            (out / path).write_bytes(old)
        assert call(WRITERS[name](inputs, out)) == (0, [])


@pytest.mark.parametrize(
    ("name", "file"), [("cdvae", "checkpoint.safetensors"), ("megnet", "checkpoint.safetensors"),
                       ("surrogate", "surrogate-on/checkpoint.safetensors")],
)  # fmt: skip
def test_a_checkpoint_of_another_version_is_refused_and_kept(
    name: str, file: str, inputs: Inputs, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "out"
    assert call(WRITERS[name](inputs, out))[0] == 0
    with safe_open(out / file, framework="pt") as opened:
        header = json.loads(opened.metadata()["lcoms"])
    tensors = load_file(out / file)
    for changed in ({"version": 99}, {"kind": "another"}, {"config": None}, {"history": None, "step": None}):
        save_file(tensors, out / file, {"lcoms": json.dumps(header | changed)})
        content = (out / file).read_bytes()
        code, complaints = call(WRITERS[name](inputs, out))
        assert code == 2, changed
        assert file in complaints[0]
        assert (out / file).read_bytes() == content
    save_file({key: tensor for key, tensor in tensors.items() if "weight" not in key}, out / file,
              {"lcoms": json.dumps(header)})  # fmt: skip
    assert call(WRITERS[name](inputs, out))[0] == 2


def test_an_output_that_cannot_be_printed_is_one_sentence(inputs: Inputs) -> None:
    """Standard output is a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "lcoms", "data", "info", str(inputs.store)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
