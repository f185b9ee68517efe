"""Configurations: conversion of frozen dataclasses to and from plain dicts, and `key=value` overrides.

A field may be a bool, int, float, str, Path, Enum, Literal, tuple, list, dict, another dataclass, or a union of one of
these with None. Unknown keys are errors that name the closest known one. Dicts made here can be written as JSON.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lcoms.core.errors import ConfigError, OptionError
from lcoms.core.numerals import real

Config = TypeVar("Config")

MOST_DIGITS = 300
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text from an untrusted source.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or contains an integer beyond the range of a float.
    """
    try:
        return json.loads(text, parse_int=parse_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_whole(digits: str) -> int:
    """Return an integer of a JSON text.

    Raises:
        ValueError: it has more digits than a float can represent.
    """
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def without_nan(value: Any) -> Any:
    """Return the value with None for numbers that are not finite, which JSON lacks; tuples become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    return [without_nan(item) for item in value] if isinstance(value, list | tuple) else value


def to_dict(config: Any) -> dict[str, Any]:
    """Return a dataclass instance as nested dicts, lists, numbers, strings and None, ready for JSON.

    Raises:
        ConfigError: a value cannot be represented in JSON.
    """
    return {field.name: _plain(getattr(config, field.name), field.name) for field in dataclasses.fields(config)}


def from_dict(cls: type[Config], mapping: Mapping[str, Any]) -> Config:
    """Return the dataclass `cls` built from a mapping; missing keys keep their defaults.

    Older files may have older names: those that a class lists under RENAMED are read as well.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type.
    """
    config: Config = _build(cls, mapping, "")
    return config


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """Return a new configuration with overrides such as `learning_rate=1e-3` or `encoder.n_layers=4` applied in order.

    Raises:
        ConfigError: an override without `=`, an unknown key, or a value that cannot be converted.
    """
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"{text!r} is not a setting; write it as key=value.")
        config = _override(config, key.strip().split("."), value.strip(), "")
    return config


def names_in(text: str, option: str) -> list[str]:
    """Return the names in a text, separated by commas.

    Raises:
        ConfigError: a name is empty.
    """
    names = [part.strip() for part in text.split(",")]
    if "" in names:
        raise ConfigError(f"{option} {text!r} has an empty name; give names separated by commas, or omit the option.")
    return names


def read_range(text: str, option: str) -> tuple[int, int]:
    """Return the ends of a range of integers such as 1-4; 2 alone is both ends.

    Raises:
        ConfigError: the text is neither.
    """
    found = re.fullmatch(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", text)
    if found is None:
        raise ConfigError(f"{option} {text!r} is not a number or a range; write 2 or 1-4.")
    low = int(found.group(1))
    return low, int(found.group(2) or low)


def _plain(value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value, where)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item, where) for item in value]
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ConfigError(f"option {where}: {value!r} cannot be written to a file.")


def _build(cls: Any, mapping: Any, where: str) -> Any:
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{_label(where)}: expected a group of options, not {mapping!r}.")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    renamed = getattr(cls, "RENAMED", {})
    mapping = {key if renamed.get(key, key) in mapping else renamed[key]: value for key, value in mapping.items()}
    for key in mapping:
        if key not in fields:
            raise ConfigError(_unknown(str(key), fields, where))
    missing = [
        name
        for name, field in fields.items()
        if name not in mapping and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{_label(where + missing[0])} is missing and has no default; give it a value.")
    hints = get_type_hints(cls)
    values = {key: _convert(value, hints[key], where + key, from_text=False) for key, value in mapping.items()}
    return _make(lambda: cls(**values), where)


def _override(config: Any, path: list[str], value: str, where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(config) if field.init}
    name, rest = path[0], path[1:]
    if name not in fields:
        raise ConfigError(_unknown(name, fields, where))
    if rest:
        inner = getattr(config, name)
        if not dataclasses.is_dataclass(inner):
            raise ConfigError(f"{_label(where + name)} has no options of its own; write {where + name}=value.")
        new = _override(inner, rest, value, f"{where}{name}.")
    else:
        new = _convert(value, get_type_hints(type(config))[name], where + name, from_text=True)
    return _make(lambda: dataclasses.replace(config, **{name: new}), where)


def _make(build: Any, where: str) -> Any:
    """Call `build`; a ValueError or TypeError of a dataclass's own checks is raised as a ConfigError."""
    try:
        return build()
    except OptionError as error:
        raise error.renamed(lambda name: f"{where}{name}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{_label(where)}: {error}" if where else str(error)) from error


def _convert(value: Any, hint: Any, where: str, *, from_text: bool) -> Any:
    """Return `value` converted to `hint`; strings from the command line are read more freely than values from JSON."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        return _convert_union(value, args, where, from_text=from_text)
    if origin is Literal:
        choices = {str(choice): choice for choice in args}
        return _choose(value, choices, where)
    if origin in (tuple, list, Sequence):
        return _convert_items(value, origin, args, where, from_text=from_text)
    if origin in (dict, Mapping) or hint is dict:
        return _convert_mapping(value, args, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else _build(hint, value, f"{where}.")
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return (
            value if isinstance(value, hint) else _choose(value, {str(member.value): member for member in hint}, where)
        )
    return _convert_scalar(value, hint, where, from_text=from_text)


def _convert_union(value: Any, args: tuple[Any, ...], where: str, *, from_text: bool) -> Any:
    if NoneType in args and (value is None or (from_text and str(value).lower() in ("none", "null"))):
        return None
    kinds = [kind for kind in args if kind is not NoneType]
    for kind in kinds[:-1]:
        try:
            return _convert(value, kind, where, from_text=from_text)
        except ConfigError:
            continue
    return _convert(value, kinds[-1], where, from_text=from_text)


def _convert_items(value: Any, origin: Any, args: tuple[Any, ...], where: str, *, from_text: bool) -> Any:
    if from_text:
        stripped = str(value).strip("()[] ").rstrip(",")
        value = [part.strip() for part in stripped.split(",")] if stripped else []
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise OptionError("option {}: expected several values, not {value!r}.", [where], value)
    if origin is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise OptionError(f"option {{}}: expected {len(args)} values, not {len(value)}.", [where])
        kinds: Sequence[Any] = args
    else:
        kinds = [args[0] if args else Any] * len(value)
    items = (_convert(item, kind, where, from_text=from_text) for item, kind in zip(value, kinds, strict=True))
    return tuple(items) if origin is tuple else list(items)


def _convert_mapping(value: Any, args: tuple[Any, ...], where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{_label(where)}: expected names with values, not {value!r}; set it in a file or from Python."
        )
    if not args:
        return dict(value)
    # JSON turns keys into strings, so keys are read as freely as on the command line.
    return {
        _convert(str(key), args[0], where, from_text=True): _convert(item, args[1], f"{where}.{key}", from_text=False)
        for key, item in value.items()
    }


def _convert_scalar(value: Any, hint: Any, where: str, *, from_text: bool) -> Any:
    number = isinstance(value, Real) and not isinstance(value, bool)  # NumPy's included
    try:
        if hint is bool and (isinstance(value, bool) or from_text):
            return value if isinstance(value, bool) else _WORDS[value.lower()]
        if hint is int and (number or from_text) and _amount(value) == int(_amount(value)):
            return int(value) if not isinstance(value, str) or value.lstrip("+-").isdecimal() else int(_amount(value))
        if hint is float and (number or from_text) and math.isfinite(_amount(value)):
            return _amount(value)
        if hint is str and isinstance(value, str):
            return value
        if hint is Path and isinstance(value, str | Path):
            return Path(value)
    except (KeyError, ValueError, OverflowError):
        pass
    if hint not in _NAMES:
        raise ConfigError(f"{_label(where)} is of a kind that cannot be read from a file or the command line: {hint}.")
    raise OptionError(f"option {{}}: expected {_NAMES[hint]}, not {{value!r}}.", [where], value)


def _amount(value: Any) -> float:
    return real(value) if isinstance(value, str) else float(value)


def _choose(value: Any, choices: Mapping[str, Any], where: str) -> Any:
    if str(value) in choices:
        return choices[str(value)]
    hint = _nearest(str(value), choices) or "."
    raise OptionError(f"option {{}}: {{value!r}} is not among {', '.join(choices)}{hint}", [where], value)


def _unknown(key: str, known: Mapping[str, Any], where: str) -> str:
    hint = _nearest(key, known, prefix=where)
    return f"unknown {_label(where + key)}{hint or '; known ones are ' + ', '.join(known) + '.'}"


def _nearest(word: str, known: Mapping[str, Any], prefix: str = "") -> str:
    close = get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _label(where: str) -> str:
    return f"option {where.rstrip('.')}" if where else "the configuration"


def merged(config: Config, options: Mapping[str, Any]) -> Config:
    """Return a new configuration with some options changed; groups of options are merged, not replaced.

    A group that is None is created from its defaults and the given options; None removes an optional group.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    return _merge(config, options, "")


def _merge(config: Any, options: Mapping[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(config) if field.init}
    hints = get_type_hints(type(config))
    values = {}
    for name, value in options.items():
        if name not in fields:
            raise ConfigError(_unknown(str(name), fields, where))
        inner = getattr(config, name)
        if isinstance(value, Mapping) and dataclasses.is_dataclass(inner):
            values[name] = _merge(inner, value, f"{where}{name}.")
        else:
            values[name] = _convert(value, hints[name], where + name, from_text=False)
    return _make(lambda: dataclasses.replace(config, **values), where)
