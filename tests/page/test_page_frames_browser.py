"""What a change paints at once, what later, and what only when it comes into view."""

import numpy as np
import pytest

from tests.browser import Tab, opened
from tests.pages import page_data

pytestmark = pytest.mark.browser

DATA = page_data()
STAGE = DATA.panels[-1].Z
REACH = 14  # pixels within which the pointer finds a point

# Opaque pixels of a panel's points and names.
INKED = """async (k) => {
  const figure = [...Bokeh.documents.at(-1)._all_models.values()].find((model) => model.name === `panel-${k}`);
  const { canvas } = Bokeh.index[figure.id].canvas_view.primary;
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 3; at < data.length; at += 4) if (data[at]) count++;
  return count; }"""


def test_the_pointer_finds_the_nearest_visible_sample(tab: Tab):
    hidden = 3
    tab.page.locator("#chips .chip").nth(hidden).click()
    tab.settle()
    places = np.array([tab.place("stage", *point) for point in STAGE])
    box = tab.page.locator("#figure-stage").bounding_box()
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        x = box["x"] + box["width"] * generator.uniform(0.02, 0.98)
        y = box["y"] + box["height"] * generator.uniform(0.02, 0.98)
        distance = np.where(DATA.targets == hidden, np.inf, np.hypot(*(places - (x, y)).T))
        nearest = int(distance.argmin())
        tab.page.mouse.move(x, y)
        shown = tab.js("document.querySelector('.map-tip:not([hidden]) .picture')?.dataset.sample ?? null")
        if abs(distance[nearest] - REACH) < 1 or np.diff(np.sort(distance)[:2])[0] < 0.2:
            continue  # places in the page are rounded
        assert shown == (str(nearest) if distance[nearest] < REACH else None)
        found += shown is not None
    assert found >= 3


def test_a_gallery_of_many_has_all_its_tiles_and_one_stop_of_the_tab_key(tab: Tab):
    tab.js(
        """() => { const stage = [...Bokeh.documents.at(-1)._all_models.values()].find((m) => m.name === "stage");
        stage.selected.indices = Array.from(stage.data.x.keys()).slice(0, 150); }"""
    )
    tab.page.wait_for_function("document.querySelectorAll('#gallery .tile').length === 150")
    assert len(set(tab.gallery())) == 150
    assert tab.js("document.querySelectorAll('#gallery .tile[tabindex=\"0\"]').length") == 1
    tab.page.locator("#gallery .tile").first.focus()
    tab.page.keyboard.press("Control+End")
    assert tab.js("[...document.querySelectorAll('#gallery .tile')].at(-1) === document.activeElement")


def test_a_panel_out_of_view_is_repainted_when_it_comes_into_view(browser, path):
    with opened(browser, path, size=(390, 844)) as tab:
        tab.page.locator("#figure-0").scroll_into_view_if_needed()
        tab.page.wait_for_function("document.querySelector('#figure-0').firstElementChild")
        tab.settle()
        before = tab.js(INKED, 0)
        tab.js("scrollTo(0, document.body.scrollHeight)")
        tab.settle()
        tab.js("for (const chip of [...document.querySelectorAll('#chips .chip')].slice(1)) chip.click()")
        tab.settle()
        assert tab.js(INKED, 0) == before
        tab.page.locator("#figure-0").scroll_into_view_if_needed()
        tab.page.wait_for_function(f"async () => (await ({INKED})(0)) < {before} / 2")
        assert tab.js(INKED, 0) > 0


def test_a_change_is_shown_in_every_panel_in_view(tab: Tab):
    before = [tab.js(INKED, k) for k in range(len(DATA.panels))]
    tab.js("for (const chip of [...document.querySelectorAll('#chips .chip')].slice(1)) chip.click()")
    tab.page.wait_for_timeout(100)
    for k, count in enumerate(before):
        tab.page.wait_for_function(f"async () => (await ({INKED})({k})) < {count} / 2")
