"""An error about an option has the name that was typed: on the command line, in Python, in a file, on the page."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest

import lcoms
from lcoms.app.fields import label_of
from lcoms.cli.main import run
from lcoms.core.errors import ConfigError, OptionError
from lcoms.core.keywords import named_options
from lcoms.prediction.presets import KEYS, Options
from lcoms.prediction.spec import PredictionSpec, read_spec

TYPED = {
    "-n 0": "-n must be at least 1, not 0.",
    "--starts 0": "--starts must be at least 1, not 0.",
    "--starts -3": "--starts must be at least 1, not -3.",
    "--steps -1": "--steps must be zero or positive, not -1.",
    "--start nowhere": "option --start: 'nowhere' is not among library, prior, random.",
    "--formula-units 4-1": "formula units 4-1 are not a range; write, for instance, 1-4.",
    "--volume nan": "option --volume: expected a number, not nan.",
    "--volume -45": "--volume must be positive, not -45.0.",
    "--volume 45 --density 2": "--volume and --density are equivalent; give one of them.",
    "--density inf": "option --density: expected a number, not inf.",
    "--tolerance 0.1": "--tolerance has no effect without --volume or --density; give one of them, or omit it.",
    "--volume 45 --tolerance 0": "--tolerance must be positive, not 0.0.",
    "--cell-tolerance 0.1": "--cell-tolerance has no effect without --cell; give both, or omit it.",
    "--relax --n-relax 0": "--n-relax must be at least 1, not 0.",
    "--no-relax --n-relax 3": "--n-relax has no effect without relaxation; omit it, or relax.",
    "--no-relax --max-e-above 0.1": "--max-e-above has no effect without relaxation; omit it, or relax.",
    "--relax --max-e-above -1": "--max-e-above must be zero or positive, not -1.0.",
    "--relax --random-symmetric -1": "--random-symmetric must be zero or positive, not -1.",
    "--relax --fmax 0": "--fmax must be positive, not 0.0.",
    "--relax --fmax nan": "option --fmax: expected a number, not nan.",
    "--relax --pressure -1": "--pressure must be between 0 and 500 GPa, not -1.",
    "--relax --pressure 1e6": "--pressure must be between 0 and 500 GPa, not 1e+06.",
    "--relax --soft-modes 1 --pressure 5": "soft modes are computed only at zero pressure; omit --soft-modes or "
    "--pressure.",
    "--relax --phonons -1": "--phonons must be zero or positive, not -1.",
    "--relax --phonons 3 -n 2": "--phonons 3 is more than the number of candidates kept; raise -n.",
    "--relax --soft-modes 11": "--soft-modes 11 is more than the number of candidates kept; raise -n.",
    "--relax --phonons 1 --temperature -5": "--temperature must be 0 K or more, not -5.0.",
    "--relax --phonons 1 --pressure 5": "phonons are computed only at zero pressure; omit --phonons or --pressure.",
    "--no-relax --phonons 1": "phonons need relaxed candidates; relax, or omit --phonons.",
    "--temperature 300": "--temperature has no effect without --phonons; give both, or omit it.",
    "--committee one --no-relax": "--committee has no effect without relaxation; omit it, or relax.",
}


@pytest.mark.parametrize("typed", TYPED)
def test_the_command_line_names_the_typed_option(
    typed: str, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relax = [] if "relax " in typed else ["--no-relax"]
    arguments = [*typed.split(), *relax, "--weights", str(tiny_weights), "--out", str(tmp_path / "out")]
    assert run(["predict", "NaCl", *arguments]) == 2
    assert capsys.readouterr().err == f"lcoms: {TYPED[typed]}\n"
    assert not (tmp_path / "out").exists()


KEYWORDS: list[tuple[dict[str, Any], str]] = [
    ({"starts": 0}, "starts must be at least 1, not 0."),
    ({"starts": "many"}, "option starts: expected a whole number, not 'many'."),
    ({"starts": True}, "option starts: expected a whole number, not True."),
    ({"n_relax": 1.5, "relax": True}, "option n_relax: expected a whole number, not 1.5."),
    ({"relax": "no"}, "option relax: expected true or false, not 'no'."),
    ({"symmetry": "no"}, "option symmetry: expected true or false, not 'no'."),
    ({"exclude_same": 1}, "option exclude_same: expected true or false, not 1."),
    ({"volume": "big"}, "option volume: expected a number, not 'big'."),
    ({"cell": 5}, "cell must be three lengths in angstrom and three angles in degrees, not 5."),
    ({"cell": (1, 2)}, "option cell: expected 6 values, not 2."),
    (
        {"cell": "5 5 5 90 90 90", "cell_tolerance": 2},
        "cell_tolerance must be above 0 and at most 0.2, relative, not 2.0.",
    ),
    ({"formula_units": (4, 1)}, "formula units 4-1 are not a range; write, for instance, 1-4."),
    ({"formula_units": 1, "starts": 0}, "starts must be at least 1, not 0."),
    ({"formula_units": 1.5}, 'formula_units must be a number or a range, such as 2, "1-4" or (1, 4), not 1.5.'),
    ({"committee": "chgnet"}, "committee must be a list of names of energy models, not 'chgnet'."),
    ({"prototype": 5}, "prototype must be one value or a list, not 5."),
    ({"space_group": 2.5}, "space_group must be one value or a list, not 2.5."),
    ({"pattern": 5}, "pattern must be the path of a file, not 5."),
    ({"processes": "two"}, "the number of processes must be a whole number, not 'two'."),
    ({"cell": "2 2 2 90 90 90"}, "; check cell."),
    ({"wavelength": "CuKa"}, "a wavelength has no effect without a pattern; give pattern FILE, or omit it."),
]  # fmt: skip


@pytest.mark.parametrize(("options", "said"), KEYWORDS)
def test_python_names_the_keyword(options: dict[str, Any], said: str, tiny_weights: Path) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # it would complain first
    try:
        with pytest.raises(lcoms.LcomsError) as caught:
            lcoms.predict("NaCl", weights=tiny_weights, **({"relax": False} | options))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert str(caught.value).endswith(said)


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"search": {"n_starts": np.int64(3)}, "constraints": {"volume": np.float32(45)}}
    spec = PredictionSpec().with_options(given | {"n_candidates": np.int32(2)})
    assert (spec.search.n_starts, spec.constraints.volume, spec.n_candidates) == (3, 45.0, 2)
    assert type(spec.search.n_starts) is int


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[search]\nn_starts = 0\n", "search.n_starts must be at least 1, not 0."),
        ("[search.decoder]\nkept = 0\n", "search.decoder.kept must be at least 1, not 0."),
        ("[search.random_symmetric]\nn = -1\n", "search.random_symmetric.n must be zero or positive, not -1."),
        ("[search]\nsubstituted = 2\n", "search.substituted is a fraction of the templates, from 0 to 1, not 2.0."),
        ("[relaxation]\nfmax = nan\n", "option relaxation.fmax: expected a number, not nan."),
        ("[relaxation]\npressure = -1\n", "relaxation.pressure must be between 0 and 500 GPa, not -1."),
        ("[phonons]\nn = 1\ntemperature = -1\n", "phonons.temperature must be 0 K or more, not -1.0."),
        ("[constraints]\ncell_tolerance = 2\ncell = [5, 5, 5, 90, 90, 90]\n", "constraints.cell_tolerance must be"),
    ],
)  # fmt: skip
def test_a_file_is_told_by_its_keys(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(f"{path}: {said}")


def test_every_key_with_an_option_is_a_key_of_the_specification() -> None:
    options = {name for name, _ in vars(Options()).items()}
    for key, option in KEYS.items():
        *groups, last = key.split(".")
        group: Any = PredictionSpec()
        for name in groups:
            group = getattr(group, name)
        assert hasattr(group, last), key
        assert option in options


def test_the_page_has_the_label_of_the_field() -> None:
    assert str(OptionError("{} must be 1.", ["n_candidates"]).renamed(label_of)) == '"Candidates to keep" must be 1.'


def test_commands_name_their_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command, said in (
        ("phonons none.cif --displacement 2", "--displacement must be above 0 and at most 0.3 angstrom, not 2.0."),
        ("phonons none.cif --most-atoms 0", "--most-atoms must be at least 1, not 0."),
        ("relax none.cif --steps -1", "--steps must be zero or positive, not -1."),
        ("relax none.cif --pressure -3", "--pressure must be between 0 and 500 GPa, not -3."),
        ("relax none.cif --trajectory all", "option --trajectory: 'all' is not among none, energies, frames."),
        ("improve NaCl --budget 0", "--budget must be at least 1, not 0."),
    ):
        assert run(command.split()) == 2
        assert capsys.readouterr().err == f"lcoms: {said}\n"


def test_what_to_type_in_a_shell_stays_as_it_is() -> None:
    @named_options({})
    def fail(sentence: str, *, max_atoms: int = 1) -> None:
        raise ConfigError(sentence * max_atoms)

    for sentence, said in (
        ("too small; raise --max-atoms or --other-thing.", "too small; raise max_atoms or --other-thing."),
        ("lcoms predict NaCl --max-atoms 4 does it.", "lcoms predict NaCl --max-atoms 4 does it."),
    ):
        with pytest.raises(ConfigError) as caught:
            fail(sentence)
        assert str(caught.value) == said


def test_an_error_about_an_option_reaches_another_process_whole() -> None:
    error = OptionError("{} must be a name, not {value!r}.", ["x"], "{odd}")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "x must be a name, not '{odd}'."
