"""The choice of methods for a benchmark, and the options that the chosen ones use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lcoms.benchmark.methods import METHODS, Files, models_of
from lcoms.benchmark.protocol import TRACKS, Track
from lcoms.core.errors import ConfigError, OptionError

_MODELS = {"sl": "--sl FOLDER", "megnet": "--megnet FILE", "input_model": "--input FILE"}


def choose_methods(track: Track, names: list[str] | None, files: Files) -> tuple[list[str], list[str]]:
    """Return the methods of a track that can be run, and a sentence for each that is left out.

    Args:
        names: requested methods; None: all except those that must be named.

    Raises:
        ConfigError: a name does not exist, or a requested method lacks its model.
    """
    known = list(dict.fromkeys(name for _, name in METHODS))
    for name in names or []:
        if name not in known:
            raise ConfigError(f"there is no method {name!r}; choose from {', '.join(known)}.")
    chosen, left_out = [], []
    for (of, name), method in METHODS.items():
        if of != track or (name not in names if names else method.asked_for):
            continue
        missing = [model for model in method.models if getattr(files, model) is None]
        if missing and names:
            raise ConfigError(f"method {name} needs a trained model; give it with {_MODELS[missing[0]]}.")
        if missing:
            left_out.append(f"{name} is skipped: it needs {_MODELS[missing[0]]}.")
        else:
            chosen.append(name)
    return chosen, left_out


def require_used(options: Sequence[str], chosen: Mapping[Track, Sequence[str]]) -> None:
    """Check that the answer of at least one of the chosen methods depends on each option.

    Args:
        options: fields of the benchmark's config or of `Files`.
        chosen: names of methods by track.

    Raises:
        OptionError: none does; the sentence names the methods that do.
    """
    for option in options:
        if any(option in _options_of(track, name) for track, names in chosen.items() for name in names):
            continue
        every = {track: [name for of, name in METHODS if of == track] for track in TRACKS}
        users = {
            track: [name for name in names if option in _options_of(track, name)] for track, names in every.items()
        }
        sentence = (
            f"{{}} has no effect on {_in_words(chosen)}; omit it, or run a method that uses it: {_in_words(users)}."
        )
        raise OptionError(sentence, [option])


def _options_of(track: Track, name: str) -> set[str]:
    """Return the fields of the benchmark's config and of `Files` on which the answer of a method depends."""
    method = METHODS[track, name]
    options = {*method.options, *models_of(name, method), *(["start"] if method.from_start else [])}
    return options - {"max_units"} if track == "paper" else options  # there the number of atoms is known


def _in_words(methods: Mapping[Track, Sequence[str]]) -> str:
    return "; ".join(f"{', '.join(names)} on track {track}" for track, names in methods.items() if names)
