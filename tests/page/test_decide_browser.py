"""Deciding about suspect labels by hand: a slip decides one sample at most, and can be taken back."""

import pytest

from tests.browser import opened
from tests.pages import page_data
from torchviz_layers.corner_cases import CornerCase
from torchviz_layers.page import build_page

pytestmark = pytest.mark.browser

# In the order of the queue.
PROBABILITIES = {19: 0.95, 15: 0.9, 17: 0.798, 16: 0.7, 18: 0.3}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    targets = page_data(corner_cases=()).targets
    data = page_data(
        corner_cases=tuple(
            CornerCase("label suspect", row, 10 * p, f"doubted ({row})", p, proposed, str(proposed), 5)
            for row, p in PROBABILITIES.items()
            for proposed in [int((targets[row] + 1) % 10)]
        )
    )
    return build_page(data).save(tmp_path_factory.mktemp("decide") / "page.html")


@pytest.fixture(scope="module")
def shared(browser, path):
    with opened(browser, path) as tab:
        yield tab
        assert not tab.complaints


@pytest.fixture
def tab(shared):
    """The page at the first suspect, with nothing decided."""
    shared.js("localStorage.clear(); history.replaceState(null, '', location.pathname);")
    shared.page.reload()
    shared.page.wait_for_selector("html[data-ready=true]")
    return shared


def button(tab, name: str):
    return tab.page.locator("#relabel button", has_text=name)


def shown(tab) -> tuple[str, str]:
    """The sample on the card, and how many are decided."""
    return tab.texts("#card")[0].split()[0], tab.texts("#decided")[0].split()[0]


def pressed(tab) -> list[str]:
    return tab.js("[...document.querySelectorAll('#relabel [aria-pressed=true]')].map((b) => b.firstChild.data.trim())")


def test_a_double_click_or_a_held_key_decides_one_sample(tab):
    button(tab, "Change").dblclick()
    assert shown(tab) == ("#15", "1")
    for _ in range(5):  # down without up: the key repeats
        tab.page.keyboard.down("c")
    tab.page.keyboard.up("c")
    assert shown(tab) == ("#17", "2")
    button(tab, "Keep").focus()
    for _ in range(5):
        tab.page.keyboard.down("Enter")
    tab.page.keyboard.up("Enter")
    assert shown(tab) == ("#16", "3")


def test_the_decision_that_a_sample_has_is_withdrawn_when_it_is_pressed_again(tab):
    tab.page.keyboard.press("c")
    tab.page.keyboard.press("ArrowLeft")
    assert (shown(tab), pressed(tab)) == (("#19", "1"), ["Change"])
    tab.page.keyboard.press("c")
    assert (shown(tab), pressed(tab)) == (("#19", "0"), [])
    tab.page.keyboard.press("u")
    tab.page.keyboard.press("ArrowLeft")
    tab.page.keyboard.press("k")  # another decision replaces it
    assert shown(tab) == ("#15", "1")


def test_decisions_are_taken_back_one_by_one_each_with_its_sample(tab):
    undo = button(tab, "Undo")
    assert undo.is_disabled()
    for key in "kcu":
        tab.page.keyboard.press(key)
    undo.click()
    assert shown(tab) == ("#17", "2")
    tab.page.keyboard.press("Control+z")
    assert shown(tab) == ("#15", "1")
    tab.page.keyboard.press("k")
    tab.page.keyboard.press("z")
    tab.page.keyboard.press("z")
    assert (shown(tab), pressed(tab), undo.is_disabled()) == (("#19", "0"), [], True)
    tab.page.locator("#search").focus()
    tab.page.keyboard.press("z")
    assert tab.page.locator("#search").input_value() == "z"


def test_arrow_keys_in_the_list_of_classes_decide_nothing(tab):
    before = tab.page.locator("#new-label").input_value()
    tab.page.locator("#new-label").focus()
    tab.page.keyboard.press("ArrowDown")
    assert tab.page.locator("#new-label").input_value() != before
    assert shown(tab) == ("#19", "0")


def test_files_of_decisions_wait_for_one_and_say_so(tab):
    for kind in ("CSV", "JSON"):
        assert button(tab, kind).is_disabled()
        assert button(tab, kind).get_attribute("title").startswith("Nothing is decided yet.")
    tab.page.keyboard.press("k")
    assert button(tab, "CSV").is_enabled()
    tab.page.keyboard.press("z")
    assert button(tab, "JSON").is_disabled()


def test_a_pressed_button_looks_unlike_one_under_the_pointer(tab):
    looks = (
        "(element) => { const style = getComputedStyle(element); return [style.backgroundColor, style.borderColor]; }"
    )
    keep, change = button(tab, "Keep"), button(tab, "Change")
    plain = keep.evaluate(looks)
    keep.click()  # the pointer stays, and the next sample is shown
    hovered = keep.evaluate(looks)
    tab.page.keyboard.press("c")
    tab.page.keyboard.press("ArrowLeft")
    filled = change.evaluate(looks)
    assert plain[1] == hovered[1] != filled[1]
    assert filled[0] not in (plain[0], hovered[0])


def test_keys_are_seen_on_the_buttons(tab):
    assert tab.texts("#relabel kbd") == ["K", "C", "U", "Z"]


def test_a_suspects_probability_is_said_rounded_down(tab):
    assert tab.texts("#reason") == ["probably wrong: 95% · score 9.5 · doubted (19)"]
    title = tab.page.locator("#gallery .tile[data-sample='17']").get_attribute("title")
    assert "probably wrong: 79%" in title  # not 80%, which a threshold of 80% would leave out
    card = tab.page.locator("#answers .answer", has_text="wrong (≥")
    assert card.inner_text() == "4 labels are probably wrong (≥ 60%)"
    tab.page.locator("#least-suspicion").fill("20")
    assert card.inner_text() == "5 labels are perhaps wrong (≥ 20%)"
    assert "perhaps wrong: 30%" in tab.page.locator("#gallery .tile[data-sample='18']").get_attribute("title")


def test_the_queue_says_that_it_goes_by_score(tab):
    assert tab.texts("#queue-order") == ["· highest score first"]
    tab.page.locator("#queue-all").click()
    assert tab.gallery() == [19, 15, 17, 16]
    assert "highest score first" in tab.texts("#gallery-count")[0]
    tab.page.locator("#clear").click()
    assert "highest score first" not in tab.texts("#gallery-count")[0]


def test_suspects_that_the_card_selected_follow_the_threshold(tab):
    tab.page.locator("#answers .answer").filter(has_text="labels are probably wrong").click()
    assert tab.gallery() == [19, 15, 17, 16]
    tab.page.locator("#least-suspicion").fill("75")
    tab.settle()
    assert tab.gallery() == [19, 15, 17]
    assert tab.texts("#gallery-title") == ["Label suspects, ≥ 75%"]
    tab.page.locator("#least-suspicion").fill("99")
    tab.settle()
    tab.page.locator("#least-suspicion").fill("60")
    tab.settle()
    assert tab.selected() == []  # no suspect was left: the selection ended
