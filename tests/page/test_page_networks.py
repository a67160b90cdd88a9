"""Pages of one to twelve networks, and samples without a label: in Python, and in a browser."""

import csv
import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.browser import Tab, opened, serious_violations
from tests.pages import answers, half_a_step, page_data, panel
from torchviz_layers.exceptions import PageError
from torchviz_layers.page import Network, PageData, build_page
from torchviz_layers.page.headline import headline, subsets
from torchviz_layers.page.sampling import thinned
from torchviz_layers.page.summaries import right_from, shown_neighbors

N = 240


def many(count: int, layers: int | tuple[int, ...] = 2, silent: tuple[int, ...] = (), **changes) -> PageData:
    """Networks 0, 1, ...: number k misclassifies rows 0, 1, 2 (all do) and 3 + 10 k to 6 + 11 k of its own."""
    data = page_data(n=N, **changes)
    rng = np.random.default_rng(1)
    labels = page_data(n=N).targets
    networks = []
    for k in range(count):
        depth = layers if isinstance(layers, int) else layers[k]
        panels = tuple(panel(f"layer {step}", labels, 2.0 / (step + 1), rng) for step in range(depth))
        wrong = np.r_[0:3, 3 + 10 * k : 6 + 11 * k]
        networks.append(Network(f"network {k}", panels, None if k in silent else answers(labels, 10, wrong, rng)))
    return replace(data, networks=tuple(networks), corner_cases=())


def sentence(data: PageData) -> str:
    return "".join(text for text, _ in headline(data, subsets(data)))


def wrong_rows(data: PageData, k: int) -> np.ndarray:
    return np.flatnonzero((data.networks[k].predictions != data.targets) & (data.targets >= 0))


class TestHeadline:
    def test_of_many_it_names_the_best_and_the_worst_and_counts_what_all_misclassify(self):
        data = many(3)
        share = [1 - len(wrong_rows(data, k)) / N for k in range(3)]
        assert sentence(data) == (
            f"network 0 is right most often ({share[0]:.1%}), network 2 least often ({share[2]:.1%}); "
            "all 3 misclassify 3."
        )

    def test_networks_that_are_equally_good_are_counted(self):
        data = many(1)
        twins = tuple(replace(data.networks[0], name=f"twin {k}") for k in range(4))
        assert sentence(replace(data, networks=twins)).startswith("All 4 networks are right equally often (")
        worse = replace(many(2).networks[1], name="other")
        text = sentence(replace(data, networks=(*twins, worse)))
        assert text.startswith("twin 0 and 3 others are right most often (")
        assert ", other least often (" in text

    def test_without_a_common_error_it_says_so(self):
        data = many(3)
        right = answers(data.targets, 10, np.arange(0), np.random.default_rng(0))
        networks = (*data.networks, replace(data.networks[0], name="perfect", probabilities=right))
        assert sentence(replace(data, networks=networks)).endswith("; no sample is misclassified by all 4.")
        perfect = tuple(replace(network, probabilities=right) for network in data.networks)
        assert sentence(replace(data, networks=perfect)) == f"All 3 networks classify all {N} samples correctly."

    def test_without_targets_it_counts_where_not_all_agree(self):
        data = many(3, targets=None)
        differ = len({row for k in range(3) for row in wrong_rows(many(3), k)}) - 3  # on 0, 1, 2 all say the same
        assert sentence(data) == f"The 3 networks differ on {differ} of {N} samples."

    def test_a_network_that_does_not_classify_is_left_out_and_its_strip_says_why(self):
        data = many(3, silent=(1,))
        assert sentence(data).startswith("network 0 fixes ")
        assert [subset.name for subset in subsets(data)] == [
            "wrong-0",
            "wrong-2",
            "differ",
            "both-wrong",
            "only-0",
            "only-2",
        ]
        assert build_page(data).html.count("no predictions: its outputs are no class scores") == 2  # text and title
        one = many(2, silent=(0,))
        assert sentence(one).startswith("network 1 classifies ")
        assert [(subset.name, subset.label) for subset in subsets(one)] == [("wrong-1", "network 1 wrong")]

    def test_thirteen_networks_are_refused_with_the_number(self):
        with pytest.raises(PageError, match="one to 12 networks, not 13"):
            build_page(many(13, 1))


class TestUnlabelled:
    @pytest.fixture
    def data(self) -> PageData:
        data = many(2)
        targets = data.targets.copy()
        targets[::4] = -1  # rows 0, 4, 8, ... of which several were errors
        return replace(data, targets=targets)

    def test_accuracies_and_errors_are_those_of_the_labelled(self, data):
        known = data.targets >= 0
        for k, network in enumerate(data.networks):
            expected = np.mean(network.predictions[known] == data.targets[known])
            assert network.accuracy(data.targets) == pytest.approx(expected)
            (subset,) = (subset for subset in subsets(data) if subset.name == f"wrong-{k}")
            assert np.flatnonzero(subset.mask).tolist() == wrong_rows(data, k).tolist()
        assert sentence(data).endswith(f"both misclassify 2 (of {known.sum()} labelled samples).")
        one = replace(data, networks=data.networks[:1])
        wrong = len(wrong_rows(data, 0))
        assert sentence(one) == (
            f"network 0 classifies {known.sum() - wrong} of {known.sum()} labelled correctly; {wrong} are wrong."
        )

    def test_a_part_still_counts_the_labelled_among_all(self, data):
        known = int((data.targets >= 0).sum())
        assert f"(of {known} labelled samples)" in sentence(thinned(data, 60))
        assert f"{known} labelled" in build_page(data, max_samples=60).html

    def test_they_settle_nowhere_and_do_not_vote(self, data):
        network = data.networks[0]
        settled = right_from(data, network)
        known = data.targets >= 0
        assert set(settled[~known]) == {4}  # three steps, never, and no label
        assert settled[known].max() <= 3

    def test_their_truth_is_missing_in_the_frame_as_on_the_page(self, data):
        frame = build_page(data).to_frame()
        assert frame["truth"].isna().tolist() == (data.targets < 0).tolist()
        assert frame["truth"][1] == str(data.targets[1])
        assert frame["network 0 neighbours right from"].isna().tolist() == (data.targets < 0).tolist()

    def test_numbers_below_minus_one_are_no_classes(self, data):
        with pytest.raises(PageError, match="-2 is negative"):
            build_page(replace(data, targets=np.where(data.targets < 0, -2, data.targets)))

    def test_no_label_at_all_is_a_page_without_truth(self, data):
        assert sentence(replace(data, targets=np.full(N, -1))).startswith("network 0 and network 1 differ on ")
        build_page(replace(data, targets=np.full(N, -1)))


def test_above_six_networks_five_neighbours_are_shown_and_vote():
    assert [shown_neighbors(many(count, 1)) for count in (6, 7)] == [8, 5]
    html = build_page(many(7, 1)).html
    assert re.search(rf'data-column="near-0" data-dtype="uint8" data-shape="{N},5"', html)


# --- in a browser


DATA = many(3, (4, 2, 4))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return build_page(DATA).save(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="module")
def twelve(tmp_path_factory) -> Path:
    return build_page(many(12, 8)).save(tmp_path_factory.mktemp("page") / "page.html")


def drawn_panels(tab: Tab) -> set[int]:
    """Numbers of the panels that have a figure."""
    return set(
        tab.js(
            """() => [...document.querySelectorAll(".panel .figure")].filter((host) => host.firstElementChild)
            .map((host) => Number(host.id.slice(7)))"""
        )
    )


@pytest.mark.browser
class TestPair:
    @pytest.fixture
    def tab(self, browser, path):
        with opened(browser, path) as tab:
            yield tab

    def test_it_opens_with_the_least_and_the_most_accurate(self, tab):
        assert [tab.page.locator(f"#pair-{side}").input_value() for side in "ab"] == ["2", "0"]

    @pytest.mark.parametrize(("a", "b"), [(2, 0), (0, 1), (1, 2)])
    def test_its_sentence_counts_and_selects_what_the_arrays_hold(self, tab, a, b):
        tab.page.select_option("#pair-a", str(a))
        tab.page.select_option("#pair-b", str(b))
        first, second = set(wrong_rows(DATA, a)), set(wrong_rows(DATA, b))
        differ = np.flatnonzero(DATA.networks[a].predictions != DATA.networks[b].predictions).tolist()
        assert tab.texts("#pair-story") == [
            f"B fixes {len(first - second)} of A’s {len(first)} errors and makes {len(second - first)} of its own; "
            f"they differ on {len(differ)}."
        ]
        for number, rows in enumerate((first - second, first, second - first, differ)):
            tab.page.locator("#pair-story .number").nth(number).click()
            assert tab.selected() == sorted(rows)

    def test_the_matrix_is_that_of_truth_and_the_pair(self, tab):
        tab.page.select_option("#pair-a", "1")
        options = tab.texts("#matrix-choice option")
        assert options == [
            "network 0’s predictions by true class",  # of the enlarged layer
            "network 1’s predictions by true class",
            "network 1 against network 0",
        ]
        sides = [
            (DATA.targets, DATA.networks[1].predictions),
            (DATA.networks[1].predictions, DATA.networks[0].predictions),
        ]
        for choice, (rows_of, columns_of) in zip(("1", "2"), sides, strict=True):
            tab.page.select_option("#matrix-choice", choice)
            row, column = int(rows_of[5]), int(columns_of[5])
            tab.page.locator("#matrix tbody tr").nth(row).locator("td").nth(column).locator("button").click()
            assert tab.selected() == np.flatnonzero((rows_of == row) & (columns_of == column)).tolist()

    def test_a_filter_by_the_pair_follows_the_pair(self, tab):
        tab.page.select_option("#show-choice", "only-a")
        assert tab.drawn("0") == set(wrong_rows(DATA, 2)) - set(wrong_rows(DATA, 0))
        tab.page.select_option("#pair-a", "1")
        assert tab.drawn("0") == set(wrong_rows(DATA, 1)) - set(wrong_rows(DATA, 0))
        shown = len(set(wrong_rows(DATA, 1)) - set(wrong_rows(DATA, 0)))
        assert f"network 1 wrong, network 0 right ({shown})" in tab.texts("#show-choice option")

    def test_each_choice_of_what_is_shown_shows_its_samples(self, tab):
        every = [set(wrong_rows(DATA, k)) for k in range(3)]
        expected = {"wrong-1": every[1], "both-wrong": set.intersection(*every)}
        for value, rows in expected.items():
            tab.page.select_option("#show-choice", value)
            assert tab.drawn("both") == tab.drawn("2") == rows
            assert set(tab.gallery()) == rows

    def test_tiles_are_marked_by_how_many_are_wrong(self, tab):
        tab.page.select_option("#show-choice", "wrong-0")
        marks = tab.js(
            """() => Object.fromEntries([...document.querySelectorAll(".tile")]
            .map((tile) => [tile.dataset.sample, tile.className.match(/wrong-(\\d)/)[1]]))"""
        )
        everywhere = set.intersection(*(set(wrong_rows(DATA, k)) for k in range(3)))
        assert marks == {str(row): "2" if row in everywhere else "1" for row in wrong_rows(DATA, 0)}

    def test_the_journey_lists_the_layers_of_the_enlarged_network(self, tab):
        assert tab.texts("#journey h3") == ["network 0"]
        tab.page.select_option("#stage-layer", "6")  # the second layer of network 1
        assert tab.texts("#journey h3") == ["network 1"]
        shown = tab.js(
            """() => [...document.querySelectorAll(".step")]
            .map((step) => [...step.querySelectorAll(".thumb")].map((thumb) => Number(thumb.dataset.sample)))"""
        )
        sample = int(tab.js("document.querySelector('#card .picture').dataset.sample"))
        assert shown == [DATA.panels[k].neighbors[sample].tolist() for k in (0, 5, 6)]
        assert tab.texts("#play .name") == ["network 1"]


@pytest.mark.browser
class TestPanelsInView:
    def test_only_panels_in_view_are_drawn_and_the_others_when_they_are_scrolled_to(self, browser, twelve):
        data = many(12, 8)
        with opened(browser, twelve) as tab:
            first = drawn_panels(tab)
            assert set(range(17)) <= first  # the input and two strips
            assert 96 not in first
            # What the reader chose before must hold in panels that are drawn later.
            hidden = int(data.targets[0])
            tab.page.locator("#chips .chip").nth(hidden).click()
            tab.page.locator("#headline .number").click()
            tab.page.locator("#theme").click()
            tab.page.locator("input[name=brush][value=box]").check(force=True)
            tab.js("document.querySelector('.reel').scrollTop = 1e6")
            tab.page.wait_for_function("document.querySelector('#figure-96').firstElementChild")
            tab.settle()
            assert 40 not in drawn_panels(tab)  # which was passed without being looked at
            found = tab.js(
                """() => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
                const figure = all.find((model) => model.name === "panel-96");
                const view = Bokeh.index[figure.id];
                const [dots, crosses] = figure.renderers.map((renderer) => view.views.find_one(renderer));
                const ring = figure.renderers.find((renderer) => renderer.name === "ring");
                const sample = (row) => all.find((m) => m.name === "samples").data.sample[row];
                return { drawn: [dots, crosses].map((each) => Array.from(each.model.view.filter.indices, sample)),
                  ring: [ring.data_source.data.x[0], ring.data_source.data.y[0]], ink: ring.glyph.line_color.value,
                  box: figure.toolbar.tools.find((tool) => tool.type === "BoxSelectTool").active,
                  selected: dots.model.data_source.selected.indices.map(sample) }; }"""
            )
            shown = set(np.flatnonzero(data.targets != hidden).tolist())
            wrong = set(wrong_rows(data, 11).tolist())
            assert set(found["drawn"][0]) == shown - wrong
            assert set(found["drawn"][1]) == shown & wrong
            assert sorted(found["selected"]) == sorted({0, 1, 2} & shown)
            assert found["box"]
            assert found["ink"] == "#eceef0"
            sample = int(tab.js("document.querySelector('#card .picture').dataset.sample"))
            Z = data.panels[96].Z
            np.testing.assert_allclose(found["ring"], Z[sample], atol=half_a_step(Z))

    def test_a_brush_in_a_panel_drawn_later_selects_everywhere(self, browser, twelve):
        Z = many(12, 8).panels[96].Z
        low, high = (-2.5, -4.4), (2.5, -2.0)
        with opened(browser, twelve) as tab:
            tab.js("document.querySelector('.reel').scrollTop = 1e6")
            tab.page.wait_for_function("document.querySelector('#figure-96').firstElementChild")
            tab.settle()
            tab.drag("96", [low, (low[0], high[1]), high, (high[0], low[1]), low])
            tab.settle()
            pixel = 0.15  # a panel of 100 pixels shows about ten units of the plane
            surely = np.greater(Z, np.add(low, pixel)).all(axis=1) & np.less(Z, np.subtract(high, pixel)).all(axis=1)
            perhaps = np.greater(Z, np.subtract(low, pixel)).all(axis=1) & np.less(Z, np.add(high, pixel)).all(axis=1)
            assert surely.sum() > 10
            assert set(np.flatnonzero(surely)) <= set(tab.selected()) <= set(np.flatnonzero(perhaps))
            assert tab.selected("stage") == tab.selected()

    def test_opening_a_layer_out_of_view_scrolls_its_strip_into_view(self, browser, twelve):
        with opened(browser, twelve) as tab:
            tab.page.select_option("#stage-layer", "60")
            tab.page.wait_for_function("document.querySelector('#figure-60').firstElementChild")
            box, reel = (tab.page.locator(selector).bounding_box() for selector in ("#panel-60", ".reel"))
            assert reel["y"] - 1 <= box["y"]
            assert box["y"] + box["height"] <= reel["y"] + reel["height"] + 1
            assert tab.js("scrollY") == 0


LONG = (
    "<img src=x onerror='window.hacked = 1'>",
    "n" * 200,
    "resnet50.a1_in1k/augmix seed 3",
    "🦊" * 30,
    "  ",
    '"quoted" {{ 7 }}',
)


@pytest.mark.browser
class TestLayout:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_twelve_networks_of_eight_layers_stay_one_screen_high(self, browser, twelve, scheme):
        with opened(browser, twelve, scheme=scheme) as tab:
            assert tab.js("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
                1440,
                900,
            ]
            assert tab.page.locator("#toolbar").bounding_box()["height"] < 70
            assert min(tab.page.locator(f"#panel-{k}").bounding_box()["width"] for k in (0, 1, 8)) >= 90
            assert tab.js("document.querySelectorAll('#scores .score').length") == 12

    def test_a_phone_scrolls_the_strips_and_shows_panels_that_can_be_read(self, browser, twelve):
        with opened(browser, twelve, size=(390, 844)) as tab:
            assert tab.js("document.documentElement.scrollWidth") == 390
            assert tab.page.locator("#panel-1").bounding_box()["width"] >= 80
            tab.js("document.querySelector('.reel').scrollLeft = 1e6")
            tab.page.wait_for_function("document.querySelector('#figure-8').firstElementChild")

    @pytest.mark.parametrize("size", [(390, 844), (1024, 768), (1440, 900)])
    def test_no_card_covers_another_and_all_scores_are_whole(self, browser, twelve, size):
        with opened(browser, twelve, size=size) as tab:
            boxes = tab.js(
                """() => [...document.querySelectorAll("main section.card")].map((card) => {
                const { left, right, top, bottom } = card.getBoundingClientRect();
                return [card.id, left, right, top, bottom]; })"""
            )
            for k, (one, left, right, top, bottom) in enumerate(boxes):
                for other, left_2, right_2, top_2, bottom_2 in boxes[k + 1 :]:
                    apart = right <= left_2 or right_2 <= left or bottom <= top_2 or bottom_2 <= top
                    assert apart, f"{one} and {other}"
            assert tab.js(
                """() => { const last = document.querySelector("#keys, .keys").getBoundingClientRect().bottom;
                return last <= document.getElementById("curves-section").getBoundingClientRect().bottom; }"""
            )
            if size[0] == 1024:
                assert tab.js(
                    "(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.getElementById('scores'))"
                )

    def test_a_few_layers_with_long_names_stay_side_by_side_on_a_phone(self, browser, tmp_path):
        data = page_data(n=60, layers=(3,), images=None, texts=[f"text {k}" for k in range(60)], input_panel=None)
        long = ("bert.encoder.layer.0", "bert.encoder.layer.1", "classifier")
        panels = tuple(replace(each, layer=name) for each, name in zip(data.panels, long, strict=True))
        saved = build_page(data.with_panels(panels)).save(tmp_path / "page.html")
        with opened(browser, saved, size=(390, 844)) as tab:
            for part in (".panel .open", ".panel .figure"):
                boxes = [each.bounding_box() for each in tab.page.locator(part).all()]
                for one, other in pairwise(boxes):
                    assert one["x"] + one["width"] <= other["x"]

    def test_the_similarity_says_with_which_network(self, browser, twelve, tmp_path):
        two = build_page(page_data(n=60)).save(tmp_path / "page.html")
        for path, sentence_ in (
            (two, "linear CKA with the other network’s layer of the nearest relative depth"),
            (twelve, "linear CKA with the layer of network 0 of the nearest relative depth"),
        ):
            with opened(browser, path) as tab:
                tab.page.select_option("#measure", "cka")
                assert tab.page.locator("#measure").get_attribute("title") == sentence_

    def test_long_and_hostile_names_of_networks_stay_text_and_push_nothing_aside(self, browser, tmp_path):
        data = many(12, 4)
        names = [*LONG, *(f"{LONG[1]} {k}" for k in range(6))]
        networks = tuple(replace(network, name=name) for network, name in zip(data.networks, names, strict=True))
        saved = build_page(replace(data, networks=networks)).save(tmp_path / "page.html")
        with opened(browser, saved) as tab:
            assert tab.js("window.hacked") is None
            assert (
                tab.js("[...document.querySelectorAll('#pair-a option')].map((option) => option.textContent)") == names
            )
            for width in (1440, 1024, 390):
                tab.page.set_viewport_size({"width": width, "height": 900})
                tab.settle()
                assert tab.js("document.documentElement.scrollWidth") <= width

    def test_colours_of_twelve_networks_differ_in_light_and_dark(self, browser, twelve):
        for scheme in ("light", "dark"):
            with opened(browser, twelve, scheme=scheme) as tab:
                colors = tab.js(
                    "[...document.querySelectorAll('#scores .score b')].map((each) => getComputedStyle(each).color)"
                )
            values = np.array([[int(part) for part in re.findall(r"\d+", color)] for color in colors])
            distance = np.abs(values[:, None] - values[None]).sum(axis=2)
            np.fill_diagonal(distance, 999)
            assert distance.min() > 40

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_no_serious_violation(self, browser, path, scheme):
        with opened(browser, path, scheme=scheme) as tab:
            assert serious_violations(tab.page) == []


@pytest.mark.browser
class TestUnlabelledOnThePage:
    @pytest.fixture(scope="class")
    def data(self) -> PageData:
        data = many(2, 3)
        return replace(data, targets=np.where(np.arange(N) % 4 == 0, -1, data.targets))

    @pytest.fixture(scope="class")
    def saved(self, data, tmp_path_factory) -> Path:
        return build_page(data).save(tmp_path_factory.mktemp("page") / "page.html")

    def test_they_have_a_chip_a_colour_and_neither_truth_nor_error(self, browser, data, saved):
        with opened(browser, saved, link="#sample=0") as tab:
            assert tab.texts("#chips .chip")[-1] == f"unlabelled {N // 4}"
            assert "has no label" in tab.texts("#card")[0]
            assert tab.js("document.querySelector('#card .verdict')") is None
            assert tab.page.locator("#card .right-from").count() == 0
            unlabelled = set(range(0, N, 4))
            crosses = tab.js(
                """() => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
                const of = (name) => all.find((model) => model.name === name);
                return of("wrong-0").indices.map((row) => of("samples").data.sample[row]); }"""
            )
            assert sorted(crosses) == wrong_rows(data, 0).tolist()
            codes = tab.column("code")
            assert set(np.flatnonzero(codes == 10)) == unlabelled
            palette = tab.js(
                """() => [...Bokeh.documents.at(-1)._all_models.values()].find((m) => m.name === "colors").palette"""
            )
            assert len(set(palette)) == 11
            assert sum(int(text) for text in tab.texts("#matrix td") if text) == N - N // 4
            tab.page.select_option("#matrix-choice", label="network 0 against network 1")
            assert sum(int(text) for text in tab.texts("#matrix td") if text) == N
            tab.page.select_option("#matrix-choice", "0")
            tab.page.locator("#chips .chip").last.click()
            assert tab.drawn("0") == set(range(N)) - unlabelled
            tab.page.locator("#chips .chip").last.click(modifiers=["Shift"])
            tab.page.locator("#chips .chip").last.click(modifiers=["Shift"])
            assert tab.page.locator("#chips [aria-pressed=false]").count() in (0, 10)
            tab.page.locator("#theme").click()
            tab.settle()

    def test_their_truth_is_empty_in_what_is_saved(self, browser, saved):
        with opened(browser, saved) as tab:
            tab.page.locator("#chips .chip").last.click(modifiers=["Shift"])
            tab.page.locator("[data-show=differ]").click()
            with tab.page.expect_download() as download:
                tab.page.locator("#export-json").click()
            items = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
            with tab.page.expect_download() as download:
                tab.page.locator("#export-csv").click()
            lines = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
            assert items
            assert {item["truth"] for item in items} == {None}
            assert {line["truth"] for line in lines} == {""}
            assert {item["row"] % 4 for item in items} == {0}
