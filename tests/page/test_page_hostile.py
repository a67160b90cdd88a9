"""The page in a browser with data at their worst, at full size, and as read by assistive technology."""

import os
from dataclasses import replace

import numpy as np
import pytest

from tests.browser import opened, serious_violations
from tests.pages import mnist_page, page_data
from torchviz_layers.page import Network, PageData, Panel, build_page, plot_embedding
from torchviz_layers.page.thumbnails import thumbnails

pytestmark = pytest.mark.browser

PAYLOADS = (
    "<script>window.hacked = 1</script>",
    '</script><img src=x onerror="window.hacked = 1">',
    "\"quoted\" and 'quoted'",
    "🦊" * 3,
    "x" * 300,
    "{{ 7 * 7 }} {% raw %}",
    "${window.hacked = 1}",
    "@{sample}{safe} @image",
    "\u2028line\u2029",
    "  ",
)


@pytest.fixture
def saved(tmp_path):
    return lambda data: build_page(data).save(tmp_path / "page.html")


def test_hostile_names_are_inert_text_everywhere(browser, saved):
    hostile = page_data(class_names=PAYLOADS, title=PAYLOADS[0], notes=PAYLOADS[:2], ids=[PAYLOADS[1]] * 299 + ["#&="])
    networks = tuple(replace(network, name=PAYLOADS[k]) for k, network in enumerate(hostile.networks))
    networks = tuple(
        replace(network, panels=tuple(replace(panel, layer=PAYLOADS[k]) for k, panel in enumerate(network.panels)))
        for network in networks
    )
    cases = tuple(replace(case, kind=PAYLOADS[0], reason=PAYLOADS[1]) for case in hostile.corner_cases)
    with opened(browser, saved(replace(hostile, networks=networks, corner_cases=cases))) as tab:
        names = tab.js("[...document.querySelectorAll('#chips .name')].map((name) => name.textContent)")
        assert names == [*PAYLOADS[:-1], "(9)"]
        tab.page.locator("#chips .chip").nth(4).hover()
        tab.page.locator("#headline .number").first.click()
        tab.page.keyboard.press("ArrowRight")
        tab.settle()
        assert tab.js("window.hacked") is None
        assert tab.js("document.querySelectorAll('img').length") == 0
        assert tab.js("document.title") == PAYLOADS[0]
        assert tab.js("document.documentElement.scrollWidth") <= 1440


def test_samples_without_a_place_are_counted_and_never_ringed(browser, saved):
    data = page_data()
    Z = data.input_panel.Z.copy()
    Z[[15, 40]] = np.nan, np.inf
    with opened(browser, saved(replace(data, input_panel=replace(data.input_panel, Z=Z))), link="#layer=input") as tab:
        assert tab.texts("#stage-caption")[0].startswith("2 not embedded")
        assert tab.texts("#card")[0].startswith("#15 ")
        assert set(tab.rings()) == {"1", "2", "3", "4", "5"}
        assert len(tab.column("x0")) == 300


def bare() -> PageData:
    rng = np.random.default_rng(0)
    panels = tuple(Panel(f"layer {k}", rng.normal(size=(50, 2)).astype(np.float32)) for k in range(3))
    return PageData("bare", (Network("net", panels),))


def right_everywhere() -> PageData:
    data = page_data()
    outputs = np.eye(10, dtype=np.float32)[data.targets]
    networks = tuple(replace(network, probabilities=outputs) for network in data.networks)
    return replace(data, networks=networks, corner_cases=())


def test_without_errors_the_gallery_holds_all_samples_and_no_button_leads_to_none(browser, saved):
    with opened(browser, saved(right_everywhere())) as tab:
        assert tab.texts("#gallery-count") == ["300 · least certain first"]
        assert tab.texts("#card")[0].startswith("#0 ")
        assert tab.js("[...document.querySelectorAll('.pill:disabled')].map((pill) => pill.dataset.show)") == [
            "wrong-0",
            "wrong-1",
            "differ",
            "both-wrong",
        ]
    with opened(browser, saved(bare())) as tab:
        assert tab.texts("#gallery-count") == ["50"]  # nothing says which are certain
        assert tab.gallery() == list(range(50))


KINDS = {
    "one network": (
        replace(page_data(), networks=page_data().networks[:1]),
        "net A classifies 280 of 300 correctly; 20 are wrong.",
    ),
    "one class": (
        page_data(targets=np.zeros(300, int), corner_cases=(), class_names=("only",)),
        "net B fixes",
    ),
    "no errors": (right_everywhere(), "net A and net B classify all 300 samples correctly."),
    "no targets": (page_data(targets=None, corner_cases=()), "net A and net B differ on 20 of 300 samples."),
    "layouts alone": (bare(), "50 samples through 3 layers of net."),
    "texts": (page_data(images=None, texts=[f"film <b>{k}</b>" for k in range(300)]), "net B fixes 15"),
    "ids": (page_data(images=None, ids=[f"film-{k}" for k in range(300)]), "net B fixes 15"),
    "colour": (page_data(images=np.random.default_rng(0).uniform(size=(300, 3, 16, 16))), "net B fixes 15"),
    "different sizes": (page_data(images=[np.ones((1, 5 + k % 9, 8)) for k in range(300)]), "net B fixes 15"),
    "200 classes": (
        page_data(n=400, n_classes=200, class_names=[f"class {k}" for k in range(200)]),
        "net B fixes 15",
    ),
    "ten layers twice": (page_data(layers=(10, 10)), "net B fixes 15"),
    "one layer": (page_data(layers=(1,)), "net A classifies 280"),
    "one sample": (PageData("t", (Network("net", (Panel("a", np.zeros((1, 2), np.float32)),)),)), "1 sample through"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_makes_a_page_that_works(browser, saved, kind):
    data, sentence = KINDS[kind]
    with opened(browser, saved(data)) as tab:
        assert tab.texts("#headline")[0].startswith(sentence)
        Z = data.panels[0].Z
        tab.point_at("0", *Z[0])
        tab.page.mouse.down()
        tab.page.mouse.up()
        tab.settle()
        assert "#" in tab.texts("#card")[0]
        assert tab.js("document.querySelector('#card .picture').dataset.sample") is not None
        for value in tab.js("[...document.querySelectorAll('#color option')].map((option) => option.value).slice(-2)"):
            tab.page.select_option("#color", value)
        for button in tab.page.locator("#show button:enabled").all():
            button.click()
        assert tab.js("document.documentElement.scrollWidth") <= 1440


def test_a_text_is_shown_as_it_is(browser, saved):
    data, _ = KINDS["texts"]
    with opened(browser, saved(data), link="#sample=7") as tab:
        assert tab.texts("#card .words") == ["film <b>7</b>"]


def test_an_id_finds_its_sample(browser, saved):
    data, _ = KINDS["ids"]
    with opened(browser, saved(data), link="#sample=film-33") as tab:
        assert tab.js("document.querySelector('#card .picture').dataset.sample") == "33"


def test_a_notebook_s_frame_shows_the_page_and_its_link_does_no_harm(browser, tmp_path):
    path = tmp_path / "notebook.html"
    path.write_text(
        f"<!doctype html><link rel=icon href=data:,>{build_page(page_data())._repr_html_()}", encoding="utf-8"
    )
    inside = "document.querySelector('iframe') !== null && window.frames.length === 1"
    with opened(browser, path, ready=inside) as tab:
        frame = tab.page.frames[1]
        frame.wait_for_function("document.documentElement.dataset.ready === 'true'")
        frame.locator("#next").click()
        assert frame.locator("#card").inner_text().startswith("#16")
        assert frame.evaluate("(() => { try { return parent.document.title } catch { return 'apart' } })()") == "apart"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser, saved, scheme):
    with opened(browser, saved(page_data()), scheme=scheme) as tab:
        assert serious_violations(tab.page) == []


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize(("layers", "megabytes"), [((2, 7), 8.0), ((2, 2), 6.0)])
def test_ten_thousand_digits_stay_within_the_limits(browser, saved, layers, megabytes):
    path = saved(mnist_page(layers))
    assert path.stat().st_size <= megabytes * 1e6
    with opened(browser, path) as tab:
        ready = tab.js("performance.getEntriesByName('ready')[0].startTime")
        assert ready <= float(os.environ.get("TORCHVIZ_LAYERS_READY_MS", 5000)), "2000 on an idle machine"
        session = tab.page.context.new_cdp_session(tab.page)
        session.send("Performance.enable")
        session.send("HeapProfiler.collectGarbage")
        metrics = {item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]}
        assert metrics["JSHeapUsedSize"] <= 60e6


FIND_PICTURE = """async () => {
  const find = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.localName === "img" && element.src.startsWith("data:image/png")) return element;
      const inner = element.shadowRoot && find(element.shadowRoot);
      if (inner) return inner;
    }
    return null;
  };
  const image = find(document);
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return [image.parentElement.textContent.trim(), Array.from(data).filter((_, k) => k % 4 === 0)];
}"""


def test_the_plot_shows_the_picture_and_both_classes_under_the_pointer(browser, tmp_path):
    Z = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), axis=-1).reshape(-1, 2)
    images = np.random.default_rng(0).uniform(size=(36, 1, 9, 7)).astype(np.float32)
    predictions, targets = np.arange(36) % 3, np.arange(36) % 4
    path = plot_embedding(Z, images, predictions, targets, class_names=PAYLOADS[:4]).save(tmp_path / "plot.html")
    with opened(browser, path, ready="window.Bokeh?.documents[0]?.is_idle") as tab:
        for row in (7, 22):
            place = tab.js(
                """([x, y]) => { const view = Bokeh.index[Bokeh.documents[0].roots()[0].id];
                const box = view.el.getBoundingClientRect();
                return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)]; }""",
                Z[row].tolist(),
            )
            tab.page.mouse.move(*place)
            tab.settle()
            words, pixels = tab.js(FIND_PICTURE)
            assert pixels == thumbnails(images)[row].ravel().tolist()
            wrong = " ✕" if predictions[row] != targets[row] else ""
            assert words == f"#{row} {PAYLOADS[predictions[row]]} (true: {PAYLOADS[targets[row]]}){wrong}"
        assert tab.js("window.hacked") is None
