"""Pictures in a page: which keep every pixel, how large the others are shown, and where each stands on its sheet."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image, features

from tests.pages import page_data, photographs, unpacked
from torchviz_layers.exceptions import PageError
from torchviz_layers.page import pictures
from torchviz_layers.page.build import build_page
from torchviz_layers.page.pictures import PICTURES_BUDGET, SHEET, Plan, Sheet, planned, shown_pictures
from torchviz_layers.page.sampling import thinned


def decoded(sheet: Sheet) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(sheet.data))) as file:
        return np.asarray(file.convert("RGB"))


def tiles(shown) -> np.ndarray:
    """All places of all sheets, row by row, as the page's script finds them."""
    height, width = shown.meta["height"], shown.meta["width"]
    across, down = shown.meta["across"], shown.meta["down"]
    found = []
    for sheet in map(decoded, shown.sheets):
        for place in range(across * down):
            top, left = place // across * -(-height // 16) * 16, place % across * -(-width // 16) * 16
            if top + height <= sheet.shape[0] and left + width <= sheet.shape[1]:
                found.append(sheet[top : top + height, left : left + width])
    return np.stack(found)


def bytes_of(shown) -> int:
    return sum(len(sheet.data) for sheet in shown.sheets)


def drawings(n: int) -> np.ndarray:
    """Strokes on black, float32 (n, 1, 28, 28)."""
    images = np.zeros((n, 1, 28, 28), np.float32)
    images[np.arange(n), :, 4 + np.arange(n) % 20, 5:22] = 1
    return images


@pytest.mark.parametrize("images", [drawings(2_000), (drawings(50)[:, 0] * 255).astype(np.uint8)])
def test_drawings_keep_every_pixel(images):
    shown = shown_pictures(images)
    column = shown.columns["pixels"]
    pixels = unpacked(column["dtype"], column["shape"], column["data"])
    np.testing.assert_array_equal(pixels.ravel(), np.rint(images * (255 if images.dtype != np.uint8 else 1)).ravel())
    assert shown.sheets == ()


def test_a_few_small_photographs_keep_every_pixel_and_many_do_not():
    few, many = photographs(20, 32), np.resize(photographs(900, 32), (4_000, 3, 32, 32))
    assert planned(few) == Plan(32, 32, lossless=True)
    assert planned(many) == Plan(32, 32, lossless=False)


def test_photographs_stand_on_the_sheets_in_the_order_of_their_rows():
    images = photographs(40, 100)
    shown = shown_pictures(images)
    assert (shown.meta["width"], shown.columns) == (100, {})
    middle = tiles(shown)[:40, 30:70, 30:70].astype(float).mean(axis=(1, 2))
    np.testing.assert_allclose(middle, images[:, :, 30:70, 30:70].mean(axis=(2, 3)), atol=4)


def test_no_picture_runs_into_the_next():
    images = np.zeros((9, 3, 90, 90), np.uint8)
    images[::2] = 255  # white beside black
    found = tiles(shown_pictures(images))[:9].astype(int)
    np.testing.assert_allclose(found, np.moveaxis(images, 1, -1), atol=3)


def test_two_hundred_photographs_are_shown_as_large_as_they_are():
    assert planned(photographs(200)) == Plan(224, 224, lossless=False)


def test_the_more_photographs_the_smaller_they_are_within_the_budget(monkeypatch):
    images = photographs(300, 128)
    monkeypatch.setattr(pictures, "PICTURES_BUDGET", bytes_of(shown_pictures(images)) // 3)
    shown = shown_pictures(images)
    assert 48 <= shown.meta["width"] < 128
    assert 0.4 * pictures.PICTURES_BUDGET < bytes_of(shown) < 1.1 * pictures.PICTURES_BUDGET
    assert shown.shrinking == f"pictures shrunk from 128 x 128 to {shown.meta['width']} x {shown.meta['width']} px"


def test_pictures_that_keep_their_size_are_not_said_to_be_shrunk():
    assert [shown_pictures(images).shrinking for images in (photographs(20), drawings(10), None)] == [""] * 3


def test_no_sheet_is_larger_than_a_browser_decodes_at_once():
    sheets = [decoded(sheet) for sheet in shown_pictures(photographs(60)).sheets]
    assert len(sheets) == 4
    assert max(max(sheet.shape[:2]) for sheet in sheets) <= SHEET


def test_wide_pictures_keep_their_shape():
    assert planned(np.zeros((4, 1, 100, 400), np.uint8)) == Plan(56, 224, lossless=False)


def test_pictures_of_different_sizes_are_centred_in_squares():
    images = [np.full((1, 100, 40), 1, np.float32), np.full((3, 60, 100), 200, np.uint8)]
    shown = shown_pictures(images)
    first, second = tiles(shown)[:2]
    assert first.shape == (100, 100, 3)
    assert first[:, 36:64].min() > 250
    assert first[:, :24].max() < 5
    assert second[24:76].min() > 190
    larger = shown_pictures([*images, np.zeros((1, 400, 10), np.uint8)])
    assert larger.shrinking == "pictures of up to 400 px shrunk to at most 224 px"


def test_the_fourth_channel_is_dropped_and_nan_is_black():
    images = np.full((3, 4, 80, 80), 0.5, np.float32)
    images[1] = np.nan
    np.testing.assert_allclose(tiles(shown_pictures(images))[:3, 40, 40], [[128] * 3, [0] * 3, [128] * 3], atol=2)


def test_other_channels_are_refused_by_number():
    with pytest.raises(PageError, match=r"1, 3 or 4 channels"):
        shown_pictures(np.zeros((2, 5, 80, 80)))


def test_without_webp_the_sheets_are_jpeg(monkeypatch):
    monkeypatch.setattr(features, "check", lambda _: False)
    shown = shown_pictures(photographs(2, 96))
    assert shown.sheets[0].media_type == "image/jpeg"
    np.testing.assert_allclose(tiles(shown)[:2].mean((1, 2)), photographs(2, 96).mean((2, 3)), atol=3)


def test_a_page_of_a_part_shows_the_pictures_of_its_rows():
    images = photographs(300, 100)
    data = thinned(page_data(images=images), 60)
    found = tiles(shown_pictures(data.images))[:60, 30:70, 30:70].mean(axis=(1, 2))
    rows = data.sample_ids.astype(int)
    np.testing.assert_allclose(found, images[rows, :, 30:70, 30:70].mean(axis=(2, 3)), atol=4)


def test_a_page_of_many_photographs_stays_within_the_budget():
    page = build_page(page_data(images=photographs(300)))
    html = page.html
    assert len(re.findall(r"<script[^>]* data-sheet=", html)) == 19
    assert 'data-column="pixels"' not in html
    assert len(html) < PICTURES_BUDGET + (2 << 20)


def test_the_pictures_of_a_page_are_planned_once(monkeypatch):
    plans = []

    def counted(given):
        plans.append(len(given))
        return planned(given)

    monkeypatch.setattr(pictures, "planned", counted)
    build_page(page_data(images=photographs(300, 80)))
    assert plans == [300]
