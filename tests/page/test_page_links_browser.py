"""The page's link, counts beside its filters, the summary of a selection, and the list of many classes."""

import re

import numpy as np
import pytest

from tests.browser import Tab, opened
from tests.pages import page_data
from torchviz_layers.page import build_page

pytestmark = pytest.mark.browser

N = 300
AGES = np.where(np.arange(N) < 40, 60.0, 20.0) + np.arange(N) % 20
SITES = np.where(np.arange(N) < 100, "Oslo", "Lyon")
DATA = page_data(images=None, columns={"age": AGES, "site": SITES})
SOON = 350  # milliseconds until a change is in the address

VIEW = """() => ({
  drawn: [...document.querySelectorAll("#gallery .tile")].map((tile) => Number(tile.dataset.sample)),
  title: document.getElementById("gallery-title").textContent,
  off: [...document.querySelectorAll("#chips .chip")].map((chip) => chip.getAttribute("aria-pressed")),
  show: document.querySelector("#show [aria-pressed=true]").dataset.show,
  tokens: [...document.querySelectorAll("#tokens .token")].map((token) => token.title),
  search: document.getElementById("search").value,
  controls: ["color", "matrix-choice", "measure", "stage-layer"].map((id) => document.getElementById(id).value),
})"""
RANGE = """() => { const { x_range, y_range } = [...Bokeh.documents.at(-1)._all_models.values()]
  .find((model) => model.name === "stage-figure");
  return [x_range.start, x_range.end, y_range.start, y_range.end]; }"""


@pytest.fixture
def tab(one_tab):
    one_tab.js("location.hash = '#show=all'")  # a link that names no more brings all else back
    one_tab.settle()
    return one_tab


def link_of(tab: Tab) -> str:
    tab.page.wait_for_timeout(SOON)
    return tab.js("location.hash")


def open_link(tab: Tab, link: str) -> None:
    tab.js("(link) => (location.hash = link)", link)
    tab.settle()


def pick(tab: Tab, control: str, index: int) -> None:
    tab.page.locator(control).select_option(index=index)


def test_a_link_brings_the_whole_view_back(browser, path, tab):
    tab.page.locator("#chips .chip").nth(3).click()
    tab.page.locator("[data-show=wrong-0]").click()
    open_link(tab, link_of(tab) + "&where=" + '%5B%5B"age"%2C20%2C65%2C1%5D%2C%5B"site"%2C%5B1%5D%5D%5D')
    tab.page.locator("[data-show=all]").click()
    pick(tab, "#color", 1)
    pick(tab, "#matrix-choice", 1)
    pick(tab, "#measure", 1)
    tab.page.locator("#open-1").click()
    tab.drag("1", [(-9, -9), (-9, 9), (9, 9), (9, -9), (-9, -9)])
    tab.page.keyboard.down("Control")
    tab.page.mouse.move(*tab.place("stage", 0, 0))
    tab.page.mouse.wheel(0, -400)
    tab.page.keyboard.up("Control")
    tab.settle()
    view, ranges, link = tab.js(VIEW), tab.js(RANGE), link_of(tab)
    assert view["off"].count("false") == 1
    assert len(view["tokens"]) == 2
    assert len(view["drawn"]) > 20
    assert len(link) < 2000
    with opened(browser, path, link=link) as other:
        assert other.js(VIEW) == view
        np.testing.assert_allclose(other.js(RANGE), ranges, rtol=1e-3)
        assert link_of(other).split("&zoom=")[0] == link.split("&zoom=")[0]  # the zoom is rounded


def test_a_link_keeps_a_search_and_the_hidden_classes_and_going_back_brings_all_back(tab):
    before = tab.js(VIEW)
    tab.page.locator("#search").fill("oslo")
    tab.page.keyboard.press("Enter")
    tab.page.locator("#chips .chip").nth(2).click(modifiers=["Alt"])
    view, link = tab.js(VIEW), link_of(tab)
    assert "find=oslo" in link
    assert "hidden=0-1%2C3-9" in link
    open_link(tab, "#show=all")
    assert tab.js(VIEW) == before
    open_link(tab, link)
    assert tab.js(VIEW) == view


@pytest.mark.parametrize(
    "link",
    [
        "hidden=999,-1,foo,0-99999999999&show=subset&color=<b>&layer=x&sample=-1&zoom=1_0_NaN_2&measure=&matrix=77",
        "where=%7B%7D&select=d%25%25.x&zoom=1",
        'where=[["age",null,1],["site",["x"]],7]&select=b.&kind=constructor',
        "select=subset.__proto__&where=null&find=%00&hidden=%E2%80%AE&%=%",
        "select=d____.x&zoom=1e999_2_3_4",
    ],
)
def test_a_link_that_does_not_fit_is_ignored(tab, link):
    open_link(tab, f"#{link}")
    assert tab.js("document.querySelectorAll('#chips [aria-pressed=false]').length") == 0
    assert tab.texts("#show [aria-pressed=true]") == ["All 300"]
    assert tab.complaints == []


def test_a_selection_of_any_size_comes_back_or_is_left_out(tab):
    rng = np.random.default_rng(0)
    for size, n, ordered in [(1, 300, False), (40, 60_000, True), (900, 10_000, False), (9_000, 10_000, False)]:
        rows = rng.permutation(n)[:size].tolist()
        [text, back] = tab.js(
            """async ([rows, n, ordered]) => { const source = document.querySelector("script[type=module]").textContent;
            const body = /modules\\.link = await (\\(async[\\s\\S]*?\\n\\}\\)\\(\\));/.exec(source)[1];
            const link = await (0, eval)(body);
            const text = link.packRows(rows, n, ordered);
            return [text, link.unpackRows(text, n)]; }""",
            [rows, n, ordered],
        )
        assert back == (rows if ordered else sorted(rows))
        assert len(text) <= 2001


def test_the_button_copies_the_link(tab):
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.page.locator("#chips .chip").nth(4).click()
    tab.page.locator("#copy-link").click()
    tab.page.wait_for_function("document.getElementById('copied').textContent !== ''")
    assert tab.texts("#copied") == ["copied"]
    assert "hidden=4" in tab.js("navigator.clipboard.readText()")
    tab.page.context.clear_permissions()


def test_a_number_of_the_headline_removes_the_filters_that_hide_its_samples(tab):
    open_link(tab, '#where=[["site",[1]]]')  # one of the two sites
    shown = set(tab.drawn("stage"))
    tab.js("for (const chip of document.querySelectorAll('#chips .chip')) chip.click()")
    tab.settle()
    assert tab.drawn("stage") == set()
    assert shown
    tab.page.locator("#headline .number").first.click()
    assert tab.gallery()
    assert set(tab.gallery()) == set(range(15))
    assert "filters cleared" in tab.texts("#gallery-count")[0]


def test_a_pill_removes_the_filters_that_hide_its_samples(tab):
    open_link(tab, '#where=[["age",20,40,1]]')  # the errors are of the old
    assert tab.texts("[data-show=wrong-0]") == ["net A wrong 0"]
    assert tab.page.locator("[data-show=wrong-0]").get_attribute("title").startswith("0 of 20: ")
    tab.page.locator("[data-show=wrong-0]").click()
    assert set(tab.gallery()) == set(range(20))
    assert tab.texts("#tokens .token") == []


def test_chips_and_pills_count_what_the_other_filters_leave(tab):
    classes = np.asarray(DATA.targets)
    open_link(tab, '#where=[["age",60,80,1]]&hidden=2')
    counts = [int(text) for text in tab.texts("#chips .chip b")]
    assert counts == np.bincount(classes[:40], minlength=10).tolist()
    left = int(np.count_nonzero(classes[:20] != 2))
    assert tab.texts("[data-show=wrong-0] b") == [str(left)]
    assert tab.texts("[data-show=all] b") == [str(np.count_nonzero(classes[:40] != 2))]
    tab.page.locator("[data-show=all]").click()  # it is on already: all classes come back
    assert tab.texts("[data-show=all] b") == ["40"]


def test_a_link_of_a_fresh_view_removes_filters_of_an_open_one(tab):
    tab.page.locator("#chips .chip").nth(3).click()
    tab.page.locator("[data-show=wrong-0]").click()
    open_link(tab, "#sample=30&layer=input")
    assert tab.texts("#card .who b") == ["#30"]
    assert len(tab.drawn("stage")) == N
    tab.page.locator("#chips .chip").nth(3).click()
    open_link(tab, "#sample=31")  # written by a person: the rest of the view stays
    assert tab.texts("#card .who b") == ["#31"]
    assert len(tab.drawn("stage")) < N


def test_a_view_without_a_pinned_sample_opens_without_one(browser, path, tab):
    tab.page.keyboard.press("Escape")
    link = link_of(tab)
    assert "sample=&" in link
    with opened(browser, path, link=link) as other:
        assert other.texts("#card .who b") == []


def test_a_pinned_sample_that_filters_hide_says_so_and_can_be_shown(tab):
    open_link(tab, "#sample=250&show=wrong-0")
    assert tab.texts("#card .filtered-out") == ["hidden by the filters Show"]
    tab.page.locator("#card .filtered-out button").click()
    assert 250 in tab.drawn("stage")
    assert tab.texts("#card .filtered-out") == []


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ("truth:8", lambda truth, _: truth == 8),
        ("predicted:1", lambda _, predicted: (predicted == 1).any(0)),
        ("3->4", lambda truth, predicted: (truth == 3) & (predicted == 4).any(0)),
        ("3→4", lambda truth, predicted: (truth == 3) & (predicted == 4).any(0)),
    ],
)
def test_the_search_finds_what_is_of_a_class_and_what_is_read_as_it(tab, words, holds):
    predicted = np.stack([network.predictions for network in DATA.networks])
    wanted = np.flatnonzero(holds(np.asarray(DATA.targets), predicted))
    tab.page.fill("#search", words)
    tab.page.keyboard.press("Enter")
    assert sorted(tab.selected()) == wanted.tolist()


def test_a_search_shows_its_only_match_and_says_when_there_is_none(tab):
    tab.page.fill("#search", "class:8 299")
    tab.page.keyboard.press("Enter")
    assert tab.texts("#gallery .hint") == ["No id, class, text or column matches."]
    assert tab.gallery() == []
    tab.page.fill("#search", "47")
    tab.page.wait_for_function("document.querySelector('#card .who b').textContent === '#47'")
    open_link(tab, "#sample=47&show=wrong-0&find=47")
    assert tab.texts("#gallery .hint") == ["The filters hide all of the selection. Remove them"]
    tab.page.locator("#gallery .hint button").click()
    assert tab.gallery() == [47]


def test_a_double_click_shows_one_class_and_another_all(tab):
    tab.page.locator("#chips .chip").nth(5).dblclick()
    assert tab.drawn("stage") == set(np.flatnonzero(np.asarray(DATA.targets) == 5).tolist())
    tab.page.wait_for_timeout(600)  # the next click does not belong to the double click
    tab.page.locator("#chips .chip").nth(5).dblclick()
    assert len(tab.drawn("stage")) == N


def test_a_selection_is_summed_up_and_narrows_the_matrix_but_not_by_the_matrix(tab):
    tab.page.locator("#headline .number").nth(1).click()
    lines = tab.texts("#summary .summary-line")
    assert lines[0].startswith("net A: 100.0% wrong · mean confidence ")
    assert any(line.startswith("age: mean 69.5 ") for line in lines)
    classes = np.asarray(DATA.targets)[:20]
    names, counts = tab.texts("#summary .class-bar .name"), tab.texts("#summary .class-bar b")
    assert {int(name): int(count) for name, count in zip(names, counts, strict=True)} == {
        int(code): int(np.count_nonzero(classes == code)) for code in np.unique(classes)
    }
    matrix = tab.texts("#matrix td button:not(:empty)")
    assert sum(int(text) for text in matrix) == 20
    tab.page.locator("#matrix td button:not(:empty)").first.click()
    assert tab.texts("#matrix td button:not(:empty)") == matrix
    assert len(tab.gallery()) == int(matrix[0])
    tab.page.keyboard.press("Escape")
    assert sum(int(text) for text in tab.texts("#matrix td button:not(:empty)")) == N
    assert not tab.page.locator("#summary").is_visible()


def test_a_bar_of_the_summary_narrows_the_selection(tab):
    tab.page.locator("#headline .number").nth(1).click()
    bar = tab.page.locator("#summary .class-bar").first
    code = int(bar.locator(".name").inner_text())
    bar.click()
    assert set(tab.gallery()) == set(np.flatnonzero(np.asarray(DATA.targets)[:20] == code).tolist())


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("class:8", np.asarray(DATA.targets) == 8),
        ("age:70", AGES == 70),
        ("age:>40 site:oslo", AGES > 40),
        ("SITE:lyon class:1", (SITES == "Lyon") & (np.asarray(DATA.targets) == 1)),
        ("#17", np.arange(N) == 17),
    ],
)
def test_the_search_takes_classes_and_columns_by_name(tab, text, rows):
    tab.page.locator("#search").fill(text)
    tab.page.keyboard.press("Enter")
    assert tab.selected() == np.flatnonzero(rows).tolist()


def test_many_classes_are_a_list_with_a_search_whose_names_keep_both_ends(browser, tmp_path):
    names = tuple(f"animals/mammals/carnivores/species-{k:02d}" for k in range(30))
    data = page_data(n=150, n_classes=30, class_names=names)
    with opened(browser, build_page(data).save(tmp_path / "page.html")) as tab:
        tab.page.locator("#classes > summary").click()
        tab.page.locator(".find-class").fill("species-07")
        assert tab.page.locator(".class-entry:visible").count() == 1
        text = tab.texts(".class-entry:visible .name")[0]
        assert re.fullmatch(r"animals/mam\w*….*species-07|animals.*…species-07|.*…\w*-07", text)
        assert len(text) <= 22
        tab.page.locator(".class-entry:visible button").click()
        assert tab.drawn("stage") == set(np.flatnonzero(np.asarray(data.targets) == 7).tolist())
        tab.page.keyboard.press("Escape")
        assert tab.texts("#classes > summary") == ["30 classes 1 shown"]
        assert tab.page.locator(".class-tokens .token").count() == 1
        tab.page.locator(".class-tokens .small").click()
        assert len(tab.drawn("stage")) == 150
