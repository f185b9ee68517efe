"""The settings files equal the headers of the weights, and the model card lists every file."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path

import pytest

import lcoms

ROOT = Path(__file__).parents[1]
WEIGHTS = Path(lcoms.__file__).parent / "weights"
SPEC = util.spec_from_file_location("model_settings", ROOT / "scripts" / "model_settings.py")
assert SPEC is not None
assert SPEC.loader is not None
script = util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


@pytest.mark.parametrize("name", script.MODELS)
def test_settings_beside_the_weights_are_those_of_the_headers(name: str) -> None:
    kept = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    assert kept == script.settings_of(WEIGHTS / f"{name}.safetensors"), "run: python scripts/model_settings.py"
    assert kept["config"]


def test_the_model_card_names_every_file_of_the_weights() -> None:
    card = (WEIGHTS / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert [path.name for path in WEIGHTS.iterdir() if path.name not in card and path.suffix != ".md"] == []
