"""A selection in class counts, histograms, curves and the link; and long names, cut in their middle."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.browser import Tab, opened
from tests.pages import page_data
from torchviz_layers._common.votes import same_label_share
from torchviz_layers.page import PageData, build_page

pytestmark = pytest.mark.browser

N = 300
AGES = np.where(np.arange(N) < 40, 70.0, np.random.default_rng(1).integers(20, 60, N))
SITES = np.where(np.arange(N) % 3, "Oslo", "Lyon")
DATA = page_data(n=N, columns={"age": AGES, "site": SITES})
SELECTED = np.arange(20)  # net A's errors
SOON = 400  # milliseconds until the address follows


def select_errors(tab: Tab) -> None:
    tab.page.locator("#headline .number").nth(1).click()
    tab.settle()


def share_of_selected(panel: int) -> float:
    """Percentage of the same class among the neighbours that the page shows."""
    neighbors = np.asarray(DATA.panels[panel].neighbors)[:, :8]
    targets = np.asarray(DATA.targets)
    shares = (targets[neighbors] == targets[:, None]).mean(axis=1)
    assert same_label_share(neighbors, targets) == pytest.approx(shares.mean())
    return 100 * float(shares[SELECTED].mean())


def test_class_counts_are_of_the_selection_until_it_ends(tab):
    select_errors(tab)
    targets = np.asarray(DATA.targets)
    counts = np.bincount(targets[SELECTED], minlength=10)
    assert [int(text) for text in tab.texts("#chips .chip b")] == counts.tolist()
    whole = np.bincount(targets, minlength=10)
    title = tab.page.locator("#chips .chip").first.get_attribute("title")
    assert title.startswith(f"0: {counts[0]} selected of {whole[0]} ")
    tab.page.locator("#chips .chip").first.click()  # a class that is hidden is counted all the same
    assert [int(text) for text in tab.texts("#chips .chip b")] == counts.tolist()
    tab.page.locator("#chips .chip").first.click()
    tab.page.keyboard.press("Escape")
    assert [int(text) for text in tab.texts("#chips .chip b")] == whole.tolist()


def bars(tab: Tab) -> dict[int, float]:
    """Heights of the dark bars of the first histogram, of 30, by bin."""
    path = tab.js("document.querySelector('.histogram .counted').getAttribute('d')")
    found = (bar.split(" 30v-") for bar in path.split("M") if bar)
    return {int(float(at)): float(height) for at, height in found}


def of_sites(tab: Tab) -> dict[str, int]:
    """Counts on the chips of the column `site`."""
    chips = tab.js("[...document.querySelectorAll('#filter-panel .chip')].map((chip) => chip.title)")
    return {title.split(":")[0]: int(title.split()[1].rstrip(",")) for title in chips}


def filter_by(tab: Tab, where: list) -> None:
    """Set filters of columns by a link, and open their panel."""
    tab.js("(where) => { location.hash = `#where=${encodeURIComponent(JSON.stringify(where))}`; }", where)
    tab.settle()
    tab.page.locator("#filters > summary").click()
    tab.settle()


def test_histograms_and_counts_of_columns_follow_a_selection_and_the_other_filters(tab):
    select_errors(tab)
    tab.page.locator("#filters > summary").click()
    tab.settle()
    assert bars(tab) == {39: 30.0}  # all of the selected are 70 years old, the oldest
    assert of_sites(tab) == {site: np.count_nonzero(SITES[SELECTED] == site) for site in ("Oslo", "Lyon")}
    assert "the 20 selected" in tab.texts("#facets-scope")[0]
    filter_by(tab, [["age", 20, 40, 1]])
    assert not tab.page.locator("#facets-scope").is_visible()
    assert of_sites(tab) == {site: np.count_nonzero((site == SITES) & (AGES <= 40)) for site in ("Oslo", "Lyon")}
    assert len(bars(tab)) > 30  # its own filter leaves a histogram as it is
    filter_by(tab, [["site", [0]]])
    assert of_sites(tab) == {site: np.count_nonzero(site == SITES) for site in ("Oslo", "Lyon")}
    filter_by(tab, [])


def test_a_curve_has_a_thin_line_of_the_selection_where_its_neighbours_are_known(tab):
    assert tab.page.locator("#curves .of-selection").count() == 0
    select_errors(tab)
    names = [tab.page.locator("#curves .point").nth(k).get_attribute("aria-label") for k in range(7)]
    # The input stands in the lines of both networks; their layers follow it.
    for place, panel in enumerate([0, 1, 2, 0, 3, 4, 5]):
        written = re.search(r"; of the selection ([0-9.]+)%;", names[place])
        assert written is not None
        assert float(written[1]) == pytest.approx(share_of_selected(panel), abs=0.051)
    assert tab.page.locator("#curves .of-selection").count() == 2
    assert tab.texts("#curves-scope") == ["20 selected"]
    assert "8 nearest neighbours" in tab.page.locator("#curves-scope").get_attribute("title")
    tab.page.select_option("#measure", "probe")
    assert tab.page.locator("#curves .of-selection").count() == 0
    assert tab.texts("#curves-scope") == ["of all samples"]
    tab.page.select_option("#measure", "purity")
    tab.page.keyboard.press("Escape")
    tab.settle()
    assert not tab.page.locator("#curves-scope").is_visible()


def without_neighbors(data: PageData) -> PageData:
    networks = tuple(
        replace(network, panels=tuple(replace(panel, neighbors=None) for panel in network.panels))
        for network in data.networks
    )
    return replace(data, networks=networks, input_panel=replace(data.input_panel, neighbors=None))


def test_a_curve_says_that_it_is_of_all_samples_where_no_neighbours_are_known(browser, tmp_path):
    path = build_page(without_neighbors(page_data(n=100))).save(tmp_path / "page.html")
    with opened(browser, path) as tab:
        select_errors(tab)
        assert tab.texts("#curves-scope") == ["of all samples"]
        assert "no neighbours" in tab.page.locator("#curves-scope").get_attribute("title")
        assert tab.page.locator("#curves .of-selection").count() == 0


def why(tab: Tab) -> dict:
    return {
        "title": tab.texts("#gallery-title"),
        "gallery": tab.gallery(),
        "row": tab.js("[...document.querySelectorAll('#why .tile')].map((tile) => tile.dataset.sample)"),
        "measure": tab.js("document.getElementById('measure').selectedOptions[0].textContent"),
        "matrix": tab.js("document.getElementById('matrix-choice').selectedOptions[0].textContent"),
        "color": tab.js("document.getElementById('color').value"),
    }


def test_a_link_opens_the_same_why_and_one_without_ends_it(browser, path, tab):
    tab.page.locator("#answers button", has_text="read as").first.click()
    tab.page.select_option("#color", "prediction-0")
    tab.page.wait_for_timeout(SOON)
    link, found = tab.js("location.hash"), why(tab)
    assert "why=0_" in link
    assert "select=" not in link
    assert found["row"]
    assert found["measure"].startswith("Separation of ")
    with opened(browser, path, link=link) as other:
        assert why(other) == found
        other.js("location.hash = '#why=99_0_0&show=all'")  # not of this page
        other.settle()
        other.js("location.hash = '#show=all'")
        other.settle()
        assert not other.page.locator("#why").is_visible()
        assert why(other)["measure"] == "Purity of neighbourhoods"


def test_long_names_keep_their_ends_in_the_list_the_card_and_a_saved_legend(browser, tmp_path):
    names = tuple(f"animals/mammals/carnivores/of-the-forest/species-{k:02d}" for k in range(20))
    data = page_data(n=150, n_classes=20, class_names=names)
    with opened(browser, build_page(data).save(tmp_path / "page.html")) as tab:
        ends = """(selector) => [...document.querySelectorAll(selector)].every((each) => {
          const box = each.getBoundingClientRect();
          const end = each.lastElementChild.getBoundingClientRect();
          const inside = end.right <= box.right + 1 && end.left >= box.left - 1;
          return inside && each.lastElementChild.textContent.length >= 5; })"""
        for selector in ("#matrix .pairs .parts", "#card .who .parts"):
            assert tab.page.locator(selector).count() > 0
            assert tab.js(ends, selector)
        first = tab.page.locator("#matrix .pairs button").first
        assert names[0][:30] in first.get_attribute("title")
        with tab.page.expect_download() as download:
            tab.page.locator("#export-svg").click()
        drawn = download.value.path().read_text(encoding="utf-8")
        assert "…" in drawn
        for name in names:
            assert f"<title>{name}</title>" in drawn
            assert f"{name[-15:]}</text>" in drawn or f"{name[-15:]}<title>" in drawn


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (tuple(f"carnivores-{k}" for k in range(10)), [f"res-{k}" for k in range(10)]),
        (("Trouser", "Pullover", "Sandal-with-straps"), []),
    ],
)
def test_headings_of_names_that_begin_alike_keep_their_ends(browser, tmp_path, names, expected):
    data = page_data(n=100, n_classes=len(names), class_names=names)
    with opened(browser, build_page(data).save(tmp_path / "page.html")) as tab:
        ends = tab.js(
            """() => [...document.querySelectorAll("#matrix tbody th .parts")].map((each) => {
            const [box, end] = [each.parentElement, each.lastElementChild].map((part) => part.getBoundingClientRect());
            return end.left >= box.left - 3 ? each.lastElementChild.textContent : "cut"; })"""
        )
        assert ends == expected


def test_a_brush_that_catches_nothing_leaves_the_selection(tab):
    select_errors(tab)
    box = tab.page.locator("#figure-stage").bounding_box()
    left, top = box["x"] + 8, box["y"] + 8  # in a corner, where no point lies
    tab.page.mouse.move(left, top)
    tab.page.mouse.down()
    for across, down in ((0, 6), (6, 6), (6, 0)):
        tab.page.mouse.move(left + across, top + down)
    tab.page.mouse.up()
    tab.settle()
    assert tab.selected() == SELECTED.tolist() == tab.selected("stage")


def test_classes_and_subsets_keep_their_places_whatever_is_shown(tab):
    places = "[...document.querySelectorAll('.chip, .pill')].map((each) => each.getBoundingClientRect().left)"
    before = tab.js(places)
    tab.page.locator("[data-show=wrong-0]").click()
    tab.page.locator("#chips .chip").nth(2).click()
    tab.settle()
    assert tab.js(places) == pytest.approx(before, abs=0.5)


def test_an_ended_search_leaves_the_order_of_the_gallery(tab):
    tab.page.fill("#search", "class:3")
    tab.page.keyboard.press("Enter")
    assert "least certain first" not in tab.texts("#gallery-count")[0]
    tab.page.keyboard.press("Escape")
    assert "least certain first" in tab.texts("#gallery-count")[0]
