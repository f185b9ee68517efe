"""Groups of options shared by several commands, each group a single parameter of the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, get_type_hints


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command in which each parameter of a NamedTuple class is replaced by the fields of that class, in order.

    The fields are declared like options of a command, annotated and with defaults, or are groups themselves.
    """
    hints = get_type_hints(command, include_extras=True)
    options: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if is_group(hints[name]):
            groups[name] = hints[name]
            options += _options(hints[name], parameter.kind)
        else:
            options.append(parameter.replace(annotation=hints[name]))

    @wraps(command)
    def run(**values: Any) -> None:
        made = {name: _gathered(group, values) for name, group in groups.items()}
        command(**values, **made)

    run.__annotations__ = {option.name: option.annotation for option in options}
    run.__dict__["__signature__"] = inspect.Signature(options)
    return run


def is_group(kind: Any) -> bool:
    """Return whether this is a NamedTuple class or an instance of one."""
    return hasattr(kind, "_fields")


def _options(group: Any, kind: Any) -> Iterator[inspect.Parameter]:
    """Yield all options of a group and of the groups within it."""
    kinds = get_type_hints(group, include_extras=True)
    for field in group._fields:
        if is_group(kinds[field]):
            yield from _options(kinds[field], kind)
        else:
            default = group._field_defaults.get(field, inspect.Parameter.empty)
            yield inspect.Parameter(field, kind, default=default, annotation=kinds[field])


def _gathered(group: Any, values: dict[str, Any]) -> Any:
    """Return a group built from the values, which are removed from the dictionary."""
    kinds = get_type_hints(group, include_extras=True)
    made = ((name, kinds[name]) for name in group._fields)
    return group(**{name: _gathered(kind, values) if is_group(kind) else values.pop(name) for name, kind in made})
