"""The map in a browser: what lies over its points, what a selection looks like, and what zooming leaves behind."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest

from tests.browser import Tab, opened
from tests.pages import page_data
from torchviz_layers.page import build_page

pytestmark = pytest.mark.browser

DATA = page_data()
STAGE = DATA.panels[-1].Z


def lonely(Z: np.ndarray) -> int:
    """The row whose nearest other point is farthest away: the pointer cannot mean another."""
    distance = np.square(Z[:, None] - Z[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return int(distance.min(axis=1).argmax())


def screenshot(tab: Tab, selector: str = "#figure-stage") -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(BytesIO(tab.page.locator(selector).screenshot())).convert("RGB")).astype(int)


class TestTooltip:
    def test_shows_picture_truth_and_each_prediction_at_the_pointer(self, tab):
        row = lonely(STAGE)
        tab.point_at("stage", *STAGE[row])
        tab.settle()
        assert tab.js("document.querySelector('.map-tip .picture').dataset.sample") == str(row)
        (text,) = tab.texts(".map-tip .facts")
        assert f"#{DATA.ids[row]}" in text if DATA.ids is not None else f"#{row}" in text
        for network in DATA.networks:
            predicted = DATA.names_of_classes[int(network.predictions[row])]
            share = round(100 * float(network.probabilities[row].max()))
            assert f"{network.name}: {predicted} {share}%" in text
        x, _ = tab.place("stage", *STAGE[row])
        box = tab.page.locator(".map-tip").bounding_box()
        assert 0 < box["x"] - x < 30 or 0 < x - box["x"] - box["width"] < 30
        assert 0 <= box["y"] <= 900 - box["height"]

    def test_goes_with_a_drag_and_with_the_pointer(self, tab):
        row = lonely(STAGE)
        tab.point_at("stage", *STAGE[row])
        assert tab.page.locator(".map-tip").is_visible()
        tab.page.mouse.down()
        assert not tab.page.locator(".map-tip").is_visible()
        tab.page.mouse.up()
        tab.point_at("stage", *STAGE[row])
        tab.page.mouse.move(2, 2)
        assert not tab.page.locator(".map-tip").is_visible()


class TestSelection:
    def test_is_outlined_in_the_colour_of_any_class_while_the_others_fade(self, tab):
        before = screenshot(tab)
        tab.page.locator("#matrix td:not(.same) button").first.click()
        tab.settle()
        after = screenshot(tab)
        darkest_before, darkest = before.max(axis=2).min(), after.max(axis=2)
        chosen = tab.selected()
        assert chosen
        for row in chosen:
            x, y = tab.place("stage", *STAGE[row])
            box = tab.page.locator("#figure-stage").bounding_box()
            column, line = round(x - box["x"]), round(y - box["y"])
            around = darkest[max(0, line - 8) : line + 9, max(0, column - 8) : column + 9]
            assert around.min() < 90, "no outline"
        assert darkest_before < 255
        # Colour left where nothing is selected: less than a third.
        colourful = [np.ptp(image, axis=2).sum() for image in (before, after)]
        assert colourful[1] < 0.6 * colourful[0]

    def test_of_a_pinned_sample_that_a_filter_hides_leaves_no_ring(self, tab):
        row = lonely(STAGE)
        tab.page.mouse.click(*tab.place("stage", *STAGE[row]))
        tab.settle()
        assert tab.rings()
        tab.page.locator("#chips button").nth(int(DATA.targets[row])).click()
        tab.settle()
        assert tab.rings() == {}


@pytest.mark.parametrize("ratio", [1.25, 1.5])
def test_zoom_leaves_no_pixels_at_the_edges(browser, path, ratio):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, device_scale_factor=ratio)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_function("document.documentElement.dataset.ready === 'true'")
    tab = Tab(page)
    tab.page.mouse.move(2, 2)
    tab.settle()
    before = screenshot(tab)
    tab.js(
        """async () => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
        const { x_range: x, y_range: y } = all.find((m) => m.name === "stage-figure");
        const frame = () => new Promise((done) => setTimeout(done, 30));
        for (let k = 0; k < 12; k++) { for (const r of [x, y]) r.setv({ start: r.start * 0.9, end: r.end * 0.85 });
          await frame(); }
        document.getElementById("fit").click(); await frame(); }"""
    )
    tab.settle()
    np.testing.assert_array_equal(screenshot(tab), before)
    context.close()


# Left, top, right, bottom and text of the names that are drawn on the stage.
NAME_BOXES = """() => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
  const { x, y, text } = all.find((m) => m.name === "names-stage").data;
  const { x_range: xs, y_range: ys } = all.find((m) => m.name === "stage-figure");
  const { clientWidth: width, clientHeight: height } = document.getElementById("figure-stage");
  const pen = new OffscreenCanvas(1, 1).getContext("2d");
  pen.font = "bold 15px helvetica";
  return text.map((name, k) => { const half = pen.measureText(name).width / 2;
    const left = (x[k] - xs.start) / (xs.end - xs.start) * width, top = (ys.end - y[k]) / (ys.end - ys.start) * height;
    return [left - half, top - 7, left + half, top + 7, name]; }).filter(([left]) => left === left); }"""


class TestNames:
    @pytest.fixture(scope="class")
    def many(self, browser, tmp_path_factory):
        generator = np.random.default_rng(0)
        targets = np.arange(DATA.n_samples) % 100
        names = tuple(f"a long name of a class {code}" for code in range(100))
        networks = tuple(
            replace(network, probabilities=generator.dirichlet(np.ones(100), DATA.n_samples).astype(np.float32))
            for network in DATA.networks
        )
        data = replace(DATA, networks=networks, targets=targets, class_names=names, corner_cases=())
        path = build_page(data).save(tmp_path_factory.mktemp("many") / "page.html")
        with opened(browser, path) as tab:
            yield tab

    def test_of_a_hundred_classes_lie_apart_and_more_appear_when_zoomed_in(self, many):
        boxes = many.js(NAME_BOXES)
        assert 3 <= len(boxes) < 100
        for k, (left, top, right, bottom) in enumerate([box[:4] for box in boxes]):
            for other in boxes[:k]:
                assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
        many.js(
            """() => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
            const { x_range: x, y_range: y } = all.find((m) => m.name === "stage-figure");
            for (const r of [x, y]) { const middle = (r.start + r.end) / 2, part = (r.end - r.start) / 20;
              r.setv({ start: middle - part, end: middle + part }); } }"""
        )
        many.settle()
        zoomed = many.js(NAME_BOXES)
        assert {name for *_, name in zoomed} - {name for *_, name in boxes}


ZOOM = """([row, x, y]) => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
  const { x_range: xs, y_range: ys } = all.find((m) => m.name === "stage-figure");
  for (const [r, middle] of [[xs, x], [ys, y]]) { const part = (r.end - r.start) / 60;
    r.setv({ start: middle - part, end: middle + part }); } }"""
PICTURES = """() => [...document.querySelectorAll(".map-pictures > span")].map((span) => {
  const { left, top, right, bottom } = span.getBoundingClientRect();
  return [left, top, right, bottom, Number(span.firstElementChild.dataset.sample)]; })"""


class TestPictures:
    def test_appear_apart_over_their_points_when_few_are_in_view_and_can_be_switched_off(self, tab):
        row = lonely(STAGE)
        assert tab.js(PICTURES) == []
        tab.js(ZOOM, [row, *map(float, STAGE[row])])
        tab.settle()
        shown = tab.js(PICTURES)
        assert row in [sample for *_, sample in shown]
        for left, top, right, bottom, sample in shown:
            x, y = tab.place("stage", *STAGE[sample])
            assert max(abs((left + right) / 2 - x), abs((top + bottom) / 2 - y)) < 2
            others = [box for box in shown if box[4] != sample]
            assert all(right <= a or c <= left or bottom <= b or d <= top for a, b, c, d, _ in others)
        tab.page.get_by_role("button", name="Pictures").click()
        assert tab.js(PICTURES) == []
        tab.page.get_by_role("button", name="Pictures").click()
        tab.page.locator("#fit").click()
        tab.settle()
        assert tab.js(PICTURES) == []
