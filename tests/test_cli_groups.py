"""Options of a group appear on the command line as if each command declared them."""

from __future__ import annotations

import inspect
from typing import Annotated, NamedTuple

import typer
from typer.testing import CliRunner

from lcoms.cli.groups import with_groups

SEEN: list[tuple[object, ...]] = []


class Shared(NamedTuple):
    steps: Annotated[int, typer.Option(help="Of descent.")] = 10
    relax: Annotated[bool, typer.Option("--relax/--no-relax")] = False


@with_groups
def command(
    file: Annotated[str, typer.Argument()], seeds: Annotated[int, typer.Option()] = 3, *, shared: Shared
) -> None:
    """Does something."""
    SEEN.append((file, seeds, shared))


def test_a_group_is_made_of_its_options() -> None:
    SEEN.clear()
    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, ["a", "--relax", "--steps", "2"]).exit_code == 0
    assert CliRunner().invoke(app, ["b", "--seeds", "1"]).exit_code == 0
    assert [("a", 3, Shared(2, True)), ("b", 1, Shared())] == SEEN
    assert CliRunner().invoke(app, ["b", "--shared", "1"]).exit_code == 2


def test_options_keep_their_order_and_text() -> None:
    assert list(inspect.signature(command).parameters) == ["file", "seeds", "steps", "relax"]
    assert command.__doc__ == "Does something."


class Wider(NamedTuple):
    seed: Annotated[int, typer.Option()] = 0
    shared: Shared = Shared()
    n: Annotated[int, typer.Option("-n")] = 1


@with_groups
def wider(*, wide: Wider) -> None:
    """Does more."""
    SEEN.append((wide,))


def test_a_group_within_a_group_has_its_options_there() -> None:
    SEEN.clear()
    app = typer.Typer()
    app.command()(wider)
    assert list(inspect.signature(wider).parameters) == ["seed", "steps", "relax", "n"]
    assert CliRunner().invoke(app, ["--relax", "-n", "5"]).exit_code == 0
    assert CliRunner().invoke(app, []).exit_code == 0
    assert [(Wider(0, Shared(10, True), 5),), (Wider(),)] == SEEN
