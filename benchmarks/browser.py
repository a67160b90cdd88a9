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

# Milliseconds from an action to the end of the first frame after it, and to that of the last frame in which anything in
# view changed: a canvas was drawn to, or an element was changed. A message that is posted in a frame arrives when it is
# painted. What is out of view, in the window or in a part that scrolls, does not count.
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
  const touched = window.touched ??= new Set();
  if (!window.watching) {
    window.watching = true;
    for (const name of ["drawImage", "putImageData", "clearRect", "fillRect", "stroke", "fill", "fillText"]) {
      const usual = CanvasRenderingContext2D.prototype[name];
      CanvasRenderingContext2D.prototype[name] = function (...given) {
        touched.add(this.canvas);
        return usual.apply(this, given); }; }
    new MutationObserver((records) => {
      for (const { target, addedNodes } of records)
        for (const node of addedNodes.length ? addedNodes : [target])
          touched.add(node instanceof Element ? node : node.parentElement);
    }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true }); }
  const inView = (element) => {
    if (!element?.isConnected || !element.checkVisibility()) return false;
    const box = element.getBoundingClientRect();
    let [left, top] = [Math.max(0, box.left), Math.max(0, box.top)];
    let [right, bottom] = [Math.min(innerWidth, box.right), Math.min(innerHeight, box.bottom)];
    const above = (inner) => inner.parentElement ?? inner.getRootNode().host; // also of one in a shadow
    for (let host = above(element); host; host = above(host)) {
      if (getComputedStyle(host).overflowY === "visible") continue;
      const outer = host.getBoundingClientRect();
      [left, top] = [Math.max(left, outer.left), Math.max(top, outer.top)];
      [right, bottom] = [Math.min(right, outer.right), Math.min(bottom, outer.bottom)]; }
    return right > left && bottom > top; };
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
  touched.clear();
  const started = performance.now();
  does[what]();
  const first = (await painted()) - started;
  let last = first;
  let frames = [];
  for (let still = 0, now = first; still < 4; ) {
    frames.push([now, [...touched]]);
    touched.clear();
    still = frames.at(-1)[1].length ? 0 : still + 1;
    now = (await painted()) - started; }
  for (const [now, elements] of frames) if (elements.some(inView)) last = now;
  if (what === "lasso" || what === "cell") document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  return [first, last]; }"""
FLAGS = ("--no-sandbox", "--headless", "--disable-gpu")


def first_render(file: Path, repeats: int) -> dict[str, Any]:
    """Return the median seconds from opening a page of ours to its first render, at 1440 x 900; or why there is none.

    The main thread's own seconds are beside it, which another load of the machine changes less. ``hover_ms``,
    ``chip_ms``, ``lasso_ms`` and ``cell_ms`` are median milliseconds from the pointer on a point, a click on a class, a
    selection of every fifth point and a click on a cell of the matrix to the first frame, which shows the stage and the
    picture at the pointer; ``hover_all_ms`` and so on to the last frame that changes anything in view.
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
    waits: dict[str, float] = {}
    for what in GOALS:
        waits[f"{what}_ms"], waits[f"{what}_all_ms"] = _waited(page, what)
    page.close()
    return {"ready_seconds": seconds, "thread_seconds": float(metrics["TaskDuration"]), **waits}


def _waited(page: Any, what: str, times: int = 5) -> tuple[float, float]:
    """Return the median milliseconds from one kind of action to the first frame, and to the last that it changes."""
    first, last = zip(*(page.evaluate(AFTER, [what, number]) for number in range(times)), strict=True)
    return statistics.median(first), statistics.median(last)
