"""The command `lcoms`: finds and loads the subcommand, and reports every user error in one sentence.

Subcommands are listed in `COMMANDS` and imported only when called, which keeps `lcoms --help` fast.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from lcoms import __version__
from lcoms.cli.console import complain
from lcoms.core.errors import LcomsError, OptionError, is_want
from lcoms.core.machine import WANT, one_blas_thread, require_machine

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_ENTRY = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)
HELP = ("-h", "--help")
COMPLETION = "_LCOMS_COMPLETE"  # set by shells for tab completion
LIGHT = ("data",)  # commands without neural networks
PLAIN = None  # help without boxes: the package that draws them takes longer to load than everything else


class LazyCommand(NamedTuple):
    """Location of a subcommand: a Typer app (a group of commands) or a function (one command)."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "predict": LazyCommand("lcoms.cli.predict", "predict", "Predict the crystal structures of formulas."),
    "campaign": LazyCommand("lcoms.cli.campaign", "campaign", "Predict thousands of formulas; can be resumed."),
    "app": LazyCommand("lcoms.cli.app", "app", "Predict from a page in your browser."),
    "data": LazyCommand("lcoms.cli.data", "app", "Fetch, ingest and describe data sets."),
    "train": LazyCommand("lcoms.cli.train", "app", "Train the autoencoder and the surrogate."),
    "relax": LazyCommand("lcoms.cli.relax", "relax", "Relax crystals from files with an energy model."),
    "show": LazyCommand("lcoms.cli.show", "show", "Show the crystals that are read from files."),
    "rank": LazyCommand("lcoms.cli.rank", "rank", "Rank crystals from files by energy."),
    "match": LazyCommand("lcoms.cli.match", "match", "Rank crystals from files by their fit to a powder pattern."),
    "phonons": LazyCommand("lcoms.cli.phonons", "phonons", "Test the dynamical stability of crystals."),
    "compare": LazyCommand("lcoms.cli.compare", "compare", "Compare two crystals."),
    "export": LazyCommand("lcoms.cli.export", "export", "Write input files for DFT and other codes."),
    "improve": LazyCommand("lcoms.cli.improve", "improve", "Predict in rounds, refitting the surrogate after each."),
    "oracle": LazyCommand("lcoms.cli.oracle", "app", "Test energy models and compute their reference energies."),
    "score": LazyCommand("lcoms.cli.score", "score", "Score predictions against known structures."),
    "benchmark": LazyCommand("lcoms.cli.benchmark", "app", "Compare methods under one protocol; make tables."),
    "fit": LazyCommand("lcoms.cli.fit", "app", "Fit the ranking and the probabilities."),
    "evaluate": LazyCommand("lcoms.cli.evaluate", "app", "Measure the accuracy of trained weights."),
}


class LazyGroup(TyperGroup):
    """Command group that lists the subcommands in `COMMANDS` and imports one only to run it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, lazy in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=lazy.help))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the name and the loaded command given by the first argument, and the remaining arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS and name not in LIGHT and not {*rest} & {*HELP}:
            require_machine()
        if name not in COMMANDS:
            return name, command, rest
        from lcoms.cli.warn import say_warnings  # loading logging takes as long as printing the help

        say_warnings()
        return name, load_command(name), rest


def load_command(name: str) -> Any:
    """Import the subcommand `name` of `COMMANDS` and return it ready to run."""
    lazy = COMMANDS[name]
    target = getattr(import_module(lazy.module), lazy.attribute)
    if isinstance(target, typer.Typer):
        target.rich_markup_mode = PLAIN
        return get_group(target)
    single = typer.Typer(add_completion=False, rich_markup_mode=PLAIN)
    single.command(name)(target)
    return get_command(single)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=PLAIN)


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"lcoms {__version__}")
        raise typer.Exit
    return wanted


@app.callback(context_settings={"help_option_names": [*HELP]})
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Predict crystal structures from formulas, by latent conservative objective models."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with 0 (done), 1 (a check failed), 2 (user error) or 130 (interrupted)."""
    one_blas_thread()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):  # file names may contain characters that the terminal's encoding lacks
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; user errors are printed to stderr as one sentence."""
    try:
        _require_text(arguments)
        _require_values(arguments)
        if COMPLETION in os.environ:  # a shell requests completions; Typer registers its shells only here
            from typer.completion import completion_init

            completion_init()
        # Anything but an integer is a return value of a command, not an exit code.
        result = get_group(app).main(args=arguments, prog_name="lcoms", standalone_mode=False)
    except OptionError as error:
        return _fail(str(error.renamed(lambda name: _as_typed(name, arguments))))
    except LcomsError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        return _usage_error(error)
    except typer.Abort:
        return _fail("stopped before it was done.", EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        return _fail("stopped before it was done.", EXIT_INTERRUPTED)
    except Exception as error:
        if _was_interrupted(error):
            return _fail("stopped before it was done.", EXIT_INTERRUPTED)
        sentence = _system_sentence(error)
        if not sentence:
            raise
        return _fail(sentence)
    if result == EXIT_INTERRUPTED:
        return _fail("stopped before it was done.", EXIT_INTERRUPTED)
    return result if type(result) is int else 0


def _as_typed(name: str, arguments: Sequence[str]) -> str:
    """Return the name of an option as it was typed, such as --fmax; unchanged if it was not typed."""
    option = f"--{name.replace('_', '-')}"
    return option if any(text.partition("=")[0] == option for text in arguments) else name


def _require_text(arguments: Sequence[str]) -> None:
    """Check that all arguments can be encoded as UTF-8, because paths are printed and stored after the work.

    Raises:
        LcomsError: an argument cannot be encoded.
    """
    for text in arguments:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise LcomsError(f"{text!r} holds bytes that are not UTF-8 text; rename the file or folder.") from None


def _require_values(arguments: Sequence[str]) -> None:
    """Check that no option has an empty value, as one from a variable of the shell that is not set.

    Raises:
        LcomsError: an option has one.
    """
    for option, value in zip(arguments, [*arguments[1:], "-"], strict=False):
        name, equals, text = option.partition("=")
        if name.startswith("-") and (value == "" or (equals and not text)):
            raise LcomsError(f"{name} has an empty value; type one, or omit {name}.")


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C caused the error; several libraries raise another error if interrupted while loading."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _system_sentence(error: Exception) -> str:
    """Return a sentence on what the operating system refused and how to proceed; empty for other errors."""
    if is_want(error) and not (isinstance(error, OSError) and error.errno in (*NO_ROOM, *NO_ENTRY)):
        reason = (str(error).strip() or "memory").splitlines()[0]
        return f"not enough memory or open files ({reason}); {WANT}."
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in (*NO_ROOM, *NO_ENTRY)):
        return ""
    reason = (os.strerror(error.errno) if error.errno is not None else str(error)).lower()
    if error.errno in NO_ROOM:
        reason += "; free space and repeat the command, or write to another place"
    return f"{error.filename}: {reason}." if error.filename is not None else f"a file cannot be used: {reason}."


def _usage_error(error: typer.TyperException) -> int:
    """Print Typer's message as one sentence, with the --help command to type if the message has no hint."""
    context, message = getattr(error, "ctx", None), error.format_message()
    if context is not None and message == context.get_help():  # a group was called without a command
        typer.echo(message)
        return EXIT_USER_ERROR
    message = message.rstrip(". ").replace(". Did you mean", "; did you mean")
    message = message[:1].lower() + message[1:]
    path = context.command_path if context is not None else "lcoms"
    return _fail(message if message.endswith("?") else f"{message}; see {path} --help.")


def _fail(sentence: str, code: int = EXIT_USER_ERROR) -> int:
    complain(sentence)
    return code
