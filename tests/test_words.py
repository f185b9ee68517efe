"""One word for one concept: retired words are absent from the package, its output and its files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny import candidate_of, rock_salt

import lcoms
from lcoms.cli.main import COMMANDS, load_command
from lcoms.prediction.output import candidate_record, row
from lcoms.prediction.presets import Options
from lcoms.prediction.spec import PredictionSpec

PACKAGE = Path(lcoms.__file__).parent
RETIRED = {
    r"recolou?r\w*": "substituted",
    r"\bvot(e|es|ed|ing)\b": "prototype probability",
    r"\bexplor(e|es|ed|ing|ation)\b": "random symmetric",
    r"times_found": "n_found",
    r"second_oracle|second oracle|--second-oracle": "committee",
    r"\brefined: Refine|RefineConfig": "RelaxationSpec",
    r"\bwings?\b(?!-)": "independent layers",
    r"Wyckoff[ _]patterns?\b|in_pattern_order": "Wyckoff sequence",
    r"\bshape[ _]codes?\b": "cell code",
    r"LibraryStarts|hull_weight": "LibraryTemplates",
    r"StructureFamily|\bclass Family\b|famil(y|ies)_by": "stoichiometry class",
    r"\bsupports_of\b|\.supports?\b": "prototype probability",
    r"\btries(_large|_for)?\b *[=:(]": "samples of a decode, attempts of a process",
    r"downhill": "gradient descent",
    r"\bholes? (of|in) (an|the|one) (oracle|energy model)": "unphysical minimum",
    r"\bpromises? (of|too)\b": "predicted decrease; over-optimistic",
}


def texts() -> dict[str, str]:
    found = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    pages = [path for path in PACKAGE.rglob("*.html") if "vendor" not in path.parts]
    return found | {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in pages}


def pages() -> dict[str, str]:
    """Return README and documentation, without the changelog, which contains retired words."""
    root = Path(__file__).parents[1]
    paths = [root / "README.md", root / "benchmarks" / "README.md", *(root / "docs").glob("*.md")]
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


@pytest.mark.parametrize(("word", "instead"), RETIRED.items())
def test_the_documentation_has_no_retired_word(word: str, instead: str) -> None:
    found = [name for name, text in pages().items() if re.search(word, text, re.IGNORECASE)]
    assert found == [], f"say {instead}"


@pytest.mark.parametrize(("word", "instead"), RETIRED.items())
def test_retired_words_are_gone(word: str, instead: str) -> None:
    where = [
        f"{name}: {match[0]!r}; say {instead}"
        for name, text in texts().items()
        for match in re.finditer(word, text, re.IGNORECASE)
    ]
    assert where == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_retired_word(name: str) -> None:
    import typer

    command = load_command(name)
    several = getattr(command, "commands", {name: command})
    for inner, one in several.items():
        text = one.get_help(typer.Context(one, info_name=inner))
        assert not [word for word in RETIRED if re.search(word, text, re.IGNORECASE)], inner


def test_results_have_no_retired_key() -> None:
    record = candidate_record(1, candidate_of(rock_salt()))
    keys = " ".join([*record, *record["proposal"], *row(1, candidate_of(rock_salt()))])
    keys += " ".join([*PredictionSpec().to_dict(), *PredictionSpec().to_dict()["search"], *vars(Options())])
    retired = (
        "times_found support count start_structure confidence second_energy votes recoloured explore within refined"
    )
    assert not set(retired.split()) & set(keys.split())
