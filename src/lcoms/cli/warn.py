"""Warnings of the package on stderr, one sentence each."""

from __future__ import annotations

import logging

from lcoms.cli.console import complain


class _Warnings(logging.Handler):
    """Shows them as other sentences are."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


def say_warnings() -> None:
    """Show the warnings of the package from now on."""
    log = logging.getLogger("lcoms")
    if not any(isinstance(handler, _Warnings) for handler in log.handlers):
        log.addHandler(_Warnings(logging.WARNING))
