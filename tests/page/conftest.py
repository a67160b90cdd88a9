import pytest

from tests.browser import chromium


# Of each module, not of the session: a running browser has an event loop, and tests elsewhere start one themselves.
@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running
