"""One browser tab: what it asks for, what it is shown. Nothing of it is shared with another but the marks."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from bokeh.core.properties import String
from bokeh.document import Document
from bokeh.model import DataModel
from bokeh.models import CustomJS

from torchviz_layers.exceptions import NonFiniteError, PageError, TorchvizLayersError
from torchviz_layers.live.marks import Marks
from torchviz_layers.live.request import OPTIONS, first_layout, read_layout, read_rows
from torchviz_layers.live.source import MIN_SAMPLES, Source
from torchviz_layers.live.views import View, compute_view, find_neighbors
from torchviz_layers.live.worker import Job, Stopped, Worker
from torchviz_layers.page.live import shell_script, shell_style, shell_template
from torchviz_layers.reducers import available_reducers

_log = logging.getLogger(__name__)
_TELL_SECONDS = 0.15  # progress is shown no more often


class Channel(DataModel):  # type: ignore[misc] # bokeh is untyped
    """What server and browser tell each other: JSON, but for the page, which is HTML."""

    ask = String("", help="From the browser: what to do.")
    status = String("", help="Whether something is computed, what, and what went wrong.")
    settings = String("", help="How what is shown was laid out.")
    page = String("", help="The page that is shown.")
    view = String("", help="The way to what is shown, from all samples on.")
    marks = String("", help="Marks of the store's samples, by row.")
    near = String("", help="Neighbours that were asked for.")


@dataclass
class Site:
    """What all sessions share: what is served, its marks, what they open with, and the thread that computes."""

    source: Source
    marks: Marks
    first: View | None = None
    worker: Worker = field(default_factory=Worker)
    sessions: list[Session] = field(default_factory=list)

    def open(self, document: Document) -> None:
        """Make the session of a new tab."""
        Session(self, document)

    def close(self) -> None:
        """Ask all computations to end, and wait a little for it."""
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
        self.channel = Channel(name="channel")
        site.sessions.append(self)
        _fill(document, site.source, self.channel)
        self.channel.on_change("ask", lambda _attribute, _old, new: self.asked(new))
        document.on_session_destroyed(self.closed)
        self.show_marks()
        layout = first_layout(site.source)
        self._show_settings(layout.layers, layout.reducer, layout.options)

    def closed(self, _context: Any) -> None:
        """Free what a closed tab held."""
        self.stop()
        self.trail.clear()
        self.site.sessions.remove(self)

    def stop(self) -> None:
        """Ask the computation to end."""
        if self.job is not None:
            self.job.stop()

    def asked(self, text: str) -> None:
        """Do what the browser asks for; what cannot be done is said on the page."""
        actions: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "begin": self._begin,
            "layout": self._lay_out,
            "neighbors": self._find_neighbors,
            "show": self._show_again,
            "mark": self._mark,
            "stop": lambda _ask: self.stop(),
        }
        try:
            ask = json.loads(text)
            if not isinstance(ask, dict) or ask.get("do") not in actions:
                raise PageError("the page asked for something that this server does not know; reload it")
            actions[ask["do"]](ask)
        except (TorchvizLayersError, ValueError) as problem:
            self._say("", error=str(problem))

    # What can be asked for

    def _begin(self, _ask: Mapping[str, Any]) -> None:
        """Show all samples; only now, so that a request that never comes to its websocket costs nothing."""
        source = self.site.source
        if self.trail or self.job is not None:
            return
        if self.site.first is not None:
            self._show_new(0, self.site.first)
            self._say("")
            return
        layout = first_layout(source)
        self._compute(lambda job: compute_view(source, layout, None, partial(self._tell, job)), self._show_first)

    def _lay_out(self, ask: Mapping[str, Any]) -> None:
        source, at = self.site.source, self.at
        shown = self.trail[at].layout.rows if self.trail else np.arange(source.n_samples)
        rows = shown if ask.get("of") == "shown" or not self.trail else read_rows(ask.get("rows"), source)
        layout = read_layout(ask, rows, source)
        anew = np.array_equal(rows, shown)
        within = None if len(rows) == source.n_samples else self.trail[at]
        self._compute(
            lambda job: compute_view(source, layout, within, partial(self._tell, job)),
            partial(self._show_new, at if anew else at + 1),
        )

    def _find_neighbors(self, ask: Mapping[str, Any]) -> None:
        (row,) = read_rows([ask.get("row")], self.site.source)
        self._compute(
            lambda _job: find_neighbors(self.site.source, int(row), ask.get("layer"), ask.get("k")),
            lambda found: self.channel.update(near=json.dumps({**found, "time": time.time()})),
        )

    def _show_again(self, ask: Mapping[str, Any]) -> None:
        at = ask.get("at")
        if type(at) is not int or not 0 <= at < len(self.trail):
            raise PageError("the page asked for a view that is gone; reload it")
        self._show(at)

    def _mark(self, ask: Mapping[str, Any]) -> None:
        source = self.site.source
        label, note = ask.get("label"), ask.get("note")
        if not isinstance(label, str) or not isinstance(note, str):
            raise PageError("mark: a label and a note are expected; reload the page")
        rows = read_rows(ask.get("rows"), source)
        self.site.marks.put(source.ids[rows].tolist(), label, note)
        for session in self.site.sessions:
            session.document.add_next_tick_callback(session.show_marks)
        what = f"{len(rows):,} marked {label.strip()!r}" if label.strip() else f"{len(rows):,} unmarked"
        self._say(f"{what}, saved to {self.site.marks.path}")

    # What is shown

    def show_marks(self) -> None:
        """Show the marks as they are now."""
        rows: dict[Any, list[int]] = {}
        for row, name in enumerate(self.site.source.ids.tolist()):
            rows.setdefault(name, []).append(row)
        shown = [
            {"row": row, "label": mark.label, "note": mark.note}
            for mark in self.site.marks
            for row in rows.get(mark.id, [])
        ]
        self.channel.marks = json.dumps(shown)

    def _show_first(self, view: View) -> None:
        self.site.first = view
        self._show_new(0, view)

    def _show_new(self, at: int, view: View) -> None:
        self.trail[at:] = [view]
        self._show(at)

    def _show(self, at: int) -> None:
        self.at = at
        view = self.trail[at]
        layout = view.layout
        self._show_settings(layout.layers, layout.reducer, layout.options)
        self.channel.page = view.html
        trail = [{"label": each.label} for each in self.trail]
        self.channel.view = json.dumps({"trail": trail, "at": at, "least": MIN_SAMPLES})

    def _show_settings(self, layers: tuple[str, ...], reducer: str, options: Mapping[str, Any]) -> None:
        self.channel.settings = json.dumps({"layers": layers, "reducer": reducer, "options": dict(options)})

    def _say(self, text: str, *, error: str | None = None, share: float | None = None) -> None:
        self.channel.status = json.dumps(
            {"busy": self.job is not None, "text": text, "error": error, "share": share, "time": time.time()}
        )

    # The computation, in its thread

    def _compute(self, work: Callable[[Job], Any], show: Callable[[Any], None]) -> None:
        """Compute off the event loop, one thing at a time; then show it."""
        if self.job is not None:
            raise PageError("still computing what was asked for before: wait for it, or stop it")

        def done(job: Job, outcome: Any) -> None:
            self.document.add_next_tick_callback(partial(self._computed, job, outcome, show))

        self.job = Job(work, done)
        self._begun, self._told = time.monotonic(), 0.0
        self._say("waiting for the computation of another tab" if self._others_compute() else "computing")
        self.site.worker.submit(self.job)

    def _others_compute(self) -> bool:
        return any(session.job is not None for session in self.site.sessions if session is not self)

    def _tell(self, job: Job, text: str, share: float | None) -> None:
        """Show progress; called in the worker's thread."""
        job.check()
        now = time.monotonic()
        if now - self._told >= _TELL_SECONDS:
            self._told = now
            self.document.add_next_tick_callback(partial(self._show_progress, job, text, share))

    def _show_progress(self, job: Job, text: str, share: float | None) -> None:
        if self.job is job:
            self._say(text, share=share)

    def _computed(self, job: Job, outcome: Any, show: Callable[[Any], None]) -> None:
        if self.job is not job or self not in self.site.sessions:
            return  # the tab is gone
        self.job = None
        if isinstance(outcome, Stopped):
            self._say("stopped")
        elif isinstance(outcome, NonFiniteError):
            self._say("", error=f"{outcome}; leave that layer out, or select other samples")
        elif isinstance(outcome, TorchvizLayersError):
            self._say("", error=str(outcome))
        elif isinstance(outcome, Exception):
            _log.error("the live page could not compute what was asked for", exc_info=outcome)
            reason = str(outcome).partition("\n")[0]
            self._say("", error=f"{type(outcome).__name__}: {reason} (the server's terminal says more)")
        else:
            show(outcome)
            self._say(f"done in {time.monotonic() - self._begun:.1f} s")


def _fill(document: Document, source: Source, channel: Channel) -> None:
    """Put the frame around the page into a new document."""
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
        document.config.notify_connection_status = False  # the frame says it itself
    document.add_root(channel)
    document.js_on_event("document_ready", CustomJS(args={"channel": channel}, code=shell_script(), module=True))
