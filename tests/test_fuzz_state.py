"""Whatever damages the stored files of commands, the next call ends with 0 and the correct answer, or a sentence."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz import Place, a_place
from fuzz_state import KEPT, fuzz_kept, prepare, try_out


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with a_place() as made:
        yield made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KEPT)
def test_what_is_kept_may_be_damaged(kind: str, place: Place) -> None:
    assert fuzz_kept(kind, place, 8) >= 6


class _Payload:
    """Creates a folder when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KEPT)
def test_nothing_that_is_kept_is_unpickled(kind: str, place: Place, tmp_path: Path) -> None:
    prepare(kind, place)
    try_out(kind, pickle.dumps(_Payload(tmp_path / "ran")), place)
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_calibration_that_is_unpickled_does_not_pass(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness loads the calibration and detects the unpickling."""
    prepare("calibration", place)
    monkeypatch.setattr("lcoms.core.fitted.parse_json", lambda text: pickle.loads(text.encode()))
    with pytest.raises(pickle.UnpicklingError):
        fuzz_kept("calibration", place, 20)
