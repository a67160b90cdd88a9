"""A page in headless Chromium: how long until what is on the screen is drawn."""

from __future__ import annotations

import os
import shutil
import statistics
from pathlib import Path
from typing import Any

READY = "document.documentElement.dataset.ready === 'true'"
SINCE_OPENING = "performance.getEntriesByName('ready')[0].startTime / 1000"
FLAGS = ("--no-sandbox", "--headless", "--disable-gpu")


def first_render(file: Path, repeats: int) -> dict[str, Any]:
    """Return the median seconds from opening a page of ours to its first render, at 1440 x 900; or why there is none.

    The main thread's own seconds are beside it, which another load of the machine changes less.
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
    seconds, thread = zip(*runs, strict=True)
    return {"ready_seconds": statistics.median(seconds), "thread_seconds": statistics.median(thread)}


def _one(browser: Any, file: Path) -> tuple[float, float]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(file.resolve().as_uri())
    page.wait_for_function(READY, timeout=120_000)
    seconds = float(page.evaluate(SINCE_OPENING))
    metrics = {item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]}
    page.close()
    return seconds, float(metrics["TaskDuration"])
