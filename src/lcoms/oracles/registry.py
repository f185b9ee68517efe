"""Oracles by name.

| name | oracle |
| --- | --- |
| chgnet:r2scan, chgnet:0.3.0 | CHGNet with these weights (extra `chgnet`) |
| sevennet:l3i5 | SevenNet-l3i5 (extra `sevennet`) |
| gpaw, gpaw:cutoff=500,ranks=2 | PBE by GPAW with settings of `lcoms.oracles.dft.GpawConfig` (extra `gpaw`) |
| analytic | the closed-form pair energy of `lcoms.oracles.analytic` |
| package.module:Object?key=value,... | an ASE calculator: a class, a function that returns one, or an object |

Values after `?` are Python literals (numbers, True, lists) or else text. A custom `EnergyOracle` can take the place of
the calculator.
"""

from __future__ import annotations

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lcoms.core.errors import ConfigError, OracleError
from lcoms.oracles.base import EnergyOracle
from lcoms.oracles.provenance import of_imported

if TYPE_CHECKING:
    from lcoms.oracles.dft import GpawConfig

DEFAULT_ORACLE = "chgnet:r2scan"
DEFAULT_FURTHER = ("sevennet:l3i5",)
NAMES = ("chgnet:r2scan", "chgnet:0.3.0", "sevennet:l3i5", "gpaw", "analytic")
SEVENNET_WEIGHTS = ("l3i5",)
CHGNET_WEIGHTS = ("r2scan", "0.3.0")
_IMPORT_PATH = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)(?:\?(.*))?")


def make_oracle(name: str) -> EnergyOracle:
    """Return the oracle with a name.

    Raises:
        OracleError: there is no such oracle, its package is not installed, or it cannot be made.
        ConfigError: a setting of GPAW does not exist or has an unusable value.
    """
    family, _, rest = name.strip().partition(":")
    if family == "analytic" and not rest:
        from lcoms.oracles.analytic import AnalyticOracle

        return AnalyticOracle()
    if family == "chgnet" and (rest in CHGNET_WEIGHTS or ":" not in name):
        return _chgnet(rest or DEFAULT_ORACLE.partition(":")[2])
    if family == "sevennet" and (rest in SEVENNET_WEIGHTS or ":" not in name):
        return _sevennet(rest or SEVENNET_WEIGHTS[0])
    if family == "gpaw":
        return _gpaw(rest)
    found = _IMPORT_PATH.fullmatch(name.strip())
    if found is None or family in ("analytic", "chgnet", "sevennet"):
        raise OracleError(
            f"there is no oracle {name!r}; choose {', '.join(NAMES)}, or an ASE calculator by its import path, "
            "such as mace.calculators:mace_mp?model=small."
        )
    return _imported(name.strip(), *found.groups(default=""))


def identity_of(name: str) -> str:
    """Return the name of an oracle without settings on which no energy depends, such as GPAW's number of processes.

    Energies, references and checkpoints of two names with the same identity may replace one another.
    """
    family, _, rest = name.strip().partition(":")
    if family != "gpaw":
        return name
    try:
        return _gpaw_config(rest).identity
    except ConfigError:  # not a name that `make_oracle` accepts
        return name


def _chgnet(weights: str) -> EnergyOracle:
    from lcoms.oracles.chgnet import ChgnetOracle

    return ChgnetOracle(weights)


def _sevennet(weights: str) -> EnergyOracle:
    from lcoms.oracles.sevennet import SevenNetOracle

    return SevenNetOracle(weights)


def default_further(oracle: str) -> tuple[str, ...]:
    """Return the further models used by default in addition to an oracle.

    This is SevenNet, if installed, for the default oracle only: a model chosen by the user is not overruled.
    """
    return DEFAULT_FURTHER if oracle == DEFAULT_ORACLE and find_spec("sevenn") is not None else ()


def _gpaw(settings: str) -> EnergyOracle:
    from lcoms.oracles.dft import GpawOracle

    return GpawOracle(_gpaw_config(settings))


def _gpaw_config(settings: str) -> GpawConfig:
    from lcoms.core.config import with_overrides
    from lcoms.oracles.dft import GpawConfig

    return with_overrides(GpawConfig(), _split(settings))


def _imported(name: str, module: str, attribute: str, options: str) -> EnergyOracle:
    """Return an ASE calculator, or an oracle, from a module chosen by the user."""
    try:
        target: Any = import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
        arguments = dict(_option(text) for text in _split(options))
        made = target(**arguments) if callable(target) else target
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise OracleError(f"{name}: the package {package} is not installed; type: pip install {package}") from error
    except (OracleError, ConfigError):
        raise
    except AttributeError as error:
        raise OracleError(f"{name}: {error}.") from error
    except Exception as error:  # the user's module may raise anything
        text = (str(error).strip() or "no reason given").splitlines()[0]
        raise OracleError(f"{name} cannot be made: {type(error).__name__}: {text}") from error
    provenance = of_imported(module, arguments.values(), made)
    if isinstance(made, EnergyOracle):
        made.name, made.provenance = name, tuple(dict.fromkeys((*made.provenance, *provenance)))
        return made
    if not hasattr(made, "get_potential_energy"):
        raise OracleError(f"{name} is neither an ASE calculator nor an energy model.")
    from lcoms.oracles.calculators import CalculatorOracle

    calculator = CalculatorOracle(made, name)
    calculator.provenance = provenance
    return calculator


def _split(options: str) -> list[str]:
    """Return the key=value parts between commas that are outside brackets and quotation marks."""
    parts, depth, quoted, before = [""], 0, "", ""
    for letter in options:
        if quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in "\"'" and before in "=,:([{":  # not the apostrophe in a word
            quoted = letter
        depth += 0 if quoted else (letter in "([{") - (letter in ")]}")
        if letter == "," and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
        before = letter.strip() or before
    return [part.strip() for part in parts if part.strip()]


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise ConfigError(f"{text!r} is not a setting; write key=value, separated by commas.")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value
