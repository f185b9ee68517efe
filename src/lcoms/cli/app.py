"""`lcoms app`: a page in the browser where a formula is typed."""

from __future__ import annotations

import socket
from dataclasses import replace
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Annotated

import typer

from lcoms.cli.options import (
    CommitteeOption,
    NRelaxOption,
    OracleOption,
    RelaxOption,
    ThreadsOption,
    WeightsOption,
    names_of,
    spec_of,
)
from lcoms.core.errors import ConfigError, LcomsError


def app(
    host: Annotated[str, typer.Option(help="Address to listen at; at 127.0.0.1 no other machine reaches the page.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.", min=0, max=65535)] = 8060,
    relax: RelaxOption = None,
    oracle: OracleOption = None,
    committee: CommitteeOption = None,
    n_relax: NRelaxOption = None,
    processes: Annotated[int | None, typer.Option(help="Processes that relax.", show_default="all cores")] = None,
    weights: WeightsOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Predict crystal structures from a page in your browser, on this machine."""
    missing = [name for name in ("flask", "waitress") if find_spec(name) is None]
    if missing:
        raise LcomsError(f"lcoms app needs {' and '.join(missing)}; type pip install 'lcoms[app]' first.")
    import torch

    from lcoms.app import LOCAL_NAMES, Settings, make_app
    from lcoms.prediction.pipeline import Predictor
    from lcoms.prediction.presets import Options

    torch.set_num_threads(threads)
    options = Options(relax=relax, oracle=oracle, committee=names_of(committee), n_relax=n_relax)
    predictor = Predictor.load(weights, spec=spec_of(options), processes=processes)
    settings = Settings(predictor)
    listener = _listen(host, port)
    if _is_loopback(listener):
        settings = replace(settings, names=(*LOCAL_NAMES, host))
    else:
        typer.echo(f"lcoms: whoever reaches {host} can use this page; there is no password.", err=True)
        settings = replace(settings, names=None)
    _serve(make_app(settings), host, listener)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(f"cannot listen at {host}:{port} ({reason}); change --host or --port.") from error


def _is_loopback(listener: socket.socket) -> bool:
    return ip_address(listener.getsockname()[0]).is_loopback


def _serve(made: object, host: str, listener: socket.socket) -> None:
    """Until the user interrupts."""
    from waitress import create_server

    server = create_server(made, sockets=[listener], threads=4, ident="lcoms")
    name = "localhost" if ":" in host else host  # an IPv6 address is no name that the page answers to
    typer.echo(f"Open http://{name}:{listener.getsockname()[1]}/ in a browser; Ctrl-C ends it.")
    try:
        server.run()
    finally:
        server.close()
