"""The distribution: the wheel is complete and small, and needs only its dependencies to run."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from lcoms import __version__

ROOT = Path(__file__).parent.parent
LARGEST = 40e6  # bytes
pytestmark = [pytest.mark.slow, pytest.mark.network]  # building fetches setuptools


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_sdist_and_wheel_are_small_and_hold_the_same_files(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert max(wheel.stat().st_size, sdist.stat().st_size) < LARGEST
    tracked = subprocess.run(
        ["git", "ls-files", "src/lcoms"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {path.removeprefix("src/") for path in tracked if (ROOT / path).is_file()}
    with zipfile.ZipFile(wheel) as file:
        assert wanted <= set(file.namelist())
    with tarfile.open(sdist) as archive:
        assert {f"lcoms-{__version__}/src/{path}" for path in wanted} <= set(archive.getnames())


def test_the_wheel_runs_in_an_environment_of_its_own(built: Path, tmp_path: Path) -> None:
    """Dependencies come from this environment through its path, but lcoms itself from the wheel."""
    (wheel,) = built.glob("*.whl")
    venv.EnvBuilder(with_pip=True).create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    run([python, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check", wheel], tmp_path)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    lent, own = (Path(run([one, "-c", code], tmp_path).strip()) for one in (sys.executable, python))
    (own / "lent.pth").write_text(f"{lent}\n", encoding="utf-8")
    assert Path(run([python, "-c", "import lcoms; print(lcoms.__file__)"], tmp_path).strip()).is_relative_to(own)
    try_it(tmp_path / "env" / "bin" / "lcoms", tmp_path)


def test_the_wheel_installs_with_all_it_needs(built: Path, tmp_path: Path) -> None:
    """Installed into an empty environment with pip, with PyTorch as in `make`."""
    (wheel,) = built.glob("*.whl")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import setup_env; from pathlib import Path; "
        "python = setup_env.make_environment(Path('env')); setup_env.install_torch(python); "
        "setup_env.pip(python, [sys.argv[2]])"
    )
    run([sys.executable, "-c", code, ROOT / "scripts", wheel], tmp_path)
    run([tmp_path / "env" / "bin" / "python", "-m", "pip", "check"], tmp_path)
    try_it(tmp_path / "env" / "bin" / "lcoms", tmp_path)


def try_it(lcoms: Path, folder: Path) -> None:
    """Check that the installed command prints its version and predicts."""
    assert run([lcoms, "--version"], folder) == f"lcoms {__version__}\n"
    run([lcoms, "predict", "NaCl", "--no-relax", "--report", "--out", "found"], folder)
    results = json.loads((folder / "found" / "NaCl" / "results.json").read_text(encoding="utf-8"))
    assert results["lcoms_version"] == __version__
    assert 225 in [candidate["space_group"] for candidate in results["candidates"]]
    assert (folder / "found" / "report.html").stat().st_size > 100_000


def run(command: list[str | Path], folder: Path) -> str:
    """Return the output of a command; the test fails if the command fails."""
    result = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
