"""Exceptions of lcoms: each message says what was wrong and what to do instead."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

WANT_ERRORS = (errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EIO)
WANT_WORDS = (
    "can't allocate memory", "cannot allocate memory", "out of memory", "can't start new thread", "too many open files",
    "failed to map segment",
)  # fmt: skip


MACHINE = "the machine lacked something"


def is_want(error: BaseException) -> bool:
    """Return whether the machine lacked something (memory, disk space, file handles), so that a retry may succeed."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, MemoryError) or (isinstance(chain, OSError) and chain.errno in WANT_ERRORS):
            return True
        named = isinstance(chain, RuntimeError | OSError | ImportError | SystemError)
        if named and any(words in str(chain).lower() for words in WANT_WORDS):
            return True  # PyTorch, threading and the library loader have no exception type for this
        chain = chain.__cause__
    return False


class LcomsError(Exception):
    """Base of every error that a user can cause and correct; the command line shows its text and exits with 2."""


class FormulaError(LcomsError):
    """A chemical formula that cannot be read or that no model here can handle."""


class CrystalError(LcomsError):
    """A structure that is not a crystal: wrong shapes, non-finite numbers or a cell without volume."""


class FileFormatError(LcomsError):
    """A file that cannot be read as the format that its name or content indicates."""


class DataError(LcomsError):
    """A data set or store that is missing, damaged or unsuitable for the request."""


class DownloadError(LcomsError):
    """A download that failed, is incomplete or does not match its checksum."""


class WeightsError(LcomsError):
    """A weights file or checkpoint that is missing, damaged or of another version."""


class ConfigError(LcomsError):
    """An option that does not exist or has an unusable value."""


class OptionError(ConfigError):
    """An option with an unusable value; each interface gives the option the name that the user typed.

    Args:
        sentence: with {} for each option and, if the value is told, {value}.
        options: names of the options, in the order of the sentence.
        value: the unusable value.
    """

    def __init__(self, sentence: str, options: Sequence[str], value: object = "") -> None:
        super().__init__(sentence, options, value)
        self.sentence, self.options, self.value = sentence, tuple(options), value

    def __str__(self) -> str:
        return self.sentence.format(*self.options, value=self.value)

    def renamed(self, name: Callable[[str], str]) -> OptionError:
        """Return the error with the names of its options replaced."""
        return OptionError(self.sentence, [name(option) for option in self.options], self.value)


class UnknownOptionError(ConfigError, TypeError):
    """A function was called with an option that it does not have."""


class OracleError(LcomsError):
    """An energy model that is not installed, unknown, or unsuitable for the requested elements."""
