"""Warnings of the package on stderr, one sentence each."""

from __future__ import annotations

import logging

from lcoms.cli.console import complain


class _Warnings(logging.Handler):
    """Handler that prints warnings like all other messages."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


def say_warnings() -> None:
    """Print the warnings of the package to stderr from now on."""
    log = logging.getLogger("lcoms")
    if not any(isinstance(handler, _Warnings) for handler in log.handlers):
        log.addHandler(_Warnings(logging.WARNING))
