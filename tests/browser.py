"""A headless Chromium for the tests of pages: offline, its errors and requests on record."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FLAGS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--force-color-profile=srgb",
)


_idle: dict[Any, list[Any]] = {}  # pages of a running browser that no test has open


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield a running browser; skip the test where none is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            _idle.pop(browser, None)
            browser.close()


@dataclass
class Tab:
    """One page in the browser, and what it complained about or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def js(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def texts(self, selector: str) -> list[str]:
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def gallery(self) -> list[int]:
        """Rows of the samples in the gallery, in its order."""
        return self.js("[...document.querySelectorAll('#gallery .tile')].map((tile) => Number(tile.dataset.sample))")

    def selected(self, source: str = "samples") -> list[int]:
        """Rows of the samples that a Bokeh source has selected, sorted."""
        return sorted(
            self.js(
                """(name) => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
                const of = (wanted) => all.find((model) => model.name === wanted);
                return of(name).selected.indices.map((row) => of("samples").data.sample[row]); }""",
                source,
            )
        )

    def column(self, name: str) -> np.ndarray:
        """A column of the shared source, in the order of the samples."""
        order, values = self.js(
            """(name) => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
            const source = all.find((m) => m.name === "samples");
            return [Array.from(source.data.sample), Array.from(source.data[name])]; }""",
            name,
        )
        column = np.empty(len(order))
        column[order] = values
        return column

    def drawn(self, who: str) -> set[int]:
        """Rows of the samples that a view leaves, dots and crosses together."""
        return set(
            self.js(
                """(who) => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
                const of = (name) => all.find((model) => model.name === name);
                const rows = [...of(`plain-${who}`).indices, ...of(`wrong-${who}`).indices];
                return rows.map((row) => of("samples").data.sample[row]); }""",
                who,
            )
        )

    def rings(self) -> dict[str, list[float]]:
        """Place of the sample's own ring, the large one, in every figure that shows one."""
        return self.js(
            """() => Object.fromEntries([...Bokeh.documents.at(-1)._all_models.values()]
            .filter((m) => m.name?.startsWith("ring-") && m.data.size[0] === 15)
            .map((m) => [m.name.slice(5), [m.data.x[0], m.data.y[0]]]))"""
        )

    def place(self, figure: str, x: float, y: float) -> tuple[float, float]:
        """Where a point of a figure's plane is in the window."""
        return tuple(
            self.js(
                """([name, x, y]) => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
                const model = all.find((m) => m.name === (name === "stage" ? "stage-figure" : `panel-${name}`));
                const box = document.getElementById(`figure-${name}`).getBoundingClientRect();
                const part = (value, range) => (value - range.start) / (range.end - range.start);
                const across = part(x, model.x_range), up = part(y, model.y_range);
                return [box.left + across * box.width, box.bottom - up * box.height]; }""",
                [figure, float(x), float(y)],
            )
        )

    def point_at(self, figure: str, x: float, y: float) -> None:
        self.page.mouse.move(*self.place(figure, x, y))

    def drag(self, figure: str, corners: list[tuple[float, float]]) -> None:
        """Drag the pointer through points of a figure's plane."""
        places = [self.place(figure, x, y) for x, y in corners]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=6)
        self.page.mouse.up()

    def reset(self) -> None:
        """Bring all controls back to where a fresh page has them, and the pointer away."""
        self.page.mouse.move(2, 2)
        self.page.locator("input[name=brush][value=lasso]").check(force=True)
        self.js(
            """() => { const pick = (id, at) => { const select = document.getElementById(id);
            const index = at < 0 ? select.options.length - 1 : at;
            if (select.selectedIndex === index) return;
            select.selectedIndex = index; select.dispatchEvent(new Event("change")); };
            pick("color", 0); pick("matrix-choice", 0); pick("stage-layer", -1); pick("kind", 1);
            for (const chip of document.querySelectorAll("#chips [aria-pressed=false]")) chip.click();
            document.querySelector("[data-show=all]").click();
            document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
            pick("kind", 0); document.activeElement.blur(); }"""
        )
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked for is painted."""
        self.js(
            """() => new Promise((done) =>
            requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30))))"""
        )


@contextmanager
def watched(browser: Any, size: tuple[int, int], scheme: str, kind: type[Tab] = Tab, *, offline: bool) -> Iterator[Any]:
    """Yield a tab with an empty page that records complaints and requests.

    Starting a page takes as long as showing one of ours, so that it is used again; a document of its own and no storage
    are all that ours know of others. Where a test fails, its page is closed.
    """
    idle = _idle.setdefault(browser, [])
    page = idle.pop() if idle else browser.new_context(accept_downloads=True).new_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    page.context.set_offline(offline)
    tab = kind(page)
    listeners = {
        "console": lambda message: message.type in ("error", "warning") and tab.complaints.append(message.text),
        "pageerror": lambda error: tab.complaints.append(str(error)),
        "request": lambda request: tab.requests.append(request.url),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    try:
        yield tab
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.goto("about:blank")
    except BaseException:
        page.context.close()
        raise
    page.mouse.move(0, 0)
    idle.append(page)


@contextmanager
def opened(
    browser: Any,
    path: Path,
    *,
    size: tuple[int, int] = (1440, 900),
    scheme: str = "light",
    link: str = "",
    ready: str = "document.documentElement.dataset.ready === 'true'",
) -> Iterator[Tab]:
    """Yield a tab with a page of ours, ready and offline; assert at the end that it neither complained nor asked."""
    with watched(browser, size, scheme, offline=True) as tab:
        tab.page.goto(path.as_uri() + link)
        tab.page.wait_for_function(ready, timeout=20_000)
        tab.settle()
        yield tab
        leaving = [url for url in tab.requests if not url.startswith(("file:", "blob:", "data:"))]
        assert (tab.complaints, leaving) == ([], [])


def serious_violations(frame) -> list:
    """Return what axe-core finds seriously wrong in a page or in one frame of it."""
    from axe_playwright_python.base import AXE_FILE_PATH

    frame.add_script_tag(path=AXE_FILE_PATH)
    found = frame.evaluate(
        """async () => (await axe.run({ iframes: false })).violations
        .map((v) => [v.impact, v.id, v.nodes.map((n) => n.html)])"""
    )
    return [violation for violation in found if violation[0] in ("serious", "critical")]
