"""Functions with many options: errors name an unknown option and the one that was probably meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

from lcoms.core.errors import UnknownOptionError

P = ParamSpec("P")
R = TypeVar("R")
ALIKE = 0.6  # least difflib ratio for a suggestion


def named_options(synonyms: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions that report which option does not exist, and which may have been meant.

    Args:
        synonyms: names of options in other programs or on the command line.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = list(inspect.signature(function).parameters)

        @wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> R:
            for name in options:
                if name not in known:
                    raise UnknownOptionError(
                        f"{function.__name__} has no option {name!r}{_hint(name, known, synonyms)}"
                    )
            return function(*arguments, **options)

        return call

    return decorate


def _hint(name: str, known: Iterable[str], synonyms: Mapping[str, str]) -> str:
    close = [synonyms[name]] if name in synonyms else get_close_matches(name.lower(), list(known), n=1, cutoff=ALIKE)
    if not close:
        close = [
            option for option in known if {*name.lower().split("_")} & {*option.split("_")} - {"n", "max", "start"}
        ]
    return f"; did you mean {' or '.join(close[:3])}?" if close else "; see help() for those that there are."
