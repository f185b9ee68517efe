"""Whether options lie where they make sense, in the same words for all configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lcoms.core.errors import ConfigError


def require(
    config: object,
    what: str,
    *,
    at_least_one: Iterable[str] = (),
    positive: Iterable[str] = (),
    not_negative: Iterable[str] = (),
    one_of: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Check the options of a configuration by their names.

    Args:
        what: the options are of, such as training.

    Raises:
        ConfigError: the first that does not hold, NaN included.
    """
    for names, holds, rule in (
        (at_least_one, lambda value: value >= 1, "be at least 1, not "),
        (positive, lambda value: value > 0, "be positive, not "),
        (not_negative, lambda value: value >= 0, "not be negative, as it is with "),
    ):
        for name in names:
            if not holds(value := getattr(config, name)):
                raise ConfigError(f"{what} option {name} must {rule}{value}.")
    for name, values in (one_of or {}).items():
        if (value := getattr(config, name)) not in values:
            raise ConfigError(f"{what} option {name} must be {' or '.join(values)}, not {value!r}.")
