"""Why two classes are confused: the samples on their border, those most like the other class, and where they merge."""

from dataclasses import replace

import numpy as np
import pytest

from tests.browser import Tab, opened
from tests.pages import page_data
from torchviz_layers.page import PageData, build_page
from torchviz_layers.page.answers import answers

pytestmark = pytest.mark.browser

GIVEN, PREDICTED = 3, 4


def merged_at_the_end() -> PageData:
    """Samples of the given class that net A reads as the predicted one lie among its samples in the last layer."""
    data = page_data(n_classes=5)
    first, second = data.networks
    near = first.panels[-1].neighbors.copy()
    errors = (data.targets == GIVEN) & (first.predictions == PREDICTED)
    near[errors] = np.flatnonzero(data.targets == PREDICTED)[: near.shape[1]]
    merged = replace(first, panels=(*first.panels[:-1], replace(first.panels[-1], neighbors=near)))
    return replace(data, networks=(merged, second))


DATA = merged_at_the_end()
A = DATA.networks[0]
ERRORS = np.flatnonzero((DATA.targets == GIVEN) & (A.predictions == PREDICTED))


def open_why(tab: Tab) -> None:
    tab.page.locator("#answers button").filter(has_text="3 read as 4 by net A").click()
    tab.settle()


def click_cell(tab: Tab, row: int, column: int) -> None:
    tab.page.select_option("#matrix-choice", label="net A’s predictions by true class")
    tab.page.locator("#matrix tbody tr").nth(row).locator("td").nth(column).locator("button").click()
    tab.settle()


def row_of_tiles(tab: Tab) -> list[int]:
    return tab.js("[...document.querySelectorAll('#why .tile')].map((tile) => Number(tile.dataset.sample))")


def most_like(own: int, other: int) -> list[int]:
    """Samples of a class with the other among the three most probable, by its probability."""
    probabilities = A.probabilities
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    rows = np.flatnonzero((DATA.targets == own) & (top == other).any(axis=1))
    return rows[np.argsort(-probabilities[rows, other], kind="stable")].tolist()


def test_the_row_holds_samples_of_both_classes_that_are_taken_for_one_of_them(tab):
    open_why(tab)
    rows = row_of_tiles(tab)
    pair = A.probabilities[:, [GIVEN, PREDICTED]]
    share = pair[rows, 1] / pair[rows].sum(axis=1)
    assert set(DATA.targets[rows]) == {GIVEN, PREDICTED}
    assert set(A.predictions[rows]) == {GIVEN, PREDICTED}
    assert (pair[rows].sum(axis=1) >= 0.5).all()
    assert (np.diff(share) >= 0).all()
    assert (DATA.targets[rows[0]], DATA.targets[rows[-1]]) == (GIVEN, PREDICTED)
    assert set(rows) & set(ERRORS)


def test_the_row_fits_and_each_picture_says_what_it_is_and_is_read_as(tab):
    open_why(tab)
    assert tab.js("(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.querySelector('#why .way'))")
    rows = row_of_tiles(tab)
    captions = tab.js("[...document.querySelectorAll('#why .caption')].map((each) => each.textContent)")
    expected = [
        f"{DATA.targets[row]}{f'→{said}' if said != DATA.targets[row] else ''} {100 * A.probabilities[row].max():.0f}%"
        for row, said in zip(rows, A.predictions[rows], strict=True)
    ]
    assert captions == expected
    assert any("→" in caption for caption in captions)


def test_a_picture_of_the_row_is_on_the_card_while_the_pointer_or_the_focus_is_on_it(tab):
    open_why(tab)
    tiles = tab.page.locator("#why .tile")
    rows = row_of_tiles(tab)
    before = tab.texts("#card b")[0]
    tiles.nth(0).hover()
    assert tab.texts("#card b")[0] == f"#{rows[0]}"
    tab.page.mouse.move(2, 2)
    assert tab.texts("#card b")[0] == before
    tiles.nth(1).focus()
    assert tab.texts("#card b")[0] == f"#{rows[1]}"


@pytest.mark.parametrize(("own", "other"), [(GIVEN, PREDICTED), (PREDICTED, GIVEN)])
def test_a_button_selects_the_samples_of_one_class_most_like_the_other(tab, own, other):
    open_why(tab)
    button = tab.page.get_by_role("button", name=f"{own} most like {other}")
    button.click()
    tab.settle()
    assert tab.gallery() == most_like(own, other)
    assert tab.texts("#gallery-title") == [f"{own} most like {other} by net A"]
    assert button.get_attribute("aria-pressed") == "true"
    counts = f"{len(most_like(own, other))} of {np.count_nonzero(DATA.targets == own)} samples of {own}"
    rule = f"those with {other} among the 3 classes that net A finds most probable"
    assert button.get_attribute("title").startswith(f"{counts}: {rule}")
    tab.page.locator("#why .turn .number").first.click()
    tab.settle()
    assert tab.selected() == ERRORS.tolist()
    assert tab.js("document.getElementById('why').hidden") is False


def test_the_panel_has_the_words_of_the_card_and_a_layers_name_enlarges_it(tab):
    open_why(tab)
    card = next(each["text"] for each in answers(DATA) if each["text"].startswith("3 read as 4 by net A"))
    count, _, turn = card.partition(": ")[2].partition(", ")
    assert tab.texts("#why .turn") == [f"{count}: {turn}"]
    layers = tab.page.locator("#why .turn .number")
    names = tab.texts("#why .turn .number")[1:]
    assert names == ["dense_0", "dense_1"]
    for at, name in enumerate(names, start=1):
        layers.nth(at).click()
        assert tab.js("document.getElementById('stage-layer').selectedOptions[0].text").startswith(name)


def test_an_empty_cell_shows_the_border_and_the_nearest_samples_and_escape_ends_it(tab):
    click_cell(tab, 1, 3)
    assert tab.texts("#why .turn") == ["No 1 is read as 3 by net A."]
    assert tab.gallery() == most_like(1, 3)
    rows = row_of_tiles(tab)
    assert set(DATA.targets[rows]) == {1, 3}
    assert (DATA.targets[rows] == A.predictions[rows]).all()
    assert tab.page.locator("#measure").input_value() == "pair"
    tab.page.keyboard.press("Escape")
    tab.settle()
    assert tab.js("document.getElementById('why').hidden") is True


def test_the_axes_of_the_matrix_are_named(tab):
    tab.page.select_option("#matrix-choice", label="net A’s predictions by true class")
    assert tab.texts("#matrix-axes") == ["rows: truth · columns: net A"]


def test_where_few_samples_belong_the_right_ones_nearest_to_the_border_complete_the_row(browser, tmp_path):
    outputs = np.full((300, 5), 0.175, np.float32)
    outputs[np.arange(300), DATA.targets] = 0.3
    # Two have most of their probability in the pair; all the others less than half of it.
    rows = np.flatnonzero(DATA.targets == GIVEN)
    outputs[rows[:2]] = [0.05, 0.05, 0.05, 0.4, 0.45]
    nearest = rows[7]
    outputs[nearest] = [0.2, 0.18, 0.15, 0.24, 0.23]
    network = replace(A, probabilities=outputs)
    path = build_page(replace(DATA, networks=(network,))).save(tmp_path / "page.html")
    with opened(browser, path) as tab:
        tab.page.locator("#answers button").filter(has_text="3 read as 4").click()
        tab.settle()
        assert sorted(row_of_tiles(tab)) == sorted([*rows[:2].tolist(), int(nearest)])


def test_of_many_networks_the_neighbours_in_the_last_layer_say_what_is_most_like_a_class(browser, tmp_path):
    # Panels of their own: a page tells them apart by identity.
    networks = tuple(replace(A, name=f"net {k}", panels=tuple(map(replace, A.panels))) for k in range(3))
    path = build_page(replace(DATA, networks=networks)).save(tmp_path / "page.html")
    near = DATA.targets[A.panels[-1].neighbors]
    share = np.where(DATA.targets == GIVEN, (near == PREDICTED).mean(axis=1), 0)
    expected = [row for row in np.argsort(-share, kind="stable").tolist() if share[row] > 0]
    assert set(expected) >= set(ERRORS.tolist())
    with opened(browser, path) as tab:
        tab.page.locator("#answers button").filter(has_text="3 read as 4 by net 0").click()
        button = tab.page.get_by_role("button", name="3 most like 4")
        assert "share of 4 among their neighbours in dense_1" in button.get_attribute("title")
        button.click()
        tab.settle()
        assert tab.gallery() == expected


def test_a_matrix_of_ten_classes_with_its_axes_is_seen_whole(browser, tmp_path):
    path = build_page(page_data(n=200, layers=(2, 2))).save(tmp_path / "page.html")
    with opened(browser, path) as tab:
        for answer in tab.page.locator("#answers button").all()[:4]:
            answer.click()
            tab.settle()
            sizes = (
                "(({ scrollHeight, clientHeight }) => [scrollHeight, clientHeight])(document.getElementById('matrix'))"
            )
            whole, seen = tab.js(sizes)
            assert whole <= seen
            assert tab.texts("#matrix-axes")[0].startswith("rows: truth")
