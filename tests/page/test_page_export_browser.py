"""The stage saved as a picture can be read without the page: it has a title, and a legend."""

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.browser import opened
from tests.pages import page_data
from torchviz_layers.page import build_page

pytestmark = pytest.mark.browser

NAMES = tuple(f"<b>class</b> & {letter}" for letter in "abcdefghij")
TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture(scope="module")
def tab(browser, tmp_path_factory):
    path = build_page(page_data(class_names=NAMES)).save(tmp_path_factory.mktemp("page") / "page.html")
    with opened(browser, path) as tab:
        yield tab


def saved(tab, kind: str) -> bytes:
    with tab.page.expect_download() as download:
        tab.page.locator(f"#export-{kind}").click()
    return download.value.path().read_bytes()


def texts(svg: bytes) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(TEXT)]


def test_an_svg_names_layer_network_samples_and_classes_as_text(tab):
    found = texts(saved(tab, "svg"))
    assert found[0] == "net B · dense_2"
    for part in ("made-up digits", "300 samples", "purity"):
        assert part in found[1]
    assert set(NAMES) <= set(found)
    assert any("wrong" in text for text in found)


def test_an_svg_of_values_has_their_scale_in_place_of_the_classes(tab):
    confidence = (
        "() => { const c = document.getElementById('color'); const o = [...c.options].find((o) => "
        "o.value.startsWith('confidence')); c.value = o.value; c.dispatchEvent(new Event('change')); }"
    )
    tab.js(confidence)
    svg = saved(tab, "svg")
    tab.reset()
    assert b"linearGradient" in svg
    assert any("0 to 1" in text for text in texts(svg))


def test_a_png_is_the_map_with_title_and_legend_around_it(tab):
    image = Image.open(io.BytesIO(saved(tab, "png")))
    width, height = tab.js(
        "(() => { const f = document.getElementById('figure-stage'); return [f.clientWidth, f.clientHeight]; })()"
    )
    assert image.width >= 3 * width
    assert image.height >= 3 * (height + 80)
    assert len(set(image.convert("RGB").resize((64, 64)).getdata())) > 20
