"""One browser tab: its requests, and what it is shown. Tabs share nothing but the marks."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from bokeh.core.properties import String
from bokeh.document import Document
from bokeh.model import DataModel
from bokeh.models import CustomJS

from torchviz_layers.exceptions import NonFiniteError, PageError, TorchvizLayersError
from torchviz_layers.live.marks import Marks
from torchviz_layers.live.request import OPTIONS, Request, defaults, first_request, read_request, read_rows
from torchviz_layers.live.source import MIN_SAMPLES, Source
from torchviz_layers.live.views import View, compute_view, find_neighbors
from torchviz_layers.live.worker import Job, Stopped, Worker
from torchviz_layers.page.live import shell_script, shell_style, shell_template
from torchviz_layers.reducers import available_reducers

_log = logging.getLogger(__name__)
_PROGRESS_SECONDS = 0.15  # between two updates of the progress


class Channel(DataModel):  # type: ignore[misc] # bokeh is untyped
    """The messages between server and browser: JSON, except for the page, which is HTML."""

    ask = String("", help="The browser's request.")
    status = String("", help="Whether something is being computed, what, and what went wrong.")
    settings = String("", help="How the page that is shown was made.")
    page = String("", help="The page that is shown.")
    view = String("", help="The trail of views, from all samples to the one that is shown.")
    marks = String("", help="Marks of the store's samples, by row.")
    near = String("", help="The neighbours that were requested.")


@dataclass
class Site:
    """What all sessions share: the store, its marks, the view that they open with, and the thread that computes."""

    source: Source
    marks: Marks
    first: View | None = None
    worker: Worker = field(default_factory=Worker)
    sessions: list[Session] = field(default_factory=list)

    def open(self, document: Document) -> None:
        """Start the session of a new tab."""
        Session(self, document)

    def close(self) -> None:
        """Stop all computations, and wait a little until they have ended."""
        for session in self.sessions:
            session.stop()
        self.worker.close()


class Session:
    """The live page in one tab."""

    def __init__(self, site: Site, document: Document) -> None:
        self.site, self.document = site, document
        self.trail: list[View] = []
        self.at = 0
        self.job: Job | None = None
        self._job_started = 0.0
        self._progress_shown = 0.0
        self.channel = Channel(name="channel")
        site.sessions.append(self)
        _fill(document, site.source, self.channel)
        self.channel.on_change("ask", lambda _attribute, _old, new: self.receive(new))
        document.on_session_destroyed(self.closed)
        self.show_marks()
        self._show_settings(first_request(site.source))

    def closed(self, _context: Any) -> None:
        """Free the memory of a closed tab."""
        self.stop()
        self.trail.clear()
        self.site.sessions.remove(self)

    def stop(self) -> None:
        """Stop the computation at its next step."""
        if self.job is not None:
            self.job.stop()

    def receive(self, text: str) -> None:
        """Do what the browser requests; if it cannot be done, the page shows the reason."""
        actions: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "begin": self._begin,
            "embed": self._embed,
            "neighbors": self._find_neighbors,
            "show": self._show_again,
            "mark": self._mark,
            "stop": lambda _ask: self.stop(),
        }
        try:
            ask = json.loads(text)
            if not isinstance(ask, dict) or ask.get("do") not in actions:
                raise PageError("the page sent a request that this server does not know; reload the page")
            actions[ask["do"]](ask)
        except (TorchvizLayersError, ValueError) as problem:
            self._show_status("", error=str(problem))

    # Requests

    def _begin(self, _ask: Mapping[str, Any]) -> None:
        """Show all samples.

        The page sends this once its websocket is open: a visitor that never opens one costs no computation.
        """
        source = self.site.source
        if self.trail or self.job is not None:
            return
        if self.site.first is not None:
            self._show_new(0, self.site.first)
            self._show_status("")
            return
        # UMAP takes a minute where PCA takes seconds: the page need not be blank so long.
        request = replace(first_request(source), reducer="pca", options=defaults("pca"))
        self._compute(lambda job: compute_view(source, request, None, partial(self._report, job)), self._show_preview)

    def _embed(self, ask: Mapping[str, Any]) -> None:
        """Embed the samples shown again, which replaces the view, or a selection, which adds one to the trail."""
        source, at = self.site.source, self.at
        shown = self.trail[at].request.rows if self.trail else np.arange(source.n_samples)
        rows = shown
        if self.trail and ask.get("of") != "shown":
            rows = read_rows(ask.get("rows"), source)
        request = read_request(ask, rows, source)
        within = None if len(rows) == source.n_samples else self.trail[at]
        position = at if np.array_equal(rows, shown) else at + 1
        self._compute(
            lambda job: compute_view(source, request, within, partial(self._report, job)),
            partial(self._show_new, position),
        )

    def _find_neighbors(self, ask: Mapping[str, Any]) -> None:
        # `time` makes every message differ: Bokeh sends a property only when it changes.
        (row,) = read_rows([ask.get("row")], self.site.source)
        self._compute(
            lambda _job: find_neighbors(self.site.source, int(row), ask.get("layer"), ask.get("k")),
            lambda found: self.channel.update(near=json.dumps({**found, "time": time.time()})),
        )

    def _show_again(self, ask: Mapping[str, Any]) -> None:
        at = ask.get("at")
        if type(at) is not int or not 0 <= at < len(self.trail):
            raise PageError("the page requested a view that no longer exists; reload the page")
        self._show(at)

    def _mark(self, ask: Mapping[str, Any]) -> None:
        source = self.site.source
        label, note = ask.get("label"), ask.get("note")
        if not isinstance(label, str) or not isinstance(note, str):
            raise PageError("mark: expected a label and a note; reload the page")
        rows = read_rows(ask.get("rows"), source)
        self.site.marks.put(source.ids[rows].tolist(), label, note)
        # A document may be changed only under its lock, which a next-tick callback has.
        for session in self.site.sessions:
            session.document.add_next_tick_callback(session.show_marks)
        done = f"marked {label.strip()!r}" if label.strip() else "unmarked"
        self._show_status(f"{len(rows):,} {done}, saved to {self.site.marks.path}")

    # What is shown

    def show_marks(self) -> None:
        """Send the current marks to the page."""
        rows_of: dict[Any, list[int]] = {}  # several samples may have the same id
        for row, name in enumerate(self.site.source.ids.tolist()):
            rows_of.setdefault(name, []).append(row)
        shown = []
        for mark in self.site.marks:
            text = {"label": mark.label, "note": mark.note}
            shown += [{"row": row, **text} for row in rows_of.get(mark.id, [])]
        self.channel.marks = json.dumps(shown)

    def _show_preview(self, view: View) -> None:
        """Show the samples embedded by PCA, and embed them by UMAP, whose page then takes its place."""
        source, request = self.site.source, first_request(self.site.source)
        self._show_new(0, view)

        def report(job: Job, text: str, share: float | None) -> None:
            self._report(job, f"PCA is shown; {text}", share)

        # The corner cases do not depend on the reducer.
        self._compute(lambda job: compute_view(source, request, view, partial(report, job)), self._show_first)

    def _show_first(self, view: View) -> None:
        self.site.first = view
        self._show_new(0, view)

    def _show_new(self, at: int, view: View) -> None:
        # As in a browser's history, a new view replaces those after it.
        self.trail[at:] = [view]
        self._show(at)

    def _show(self, at: int) -> None:
        self.at = at
        view = self.trail[at]
        self._show_settings(view.request)
        self.channel.page = view.html
        trail = [{"label": each.label} for each in self.trail]
        self.channel.view = json.dumps({"trail": trail, "at": at, "least": MIN_SAMPLES})

    def _show_settings(self, request: Request) -> None:
        settings = {"layers": request.layers, "reducer": request.reducer, "options": dict(request.options)}
        self.channel.settings = json.dumps(settings)

    def _show_status(self, text: str, *, error: str | None = None, share: float | None = None) -> None:
        self.channel.status = json.dumps(
            {"busy": self.job is not None, "text": text, "error": error, "share": share, "time": time.time()}
        )

    # Computation, in the worker's thread

    def _compute(self, work: Callable[[Job], Any], show: Callable[[Any], None]) -> None:
        """Compute something outside the event loop, one thing at a time, and show it."""
        if self.job is not None:
            raise PageError("still computing the previous request: wait for it, or stop it")

        def done(job: Job, outcome: Any) -> None:
            self.document.add_next_tick_callback(partial(self._computed, job, outcome, show))

        self.job = Job(work, done)
        self._job_started, self._progress_shown = time.monotonic(), 0.0
        others = [session for session in self.site.sessions if session is not self and session.job is not None]
        self._show_status("waiting for the computation of another tab" if others else "computing")
        self.site.worker.submit(self.job)

    def _report(self, job: Job, text: str, share: float | None) -> None:
        """Show progress; called in the worker's thread."""
        job.check()
        now = time.monotonic()
        if now - self._progress_shown >= _PROGRESS_SECONDS:
            self._progress_shown = now
            # Only the event loop may change the document.
            self.document.add_next_tick_callback(partial(self._show_progress, job, text, share))

    def _show_progress(self, job: Job, text: str, share: float | None) -> None:
        if self.job is job:
            self._show_status(text, share=share)

    def _computed(self, job: Job, outcome: Any, show: Callable[[Any], None]) -> None:
        # The tab was closed while the worker computed.
        if self.job is not job or self not in self.site.sessions:
            return
        self.job = None
        if isinstance(outcome, Stopped):
            self._show_status("stopped")
        elif isinstance(outcome, NonFiniteError):
            self._show_status("", error=f"{outcome}; leave that layer out, or select other samples")
        elif isinstance(outcome, TorchvizLayersError):
            self._show_status("", error=str(outcome))
        elif isinstance(outcome, Exception):
            _log.error("the live page could not compute a request", exc_info=outcome)
            reason = str(outcome).partition("\n")[0]
            self._show_status("", error=f"{type(outcome).__name__}: {reason} (see the server's terminal for details)")
        else:
            started = self._job_started
            show(outcome)
            if self.job is None:
                self._show_status(f"done in {time.monotonic() - started:.1f} s")


def _fill(document: Document, source: Source, channel: Channel) -> None:
    """Put the shell around the page into a new document."""
    document.title = f"{source.path.name} · torchviz_layers"
    document.template = shell_template()
    document.template_variables.update(
        name=source.path.name,
        store=str(source.path),
        style=shell_style(),
        layers=[
            {"name": name, "shape": " × ".join(map(str, array.shape[1:]))} for name, array in source.layers.items()
        ],
        reducers=sorted(available_reducers(), key=lambda name: name != "umap"),
        options=OPTIONS,
    )
    if hasattr(document, "config"):  # Bokeh 3.8 and later
        document.config.notify_connection_status = False  # the shell shows it itself
    document.add_root(channel)
    document.js_on_event("document_ready", CustomJS(args={"channel": channel}, code=shell_script(), module=True))
