"""All of axe's rules, also those that it does not apply by itself, and the size of targets."""

from dataclasses import replace

import pytest

from tests.browser import opened
from tests.pages import page_data
from torchviz_layers.page import build_page

pytestmark = pytest.mark.browser

TWO = page_data()
TEXTS = page_data(images=None, texts=[f"sentence {k}" for k in range(300)])
PAGES = {
    "two networks": TWO,
    "one network of texts": replace(TEXTS, networks=TEXTS.networks[:1]),
    "a hundred classes": page_data(n_classes=100, class_names=tuple(f"organism number {k}" for k in range(100))),
}
# Controls smaller than 24 px whose circle of 24 px touches that of another; numbers in a sentence need none.
CROWDED = """() => {
  const controls = [...document.querySelectorAll("button, select, input, summary, #curves g[tabindex]")];
  const boxes = controls.filter((each) => !each.matches(".number") && each.checkVisibility())
    .map((each) => [each, each.getBoundingClientRect()]).filter(([, box]) => box.width > 2 && box.height > 2);
  const middle = (box) => [box.left + box.width / 2, box.top + box.height / 2];
  const small = boxes.filter(([, box]) => Math.min(box.width, box.height) < 23.5);
  return small.filter(([each, box]) => boxes.some(([other, of]) => {
    if (other === each || each.contains(other) || other.contains(each)) return false;
    const [[x, y], [u, v]] = [middle(box), middle(of)];
    return Math.hypot(x - u, y - v) < 23.5;
  })).map(([each]) => each.outerHTML.slice(0, 160));
}"""
AXE = """async () => (await axe.run({ rules: { "target-size": { enabled: true },
  "label-content-name-mismatch": { enabled: true } } })).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {name: build_page(data).save(folder / f"{k}.html") for k, (name, data) in enumerate(PAGES.items())}


@pytest.mark.parametrize(("size", "scheme"), [((1440, 900), "light"), ((390, 844), "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_no_target_is_crowded(browser, paths, name, size, scheme):
    from axe_playwright_python.base import AXE_FILE_PATH

    with opened(browser, paths[name], size=size, scheme=scheme) as tab:
        assert tab.js(CROWDED) == []
        tab.page.add_script_tag(path=AXE_FILE_PATH)
        assert tab.js(AXE) == []
        # And with the panel that says why two classes are confused.
        tab.page.locator("#answers button").filter(has_text="read as").first.click()
        tab.settle()
        assert tab.js(CROWDED) == []
        assert tab.js(AXE) == []
