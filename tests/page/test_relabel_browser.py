"""Suspect labels on the page: the threshold, decisions by key, and their files, which `Samples.relabelled` reads."""

import csv
import io
import json

import numpy as np
import pytest

from tests.browser import opened
from tests.pages import page_data
from torchviz_layers.corner_cases import CornerCase
from torchviz_layers.data import Samples
from torchviz_layers.page import build_page

pytestmark = pytest.mark.browser

# Probabilities of rows 15 to 19, in another order than the rows: the strongest first is 19.
PROBABILITIES = {19: 0.95, 15: 0.9, 17: 0.8, 16: 0.4, 18: 0.05}


def proposed(row: int) -> int:
    return int((DRAWN.targets[row] + 1) % 10)


DRAWN = page_data(corner_cases=())
DATA = page_data(
    corner_cases=tuple(
        CornerCase("label suspect", row, 10 * p, f"doubted ({row})", p, proposed(row), str(proposed(row)), 137)
        for row, p in PROBABILITIES.items()
    )
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build_page(DATA).save(tmp_path_factory.mktemp("relabel") / "page.html")


@pytest.fixture
def tab(browser, path):
    with opened(browser, path) as tab:
        yield tab
        assert not tab.complaints


def saved(tab, button: str, folder) -> str:
    with tab.page.expect_download() as download:
        tab.page.locator(button).click()
    target = folder / download.value.suggested_filename
    download.value.save_as(target)
    return target


def set_threshold(tab, percent: int) -> None:
    tab.page.locator("#least-suspicion").fill(str(percent))


def test_queue_marks_and_counts_follow_the_threshold(tab):
    marked = "#gallery .tile.suspect"
    assert tab.texts("#suspicion output") == ["≥ 60%: 3 of 137 shown"]
    assert tab.texts("#position") == ["1 / 3"]
    assert tab.texts("#queue-cut") == ["The strongest 5 of 137 are listed."]
    assert tab.page.locator(marked).count() == 3
    set_threshold(tab, 0)
    assert (tab.texts("#suspicion output"), tab.page.locator(marked).count()) == (["≥ 0%: 5 of 137 shown"], 5)
    tab.page.locator("#queue-all").click()
    assert tab.gallery() == list(PROBABILITIES)  # by rank
    set_threshold(tab, 100)
    assert tab.page.locator(marked).count() == 0
    assert tab.texts("#reason") == ["None of these samples is above the threshold."]


def test_keys_decide_step_on_and_are_kept(tab, path, browser, tmp_path):
    tab.page.keyboard.press("c")
    tab.page.keyboard.press("k")
    tab.page.keyboard.press("u")
    assert tab.texts("#decided") == ["3 of 3 decided"]
    assert tab.texts("#card")[0].startswith("#19 ")
    assert tab.page.locator("#relabel [aria-pressed=true]").all_inner_texts() == ["Change C"]
    tab.page.wait_for_function("location.hash.includes('decisions=')")
    linked = tab.js("location.hash")
    given = [DRAWN.class_names[code] for code in DRAWN.targets]
    samples = Samples.of((np.asarray(DRAWN.images), given), class_names=DRAWN.class_names)
    for button in ("CSV", "JSON"):
        file = saved(tab, f"#relabel button:text-is('{button}')", tmp_path)
        relabelled = samples.relabelled(file)
        assert np.flatnonzero(relabelled.targets != samples.targets).tolist() == [19]
        assert relabelled.targets[19] == proposed(19)
    lines = json.loads(file.read_text())
    assert [(line["id"], line["decision"]) for line in lines] == [("19", "change"), ("15", "keep"), ("17", "unsure")]
    assert (lines[0]["probability"], lines[0]["reason"]) == (0.95, "doubted (19)")
    tab.page.reload()
    tab.page.wait_for_selector("html[data-ready=true]")
    assert tab.texts("#decided") == ["3 of 3 decided"]
    with opened(browser, path) as other:  # a colleague's browser
        other.js("(hash) => { location.hash = hash; }", linked)
        other.page.wait_for_function("document.getElementById('decided').textContent.startsWith('3')")


def test_another_class_can_be_chosen_and_the_gallerys_file_says_it(tab, tmp_path):
    other = str((proposed(19) + 1) % 10)
    other = other if other != str(DRAWN.targets[19]) else str((proposed(19) + 2) % 10)
    tab.page.select_option("#new-label", other)
    tab.page.locator("#queue-all").click()
    rows = list(csv.DictReader(io.StringIO(saved(tab, "#export-csv", tmp_path).read_text())))
    assert [row["row"] for row in rows] == ["19", "15", "17"]
    first = rows[0]
    assert (first["suspect"], first["suspect probability"], first["decision"]) == ("true", "0.95", "change")
    assert (first["proposed label"], first["suspect score"]) == (str(proposed(19)), "9.5")
    decided = saved(tab, "#relabel button:text-is('CSV')", tmp_path).read_text()
    assert next(csv.DictReader(io.StringIO(decided)))["new label"] == other


def test_tiles_say_truth_and_prediction(tab):
    right, said = DRAWN.targets[19], DRAWN.networks[0].predictions[19]
    assert tab.texts("#gallery .tile[data-sample='19'] .caption") == [f"{right} → {said}"]
