"""The answer cards, and why two classes are confused: computed, and in a browser."""

from dataclasses import replace

import numpy as np
import pytest

from tests.pages import page_data
from tests.task_pages import label_page, regression_page
from torchviz_layers.page import Network, PageData, Panel
from torchviz_layers.page.answers import answers, confused_pairs


def confused(turn: int, layers: int = 3, errors: int = 4) -> PageData:
    """The first samples of class a are taken for b: their neighbours are of a before the layer `turn`, then of b."""
    labels = np.repeat([0, 1, 2], 10)
    outputs = np.eye(3, dtype=np.float32)[labels]
    outputs[:errors] = [0.1, 0.9, 0]
    own = np.array([[(row + step) % 10 + 10 * (row // 10) for step in range(1, 5)] for row in range(30)])
    others = own.copy()
    others[:errors] += 10
    Z = np.zeros((30, 2), np.float32)
    panels = tuple(Panel(f"layer {k}", Z, own if k < turn else others) for k in range(layers))
    return PageData("made up", (Network("net", panels, outputs),), targets=labels, class_names=("a", "b", "c"))


def texts(data: PageData) -> list[str]:
    return [card["text"] for card in answers(data)]


@pytest.mark.parametrize(
    ("turn", "where", "stage"),
    [
        (0, "merged from layer 0 on", 2),
        (1, "apart in layer 0, merged from layer 1 on", 1),
        (2, "apart up to layer 1, merged from layer 2 on", 2),
        (3, "apart in every layer", 2),
    ],
)
def test_a_card_says_from_which_layer_on_two_classes_are_confused(turn, where, stage):
    (card,) = answers(confused(turn))
    assert card["text"] == f"a read as b: 4 errors, {where}"
    assert card["stage"] == stage
    assert card["why"] == {"network": 0, "given": 0, "predicted": 1}


def test_each_of_two_networks_has_a_most_confused_pair_and_of_more_the_one_with_most_errors():
    data = page_data(n_classes=5)
    (first, second) = confused_pairs(data)
    assert first == (0, 3, 4, 5)
    assert second[0] == 1
    assert second[3] == max(
        np.count_nonzero((data.targets == given) & (data.networks[1].predictions == (given + 1) % 5))
        for given in range(5)
    )
    three = replace(data, networks=(*data.networks, replace(data.networks[0], name="net C")))
    assert confused_pairs(three) == [(0, 3, 4, 5)]


def test_a_network_without_errors_has_no_pair():
    data = confused(1, errors=0)
    assert (confused_pairs(data), answers(data)) == ([], [])


def test_each_of_two_networks_has_a_card_of_its_best_layer_and_more_share_one():
    data = page_data(n_classes=5)
    first, second, pair, other = texts(data)
    assert first.startswith("Best layer: dense_1 of net A (probe ")
    assert second.startswith("Best layer: dense_2 of net B (probe ")
    assert pair.startswith("3 read as 4 by net A: 5 errors")
    assert " by net B: " in other
    three = replace(data, networks=(*data.networks, replace(data.networks[0], name="net C")))
    (best, _) = texts(three)
    assert best.startswith("Best layer: dense_2 of net B (probe ")


def test_other_tasks_have_cards_of_the_best_layer_alone():
    assert texts(regression_page(n_networks=1)) == ["Best layer: fc_2 (R² of probe 0.90)"]
    assert texts(label_page(n_networks=1)) == ["Best layer: conv_1 (probe 80.0%)"]


DATA = page_data(n_classes=5)
A, B = DATA.networks
CONFUSED = np.flatnonzero((DATA.targets == 3) & (A.predictions == 4)).tolist()


def separation(panel: Panel) -> float:
    """Mean share of the neighbours of classes 3 and 4 that have a sample's own class."""
    shares = []
    for row in np.flatnonzero(np.isin(DATA.targets, (3, 4))):
        near = DATA.targets[panel.neighbors[row]]
        same, either = np.sum(near == DATA.targets[row]), np.isin(near, (3, 4)).sum()
        if either:
            shares.append(same / either)
    return float(np.mean(shares))


@pytest.mark.browser
class TestInTheBrowser:
    def test_cards_stand_in_one_low_row_and_the_best_layer_is_enlarged(self, tab):
        box = tab.page.locator("#answers").bounding_box()
        assert box["height"] <= 2 * 18 + 10, "more than two lines"
        # The ellipsis of a card that is cut takes no more room than the card has.
        for card in tab.page.locator("#answers .answer span").all():
            assert card.evaluate("card => card.scrollHeight <= card.clientHeight"), card.inner_text()
        assert tab.js("document.documentElement.scrollHeight") <= 900
        tab.page.locator("#answers button").first.click()
        assert tab.page.locator("#stage-layer").input_value() == "2"

    @pytest.mark.parametrize("way", ["card", "cell"])
    def test_why_keeps_both_classes_dims_the_others_and_ends_with_escape(self, tab, way):
        if way == "card":
            tab.page.locator("#answers button").filter(has_text="read as 4 by net A").click()
        else:
            tab.page.select_option("#matrix-choice", label="net A’s predictions by true class")
            tab.page.locator("#matrix tbody tr").nth(3).locator("td").nth(4).locator("button").click()
        tab.settle()
        assert tab.selected() == CONFUSED
        code = tab.column("code")
        pair = np.isin(DATA.targets, (3, 4))
        np.testing.assert_array_equal(code[pair], DATA.targets[pair])
        assert np.isnan(code[~pair].astype(float)).all()
        assert tab.texts("#gallery-title") == ["3 read as 4 by net A"]
        assert tab.js("document.getElementById('why').hidden") is False
        tab.page.keyboard.press("Escape")
        tab.settle()
        np.testing.assert_array_equal(tab.column("code"), DATA.targets)
        assert tab.js("document.getElementById('why').hidden") is True
        assert "Separation of 3 and 4" not in tab.texts("#measure option")

    def test_the_curve_shows_the_separation_of_the_two_classes(self, tab):
        tab.page.locator("#answers button").filter(has_text="read as 4 by net A").click()
        assert tab.page.locator("#measure").input_value() == "pair"
        titles = tab.js("[...document.querySelectorAll('#curves .point title')].map((each) => each.textContent)")
        shown = {float(title.rpartition(" ")[2].rstrip("%")) for title in titles}
        assert shown == {round(100 * separation(panel), 1) for panel in DATA.panels}

    def test_the_row_leads_from_one_class_to_the_other(self, tab):
        tab.page.locator("#answers button").filter(has_text="read as 4 by net A").click()
        rows = tab.js("[...document.querySelectorAll('#why .tile')].map((tile) => Number(tile.dataset.sample))")
        share = A.probabilities[:, 3] / A.probabilities[:, [3, 4]].sum(axis=1)
        assert set(DATA.targets[rows]) == {3, 4}
        assert share[rows[0]] > 0.7
        assert share[rows[-1]] < 0.3

    def test_the_matrix_is_that_of_the_network_that_confuses_the_classes(self, tab):
        tab.page.locator("#answers button").filter(has_text="read as 4 by net A").click()
        assert tab.js("document.getElementById('matrix-choice').selectedOptions[0].text") == (
            "net A’s predictions by true class"
        )
        assert tab.texts("#matrix .corner") == ["rows: true class, columns: net A"]

    def test_the_matrix_comes_with_the_truth_against_the_network_of_the_enlarged_layer(self, tab):
        first = "#matrix-choice option >> nth=0"
        assert tab.texts(first) == ["net B’s predictions by true class"]
        tab.page.select_option("#stage-layer", "1")
        assert tab.texts(first) == ["net A’s predictions by true class"]
        assert tab.texts("#matrix-choice option")[-1] == "net A against net B"
