"""The reader's columns, the search box and samples that are no pictures, in a browser, held against the data."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.browser import Tab, opened, serious_violations
from tests.pages import page_data
from torchviz_layers.page import build_page

pytestmark = pytest.mark.browser

N = 300
RNG = np.random.default_rng(0)
AGES = np.where(np.arange(N) % 10 == 3, np.nan, RNG.integers(20, 80, N))
SITES = np.array([None if k % 7 == 0 else ("Oslo", "Lyon", "São Paulo")[k % 3] for k in range(N)], dtype=object)
TOWNS = np.array([f"town {k % 30}" for k in range(N)])
REMARKS = np.array([f"Remark {k}: the river {'rose' if k % 4 else 'fell'}." for k in range(N)])
DAYS = np.datetime64("2021-03-01") + (np.arange(N) * 3).astype("m8[D]")
PRICES = RNG.lognormal(3, 1, N)
COLUMNS = {"age": AGES, "site": SITES, "admitted": DAYS, "price": PRICES, "town": TOWNS, "remark": REMARKS, "id": AGES}
TEXTS = [f"{'Long ago a ' * (k % 300)}sentence of {('sun', 'rain', 'snow')[k % 3]} <b>{k}</b>" for k in range(N)]
DATA = page_data(images=None, texts=TEXTS, columns=COLUMNS, class_names=tuple(f"class-{k}" for k in "abcdefghij"))


@pytest.fixture
def tab(one_tab):
    one_tab.reset()
    one_tab.js("for (const token of document.querySelectorAll('.token')) token.click()")
    one_tab.js("document.getElementById('filters').open = false")
    one_tab.settle()
    return one_tab


def open_panel(tab: Tab, *names: str) -> None:
    tab.page.locator("#filters > summary").click()
    for name in names:
        tab.js(
            """(name) => { for (const part of document.querySelectorAll("#filter-panel details"))
            if (part.querySelector(".column-name").textContent === name) part.open = true; }""",
            name,
        )
    tab.settle()


def find(tab: Tab, text: str) -> None:
    """Type into the search box and wait until it has been searched for."""
    tab.page.locator("#search").fill(text)
    tab.page.wait_for_timeout(200)  # the box waits 150 ms for the next letter
    tab.settle()


def rows_where(mask) -> set[int]:
    return set(np.flatnonzero(mask).tolist())


class TestFilters:
    def test_a_chip_hides_its_category_and_a_token_brings_it_back(self, tab):
        open_panel(tab)
        chips = tab.page.locator("[aria-label=site] .chip")
        assert sorted(chips.all_inner_texts()) == sorted(
            f"{name}\n{count}"
            for name, count in [
                *((site, int((site == SITES).sum())) for site in ("Oslo", "Lyon", "São Paulo")),
                ("missing", int(np.equal(SITES, None).sum())),
            ]
        )
        chips.filter(has_text="Lyon").click()
        assert tab.drawn("both") == tab.drawn("stage") == rows_where(SITES != "Lyon")
        chips.filter(has_text="missing").click()
        assert tab.drawn("both") == rows_where((SITES == "Oslo") | (SITES == "São Paulo"))
        assert tab.texts(".token") in (["site: Oslo, São Paulo ✕"], ["site: São Paulo, Oslo ✕"])
        chips.filter(has_text="Oslo").click(modifiers=["Shift"])
        assert tab.drawn("both") == rows_where(SITES == "Oslo")
        assert tab.texts(".token") == ["site: Oslo ✕"]
        tab.page.locator(".token").click()
        assert tab.drawn("both") == set(range(N))
        assert tab.texts(".token") == []

    def test_the_arrow_keys_move_a_handle_and_missing_values_have_a_box(self, tab):
        open_panel(tab)
        low = tab.page.locator("[aria-label='age: from']")
        low.focus()
        for _ in range(5):
            tab.page.keyboard.press("ArrowRight")
        tab.page.wait_for_timeout(200)
        start = np.nanmin(AGES) + 5
        assert low.get_attribute("aria-valuetext") == f"{start:g}"
        assert tab.drawn("both") == rows_where(start <= AGES)
        assert tab.texts(".token") == [f"age {start:g} – {np.nanmax(AGES):g} ✕"]
        box = tab.page.locator("#filter-panel .missing input").first
        assert not box.is_checked()
        box.check()
        assert tab.drawn("both") == rows_where((start <= AGES) | np.isnan(AGES))
        tab.page.locator(".token").click()
        assert tab.drawn("both") == set(range(N))
        box.uncheck()
        assert (tab.drawn("both"), tab.texts(".token")) == (rows_where(~np.isnan(AGES)), ["age not missing ✕"])

    def test_ends_are_typed_as_numbers_and_dates(self, tab):
        open_panel(tab, "admitted", "price")
        for label, value in (("age: from", "30"), ("age: to", "40")):
            tab.page.locator(f"[aria-label='{label}, exactly']").fill(value)
            tab.page.keyboard.press("Enter")
        assert tab.drawn("both") == rows_where((AGES >= 30) & (AGES <= 40))
        tab.page.locator("[aria-label='admitted: from, exactly']").fill("2022-01-01")
        tab.page.keyboard.press("Enter")
        later = np.datetime64("2022-01-01") <= DAYS
        assert tab.drawn("both") == rows_where((AGES >= 30) & (AGES <= 40) & later)
        assert tab.texts(".token") == ["age 30 – 40 ✕", f"admitted 2022-01-01 – {DAYS.max()} ✕"]
        tab.page.get_by_text("Clear filters").click()
        tab.page.locator("[aria-label='price: to, exactly']").fill("20")
        tab.page.keyboard.press("Enter")
        assert tab.drawn("both") == rows_where(PRICES <= 20)

    def test_filters_and_classes_and_a_selection_agree(self, tab):
        open_panel(tab)
        tab.page.locator("[aria-label=site] .chip").filter(has_text="Oslo").click(modifiers=["Shift"])
        tab.page.locator("#chips .chip").nth(2).click()
        expected = rows_where((SITES == "Oslo") & (DATA.targets != 2))
        assert tab.drawn("both") == expected
        assert set(tab.gallery()) == expected
        assert tab.texts("#gallery-title") == ["Filtered samples"]
        tab.page.locator("#headline .number").nth(1).click()
        assert set(tab.selected()) == expected & set(range(20))

    def test_rare_categories_share_a_chip(self, tab):
        open_panel(tab, "town")
        chips = tab.page.locator("[aria-label=town] .chip")
        assert chips.count() == 21
        chips.filter(has_text="other").click(modifiers=["Shift"])
        shown = tab.drawn("both")
        assert len(shown) == 100
        assert len({TOWNS[row] for row in shown}) == 10

    def test_the_panel_closes_with_escape_and_keeps_the_page_s_height(self, tab):
        open_panel(tab, *COLUMNS)
        assert tab.js("document.documentElement.scrollHeight") == 900
        box = tab.page.locator("#filter-panel").bounding_box()
        assert box["y"] + box["height"] <= 900
        tab.page.locator("[aria-label='age: from']").focus()
        tab.page.keyboard.press("Escape")
        assert not tab.page.locator("#filter-panel").is_visible()
        assert tab.js("document.activeElement.localName") == "summary"


class TestColours:
    def choose(self, tab: Tab, name: str) -> np.ndarray:
        tab.page.select_option("#color", label=name)
        tab.settle()
        return tab.column("code")

    def test_numbers_and_dates_take_their_value_on_a_scale(self, tab):
        np.testing.assert_array_equal(self.choose(tab, "age"), AGES.astype("f4"))
        assert "age" in tab.texts("#legend")[0]
        assert tab.texts("#legend")[0].endswith("missing")
        days = DAYS.astype("M8[D]").astype(int)
        np.testing.assert_array_equal(self.choose(tab, "admitted"), days.astype("f4"))
        low, high = np.quantile(days, (0.01, 0.99)).astype("M8[D]")
        assert tab.texts("#legend") == [f"admitted ≤ {low} ≥ {high}"]

    def test_categories_take_a_colour_each_and_the_rest_one(self, tab):
        codes = self.choose(tab, "site")
        legend = tab.texts("#legend .entry")
        for code, site in enumerate(legend[:3]):
            assert set(np.flatnonzero(codes == code)) == rows_where(site == SITES)
        assert set(np.flatnonzero(codes == 4)) == rows_where(np.equal(SITES, None))
        codes = self.choose(tab, "town")
        assert np.unique(codes).tolist() == list(range(21))
        assert (codes == 20).sum() == 100


class TestSearch:
    def test_an_id_is_found_at_once_and_first(self, tab):
        tab.page.keyboard.press("/")
        assert tab.js("document.activeElement.id") == "search"
        find(tab, "sample 47")
        assert tab.gallery() == [47]
        find(tab, "47")
        assert tab.gallery()[0] == 47
        assert set(tab.gallery()) == {k for k in range(N) if "47" in TEXTS[k] or f"Remark {47}:" in REMARKS[k]} | {47}
        tab.page.keyboard.press("Enter")
        assert tab.texts("#card")[0].startswith("#47 ")
        tab.page.keyboard.press("Escape")
        assert tab.page.locator("#search").input_value() == ""
        assert tab.selected() == []

    @pytest.mark.parametrize(
        ("text", "holds"),
        [
            ("snow", lambda k: k % 3 == 2),
            ("SNOW fell", lambda k: k % 3 == 2 and k % 4 == 0),
            ("class-c", lambda k: DATA.targets[k] == 2),
            ("são paulo", lambda k: SITES[k] == "São Paulo"),
            ("<b>7", lambda k: str(k).startswith("7")),
        ],
    )
    def test_all_words_must_be_in_the_texts_names_or_columns_of_a_sample(self, tab, text, holds):
        find(tab, text)
        expected = [k for k in range(N) if holds(k)]
        assert tab.selected() == expected
        assert tab.texts("#search-count") == [str(len(expected))]

    def test_what_is_found_obeys_the_filters_and_is_counted(self, tab):
        open_panel(tab)
        tab.page.locator("[aria-label=site] .chip").filter(has_text="Oslo").click(modifiers=["Shift"])
        find(tab, "rain")
        expected = rows_where((np.arange(N) % 3 == 1) & (SITES == "Oslo"))
        assert set(tab.selected()) == expected
        left = int((np.arange(N) % 3 == 1).sum()) - len(expected)
        assert tab.texts("#search-count") == [f"{len(expected)} + {left} filtered out"]

    def test_another_selection_ends_the_search_and_its_marks(self, tab):
        find(tab, "snow")
        assert {text.lower() for text in tab.texts("#gallery mark")} == {"snow"}
        tab.page.locator("#headline .number").first.click()
        tab.settle()
        assert tab.page.locator("#search").input_value() == ""
        assert tab.texts("mark") == []

    def test_no_match_is_said_and_selects_nothing(self, tab):
        find(tab, "nowhere")
        assert (tab.texts("#search-count"), tab.selected()) == (["0"], [])


class TestCard:
    def test_it_lists_all_columns_in_order_as_they_are(self, tab):
        tab.page.locator("#gallery .tile[data-sample='17']").click()
        listed = dict(zip(tab.texts("#card dt"), tab.texts("#card dd"), strict=True))
        assert list(listed) == list(COLUMNS)
        assert listed["age"] == f"{AGES[17]:g}"
        assert listed["site"] == SITES[17]
        assert listed["admitted"] == str(DAYS[17])
        assert float(listed["price"]) == pytest.approx(PRICES[17], rel=1e-6)
        assert listed["remark"] == REMARKS[17]
        assert tab.js("document.querySelector('#card .words').textContent") == TEXTS[17]

    def test_files_have_the_columns_under_names_of_their_own(self, tab):
        tab.page.locator("#headline .number").nth(1).click()
        saved = {}
        for button in ("#export-csv", "#export-json"):
            with tab.page.expect_download() as download:
                tab.page.locator(button).click()
            saved[button] = Path(download.value.path()).read_text(encoding="utf-8")
        lines = list(csv.DictReader(io.StringIO(saved["#export-csv"])))
        items = json.loads(saved["#export-json"])
        assert len(lines) == len(items) == 20
        for line, item in zip(lines, items, strict=True):
            row = item["row"]
            age = None if np.isnan(AGES[row]) else AGES[row]
            assert item["age"] == item["id (column)"] == age
            assert item["id"] == str(row)
            assert line["age"] == ("" if age is None else f"{age:g}")
            assert line["site"] == (SITES[row] or "")
            assert line["admitted"] == str(DAYS[row])
            assert item["price"] == pytest.approx(PRICES[row], rel=1e-6)
            assert item["text"] == line["text"] == TEXTS[row]


def test_a_page_of_a_regression_is_coloured_and_filtered_by_a_column_too(browser, tmp_path):
    values = RNG.normal(size=N)
    networks = tuple(replace(network, probabilities=None, values=values) for network in DATA.networks)
    data = replace(DATA, networks=networks, targets=None, class_names=(), values=values, corner_cases=())
    with opened(browser, build_page(data).save(tmp_path / "page.html")) as tab:
        tab.page.select_option("#color", label="age")
        tab.settle()
        np.testing.assert_array_equal(tab.column("code"), AGES.astype("f4"))
        open_panel(tab)
        tab.page.locator("[aria-label=site] .chip").filter(has_text="Oslo").click(modifiers=["Shift"])
        assert tab.drawn("both") == rows_where(SITES == "Oslo")
        find(tab, "snow")
        assert set(tab.selected()) == rows_where((SITES == "Oslo") & (np.arange(N) % 3 == 2))


def saved_page(tmp_path, **changes) -> Path:
    return build_page(page_data(images=None, **changes)).save(tmp_path / "page.html")


def test_rows_are_a_table_of_the_most_unusual_features_and_their_bars(browser, tmp_path):
    rows = RNG.normal(size=(N, 30)).astype("f4")
    rows[15, 4] = -40
    rows[:, 7] = 3.0
    names = [f"feature-{k}" for k in range(30)]
    low, median, high = np.percentile(rows, (25, 50, 75), axis=0)
    with opened(browser, saved_page(tmp_path, rows=rows, row_names=names)) as tab:
        away = np.abs(rows[15] - median) / np.where(high > low, high - low, np.inf)
        expected = [names[k] for k in np.argsort(-away, kind="stable")]
        assert tab.texts("#card th") == expected[:12]
        assert float(tab.texts("#card td")[0].replace("−", "-")) == -40
        assert tab.js("document.querySelector('#card .track i').style.width") == "50%"
        tab.page.get_by_text("all 30").click()
        assert sorted(tab.texts("#card th")) == sorted(names)
        bars = tab.js("document.querySelector('#gallery .profile .value').getAttribute('d').match(/M/g).length")
        assert bars == 30
        assert tab.js("document.querySelectorAll('#journey .profile').length") > 8


def test_series_are_a_curve_a_channel_on_one_scale_for_all_samples(browser, tmp_path):
    series = np.cumsum(RNG.normal(size=(N, 2, 50)), axis=2).astype("f4")
    series[15, 0, 10:20] = np.nan
    with opened(browser, saved_page(tmp_path, series=series)) as tab:
        for channel in range(2):
            path = tab.js("(k) => document.querySelectorAll('#card .channel path')[k].getAttribute('d')", channel)
            places = [pair.split("h")[0].split() for pair in path.replace("M", "L").split("L") if pair]
            heights = np.array([float(y) for _, y in places])
            known = ~np.isnan(series[15, channel])
            low, high = np.nanmin(series[:, channel]), np.nanmax(series[:, channel])
            share = (series[15, channel, known] - low) / (high - low)
            np.testing.assert_allclose(heights, 97 - 94 * share, atol=0.06)  # a decimal in the path
            assert path.count("M") == (2 if channel == 0 else 1)
        own = tab.texts("#card .here")[1].replace("−", "-").split(" … ")
        np.testing.assert_allclose([float(end) for end in own], [series[15, 1].min(), series[15, 1].max()], rtol=0.01)
        assert tab.page.locator("#gallery .spark").count() == len(tab.gallery())


PAYLOADS = (
    "</script><img src=x onerror='window.hacked = 1'>",
    "__proto__",
    "constructor",
    "🦊",
    "مرحبا",
    "x" * 10_000,
    "",
)


def test_hostile_columns_are_inert_everywhere_and_keep_the_page_in_its_frame(browser, tmp_path):
    columns = {name: np.array([PAYLOADS[k % 7] if k % 5 else None for k in range(N)], object) for name in PAYLOADS}
    columns |= {f"c{k}": RNG.normal(size=N) for k in range(43)}
    with opened(browser, saved_page(tmp_path, texts=[PAYLOADS[k % 7] for k in range(N)], columns=columns)) as tab:
        open_panel(tab, *PAYLOADS)
        tab.page.locator("#filter-panel .chip").first.click()
        tab.settle()
        for value in tab.js("[...document.querySelectorAll('#color option')].map((option) => option.value).slice(-48)")[
            ::8
        ]:
            tab.page.select_option("#color", value)
        find(tab, "__proto__")
        tab.js("document.getElementById('filters').open = false")
        with tab.page.expect_download() as download:
            tab.page.locator("#export-json").click()
        item = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))[0]
        for name in PAYLOADS[:-1]:
            assert item[name] == columns[name][item["row"]]
        assert tab.js("window.hacked") is None
        assert tab.js("document.querySelectorAll('img').length") == 0
        assert tab.js("Object.getPrototypeOf({}).length") is None
        for width, height in ((1440, 900), (390, 844)):
            tab.page.set_viewport_size({"width": width, "height": height})
            tab.settle()
            assert tab.js("document.documentElement.scrollWidth") <= width
            if width == 1440:
                assert tab.js("document.documentElement.scrollHeight") == height


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation_with_the_panel_open(browser, path, scheme):
    with opened(browser, path, scheme=scheme) as tab:
        open_panel(tab, *COLUMNS)
        tab.page.locator("[aria-label=site] .chip").first.click()
        find(tab, "snow")
        assert serious_violations(tab.page) == []
