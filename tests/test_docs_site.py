"""The documentation is correct: its commands exist, its code runs, and its generated pages are complete."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from blocks import blocks, command_lines, unknown_words

from lcoms.cli.main import COMMANDS, load_command

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINES = [(page.name, line) for page in PAGES for line in command_lines(blocks(page)) if line.startswith("lcoms ")]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = util.spec_from_file_location("docs_site", ROOT / "scripts" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("page", "line"), LINES)
def test_commands_and_options_exist(page: str, line: str) -> None:
    assert unknown_words(line) == set(), page


def test_a_wrong_option_would_be_found() -> None:
    assert unknown_words("lcoms predict NaCl --relaxed") == {"--relaxed"}
    assert unknown_words("lcoms train everything") == {"everything"}


def test_the_api_pages_name_every_module(site: ModuleType) -> None:
    named = re.findall(r"^::: (\S+)$", "\n".join(site.api_pages().values()), re.MULTILINE)
    files = (ROOT / "src" / "lcoms").rglob("*.py")
    modules = {".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in files}
    modules = {module.removesuffix(".__init__") for module in modules} - {"lcoms.__main__"}
    assert sorted(named) == sorted(modules)


def test_the_command_reference_has_every_command_and_option(site: ModuleType) -> None:
    text = site.command_reference()
    for name in COMMANDS:
        command: Any = load_command(name)
        for path, one in getattr(command, "commands", {"": command}).items():
            section = text.partition(f"# lcoms {name} {path}".rstrip() + "\n")[2].partition("\n## ")[0]
            assert section, f"lcoms {name} {path}"
            options = {option for parameter in one.params for option in parameter.opts if option.startswith("-")}
            assert all(option in section for option in options)


def test_links_of_the_repository_become_links_of_the_site(site: ModuleType) -> None:
    turned = site.on_page_markdown(
        "[a](../benchmarks/README.md) and [b](tutorial.md)", page=None, config=None, files=None
    )
    assert turned == "[a](benchmarks.md) and [b](tutorial.md)"


def test_the_oracle_of_the_page_passes_the_battery_and_one_without_its_stress_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lcoms.oracles.battery import BatteryConfig, run_battery
    from lcoms.oracles.registry import make_oracle

    (code,) = (b.text for b in blocks(ROOT / "docs" / "own-oracle.md") if b.mark == "run: pressure.py")
    (tmp_path / "pressure.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pressure", raising=False)
    oracle = make_oracle("pressure:Enthalpy?oracle=analytic,gpa=20")
    assert all(check.passed for check in run_battery(oracle, BatteryConfig()))

    def forgetful(self: Any, crystal: Any, evaluation: Any) -> Any:
        return replace(evaluation, energy=evaluation.energy + self.pressure * crystal.volume)

    monkeypatch.setattr(import_module("pressure").Enthalpy, "pressed", forgetful)
    assert [check.name for check in run_battery(oracle, BatteryConfig()) if not check.passed] == ["stress is a slope"]


TUTORIAL = blocks(ROOT / "docs" / "tutorial.md")
SMALL = {"predict": "--effort fast --n-relax 3", "campaign": "--effort fast --n-relax 1 --processes 1"}


def run_tutorial(name: str, folder: Path) -> str:
    """Return the output of the blocks of one tutorial; predictions are made small."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    printed = ""
    for block in (block for block in TUTORIAL if block.mark == f"run: {name}"):
        text = block.text
        for command, options in SMALL.items():
            text = re.sub(
                rf"^lcoms {command} (?!.*--no-relax)", f"lcoms {command} {options} ", text, flags=re.MULTILINE
            )
        shell = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
        done = subprocess.run(
            [*shell, text],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        printed += done.stdout
    return printed


@pytest.mark.readme
def test_the_tutorial_of_a_known_compound_ends_in_two_polymorphs_and_input_for_a_code(tmp_path: Path) -> None:
    printed = run_tutorial("known", tmp_path)
    assert "F-43m" in printed
    assert "P6_3mc" in printed
    assert (tmp_path / "results" / "report.html").stat().st_size > 0
    assert len(list((tmp_path / "vasp").rglob("POSCAR"))) == 2


@pytest.mark.readme
def test_the_tutorial_of_a_pattern_ends_in_rutile(tmp_path: Path) -> None:
    run_tutorial("pattern", tmp_path)
    results = json.loads((tmp_path / "unknown" / "MgF2" / "results.json").read_text(encoding="utf-8"))
    assert results["candidates"][0]["space_group"] == 136
    assert (tmp_path / "unknown" / "MgF2" / "rank-01-fitted.cif").exists()


@pytest.mark.readme
def test_the_tutorial_of_a_campaign_ends_in_a_table_of_rock_salts(tmp_path: Path) -> None:
    printed = run_tutorial("campaign", tmp_path)
    assert re.findall(r"(NaBr|KI|CaSe)\s+225", printed) == ["NaBr", "KI", "CaSe"]


@pytest.mark.readme
def test_the_tutorial_of_pressure_ends_in_rock_salt(tmp_path: Path) -> None:
    run_tutorial("pressure", tmp_path)
    results = json.loads((tmp_path / "pressed" / "CdS" / "results.json").read_text(encoding="utf-8"))
    assert results["candidates"][0]["space_group"] == 225


@pytest.mark.readme
def test_the_tutorial_of_own_data_ends_in_a_prediction_by_own_weights(tmp_path: Path) -> None:
    from lcoms.prediction.bundle import WeightBundle

    run_tutorial("data", tmp_path)
    results = json.loads((tmp_path / "mine" / "KCl" / "results.json").read_text(encoding="utf-8"))
    assert results["candidates"]
    assert results["weights"] == WeightBundle.load(tmp_path / "run").digest


def test_every_tutorial_that_is_marked_is_run_here() -> None:
    assert {block.mark for block in TUTORIAL if block.mark} == {
        f"run: {n}" for n in ("known", "pattern", "campaign", "pressure", "data")
    }


@pytest.mark.readme
def test_equations_become_mathml(site: ModuleType) -> None:
    turn = site.on_page_content
    made = turn('<p><span class="arithmatex">\\(a &lt; b_1\\)</span></p>', page=None, config=None, files=None)
    assert made.startswith('<p><math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">')
    assert "<mo>&#x0003C;</mo>" in made
    assert "<msub><mi>b</mi><mn>1</mn></msub>" in made
    assert 'display="block"' in turn('<div class="arithmatex">\\[x\n\\]</div>', page=None, config=None, files=None)


@pytest.mark.readme
@pytest.mark.filterwarnings("default")
def test_the_site_builds_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }
    assert {"index.html", "tutorial.html", "commands.html", "api/prediction.html", "notebook.html"} <= set(pages)
    assert pages["method.html"].count("<math") > 20
    assert "arithmatex" not in pages["method.html"]
    loads = re.compile(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"')
    assert {address for text in pages.values() for address in loads.findall(text)} == set()


@pytest.mark.readme
@pytest.mark.filterwarnings("default")
def test_the_notebook_runs_and_finds_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    stored = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert stored
    assert not any(output.output_type == "error" for output in stored)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert re.search(r"rank [1-4] is wurtzite: rmsd 0\.0", text)
