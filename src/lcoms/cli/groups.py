"""Groups of options that several commands share, as one parameter of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, get_type_hints


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are of a NamedTuple class are the options of that class, in their order.

    The fields are written as the options of a command are: annotated, with their defaults.
    """
    hints = get_type_hints(command, include_extras=True)
    options: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        fields = getattr(hints[name], "_fields", None)
        if fields is None:
            options.append(parameter.replace(annotation=hints[name]))
            continue
        groups[name] = hints[name]
        kinds, defaults = get_type_hints(hints[name], include_extras=True), hints[name]._field_defaults
        for field in fields:
            default = defaults.get(field, inspect.Parameter.empty)
            options.append(inspect.Parameter(field, parameter.kind, default=default, annotation=kinds[field]))

    @wraps(command)
    def run(**values: Any) -> None:
        made = {name: group(**{field: values.pop(field) for field in group._fields}) for name, group in groups.items()}
        command(**values, **made)

    run.__annotations__ = {option.name: option.annotation for option in options}
    run.__dict__["__signature__"] = inspect.Signature(options)
    return run
