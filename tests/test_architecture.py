"""The layers of the package, as described in CONTRIBUTING, and the lengths of modules and functions."""

from __future__ import annotations

import ast
import re
import statistics
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lcoms"
MODULES = sorted(PACKAGE.rglob("*.py"))
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def n_lines(module: Path) -> int:
    return module.read_text().count("\n")


def layers() -> list[list[str]]:
    """Return the subpackages of the contract by layer, highest first."""
    (contract,) = (c for c in SETTINGS["tool"]["importlinter"]["contracts"] if c["name"].startswith("Layers"))
    return [re.findall(r"\w+", layer) for layer in contract["layers"]]


def documented_layers() -> list[list[str]]:
    """Return the layers in the table of CONTRIBUTING."""
    rows = re.findall(r"^\| \d+ \| (.+?) \|", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    return [re.findall(r"`(\w+)`", row) for row in rows]


def test_contributing_has_the_layers_of_the_contract() -> None:
    assert documented_layers() == layers()
    numbers = re.findall(r"^\| (\d+) \|", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    assert numbers == [str(n) for n in reversed(range(len(layers())))]


def test_every_subpackage_has_a_layer() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert packages | modules == {name for layer in layers() for name in layer}


def test_the_root_holds_few_modules() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_modules_are_short() -> None:
    assert {str(module.relative_to(PACKAGE)): n_lines(module) for module in MODULES if n_lines(module) > 350} == {}
    assert statistics.median(map(n_lines, MODULES)) <= 180


def test_few_modules_know_the_option_of_the_further_energy_models() -> None:
    """They are the Python API, the specification, the command line and the results; all others get `EnergyModels`."""
    assert {str(m.relative_to(PACKAGE)) for m in MODULES if "committee" in m.read_text().lower()} == {
        "api.py", "cli/options.py", "prediction/model_options.py", "prediction/output.py"
    }  # fmt: skip


@pytest.mark.parametrize("package", sorted({m.relative_to(PACKAGE).parts[0] for m in MODULES}))
def test_functions_fit_a_screen(package: str) -> None:
    """Only the body counts, not the options of a command or the docstring."""
    long = {}
    for module in (m for m in MODULES if m.relative_to(PACKAGE).parts[0] == package):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (n := _n_body_lines(node)) > 60:
                long[f"{module.relative_to(PACKAGE)}: {node.name}"] = n
    assert long == {}


def _n_body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return 0 if not statements or node.end_lineno is None else node.end_lineno - statements[0].lineno + 1


def test_processes_are_started_where_the_working_directory_is_kept_off_their_path() -> None:
    """`python -m` and the pools of multiprocessing put it first, and a random.py lying there would run."""
    starts = re.compile(
        r"^(?:from|import) (?:subprocess|multiprocessing)\b|ProcessPool|os\.(?:exec|spawn|posix|system|popen|fork)",
        re.MULTILINE,
    )
    found = {str(module.relative_to(PACKAGE)) for module in MODULES if starts.search(module.read_text())}
    assert found == {"core/messages.py", "core/pool.py", "oracles/dft.py"}  # the first only takes what is pickled
