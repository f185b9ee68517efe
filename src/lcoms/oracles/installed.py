"""Files of weights that packages of energy models bring along."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lcoms.core.errors import OracleError


def weights_file(model: str, package: str, file: str, *, since: str) -> Path:
    """Where an installed package has a file.

    Args:
        model: name of the energy model; in small letters that of the extra of lcoms that brings the package.
        package: as it is imported and installed.
        file: path inside the package.
        since: the first version of the package that has the file.

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
