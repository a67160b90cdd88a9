"""Serves the live page with a Bokeh server."""

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

# How long the session of a tab lives that was closed or never opened its websocket, and how often that is checked.
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

    Its readers choose layers, reducer and parameters, embed a selection by itself, find the neighbours of a sample in
    a layer's activation space, and mark samples. Each browser tab has a session of its own.

    Parameters
    ----------
    store : str, path or Activations
        The store that `extract(..., out=...)` wrote.
    samples : Samples, optional
        The data that it was extracted from, which add pictures, class names, and the input as a layer. Default: the
        thumbnails and targets of the store, if it has them.
    port : int
        Port to listen on; 0: any free one.
    address : str
        Name or IP address of the interface; "localhost" can be reached from this machine alone.
    allow_origins : sequence of str
        Further `HOST` or `HOST:PORT` under which a browser may open the page; others are refused.
    marks : str or path, optional
        JSON file of the marks. Default: beside the store, `acts.marks.json` for `acts.zarr`.
    started : callable
        Called with the page's URL when it can be opened.

    Raises
    ------
    StoreError
        If there is no store.
    DataError
        If `samples` are not those of the store.
    PageError
        If the port is taken, the address is not one of this machine's, or the marks cannot be read or written.
    """
    # Imported on use, because they import Bokeh.
    import torchviz_layers.live.session as sessions
    from torchviz_layers.live.marks import Marks
    from torchviz_layers.live.source import open_source

    source = open_source(store, samples)
    if marks is None:
        # Not checked for writing: a store on a read-only disk can still be looked at.
        file = source.path.with_suffix(".marks.json")
    else:
        file = Path(marks)
        _check_folder(file.parent)
    site = sessions.Site(source, Marks(file))
    with contextlib.suppress(KeyboardInterrupt):  # the normal end of a server
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

    # An origin is not a URL: a path in it would never match.
    for origin in allow_origins:
        if "/" in origin or not origin:
            raise PageError(f"allow-origin: {origin!r} is not HOST or HOST:PORT, such as example.org:5006")
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
    """Raise `PageError` if marks cannot be written: before the reader makes any, not after."""
    try:
        check_folder_writable(folder)
    except OSError as problem:
        raise PageError(
            f"marks: nothing can be written into {folder} ({problem.strerror}); give another file (--marks)"
        ) from problem


def _bound(port: int, address: str) -> tuple[list[Any], int]:
    """Return listening sockets and their port; raise `PageError` if there are none."""
    from bokeh.server.util import bind_sockets

    try:
        sockets, taken = bind_sockets(address, port)
    except (OSError, OverflowError, UnicodeError) as problem:
        # Tornado does not close a socket that it could not bind; without its frames Python does.
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            traceback.clear_frames(problem.__traceback__)
        code = getattr(problem, "errno", None)
        if isinstance(problem, socket.gaierror) or code == errno.EADDRNOTAVAIL:
            why = f"address {address!r} is none of this machine's; leave it out, or give localhost or 0.0.0.0"
        elif code == errno.EADDRINUSE:
            why = f"port {port} of {address} is taken; give another one, or 0 for any that is free"
        else:
            why = f"port {port} of {address} cannot be used ({problem}); give one from 1024 to 65535"
        raise PageError(why) from problem
    return sockets, taken


def _origins(address: str, port: int, allowed: Sequence[str]) -> list[str]:
    """Return the `HOST:PORT` whose pages may connect to the server: this machine's own names, and those allowed."""
    origins = [f"{host}:{port}" for host in _OWN]
    if address not in _ANY:
        origins.append(f"{_named(address)}:{port}")
    for origin in allowed:
        if ":" in origin:
            origins.append(origin)
        else:
            # Browsers omit the standard port, and Bokeh then assumes 80.
            origins += [f"{origin}:{port}", f"{origin}:80"]
    return origins


def _named(address: str) -> str:
    """Return an address as it is written in a URL."""
    if address in _ANY:
        return "localhost"
    return f"[{address}]" if ":" in address else address
