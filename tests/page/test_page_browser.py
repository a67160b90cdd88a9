"""The page in a browser: what each control shows, held against the data it was built from."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from tests.browser import Tab, opened
from tests.pages import Case, half_a_step, page_data
from torchviz_layers.page import Network, PageData, Panel, build_page
from torchviz_layers.page.summaries import votes
from torchviz_layers.page.thumbnails import thumbnails

pytestmark = pytest.mark.browser

DATA = page_data()
A, B = DATA.networks
BOTH_WRONG = list(range(15, 20))


def least_certain_first(rows) -> list[int]:
    sure = sum(np.rint(network.probabilities.max(axis=1) * 65535) for network in DATA.networks)
    return sorted((int(row) for row in rows), key=lambda row: (sure[row], row))


def lonely(Z: np.ndarray) -> int:
    """The row whose nearest other point is farthest away: the pointer cannot mean another."""
    distance = np.square(Z[:, None] - Z[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return int(distance.min(axis=1).argmax())


def corner(Z: np.ndarray) -> tuple[float, float]:
    """A place below and left of all points, still in the panel."""
    return tuple(float(value) for value in Z.min(axis=0) - 0.01 * np.ptp(Z, axis=0).max())


def inside(Z: np.ndarray, low: tuple[float, float], high: tuple[float, float]) -> set[int]:
    return set(np.flatnonzero(np.greater(Z, low).all(axis=1) & np.less(Z, high).all(axis=1)).tolist())


def brushed(
    tab: Tab, figure: str, low: tuple[float, float], high: tuple[float, float], brush: str = "lasso"
) -> set[int]:
    """Drag around a rectangle, hold the selection against it (but for points within a pixel of its edge), return it."""
    corners = [low, (low[0], high[1]), high, (high[0], low[1]), low] if brush == "lasso" else [low, high]
    tab.drag(figure, corners)
    tab.settle()
    selected = tab.selected()
    assert tab.selected("stage") == selected
    assert tab.gallery() == least_certain_first(selected)[:240]
    Z = DATA.panels[5 if figure == "stage" else int(figure)].Z
    pixel = np.abs(np.subtract(tab.place(figure, 0, 0), tab.place(figure, 1, 1))).min() ** -1
    hidden = set(range(DATA.n_samples)) - tab.drawn("stage")
    assert inside(Z, np.add(low, pixel), np.subtract(high, pixel)) - hidden <= set(selected)
    assert set(selected) <= inside(Z, np.subtract(low, pixel), np.add(high, pixel)) - hidden
    assert len(selected) > 20
    return set(selected)


def pixels_of_card(tab: Tab) -> np.ndarray:
    values, width, height = tab.js(
        """() => { const canvas = document.querySelector("#card canvas"), { width, height } = canvas;
        return [Array.from(canvas.getContext("2d").getImageData(0, 0, width, height).data), width, height]; }"""
    )
    return np.array(values, np.uint8).reshape(height, width, 4)


def test_the_headline_counts_the_errors_and_its_numbers_select_them(tab):
    assert tab.texts("#headline") == ["net B fixes 15 of net A’s 20 errors and makes 5 of its own; both misclassify 5."]
    tab.page.locator("#headline .number").first.click()
    assert tab.selected() == tab.selected("stage") == list(range(15))
    assert tab.gallery() == least_certain_first(range(15))


def test_accuracies_are_those_of_the_outputs(tab):
    assert tab.texts("#scores b") == [f"{280 / 300:.2%}", f"{290 / 300:.2%}"]


def test_without_a_selection_the_gallery_shows_what_both_misclassify(tab):
    assert tab.gallery() == least_certain_first(BOTH_WRONG)


@pytest.mark.parametrize(
    ("show", "title", "rows"), [("wrong-1", "net B wrong", range(15, 25)), ("all", "Both wrong", BOTH_WRONG)]
)
def test_without_a_selection_the_gallery_holds_what_a_filter_leaves(tab, show, title, rows):
    tab.page.locator(f"[data-show={show}]").click()
    assert (tab.texts("#gallery-title"), tab.gallery()) == ([title], least_certain_first(rows))


@pytest.mark.parametrize("figure", ["0", "2", "5", "stage"])
def test_hover_shows_the_sample_and_rings_it_in_every_panel_without_a_repaint(tab, figure):
    Z = DATA.panels[5 if figure == "stage" else int(figure)].Z
    row = lonely(Z)
    tab.js(
        """() => { window.painted = 0; for (const view of Bokeh.index.roots) {
        const paint = Object.getPrototypeOf(view)._paint_primary;
        view._paint_primary = (context) => { window.painted += 1; paint.call(view, context); }; } }"""
    )
    tab.point_at(figure, *Z[row])
    tab.settle()
    assert tab.js("window.painted") == 0
    shown = pixels_of_card(tab)
    assert np.array_equal(shown[..., 0], thumbnails(DATA.images)[row, ..., 0])
    assert (shown[..., 3] == 255).all()
    card = tab.texts("#card")[0]
    truth, said = DATA.targets[row], [network.predictions[row] for network in DATA.networks]
    assert card.startswith(f"#{row} is a {truth}")
    for network, answer in zip(DATA.networks, said, strict=True):
        confidence = 100 * network.probabilities[row].max()
        assert f"{network.name}: {answer} {confidence:.0f}%" in card
    rings = tab.rings()
    assert set(rings) == {"0", "1", "2", "3", "4", "5", "stage"}
    for number, panel in enumerate(DATA.panels):
        np.testing.assert_allclose(rings[str(number)], panel.Z[row], atol=half_a_step(panel.Z))


def test_small_rings_mark_the_neighbours_that_the_filters_leave(tab):
    rings = """(k) => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
    const { x, size } = all.find((model) => model.name === `ring-${k}`).data;
    return Array.from(x).filter((_, place) => size[place] === 6); }"""
    near = DATA.panels[3].neighbors[15]
    Z = DATA.panels[3].Z
    np.testing.assert_allclose(tab.js(rings, 3), Z[near, 0], atol=half_a_step(Z))
    hidden = int(DATA.targets[near[0]])
    tab.page.locator("#chips .chip").nth(hidden).click()
    left = near[DATA.targets[near] != hidden]
    np.testing.assert_allclose(tab.js(rings, 3), Z[left, 0], atol=half_a_step(Z))


def test_the_pointer_away_from_all_points_goes_back_to_the_pinned_sample(tab):
    Z = DATA.panels[0].Z
    tab.point_at("0", *Z[lonely(Z)])
    tab.page.mouse.move(5, 5)
    tab.settle()
    assert tab.texts("#card")[0].startswith("#15 ")


@pytest.mark.parametrize("brush", ["lasso", "box"])
def test_a_brush_in_one_panel_selects_the_same_samples_everywhere(tab, brush):
    tab.page.locator(f"input[name=brush][value={brush}]").check(force=True)
    assert len(brushed(tab, "5", corner(DATA.panels[5].Z), (0.5, 3.0), brush)) < 200


def test_a_brush_with_a_class_hidden_selects_only_what_is_seen(tab):
    Z = DATA.panels[5].Z
    tab.page.locator("#chips .chip").nth(4).click()
    tab.settle()
    selected = brushed(tab, "5", corner(Z), (0.5, 3.0))
    assert 4 in DATA.targets[list(inside(Z, corner(Z), (0.5, 3.0)))]
    assert 4 not in DATA.targets[list(selected)]


def test_a_brush_on_the_stage_selects_in_the_panels(tab):
    Z = DATA.panels[5].Z
    top = tuple(-value for value in corner(-Z))
    assert len(brushed(tab, "stage", (0.5, corner(Z)[1]), top)) < 200


def test_a_selection_obeys_a_filter_set_later_and_comes_back(tab):
    tab.page.locator("#headline .number").first.click()
    hidden = int(DATA.targets[0])
    tab.page.locator("#chips .chip").nth(hidden).click()
    assert tab.selected() == [row for row in range(15) if DATA.targets[row] != hidden]
    tab.page.locator("#chips .chip").nth(hidden).click()
    assert tab.selected() == list(range(15))
    tab.page.keyboard.press("Escape")
    assert tab.selected() == []


def test_each_chip_hides_its_class(tab):
    for code in range(10):
        tab.page.locator("#chips .chip").nth(code).click()
        expected = set(np.flatnonzero(DATA.targets != code).tolist())
        assert all(tab.drawn(who) == expected for who in ("both", "0", "1", "stage"))
        tab.page.locator("#chips .chip").nth(code).click()


def test_shift_leaves_one_class_alone(tab):
    tab.page.locator("#chips .chip").nth(3).click(modifiers=["Shift"])
    assert tab.drawn("0") == set(np.flatnonzero(DATA.targets == 3).tolist())


@pytest.mark.parametrize(
    ("show", "rows"),
    [
        ("wrong-0", range(20)),
        ("wrong-1", range(15, 25)),
        ("both-wrong", range(15, 20)),
        ("differ", [*range(15), *range(20, 25)]),
    ],
)
def test_each_filter_shows_its_samples(tab, show, rows):
    tab.page.locator(f"[data-show={show}]").click()
    assert tab.drawn("both") == tab.drawn("1") == set(rows)


def test_colours_are_what_the_choice_says(tab):
    settled = {}
    for value in tab.js("[...document.querySelectorAll('#color option')].map((option) => option.value)"):
        tab.page.select_option("#color", value)
        tab.settle()
        settled[value] = tab.column("code")
    for k, network in enumerate(DATA.networks):
        np.testing.assert_array_equal(settled[f"prediction-{k}"], network.predictions)
        np.testing.assert_allclose(settled[f"confidence-{k}"], network.probabilities.max(axis=1), atol=1e-5)
        assert set(settled[f"settle-{k}"]) <= set(range(len(network.panels) + 2))
    np.testing.assert_array_equal(settled["truth"], DATA.targets)


def test_a_cell_of_the_matrix_selects_its_samples(tab):
    for table, rows_of, columns_of in (
        ("net A against net B", A.predictions, B.predictions),
        ("net A’s predictions by true class", DATA.targets, A.predictions),
    ):
        tab.page.select_option("#matrix-choice", label=table)
        row, column = int(rows_of[3]), int(columns_of[3])
        tab.page.locator("#matrix tbody tr").nth(row).locator("td").nth(column).locator("button").click()
        assert tab.selected() == np.flatnonzero((rows_of == row) & (columns_of == column)).tolist()


def test_the_cells_count_the_visible_samples(tab):
    tab.page.locator("[data-show=wrong-0]").click()
    counts = [int(text) for text in tab.texts("#matrix td") if text]
    assert sum(counts) == 20


def test_arrow_keys_step_through_the_queue(tab):
    assert tab.texts("#card")[0].startswith("#15 ")
    for expected in (16, 17, 18, 19, 15):
        tab.page.keyboard.press("ArrowRight")
        assert tab.texts("#card")[0].startswith(f"#{expected} ")
        assert tab.texts("#reason") == [f"both say another class ({expected})"]
    tab.page.keyboard.press("ArrowLeft")
    assert tab.texts("#card")[0].startswith("#19 ")
    tab.page.select_option("#kind", "changes at the end")
    assert tab.texts("#card")[0].startswith("#0 ")
    tab.page.locator("#queue-all").click()
    assert tab.selected() == [0, 1, 2]


def test_the_queue_goes_on_from_a_sample_of_it_that_is_clicked_elsewhere(tab):
    tab.page.locator("#gallery .tile[data-sample='17']").click()
    assert (tab.texts("#position"), tab.texts("#reason")) == (["3 / 5"], ["both say another class (17)"])
    tab.page.keyboard.press("Escape")
    tab.page.locator("body").press("ArrowRight")
    assert tab.texts("#card")[0].startswith("#18 ")


def test_the_card_keeps_its_height_from_sample_to_sample(browser, tmp_path):
    kinds = ("net A wrong, net B right", "confident but isolated")
    cases = tuple(Case(kind, 0, 1.0, "why") for kind in kinds)
    saved = build_page(page_data(corner_cases=cases)).save(tmp_path / "page.html")
    with opened(browser, saved) as tab:
        heights = [tab.js("document.getElementById('card').offsetHeight")]
        tab.page.locator("#gallery .tile").first.click()
        heights.append(tab.js("document.getElementById('card').offsetHeight"))
    assert heights[0] == heights[1]


def test_the_journey_shows_the_nearest_neighbours_and_their_vote(tab):
    shown = tab.js(
        """() => [...document.querySelectorAll(".step")]
        .map((step) => [...step.querySelectorAll(".thumb")].map((thumb) => Number(thumb.dataset.sample)))"""
    )
    assert shown == [panel.neighbors[15].tolist() for panel in DATA.panels]
    labels = [DATA.targets[panel.neighbors[15]] for panel in DATA.panels]
    for voted, near in zip(tab.texts(".step .vote"), labels, strict=True):
        counts = np.bincount(near, minlength=10)
        assert counts[int(voted)] == counts.max()


def test_votes_are_counted_as_in_python_in_ties_and_among_unlabelled_neighbours_too(browser, tmp_path):
    rng = np.random.default_rng(3)
    n = 300
    targets = rng.integers(-1, 3, n)
    near = rng.integers(0, n, (n, 8))
    near[0] = np.flatnonzero(targets < 0)[:8]  # nobody votes
    layer = Panel("a", rng.normal(size=(n, 2)).astype("f4"), near)
    outputs = rng.uniform(size=(n, 3)).astype("f4")
    for name, data in {
        "truth": PageData("t", (Network("net", (layer,), outputs),), targets=targets),
        "predictions": PageData("t", (Network("net", (layer,), outputs),)),
    }.items():
        expected = votes(near, data.labels(data.networks[0]), 3)
        page = build_page(data).save(tmp_path / f"{name}.html")
        with opened(browser, page, link="#sample=0") as tab:
            for sample in range(25):
                tab.js("(sample) => (location.hash = `#sample=${sample}`)", sample)
                tab.page.wait_for_function(f"document.querySelector('#card [data-sample=\"{sample}\"]') !== null")
                tab.settle()
                assert tab.texts(".step .vote") == [str(expected[sample]) if expected[sample] >= 0 else ""]


def test_a_click_pins_and_the_link_names_sample_and_layer(tab):
    Z = DATA.panels[2].Z
    row = lonely(Z)
    tab.page.mouse.click(*tab.place("2", *Z[row]))
    assert tab.js("location.hash") == f"#sample={row}&layer=net+A%2Fdense_1"
    tab.page.locator("#open-1").click()
    assert tab.js("location.hash") == f"#sample={row}&layer=net+A%2Fdense_0"


def test_a_drag_that_ends_on_a_point_selects_and_pins_nothing(tab):
    Z = DATA.panels[2].Z
    end = Z[lonely(Z)]
    top = corner(-Z)
    tab.drag("2", [corner(Z), (corner(Z)[0], -top[1]), (-top[0], -top[1]), tuple(end)])
    tab.page.mouse.move(5, 5)
    tab.settle()
    assert tab.selected()
    assert tab.texts("#card")[0].startswith("#15 ")


def test_what_is_dragged_out_of_sight_comes_back_in_every_panel(tab):
    corners = [tab.place(figure, *DATA.panels[5].Z[0]) for figure in ("5", "stage")]
    tab.page.locator("input[name=brush][value=pan]").check(force=True)
    for figure in ("5", "stage"):
        tab.drag(figure, [(0.0, 0.0), (1.0, 1.0)])
        assert np.subtract(tab.place(figure, *DATA.panels[5].Z[0]), corners[figure == "stage"])[0] > 5
    tab.page.locator("#fit").click()
    tab.settle()
    after = [tab.place(figure, *DATA.panels[5].Z[0]) for figure in ("5", "stage")]
    np.testing.assert_allclose(after, corners, atol=0.01)


def test_a_link_opens_its_sample_and_layer(browser, path):
    with opened(browser, path, link="#sample=42&layer=net+A/dense_1") as tab:
        assert tab.texts("#card")[0].startswith("#42 ")
        assert tab.page.locator("#stage-layer").input_value() == "2"
        assert tab.page.locator("#panel-2").get_attribute("class") == "panel current"


def test_a_point_of_the_curves_and_a_key_on_it_enlarge_the_layer(tab):
    for key, panel in (("Enter", 1), (" ", 3)):
        tab.page.locator("#curves .point").nth(panel if panel == 1 else panel + 1).focus()
        tab.page.keyboard.press(key)
        assert tab.page.locator("#stage-layer").input_value() == str(panel)


def test_the_theatre_ends_on_the_last_layer_and_passes_between(tab):
    tab.page.locator(".play").nth(0).click()
    tab.page.wait_for_function("document.querySelector('#progress').value > 0.2")
    tab.page.wait_for_function("document.querySelector('.play[aria-pressed=true]') === null", timeout=10_000)
    assert tab.page.locator("#stage-layer").input_value() == "2"
    tab.settle()
    stage = tab.js(
        """() => { const of = (name) => [...Bokeh.documents.at(-1)._all_models.values()].find((m) => m.name === name);
        return [Array.from(of("stage").data.x), Array.from(of("samples").data.x2)]; }"""
    )
    assert stage[0] == stage[1]


def test_who_wants_no_movement_sees_layer_after_layer(tab):
    tab.page.emulate_media(reduced_motion="reduce")
    try:
        places = tab.js(
            """() => new Promise((done) => { const places = new Set();
            const look = () => { places.add(Number(document.getElementById("progress").value));
              if (document.querySelector(".play[aria-pressed=true]")) requestAnimationFrame(look);
              else done([...places]); };
            document.querySelector(".play").click(); requestAnimationFrame(() => requestAnimationFrame(look)); })"""
        )
    finally:
        tab.page.emulate_media(reduced_motion="no-preference")
    assert places == [0, 1, 2]


def test_canvases_that_take_no_keys_are_no_stops_of_the_tab_key(tab):
    stops = tab.js(
        """() => { const inside = (root) => [...root.querySelectorAll("*")]
          .flatMap((e) => [...(e.tabIndex === 0 ? [e.className] : []), ...(e.shadowRoot ? inside(e.shadowRoot) : [])]);
        return [...document.querySelectorAll(".figure")].flatMap(inside); }"""
    )
    assert stops == []


STOPS = """(group) => [...document.querySelectorAll(`${group} :is(button, td, g)`)]
  .filter((element) => element.tabIndex === 0).length"""
FOCUSED = "document.activeElement.ariaLabel ?? document.activeElement.textContent"


@pytest.mark.parametrize("group", ["#matrix", "#gallery", "#chips", "#curves", "#journey"])
def test_a_group_is_one_stop_of_the_tab_key_and_walked_with_the_arrow_keys(tab, group):
    assert tab.js(STOPS, group) == 1
    tab.js("(group) => document.querySelector(`${group} [tabindex='0']`).focus()", group)
    tab.page.keyboard.press("Control+Home")
    seen = [tab.js(FOCUSED)]
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        tab.page.keyboard.press(key)
        seen.append(tab.js(FOCUSED))
    assert seen[1] == seen[3] != seen[2]
    assert seen[0] not in seen[1:]
    assert tab.js(STOPS, group) == 1


def test_a_cell_under_the_arrow_keys_tells_its_row_column_and_count_and_enter_chooses_it(tab):
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (A.predictions, B.predictions), 1)
    tab.page.select_option("#matrix-choice", label="net A against net B")
    tab.page.locator("#matrix [tabindex='0']").focus()
    tab.page.keyboard.press("Control+Home")
    walk = {
        (0, 1): ["ArrowRight"],
        (3, 1): 3 * ["ArrowDown"],
        (3, 9): ["End"],
        (4, 0): ["ArrowRight"],
        (9, 9): ["Control+End"],
    }
    for (row, column), keys in walk.items():
        for key in keys:
            tab.page.keyboard.press(key)
        n = counts[row, column]
        count = {0: "no samples", 1: "1 sample"}.get(n, f"{n} samples")
        assert tab.js(FOCUSED) == f"net A: {row}, net B: {column} ({count})"
    for key, move, cell in (("Enter", "Control+End", 9), (" ", "Control+Home", 0)):
        tab.page.keyboard.press(move)
        tab.page.keyboard.press(key)
        assert tab.selected() == np.flatnonzero((A.predictions == cell) & (B.predictions == cell)).tolist()


def test_a_point_of_the_curves_keeps_the_focus_when_it_is_opened(tab):
    tab.page.locator("#curves .point").nth(1).focus()
    for key in ("Enter", "ArrowRight", "Enter"):
        tab.page.keyboard.press(key)
    assert tab.page.locator("#stage-layer").input_value() == "2"


def test_a_class_switched_off_takes_its_name_along(tab):
    shown = """() => ["panel-0", "panel-5", "stage-figure"].map((name) => {
    const figure = [...Bokeh.documents.at(-1)._all_models.values()].find((model) => model.name === name);
    const names = figure.renderers.find((renderer) => renderer.name === "class-names");
    const { all_indices } = Bokeh.index[figure.id].views.find_one(names);
    return Array.from(all_indices, (row) => names.data_source.data.text[row]).join(""); })"""
    tab.page.locator("#chips .chip").nth(3).click()
    tab.settle()
    assert tab.js(shown) == 3 * ["012456789"]
    tab.page.locator("#chips .chip").nth(3).click()
    tab.settle()
    assert tab.js(shown) == 3 * ["0123456789"]


STAGE_WIDTH = """() => { const { start, end } = [...Bokeh.documents.at(-1)._all_models.values()]
  .find((model) => model.name === "stage-figure").x_range; return end - start; }"""


def test_the_wheel_scrolls_the_page_over_the_stage_until_ctrl_or_a_click_lets_it_zoom(browser, path):
    with opened(browser, path, size=(1024, 768)) as tab:
        tab.js("document.getElementById('stage-section').scrollIntoView({ block: 'center' })")
        box = tab.page.locator("#figure-stage").bounding_box()
        edge = (box["x"] + 4, box["y"] + box["height"] / 2)
        width = [tab.js(STAGE_WIDTH)]

        def turn():
            before = tab.js("scrollY")
            tab.page.mouse.wheel(0, -60)
            tab.page.wait_for_timeout(150)
            width.append(tab.js(STAGE_WIDTH))
            return tab.js("scrollY") - before

        tab.page.mouse.move(*edge)
        assert turn() < 0
        assert width[1] == width[0]
        assert tab.page.locator("#wheel-hint").is_visible()
        tab.page.keyboard.down("Control")
        assert turn() == 0
        assert width[2] < width[1]
        tab.page.keyboard.up("Control")
        tab.page.mouse.click(*edge)
        assert not tab.page.locator("#wheel-hint").is_visible()
        assert turn() == 0
        assert width[3] < width[2]
        tab.page.mouse.move(2, 2)
        tab.page.mouse.move(*edge)
        turn()
        assert width[4] == width[3]


def saved(tab: Tab, button: str) -> bytes:
    with tab.page.expect_download() as download:
        tab.page.locator(button).click()
    return Path(download.value.path()).read_bytes()


def test_the_selection_is_saved_as_csv_and_json(tab):
    tab.page.locator("#headline .number").nth(1).click()
    order = least_certain_first(range(20))
    lines = list(csv.DictReader(io.StringIO(saved(tab, "#export-csv").decode())))
    items = json.loads(saved(tab, "#export-json"))
    assert [int(line["row"]) for line in lines] == [item["row"] for item in items] == order
    for line, item in zip(lines, items, strict=True):
        assert int(line["truth"]) == DATA.targets[item["row"]]
        assert int(item["net A prediction"]) == A.predictions[item["row"]]
        assert item["net B confidence"] == pytest.approx(B.probabilities[item["row"]].max(), abs=1e-4)


def test_the_panel_is_saved_as_png_and_svg(tab):
    from PIL import Image

    image = Image.open(io.BytesIO(saved(tab, "#export-png")))
    width, height = tab.js(
        "(({ clientWidth, clientHeight }) => [clientWidth, clientHeight])(document.getElementById('figure-stage'))"
    )
    assert image.width == pytest.approx(3 * (width + 24), abs=9)
    assert image.height > 3 * height  # a title above, a legend below
    assert len(set(image.convert("RGB").resize((80, 80)).getdata())) > 10
    text = saved(tab, "#export-svg").decode()
    assert text.startswith("<svg")
    assert text.count("<path") >= DATA.n_samples


def test_the_gallery_is_walked_with_arrow_keys(tab):
    order = least_certain_first(BOTH_WRONG)
    tab.page.locator("#gallery .tile").first.focus()
    tab.page.keyboard.press("ArrowRight")
    assert tab.texts("#card")[0].startswith(f"#{order[1]} ")
    tab.page.keyboard.press("End")
    assert tab.texts("#card")[0].startswith(f"#{order[-1]} ")


def test_every_picture_is_that_of_its_own_sample_whatever_the_filter(tab):
    tab.page.locator("#chips .chip").nth(2).click()
    tab.page.locator("#headline .number").nth(1).click()
    sheet = thumbnails(DATA.images)
    seen = tab.js(
        """() => [...document.querySelectorAll("canvas.picture")].map((canvas) => [Number(canvas.dataset.sample),
        Number((canvas.closest("[data-sample]:not(canvas)") ?? canvas).dataset.sample),
        Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)
        .filter((_, k) => k % 4 === 0)])"""
    )
    assert len(seen) > 40
    for painted, meant, values in seen:
        assert painted == meant
        assert values == sheet[meant, ..., 0].ravel().tolist()


def test_the_theme_follows_the_reader_and_the_button(browser, path):
    with opened(browser, path, scheme="dark") as tab:
        assert tab.js("document.documentElement.dataset.theme") == "dark"
        tab.page.locator("#theme").click()
        assert tab.js("document.documentElement.dataset.theme") == "light"


OVERLAPS = """() => { const box = (element) => element.getBoundingClientRect();
  const parts = [...document.querySelectorAll(".card, header, nav, .panel, .title")];
  const pairs = parts.flatMap((a, k) => parts.slice(k + 1).map((b) => [a, b]));
  const meet = ([a, b]) => { const [p, q] = [box(a), box(b)];
    return Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1
      && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 1; };
  const escaped = [...document.querySelectorAll(".card svg, .card table, .card .figure, .card .bar")]
    .filter((inner) => { const [p, q] = [box(inner), box(inner.closest(".card"))];
      return p.right > q.right + 1 || (p.bottom > q.bottom + 1 && inner.localName !== "table"); });
  return [...pairs.filter(meet).map(([a, b]) => [a.id || a.className, b.id || b.className]),
    ...escaped.map((inner) => inner.id || inner.localName)]; }"""


def test_nothing_overlaps_and_nothing_scrolls_sideways(browser, path):
    with opened(browser, path) as tab:
        for width, height in ((1440, 900), (1024, 768), (700, 900)):
            tab.page.set_viewport_size({"width": width, "height": height})
            tab.settle()
            assert tab.js("document.documentElement.scrollWidth") <= width
            assert tab.js(OVERLAPS) == [], (width, height)


def test_the_headline_has_the_width_of_a_phone(browser, path):
    with opened(browser, path, size=(390, 844)) as tab:
        width, sideways = tab.js(
            "() => [document.getElementById('headline').clientWidth, document.documentElement.scrollWidth]"
        )
        assert width > 300
        assert sideways == 390


CUT = """([selector, ...sides]) => [...document.querySelectorAll(selector)]
  .filter((e) => sides.some((side) => e[`scroll${side}`] > e[`client${side}`])).map((e) => e.textContent)"""


def test_no_number_of_the_matrix_and_no_name_of_a_network_is_cut(browser, path):
    with opened(browser, path) as tab:
        tab.js("() => document.querySelectorAll('#matrix .same button').forEach((b) => (b.textContent = '1033'))")
        for width, height in ((1440, 900), (1280, 720), (1250, 800), (1024, 768), (800, 600)):
            tab.page.set_viewport_size({"width": width, "height": height})
            tab.settle()
            assert tab.js(CUT, ["#matrix button, .key", "Width"]) == [], (width, height)


def test_names_of_classes_stand_whole_beside_the_matrix_and_over_a_choice_of_it(browser, tmp_path):
    names = ("cat", "ship", "truck", "frog", "deer", "horse", "bird", "plane", "dog", "car")
    with opened(browser, build_page(page_data(class_names=names)).save(tmp_path / "page.html")) as tab:
        assert tab.js(CUT, ["#matrix th", "Width", "Height"]) == []
        tab.page.locator("#matrix tbody tr").nth(5).locator("button").first.click()
        assert tab.js(CUT, ["#gallery-title", "Width", "Height"]) == []


@pytest.mark.parametrize("layers", [(1,), (3,), (1, 1), (2, 3)])
def test_few_layers_stand_in_one_row_that_leaves_no_wide_gaps(browser, tmp_path, layers):
    with opened(browser, build_page(page_data(layers=layers)).save(tmp_path / "page.html")) as tab:
        for width, height in ((1440, 900), (1024, 768), (1920, 1080)):
            tab.page.set_viewport_size({"width": width, "height": height})
            tab.settle()
            strip, frames = tab.js(
                """() => { const edges = ({ left, right, top, bottom }) => [left, right, top, bottom];
                const boxes = [...document.querySelectorAll("#strips .figure")].map((f) => f.getBoundingClientRect());
                return [edges(document.getElementById("strips").getBoundingClientRect()), boxes.map(edges)]; }"""
            )
            frames = np.array(sorted(frames))
            assert np.ptp(frames[:, 2:], axis=0).max() < 1
            assert np.ptp(frames[:, 1] - frames[:, 0]) < 1
            assert (frames[:, 3] - frames[:, 2]).min() >= 100
            gaps = np.diff([strip[0], *frames[:, :2].ravel(), strip[1]])[::2]  # before, between and behind the frames
            assert gaps[[0, -1]] == pytest.approx(0, abs=1)
            between = np.full(sum(layers), 20)
            between[np.cumsum(layers)[:-1]] = 36  # to the second network
            assert gaps[1:-1] == pytest.approx(between, abs=1)


def test_wide_frames_show_distances_alike_in_both_directions_at_every_size(browser, tmp_path):
    with opened(browser, build_page(page_data(layers=(1,))).save(tmp_path / "page.html")) as tab:
        for width in (1440, 1024):
            tab.page.set_viewport_size({"width": width, "height": 900})
            tab.settle()
            zero, one = (np.array(tab.place("1", value, value)) for value in (0, 1))
            across, up = np.abs(one - zero)
            assert across == pytest.approx(up, rel=0.01)
