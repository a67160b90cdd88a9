"""Narrow screens and fingers: nothing scrolls sideways, swipes scroll the page, a tapped sample's card is in view."""

import pytest

from tests.browser import Tab, opened
from tests.pages import page_data
from torchviz_layers.page import build_page

pytestmark = pytest.mark.browser


DATA = page_data()


# Of each test: after a swipe the browser takes the next tap as the end of the movement, and sends no click.
@pytest.fixture
def phone(browser, path):
    """A page on a screen that is touched."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_function("document.documentElement.dataset.ready === 'true'")
    yield Tab(page)
    context.close()


def swipe_up(tab: Tab, by: int) -> None:
    """Move one finger up from the middle of the stage, and leave the page where it scrolled to."""
    tab.js("document.getElementById('figure-stage').scrollIntoView({ block: 'center' })")
    box = tab.page.locator("#figure-stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = tab.page.context.new_cdp_session(tab.page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 11):
        touch.send(
            "Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - by * step / 10}]}
        )
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    tab.page.wait_for_timeout(300)


def scrolled_by_a_swipe(tab: Tab) -> float:
    tab.js("document.getElementById('figure-stage').scrollIntoView({ block: 'center' })")
    before = tab.js("scrollY")
    swipe_up(tab, 200)
    return tab.js("scrollY") - before


def test_a_swipe_over_the_map_scrolls_the_page_unless_the_hand_is_chosen(phone):
    brush = "(value) => document.querySelector(`input[name=brush][value=${value}]`).click()"
    assert scrolled_by_a_swipe(phone) > 100
    assert phone.selected() == []
    phone.js(brush, "pan")
    moved = scrolled_by_a_swipe(phone)
    phone.js(brush, "lasso")
    phone.js("document.getElementById('fit').click()")
    assert moved == 0


def test_a_pinch_over_the_map_zooms_it_and_leaves_the_page(phone):
    width = """() => { const { x_range } = [...Bokeh.documents.at(-1)._all_models.values()]
    .find((model) => model.name === "stage-figure"); return x_range.end - x_range.start; }"""
    phone.js("document.getElementById('figure-stage').scrollIntoView({ block: 'center' })")
    phone.settle()
    box = phone.page.locator("#figure-stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = phone.js("[scrollX, scrollY, visualViewport.scale]"), phone.js(width)
    touch = phone.page.context.new_cdp_session(phone.page)

    def fingers(kind: str, apart: float) -> None:
        points = [{"x": x + side * apart / 2, "y": y, "id": k} for k, side in enumerate((-1, 1))]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 60)
    for step in range(1, 13):
        fingers("touchMove", 60 + 10 * step)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    phone.page.wait_for_timeout(300)
    assert phone.js(width) < 0.7 * before[1]
    assert phone.js("[scrollX, scrollY, visualViewport.scale]") == before[0]
    assert phone.selected() == []


def test_the_card_of_a_tapped_sample_comes_up_without_hiding_it_and_closes(phone):
    phone.js("document.getElementById('figure-stage').scrollIntoView({ block: 'end' })")
    phone.settle()
    xs, ys, order = phone.js(
        """() => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
        const { x, y } = all.find((model) => model.name === "stage").data;
        return [Array.from(x), Array.from(y), Array.from(all.find((m) => m.name === "samples").data.sample)]; }"""
    )
    lowest = ys.index(min(ys))
    point = xs[lowest], ys[lowest]
    phone.page.touchscreen.tap(*phone.place("stage", *point))
    phone.page.wait_for_function("document.documentElement.dataset.sheet === 'open'")
    phone.settle()
    sheet = phone.page.locator("#card-section").bounding_box()
    assert sheet["y"] + sheet["height"] == pytest.approx(844, abs=1)
    assert phone.place("stage", *point)[1] < sheet["y"]
    assert f"#{order[lowest]}" in phone.texts("#card .who")[0]
    phone.page.locator("#card-close").tap()
    assert phone.js("document.documentElement.dataset.sheet ?? null") is None
    assert not phone.page.locator("#card-close").is_visible()


@pytest.mark.parametrize("width", [360, 390, 768, 1024])
def test_long_names_neither_scroll_sideways_nor_break_letter_by_letter(browser, tmp_path_factory, width):
    data = page_data(title="a_title_without_any_space_" * 3, class_names=tuple(f"class_of_{k}" * 4 for k in range(10)))
    long = build_page(data).save(tmp_path_factory.mktemp("page") / "page.html")
    with opened(browser, long, size=(width, 844)) as tab:
        assert tab.js("document.documentElement.scrollWidth") == width
        assert tab.js("document.querySelector('header .lead').clientWidth") > 0.4 * width
        # A bar's control that is cut lies outside its card.
        outside = """() => [...document.querySelectorAll(".card > .bar > *, header > *, #toolbar > *")]
        .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 0.5)
        .map((each) => each.id)"""
        assert tab.js(outside) == []


def test_a_tapped_picture_brings_its_card_and_an_answer_what_it_says(phone):
    phone.page.locator("#gallery .tile").nth(2).tap()
    phone.page.wait_for_function("document.documentElement.dataset.sheet === 'open'")
    assert f"#{phone.gallery()[2]}" in phone.texts("#card .who")[0]
    phone.page.locator("#card-close").tap()
    phone.page.locator("#answers .answer").filter(has_text="read as").first.tap()
    phone.settle()
    assert 0 <= phone.js("document.getElementById('gallery-section').getBoundingClientRect().top") < 400
