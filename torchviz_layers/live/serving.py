"""The live page: a stored extraction in the browser, laid out anew as the reader asks, by a Bokeh server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchviz_layers._common.files import check_folder_writable
from torchviz_layers.exceptions import PageError

if TYPE_CHECKING:
    from torchviz_layers.data import Samples
    from torchviz_layers.extraction import Activations
    from torchviz_layers.live.session import Site

PORT = 5006
_OWN = ("localhost", "127.0.0.1", "[::1]")
_ANY = ("", "0.0.0.0", "::")  # all interfaces

# A tab that is closed, or never came to its websocket, is given up after so long; looked at as often.
_UNUSED_MS, _CHECK_MS = 10_000, 2_000


def serve(
    store: str | Path | Activations,
    samples: Samples | None = None,
    *,
    port: int = PORT,
    address: str = "localhost",
    allow_origins: Sequence[str] = (),
    marks: str | Path | None = None,
    started: Callable[[str], object] = print,
) -> None:
    """Serve the live page of stored activations until Ctrl-C.

    Whoever opens it chooses layers, reducer and parameters, lays a selection out by itself, asks for the neighbours of
    a sample in a layer's activation space, and marks samples. Each browser tab has a session of its own.

    Parameters
    ----------
    store : str, path or Activations
        What `extract(..., out=...)` wrote.
    samples : Samples, optional
        The data that it was made from: pictures, class names, and the input as a layer. Default: the thumbnails and
        targets of the store, where it has them.
    port : int
        Where to listen; 0 takes any free port.
    address : str
        The name or number of the interface; "localhost" is reached from this machine alone.
    allow_origins : sequence of str
        Further `HOST` or `HOST:PORT` that a browser may have the page from; pages of others are refused.
    marks : str or path, optional
        The JSON file of the marks; default: beside the store, `acts.marks.json` for `acts.zarr`.
    started : callable
        Called with the page's address once it can be opened.

    Raises
    ------
    StoreError
        If there is no store.
    DataError
        If `samples` are not those of the store.
    PageError
        If the port is taken or the address is not this machine's, or the marks cannot be read, or cannot be written to
        the file that was asked for.
    """
    import torchviz_layers.live.session as sessions
    from torchviz_layers.live.marks import Marks
    from torchviz_layers.live.source import open_source

    source = open_source(store, samples)
    if marks is not None:  # beside a store that cannot be written to the page is still worth a look
        _check_folder(Path(marks).parent)
    site = sessions.Site(source, Marks(source.path.with_suffix(".marks.json") if marks is None else Path(marks)))
    with contextlib.suppress(KeyboardInterrupt):  # the way that a server ends
        asyncio.run(serving(site, port=port, address=address, allow_origins=allow_origins, started=started))


async def serving(
    site: Site,
    *,
    port: int,
    address: str,
    allow_origins: Sequence[str] = (),
    started: Callable[[str], object],
    ending: asyncio.Event | None = None,
) -> None:
    """Serve until `ending` is set, or the task is cancelled; see `serve`."""
    from bokeh.server.server import BaseServer
    from bokeh.server.tornado import BokehTornado
    from tornado.httpserver import HTTPServer
    from tornado.ioloop import IOLoop

    for origin in allow_origins:
        if "/" in origin or not origin:
            raise PageError(f"allow-origin: {origin!r} is no HOST or HOST:PORT, as example.org:5006")
    sockets, taken = _bound(port, address)
    application = BokehTornado(
        {"/": site.open},
        extra_websocket_origins=_origins(address, taken, allow_origins),
        unused_session_lifetime_milliseconds=_UNUSED_MS,
        check_unused_sessions_milliseconds=_CHECK_MS,
    )
    http = HTTPServer(application)
    http.add_sockets(sockets)
    server = BaseServer(IOLoop.current(), application, http)
    try:
        server.start()
        started(f"http://{_named(address)}:{taken}/")
        await (ending or asyncio.Event()).wait()
    finally:
        server.stop()
        site.close()
        await http.close_all_connections()


def _check_folder(folder: Path) -> None:
    """Write into the folder of the marks: before the reader marks anything, not after."""
    try:
        check_folder_writable(folder)
    except OSError as problem:
        raise PageError(
            f"marks: nothing can be written into {folder} ({problem.strerror}); give another file (--marks)"
        ) from problem


def _bound(port: int, address: str) -> tuple[list[Any], int]:
    """Return listening sockets and their port; raise `PageError` where they cannot be had."""
    from bokeh.server.util import bind_sockets

    try:
        sockets, taken = bind_sockets(address, port)
    except (OSError, OverflowError, UnicodeError) as problem:
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            traceback.clear_frames(problem.__traceback__)  # Tornado leaves a socket open that it could not bind
        if isinstance(problem, socket.gaierror) or getattr(problem, "errno", None) == errno.EADDRNOTAVAIL:
            why = f"address {address!r} is none of this machine's; leave it out, or give localhost or 0.0.0.0"
        elif getattr(problem, "errno", None) == errno.EADDRINUSE:
            why = f"port {port} of {address} is taken; give another one, or 0 for any that is free"
        else:
            why = f"port {port} of {address} cannot be had ({problem}); give one from 1024 to 65535"
        raise PageError(why) from problem
    return sockets, taken


def _origins(address: str, port: int, allowed: Sequence[str]) -> list[str]:
    """Return the `HOST:PORT` whose pages may talk to the server: this machine's own names, and those allowed."""
    origins = [f"{host}:{port}" for host in (*_OWN, *(() if address in _ANY else (_named(address),)))]
    for origin in allowed:
        # A browser leaves the port out where it is the usual one, and Bokeh takes that for 80.
        origins += [origin] if ":" in origin else [f"{origin}:{port}", f"{origin}:80"]
    return origins


def _named(address: str) -> str:
    """Return an address as it stands in a browser's line."""
    if address in _ANY:
        return "localhost"
    return f"[{address}]" if ":" in address else address
