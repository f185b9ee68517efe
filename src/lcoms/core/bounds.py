"""Checks of the ranges of options, with the same messages for all configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lcoms.core.errors import ConfigError, OptionError

MAX_PROCESSES = 512


def require_processes(processes: int | None) -> None:
    """Check a number of processes; None, for as many as fit, passes.

    Raises:
        ConfigError: not a whole number, less than one, or more than `MAX_PROCESSES`.
    """
    if processes is not None and (isinstance(processes, bool) or not isinstance(processes, int)):
        raise ConfigError(f"the number of processes must be a whole number, not {processes!r}.")
    if processes is not None and processes < 1:
        raise ConfigError(f"at least one process is needed, not {processes}.")
    if processes is not None and processes > MAX_PROCESSES:
        raise ConfigError(f"at most {MAX_PROCESSES} processes can be handled, not {processes}.")


def require(
    config: object,
    what: str = "",
    *,
    at_least_one: Iterable[str] = (),
    positive: Iterable[str] = (),
    not_negative: Iterable[str] = (),
    at_most: Mapping[str, int] | None = None,
    one_of: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Check the options of a configuration by their names; numbers that are None pass.

    Args:
        what: subject of the options, such as training; empty if their names suffice.

    Raises:
        OptionError: names the first invalid option, NaN included.
    """
    option = f"{what} option " if what else ""
    for names, holds, rule in (
        (at_least_one, lambda value: value >= 1, "at least 1"),
        (positive, lambda value: value > 0, "positive"),
        (not_negative, lambda value: value >= 0, "zero or positive"),
    ):
        for name in names:
            if (value := getattr(config, name)) is not None and not holds(value):
                raise OptionError(f"{option}{{}} must be {rule}, not {{value}}.", [name], value)
    for name, most in (at_most or {}).items():
        if (value := getattr(config, name)) is not None and not value <= most:
            raise OptionError(f"{option}{{}} must be at most {most}, not {{value}}.", [name], value)
    for name, values in (one_of or {}).items():
        if (value := getattr(config, name)) not in values:
            raise OptionError(f"{option}{{}} must be {' or '.join(values)}, not {{value!r}}.", [name], value)
