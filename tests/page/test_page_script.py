"""The page's script as a whole: its modules fit together, and it runs on pages of every task and view."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.browser import chromium, opened
from tests.pages import page_data
from tests.task_pages import label_page, regression_page
from torchviz_layers.page import PageData, build_page
from torchviz_layers.page.assets import SCRIPTS, bundle, template

EXPORT = re.compile(r"^export (?:async )?(?:function|const|class) (\$|\w+)", re.M)
IMPORT = re.compile(r"^import \{([^}]*)\} from \"\./(\w+)\.js\";$", re.M)


def test_every_module_imports_only_what_modules_before_it_export():
    exported: dict[str, set[str]] = {}
    for name in (*SCRIPTS, "live"):
        text = template(f"js/{name}.js")
        for names, module in IMPORT.findall(text):
            wanted = {each.strip() for each in names.split(",") if each.strip()}
            assert wanted <= exported.get(module, set()), f"{name}.js imports from {module}.js"
        exported[name] = set(EXPORT.findall(text))
    # What the two patterns above did not recognise would stay in the bundle, where it is an error.
    assert not re.search(r"^(import|export)\b", bundle((*SCRIPTS, "live")), re.M)


N = 48
ROWS = np.random.default_rng(0).normal(size=(N, 3)).astype("f4")
VIEWS = {
    "image": {},
    "text": {"images": None, "texts": [f"text {k}" for k in range(N)]},
    "row": {"images": None, "rows": ROWS},
    "series": {"images": None, "series": ROWS[:, None]},
    "id": {"images": None},
}
COLUMNS = {"length": np.arange(N) / 7, "place": np.array(["a", "b", "c"])[np.arange(N) % 3]}


def of_task(task: str) -> PageData:
    if task == "regression":
        return regression_page(n=N)
    if task == "labels":
        return label_page(n=N)
    data = page_data(n=N, n_classes=3)
    if task == "nothing":
        networks = tuple(replace(network, probabilities=None) for network in data.networks)
        return replace(data, networks=networks, targets=None, class_names=(), corner_cases=())
    if task == "one":
        return replace(data, networks=data.networks[:1], corner_cases=())
    if task == "many":
        again = tuple(replace(data.networks[k % 2], name=f"net {k}") for k in range(12))
        return replace(data, networks=again, corner_cases=())
    return data


@pytest.mark.browser
def test_pages_of_every_task_and_view_are_ready_and_silent(tmp_path):
    tasks = ("classes", "regression", "labels", "nothing", "one", "many")
    views = list(VIEWS)
    with chromium() as browser:
        # Each task with one view, and each view with one task: what they share is the same for all.
        for k, task in enumerate(tasks):
            view = views[k % len(views)]
            data = replace(of_task(task), columns=COLUMNS, **VIEWS[view])
            with opened(browser, build_page(data).save(tmp_path / f"{task}.html")) as tab:
                assert tab.js("document.documentElement.dataset.view") == view, task
                assert tab.js("document.querySelector('#card .picture') !== null"), (task, view)
