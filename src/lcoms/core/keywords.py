"""Functions with many options: errors name an unknown option and the one that was probably meant."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

from lcoms.core.errors import LcomsError, OptionError, UnknownOptionError

P = ParamSpec("P")
R = TypeVar("R")
TYPED = re.compile(r"--[a-z][a-z-]*[a-z]")
COMMAND = "lcoms predict "  # in a sentence that says what to type in a shell
ALIKE = 0.6  # least difflib ratio for a suggestion


def named_options(synonyms: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions whose errors name their keywords, also those that do not exist.

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
            try:
                return function(*arguments, **options)
            except OptionError as error:
                raise error.renamed(lambda name: _singular(name, known)) from error
            except LcomsError as error:
                if COMMAND not in str(error):
                    error.args = (TYPED.sub(lambda found: _keyword(found[0], known), str(error)),)
                raise

        return call

    return decorate


def _singular(name: str, known: Collection[str]) -> str:
    return name.removesuffix("s") if name not in known and name.removesuffix("s") in known else name


def _keyword(typed: str, known: Iterable[str]) -> str:
    """Return the keyword for an option of the command line, such as max_atoms for --max-atoms; else the option."""
    name = typed.removeprefix("--").replace("-", "_")
    return name if name in known else typed


def _hint(name: str, known: Iterable[str], synonyms: Mapping[str, str]) -> str:
    close = [synonyms[name]] if name in synonyms else get_close_matches(name.lower(), list(known), n=1, cutoff=ALIKE)
    if not close:
        close = [
            option for option in known if {*name.lower().split("_")} & {*option.split("_")} - {"n", "max", "start"}
        ]
    return f"; did you mean {' or '.join(close[:3])}?" if close else "; see help() for those that there are."
