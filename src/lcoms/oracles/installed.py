"""Weights files that come with the packages of energy models."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lcoms.core.errors import OracleError


def weights_file(model: str, package: str, file: str, *, since: str) -> Path:
    """Return the path of a file in an installed package.

    Args:
        model: name of the energy model; in lower case, the extra of lcoms that installs the package.
        package: name under which it is imported and installed.
        file: path inside the package.
        since: first version of the package that has the file.

    Raises:
        OracleError: the package is not installed, or too old.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise OracleError(f'{model} is not installed; type: pip install "lcoms[{model.lower()}]"')
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise OracleError(f"this version of {package} has no file {file}; install {package} {since} or later.")
    return path
