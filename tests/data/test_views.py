"""How samples are shown: by their shapes, by what the caller says, and small."""

import numpy as np
import pytest
import torch
from PIL import Image

from torchviz_layers import Samples
from torchviz_layers.data.spilling import Rows
from torchviz_layers.data.views import thumbnails
from torchviz_layers.exceptions import DataError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "view"),
    [
        ((3, 8, 9), "image"),
        ((8, 9, 3), "image"),
        ((1, 28, 28), "image"),
        ((28, 28), "image"),
        ((16, 60), "image"),
        ((2, 64), "series"),
        ((64, 2), "series"),
        ((7, 20), "series"),
        ((16, 65), "series"),
        ((5,), "row"),
        ((4096,), "row"),
        ((4097,), "id"),
        ((13, 8, 8), "id"),
        ((3, 4, 8, 8), "id"),
    ],
)
def test_the_shape_of_a_sample_decides(shape, view):
    data = RNG.random((3, *shape), np.float32)
    for samples in (Samples.of(data), Samples.of(list(data)), Samples.of([(x, 0) for x in data])):
        assert samples.view == view
        assert samples.shown.view == view
        kinds = {"image": samples.shown.images, "row": samples.shown.rows, "series": samples.shown.series}
        assert [kind for kind, values in kinds.items() if values is not None] == ([] if view == "id" else [view])


def test_a_name_of_a_view_overrides():
    digits = RNG.random((4, 8, 8), np.float32)
    assert Samples.of(digits, view="series").shown.series.shape == (4, 8, 8)
    assert Samples.of(digits, view="row").shown.rows.shape == (4, 64)
    assert Samples.of(RNG.random((4, 30), np.float32), view="series").shown.series.shape == (4, 1, 30)
    assert Samples.of(RNG.random((4, 3, 30), np.float32), view="image").shown.images.shape == (4, 1, 3, 30)
    samples = Samples.of(digits, view="id")
    assert (samples.view, samples.shown.values) == ("id", None)
    with pytest.raises(DataError, match="view='text': samples are"):
        Samples.of(digits, view="text").shown  # noqa: B018 - it is read here


@pytest.mark.parametrize("given", [list("abcd"), np.array(list("abcd")), lambda row: "abcd"[int(row[0])]])
def test_texts_may_be_given_for_rows(given):
    samples = Samples.of(np.arange(8.0).reshape(4, 2) // 2, view=given)
    assert samples.view == "text"
    assert samples.shown.texts == list("abcd")
    for _ in samples.batches(3):
        pass
    assert samples.shown.texts == list("abcd")
    assert samples[[2, 1]].shown.texts == ["c", "b"]


def test_pictures_may_be_given_for_rows():
    pictures = [Image.fromarray(RNG.integers(0, 256, (h, 5, 3), np.uint8)) for h in (4, 6)]
    samples = Samples.of(np.zeros((2, 3)), view=pictures)
    assert [picture.shape for picture in samples.shown.images] == [(3, 4, 5), (3, 6, 5)]
    array = RNG.integers(0, 256, (2, 3, 5, 5), np.uint8)
    np.testing.assert_array_equal(Samples.of(np.zeros((2, 3)), view=array).shown.images, array)


def test_thumbnails_keep_their_shape_and_average_what_they_shrink():
    picture = torch.zeros(1, 3, 256, 128)
    picture[:, :, :128] = 1
    small, stretched = thumbnails(picture)
    assert small.shape == (1, 3, 64, 32)
    assert (small[0, :, :32] == 255).all()
    assert not small[0, :, 32:].any()
    assert stretched == 0
    noise = torch.from_numpy(RNG.random((2, 3, 128, 128), np.float32))
    means = noise.reshape(2, 3, 64, 2, 64, 2).mean((3, 5))
    np.testing.assert_allclose(thumbnails(noise)[0], means * 255, atol=0.51)  # rounded


def test_numbers_that_are_not_finite_leave_the_picture_visible():
    picture = torch.full((1, 1, 4, 4), 0.5)
    picture[0, 0, 0, 0], picture[0, 0, 1, 1] = float("nan"), float("inf")
    small, _ = thumbnails(picture)
    assert small[0, 0, 3, 3] in (127, 128)


@pytest.mark.parametrize("length", [200, 256, 257, 1000, 4096])
def test_long_series_are_means_of_their_parts(length):
    series = RNG.normal(size=(3, 2, length)).astype("f4")
    shown = Samples.of(series).shown.series
    assert shown.shape == (3, 2, min(length, 256))
    if length % 256 == 0:
        np.testing.assert_allclose(shown, series.reshape(3, 2, 256, -1).mean(3), atol=1e-5)
    weights = np.diff(np.append(np.arange(shown.shape[2]) * length // shown.shape[2], length))
    np.testing.assert_allclose((shown * weights).sum(2) / length, series.mean(2), atol=1e-5)


def test_the_longer_axis_of_a_series_is_time():
    series = RNG.normal(size=(3, 100, 2)).astype("f4")
    np.testing.assert_array_equal(Samples.of(series).shown.series, series.transpose(0, 2, 1))


def test_shorter_series_end_in_nan():
    def collate(items):
        return torch.stack([torch.nn.functional.pad(x, (0, 60 - x.shape[1])) for x in items])

    series = [torch.ones(2, length) for length in (60, 40)]
    shown = Samples.of(series, collate=collate).shown.series
    assert np.isnan(shown[1, :, 40:]).all()
    assert (shown[1, :, :40] == 1).all()


def test_pictures_of_different_sizes_are_a_list():
    pictures = [RNG.integers(0, 256, (size, 9, 3), np.uint8) for size in (9, 12)]
    shown = Samples.of(pictures, collate=lambda items: torch.zeros(len(items), 3)).shown.images
    for small, picture in zip(shown, pictures, strict=True):
        np.testing.assert_array_equal(small, picture.transpose(2, 0, 1))


def test_tokens_are_shown_as_the_text_that_a_tokenizer_makes_of_them():
    class Tokenizer:
        def __call__(self, *_args, **_options):
            raise AssertionError("the batches are tokens already")

        def batch_decode(self, ids, skip_special_tokens):
            assert skip_special_tokens
            return ["".join(map(chr, row)) for row in ids.tolist()]

    tokens = torch.tensor([[97, 98], [99, 100]])
    samples = Samples.of({"input_ids": tokens, "attention_mask": torch.ones(2, 2)}, tokenizer=Tokenizer())
    assert samples.shown.texts == ["ab", "cd"]


def test_a_text_beside_its_tokens_is_shown_and_not_fed():
    items = [{"input_ids": torch.tensor([97, 98]), "text": "ab", "label": 0}] * 3
    samples = Samples.of(items)
    assert samples.shown.texts == ["ab"] * 3
    ((inputs, _, _),) = samples.batches()
    assert inputs.shape == (3, 2)
    assert "text" not in samples.columns


def test_rows_are_the_same_in_memory_and_in_a_file():
    blocks = [RNG.random((n, 5), np.float32) for n in (3, 1, 7)]
    wanted = np.concatenate(blocks).ravel()
    for in_memory in (0, 100, 1 << 20):
        rows = Rows(np.float32, in_memory)
        for block in blocks:
            rows.append(block)
        np.testing.assert_array_equal(rows.read(), wanted)
        assert isinstance(rows.read(), np.memmap) == (in_memory < wanted.nbytes)
        assert not rows.read().flags.writeable
    assert Rows(np.uint8).read().shape == (0,)
