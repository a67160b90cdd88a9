"""Pages of a regression and of a multi-label task in a browser: threshold, labels, colours, plots, hostile names."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.browser import opened, serious_violations
from tests.pages import clusters
from tests.task_pages import label_page, regression_page, unlabelled
from torchviz_layers.page import Network, PageData, Panel, build_page
from torchviz_layers.page.scales import Scale

pytestmark = pytest.mark.browser

VALUES = unlabelled(replace(regression_page(), threshold=1.0), [100, 101])
LABELS = label_page(n_labels=11)
PAYLOADS = ("<img src=x onerror=window.hacked=1>", "</script><script>window.hacked=1</script>", "{t} > 1; \u202e'\"")


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tasks")
    return {
        name: build_page(data).save(folder / f"{name}.html") for name, data in (("values", VALUES), ("labels", LABELS))
    }


@pytest.fixture
def values(browser, pages):
    with opened(browser, pages["values"]) as tab:
        yield tab


@pytest.fixture
def labels(browser, pages):
    with opened(browser, pages["labels"]) as tab:
        yield tab


def crosses(tab, who: str) -> set[int]:
    """Rows of the samples that are drawn as crosses."""
    return set(
        tab.js(
            """(who) => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
            const of = (name) => all.find((model) => model.name === name);
            return of(`wrong-${who}`).indices.map((row) => of("samples").data.sample[row]); }""",
            who,
        )
    )


def move_threshold(tab, size: float) -> None:
    tab.js(
        """(size) => { const slider = document.getElementById("threshold");
        slider.value = size; slider.dispatchEvent(new Event("input", { bubbles: true })); }""",
        size,
    )
    tab.settle()


def residuals(k: int) -> np.ndarray:
    return VALUES.networks[k].values.astype(float) - VALUES.values


def beyond(size: float, k: int) -> set[int]:
    return set(np.flatnonzero(np.abs(residuals(k)) > size).tolist())


def saved_records(tab, button: str) -> str:
    with tab.page.expect_download() as waiting:
        tab.page.locator(button).click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


class TestRegression:
    def test_the_page_opens_with_the_errors_of_the_threshold(self, values):
        assert crosses(values, "0") == set(range(15))
        assert crosses(values, "1") == set(range(10, 25))
        assert crosses(values, "both") == set(range(10, 15))
        assert values.texts("#show [data-show=wrong-0]") == ["net A: |residual| > 1 15"]
        assert "15 off by more than 1; net B predicts within" in values.texts("#headline")[0]
        assert set(values.gallery()) == set(range(10, 15))

    def test_dragging_the_threshold_changes_crosses_pills_headline_and_gallery(self, values):
        move_threshold(values, 0.3)
        assert crosses(values, "0") == beyond(0.3, 0)
        both = beyond(0.3, 0) & beyond(0.3, 1)
        assert crosses(values, "both") == both
        assert values.texts("#show [data-show=wrong-1]") == [f"net B: |residual| > 0.3 {len(beyond(0.3, 1))}"]
        assert f"{len(beyond(0.3, 0))} off by more than 0.3;" in values.texts("#headline")[0]
        worst = np.nan_to_num(np.abs([residuals(0), residuals(1)])).max(axis=0)
        assert set(values.gallery()) == both
        # Planted residuals are all 2, but for the rounding of float32.
        assert (np.diff(worst[values.gallery()]) < 1e-6).all()
        assert values.texts("#gallery-count")[0] == f"{len(both)} · largest residual first"
        assert values.texts("#sign") == ["|residual| > 0.3"]

    def test_the_keyboard_moves_the_threshold_and_a_number_can_be_typed(self, values):
        values.page.locator("#threshold").focus()
        values.page.keyboard.press("End")
        values.settle()
        assert crosses(values, "0") == set()
        values.page.locator("#threshold-number").fill("0.45")
        values.settle()
        assert crosses(values, "1") == beyond(0.45, 1)
        assert values.js("document.getElementById('threshold').getAttribute('aria-valuetext')") == "0.45"
        values.page.locator("#threshold-choice button").click()
        values.settle()
        assert crosses(values, "0") == set(range(15))

    def test_a_selection_of_errors_follows_the_threshold(self, values):
        values.page.locator("#headline .number", has_text="15").first.click()
        assert values.selected() == list(range(15))
        move_threshold(values, 0.4)
        assert values.selected() == sorted(beyond(0.4, 0))
        assert values.texts("#gallery-title") == ["net A: |residual| > 0.4"]

    def test_colours_are_the_numbers_and_the_scale_says_which(self, values):
        np.testing.assert_allclose(values.column("code"), VALUES.values.astype(np.float32))
        known = [VALUES.values, *(network.values for network in VALUES.networks)]
        scale = Scale.of(np.concatenate(known).astype(float))
        assert values.texts("#legend") == [f"true value ≤ −{-scale.low:.2f} ≥ {scale.high:.2f} no value"]
        values.page.select_option("#color", "residual-1")
        np.testing.assert_allclose(values.column("code"), residuals(1), atol=1e-6)
        low, high = values.js(
            """() => { const all = [...Bokeh.documents.at(-1)._all_models.values()];
            const { low, high } = all.find((model) => model.name === "colors"); return [low, high]; }"""
        )
        assert low == -high
        values.page.select_option("#color", "value-0")
        np.testing.assert_allclose(values.column("code"), VALUES.networks[0].values, atol=1e-6)
        assert "no value" not in values.texts("#legend")[0]

    def test_card_and_journey_show_values_residuals_and_the_mean_of_the_neighbours(self, values):
        values.js("location.hash = 'sample=3'")
        values.settle()
        network = VALUES.networks[0]
        card = values.texts("#card")[0].replace("−", "-").split()
        assert float(card[card.index("value") + 1]) == pytest.approx(VALUES.values[3], rel=0.005)
        assert card[card.index("A:") + 2] == "-2"  # its residual, by construction
        assert values.js("document.querySelectorAll('#card .prediction.wrong').length") == 1
        near = network.panels[0].neighbors[3]
        shown = float(values.texts("#journey .vote")[1].replace("−", "-"))
        assert shown == pytest.approx(np.nanmean(VALUES.values[near]), abs=0.01)

    def test_a_sample_without_a_value_has_no_residual(self, values):
        values.js("location.hash = 'sample=100'")
        values.settle()
        assert "has no true value" in values.texts("#card")[0]
        assert values.js("document.querySelectorAll('#card .residual, #card .wrong').length") == 0

    def test_a_cell_of_the_plot_selects_its_samples(self, values):
        cells = values.page.locator("#matrix .cell")
        assert cells.count() > 10
        first = cells.first
        first.focus()
        values.page.keyboard.press("Enter")
        name, count = values.js(
            "document.querySelector('#matrix .cell title').textContent.match(/(.*) [(](.*)[)]/).slice(1)"
        )
        assert (values.texts("#gallery-title"), len(values.selected())) == ([name], int(count))
        # All samples with both numbers are in some cell.
        names = values.js("[...document.querySelectorAll('#matrix .cell title')].map((title) => title.textContent)")
        total = sum(int(name[name.rindex("(") + 1 : -1]) for name in names)
        assert total == 298

    def test_the_headline_selects_what_is_within_the_median(self, values):
        values.page.locator("#headline .number").first.click()
        sizes = np.abs(residuals(0))
        assert values.selected() == np.flatnonzero(sizes <= np.nanmedian(sizes)).tolist()

    def test_curves_have_a_negative_axis(self, values):
        texts = values.page.locator("#curves .tick").all_text_contents()
        ticks = [float(text.replace("−", "-")) for text in texts if text not in ("input", "output")]
        assert min(ticks) < 0 < max(ticks)
        assert values.texts(".panel .purity")[:2] == ["R² −0.30", "−0.20"]

    def test_exports_have_truth_prediction_and_residual(self, values):
        rows = list(csv.DictReader(io.StringIO(saved_records(values, "#export-csv"))))
        assert len(rows) == 5
        for row in rows:
            at = int(row["row"])
            assert float(row["truth"]) == VALUES.values[at]
            for k, name in enumerate("AB"):
                assert np.float32(row[f"net {name} prediction"]) == VALUES.networks[k].values[at]
                assert float(row[f"net {name} residual"]) == pytest.approx(residuals(k)[at], abs=1e-6)


class TestLabels:
    def test_over_all_labels_crosses_are_inexact_matches(self, labels):
        assert crosses(labels, "0") == set(range(15))
        counts = np.zeros(300)
        counts[:15], counts[:5] = 1, 2
        np.testing.assert_array_equal(labels.column("code"), counts)
        assert labels.gallery() == list(range(10, 15))
        assert labels.texts("#legend") == ["net A’s wrong labels 0 1 2"]

    @pytest.mark.parametrize("label", [0, 1, 9])
    def test_a_label_is_two_classes(self, labels, label):
        labels.page.select_option("#label-choice", str(label))
        truth = LABELS.label_sets[:, label]
        np.testing.assert_array_equal(labels.column("code"), truth)
        for k, network in enumerate(LABELS.networks):
            wrong = set(np.flatnonzero((network.probabilities[:, label] >= 0.5) != truth).tolist())
            assert crosses(labels, str(k)) == wrong
        assert labels.texts("#chips .name") == [f"not tag {label}", f"tag {label}"]
        labels.page.select_option("#matrix-choice", "1")
        said = LABELS.networks[0].probabilities[:, label] >= 0.5
        counts = [int(np.sum((truth == row) & (said == column))) for row in (False, True) for column in (False, True)]
        assert [int(text or 0) for text in labels.texts("#matrix td")] == counts
        labels.page.locator("#chips .chip").first.click()
        assert labels.drawn("stage") == set(np.flatnonzero(truth).tolist())

    def test_votes_of_a_label_are_those_of_the_neighbours(self, labels):
        labels.page.select_option("#label-choice", "0")
        labels.js("location.hash = 'sample=40'")
        labels.settle()
        for step, panel in enumerate(LABELS.panels):
            share = LABELS.label_sets[panel.neighbors[40], 0].mean()
            if share != 0.5:
                assert labels.texts("#journey .vote")[step] == ("tag 0" if share > 0.5 else "not tag 0")

    def test_all_labels_come_back(self, labels):
        before = labels.texts("#toolbar")
        labels.page.select_option("#label-choice", "2")
        assert labels.texts("#headline")[0].startswith("tag 2: ")
        labels.page.select_option("#label-choice", "")
        assert labels.texts("#toolbar") == before
        assert crosses(labels, "1") == set(range(10, 25))

    def test_the_list_has_samples_errors_and_accuracy_and_a_click_chooses(self, labels):
        rows = [text.split() for text in labels.texts("#matrix tbody tr")]
        assert rows[0] == ["tag", "0", str(LABELS.label_sets[:, 0].sum()), "15", "95.0%", "15", "95.0%"]
        assert rows[1] == ["tag", "1", str(LABELS.label_sets[:, 1].sum()), "5", "98.3%", "5", "98.3%"]
        labels.page.locator("#matrix tbody button").first.focus()
        labels.page.keyboard.press("ArrowDown")
        labels.page.keyboard.press("Enter")
        assert labels.js("document.getElementById('label-choice').value") == "1"
        assert labels.js("document.activeElement.id") == "matrix-choice"

    def test_the_card_marks_wrong_and_missing_labels(self, labels):
        for row in (0, 3):
            labels.js(f"location.hash = 'sample={row}'")
            labels.settle()
            truth, said = LABELS.label_sets[row], LABELS.networks[0].probabilities[row] >= 0.5
            script = "(kind) => [...document.querySelector('#card .prediction').querySelectorAll(`.${kind} .name`)]"
            names = {
                kind: labels.js(f"{script}.map((name) => name.textContent)", kind)
                for kind in ("hit", "extra", "missing")
            }
            expected = {"hit": truth & said, "extra": said & ~truth, "missing": truth & ~said}
            assert names == {kind: [f"tag {k}" for k in np.flatnonzero(mask)] for kind, mask in expected.items()}

    def test_exports_have_lists_of_labels(self, labels):
        for record in json.loads(saved_records(labels, "#export-json")):
            truth = np.flatnonzero(LABELS.label_sets[record["row"]])
            said = np.flatnonzero(LABELS.networks[1].probabilities[record["row"]] >= 0.5)
            assert record["truth"] == "; ".join(f"tag {k}" for k in truth)
            assert record["net B prediction"] == "; ".join(f"tag {k}" for k in said)


def hostile(data: PageData) -> PageData:
    networks = tuple(replace(network, name=PAYLOADS[k]) for k, network in enumerate(data.networks))
    return replace(data, networks=networks, title=PAYLOADS[0], notes=PAYLOADS)


@pytest.mark.parametrize("kind", ["values", "labels"])
def test_hostile_names_are_inert_text(browser, tmp_path, kind):
    data = hostile(VALUES) if kind == "values" else replace(hostile(LABELS), class_names=PAYLOADS)
    with opened(browser, build_page(data).save(tmp_path / "page.html")) as tab:
        if kind == "values":
            move_threshold(tab, 0.3)
            assert tab.texts("#show [data-show=wrong-1]")[0].startswith(f"{PAYLOADS[1]}: |residual| > 0.3 ")
        else:
            tab.page.select_option("#label-choice", "0")
            assert tab.js("document.querySelectorAll('#chips .name')[1].textContent") == PAYLOADS[0]
        for option in tab.js("[...document.querySelectorAll('#color option')].map((option) => option.value)"):
            tab.page.select_option("#color", option)
        tab.settle()
        assert tab.js("window.hacked") is None
        assert tab.js("document.querySelectorAll('img').length") == 0
        assert tab.js("document.documentElement.scrollWidth") <= 1440


def without_predictions() -> PageData:
    rng = np.random.default_rng(0)
    panels = tuple(Panel(f"layer {k}", clusters(np.arange(60) % 3, 1.0, rng)) for k in range(3))
    note = "segmenter is shown without predictions: the output of a sample has the shape (3, 8, 8)"
    return PageData("maps", (Network("segmenter", panels),), notes=(note, "embedded by PCA"))


ODD = {
    "one network": replace(regression_page(n_networks=1), threshold=1.0),
    "no predictions": regression_page(networks=tuple(replace(n, values=None) for n in regression_page().networks)),
    "no true values": regression_page(values=None),
    "constant": regression_page(n_networks=1, values=np.full(300, 7.0)),
    "infinite": regression_page(
        networks=(replace(regression_page().networks[0], values=np.append(np.full(299, 0.5), np.inf)),)
    ),
    "perfect": regression_page(networks=(replace(regression_page().networks[0], values=regression_page().values),)),
    "one label": label_page(n_labels=2, n_networks=1),
    "labels without predictions": label_page(
        networks=tuple(replace(n, probabilities=None) for n in label_page().networks)
    ),
    "nothing": without_predictions(),
}


@pytest.mark.parametrize("kind", ODD)
def test_every_kind_of_data_makes_a_page_without_empty_boxes(browser, tmp_path, kind):
    with opened(browser, build_page(ODD[kind]).save(tmp_path / "page.html"), link="#sample=7") as tab:
        assert "#7" in tab.texts("#card")[0]
        for option in tab.js("[...document.querySelectorAll('#color option')].map((option) => option.value)"):
            tab.page.select_option("#color", option)
        for button in tab.page.locator("#show button:enabled").all():
            button.click()
        for select in ("#matrix-choice", "#label-choice"):
            for option in tab.js(f"[...document.querySelectorAll('{select} option')].map((option) => option.value)"):
                tab.page.select_option(select, option)
        tab.settle()
        empty = tab.js(
            """() => [...document.querySelectorAll("section.card, #toolbar, #show, #chips, #legend, #scores")]
            .filter((box) => box.checkVisibility() && !box.innerText.trim())
            .filter((box) => !box.querySelector("canvas, svg, select, input"))
            .map((box) => box.id)"""
        )
        assert empty == []


def test_choices_and_pills_of_a_multi_label_page_share_one_row_and_search_stands_beside_the_answers(labels):
    top, tools = (labels.page.locator(part).bounding_box() for part in ("#answer-row", "#tools"))
    assert top["y"] - 6 < tools["y"] < top["y"] + top["height"]
    tops = [labels.page.locator(part).bounding_box() for part in ("#show", "#label-of")]
    middles = [box["y"] + box["height"] / 2 for box in tops]
    assert max(middles) - min(middles) < 10


def test_why_there_are_no_predictions_stands_out(browser, tmp_path):
    with opened(browser, build_page(without_predictions()).save(tmp_path / "page.html")) as tab:
        assert tab.texts(".note.telling") == [without_predictions().notes[0]]
        for missing in ("matrix-section", "color", "journey-section", "queue-section"):
            assert tab.js("(id) => document.getElementById(id)", missing) is None
        color = "(query) => getComputedStyle(document.querySelector(query)).color"
        assert tab.js(color, ".note.telling") == tab.js(color, "#headline") != tab.js(color, "#about")


@pytest.mark.parametrize("kind", ["values", "labels"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser, pages, scheme, kind):
    with opened(browser, pages[kind], scheme=scheme) as tab:
        assert serious_violations(tab.page) == []
        if kind == "labels":
            tab.page.select_option("#label-choice", "0")
            assert serious_violations(tab.page) == []
