"""`lcoms app`: predictions from a page in the browser."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Annotated

import typer

from lcoms.cli.groups import with_groups
from lcoms.cli.options import (
    Models,
    NRelaxOption,
    RelaxOption,
    RelaxProcessesOption,
    ThreadsOption,
    WeightsOption,
    spec_of,
)
from lcoms.cli.search_options import options_of
from lcoms.core.errors import ConfigError, LcomsError

CONNECTIONS = 800  # open at the same time; slow ones wait in a poll and occupy no thread
SLOWEST = 15  # seconds without data until a connection is closed


@with_groups
def app(
    host: Annotated[
        str, typer.Option(help="Address to listen on; with 127.0.0.1 no other machine can reach the page.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8060,
    relax: RelaxOption = None,
    n_relax: NRelaxOption = None,
    processes: RelaxProcessesOption = None,
    weights: WeightsOption = None,
    threads: ThreadsOption = 1,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Further host name of this machine, if --host is not local; repeatable."),
    ] = None,
    *,
    models: Models,
) -> None:
    """Predict crystal structures from a page in your browser, on this machine."""
    missing = [name for name in ("flask", "waitress") if find_spec(name) is None]
    if missing:
        raise LcomsError(f"lcoms app needs {' and '.join(missing)}; type pip install 'lcoms[app]' first.")
    import torch

    from lcoms.app import LOCAL_NAMES, Settings, make_app
    from lcoms.prediction.pipeline import Predictor

    torch.set_num_threads(threads)
    options = replace(options_of(models), relax=relax, n_relax=n_relax)
    predictor = Predictor.load(weights, spec=spec_of(options), processes=processes)
    settings = Settings(predictor, options)
    listener = _listen(host, port)
    if _is_loopback(listener):
        if name:
            listener.close()
            raise ConfigError(f"--name has no effect with --host {host}, which is local; omit it, or change --host.")
        settings = replace(settings, names=(*LOCAL_NAMES, host))
    else:
        settings = replace(settings, names=_names(host, name or []), token=secrets.token_urlsafe(16))
    _serve(make_app(settings), host, listener, settings.token)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens for connections."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(f"cannot listen on {host}:{port} ({reason}); change --host or --port.") from error


def _names(host: str, further: list[str]) -> tuple[str, ...]:
    """Return the host names accepted in requests: the known names and addresses of this machine, and those given."""
    from lcoms.app import LOCAL_NAMES

    own = {socket.gethostname(), socket.getfqdn()}
    found = {*LOCAL_NAMES, *further, *own}
    if host not in ("", "0.0.0.0", "::"):
        return tuple(sorted(found | {host}))
    for one in own:
        with suppress(OSError, UnicodeError):
            found |= {str(place[4][0]) for place in socket.getaddrinfo(one, None)}
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        outward.connect(("192.0.2.1", 9))  # from RFC 5737; nothing is sent, but the system selects its own address
        found.add(str(outward.getsockname()[0]))
    return tuple(sorted(found))


def _is_loopback(listener: socket.socket) -> bool:
    return ip_address(listener.getsockname()[0]).is_loopback


def _serve(made: object, host: str, listener: socket.socket, token: str | None) -> None:
    """Serve the page until the user interrupts."""
    from waitress import create_server

    server = create_server(
        made, sockets=[listener], threads=4, ident="lcoms", connection_limit=CONNECTIONS, channel_timeout=SLOWEST,
        cleanup_interval=5, asyncore_use_poll=True,
    )  # fmt: skip
    name = "localhost" if ":" in host else host  # the page does not answer to IPv6 addresses
    secret = "" if token is None else f"?token={token}"
    typer.echo(f"Open http://{name}:{listener.getsockname()[1]}/{secret} in a browser; Ctrl-C stops the server.")
    if token is not None:
        typer.echo(
            f"Anyone with this address can use the page; {name} may be replaced by another name of this machine."
        )
    try:
        server.run()
    finally:
        server.close()
