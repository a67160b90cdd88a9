"""Photographs in a browser: every picture is that of its own sample, whatever was filtered, however late it comes."""

import numpy as np
import pytest

from tests.browser import Tab, opened
from tests.pages import page_data, photographs
from torchviz_layers.page.build import build_page

IMAGES = photographs(60, 224)
MIDDLE = slice(96, 128)
OWN = IMAGES[:, :, MIDDLE, MIDDLE].mean(axis=(2, 3))  # colours are ten steps apart, WebP is off by some two

SHOWN = """() => [...document.querySelectorAll("canvas.picture")].map((canvas) => {
    // On a canvas of its own: Chromium warns where one that a page paints is read again and again.
    const copy = new OffscreenCanvas(32, 32).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 96, 96, 32, 32, 0, 0, 32, 32);
    const { data } = copy.getImageData(0, 0, 32, 32);
    const mean = (c) => data.filter((_, k) => k % 4 === c).reduce((sum, value) => sum + value, 0) / 1024;
    const around = canvas.closest("[data-sample]:not(canvas)") ?? canvas;
    return [Number(around.dataset.sample), mean(0), mean(1), mean(2), mean(3)]; })"""


@pytest.fixture(scope="module")
def tab(browser, tmp_path_factory):
    path = build_page(page_data(n=60, images=IMAGES)).save(tmp_path_factory.mktemp("page") / "photographs.html")
    with opened(browser, path) as opened_tab:
        yield opened_tab


def shown(tab: Tab) -> np.ndarray:
    """Row and mean colour of every picture on the page, when all are decoded."""
    for _ in range(50):
        found = np.array(tab.js(SHOWN))
        if (found[:, 4] == 255).all():
            break
        tab.settle()
    return found


def test_every_photograph_is_that_of_its_own_sample_whatever_the_filter(tab):
    tab.reset()
    tab.page.locator("[data-show=wrong-0]").click()
    tab.page.locator("#chips .chip").nth(2).click()
    found = shown(tab)
    rows = found[:, 0].astype(int)
    assert len(set(rows)) > 20
    assert rows.max() >= 48  # on the last sheet, too
    np.testing.assert_allclose(found[:, 1:4], OWN[rows], atol=4)


def test_a_photograph_that_comes_late_is_not_painted_over_a_later_one(tab):
    tab.reset()
    # Two samples of different sheets: the second is asked for while the first one's sheet may still be in work.
    click = """(sample) => document.querySelector(`#gallery [data-sample="${sample}"]`).click()"""
    tab.js(f"() => [16, 15].forEach({click})")
    found = shown(tab)
    card = tab.js("[...document.querySelectorAll('canvas.picture')].findIndex((canvas) => canvas.closest('#card'))")
    np.testing.assert_allclose(found[card, 1:4], OWN[15], atol=4)
    np.testing.assert_allclose(found[:, 1:4], OWN[found[:, 0].astype(int)], atol=4)


def test_photographs_are_smooth_and_tiles_are_large_enough_to_see(tab):
    tab.reset()
    rendering, tile, portrait = tab.js(
        """() => [getComputedStyle(document.querySelector("#card canvas")).imageRendering,
        document.querySelector("#gallery .tile").offsetWidth, document.querySelector("#card .portrait").offsetWidth]"""
    )
    assert rendering == "auto"
    assert tile >= 48
    assert portrait >= 140
