import pytest

from tests.browser import chromium, opened
from torchviz_layers.page import build_page


# Of each module, not of the session: a running browser has an event loop, and tests elsewhere start one themselves.
@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def path(request, tmp_path_factory):
    """Page of the module's DATA."""
    return build_page(request.module.DATA).save(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="module")
def one_tab(browser, path):
    with opened(browser, path) as tab:
        yield tab


@pytest.fixture
def tab(one_tab):
    """The module's page as it was when it was opened."""
    one_tab.reset()
    return one_tab
