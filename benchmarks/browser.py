"""A page in headless Chromium: how long until what is on the screen is drawn."""

from __future__ import annotations

import os
import shutil
import statistics
from pathlib import Path
from typing import Any

READY = "document.documentElement.dataset.ready === 'true'"
SINCE_OPENING = "performance.getEntriesByName('ready')[0].startTime / 1000"
GOALS = {"hover": 33.0, "chip": 200.0, "lasso": 200.0, "cell": 200.0}  # milliseconds

# Milliseconds from a click to the end of the first frame that shows its result: all that it changes is asked for in
# that frame, and a message that is posted in it arrives when it is painted.
AFTER = """async ([what, round]) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => done(performance.now());
    port2.postMessage(0); }));
  const calm = async () => { // four short frames one after the other; a loaded machine may have none
    for (let count = 0, frame = 0, last = await painted(); count < 4 && frame < 30; frame++) {
      const now = await painted();
      count = now - last < 34 ? count + 1 : 0;
      last = now; } };
  const stage = [...Bokeh.documents.at(-1)._all_models.values()].find((model) => model.name === "stage");
  const cells = () => [...document.querySelectorAll("#matrix td:not(.same) button")];
  const does = {
    chip: () => document.querySelector("#chips button").click(),
    lasso: () => (stage.selected.indices = Array.from(stage.data.x.keys()).filter((row) => row % 5 === 0)),
    cell: () => cells()[round % cells().length].click(),
    hover: () => {
      const host = document.getElementById("figure-stage"), box = host.getBoundingClientRect();
      const at = { clientX: box.left + box.width * (0.3 + 0.03 * round), clientY: box.top + box.height / 2 };
      host.dispatchEvent(new PointerEvent("pointermove", { ...at, bubbles: true })); },
  };
  await calm();
  const started = performance.now();
  does[what]();
  const milliseconds = (await painted()) - started;
  if (what === "lasso" || what === "cell") document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  return milliseconds; }"""
FLAGS = ("--no-sandbox", "--headless", "--disable-gpu")


def first_render(file: Path, repeats: int) -> dict[str, Any]:
    """Return the median seconds from opening a page of ours to its first render, at 1440 x 900; or why there is none.

    The main thread's own seconds are beside it, which another load of the machine changes less. ``hover_ms``,
    ``chip_ms``, ``lasso_ms`` and ``cell_ms`` are median milliseconds from the pointer on a point, a click on a class, a
    selection of every fifth point and a click on a cell of the matrix to the frame that shows the result.
    """
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {"note": "Playwright is not installed"}
    if path is None:
        return {"note": "no chromium on PATH"}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        runs = [_one(browser, file) for _ in range(repeats + 1)][1:]  # the first one warms up
        browser.close()
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _one(browser: Any, file: Path) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(file.resolve().as_uri())
    page.wait_for_function(READY, timeout=120_000)
    seconds = float(page.evaluate(SINCE_OPENING))
    metrics = {item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]}
    waits = {f"{what}_ms": _waited(page, what) for what in GOALS}
    page.close()
    return {"ready_seconds": seconds, "thread_seconds": float(metrics["TaskDuration"]), **waits}


def _waited(page: Any, what: str, times: int = 5) -> float:
    """Return the median milliseconds from one kind of action to the frame that shows its result."""
    return statistics.median(float(page.evaluate(AFTER, [what, number])) for number in range(times))
