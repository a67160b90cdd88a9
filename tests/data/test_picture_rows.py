import numpy as np
import torch

from torchviz_layers.data.picture_rows import PictureRows


def recorded(batches, in_memory: int):
    rows = PictureRows(in_memory)
    for batch in batches:
        rows.append(batch)
    return rows, rows.read()


def test_few_pictures_are_kept_at_224_pixels():
    images = torch.randint(0, 256, (6, 3, 224, 224), dtype=torch.uint8)
    _, kept = recorded(images.split(4), 1 << 20)
    np.testing.assert_array_equal(kept, images)


def test_larger_pictures_are_shrunk_to_224_pixels():
    _, kept = recorded([torch.zeros(2, 3, 448, 300)], 1 << 20)
    assert kept.shape == (2, 3, 224, 150)


def test_more_pictures_are_all_kept_at_one_smaller_size_in_their_order():
    images = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 1, 200, 200)
    for in_memory, side in ((1 << 20, 128), (1 << 18, 64), (1 << 10, 64)):
        rows, kept = recorded(images.split(8), in_memory)
        assert rows.edge == side
        assert kept.shape == (40, 1, side, side)
        np.testing.assert_array_equal(kept[:, 0, 5, 7], np.arange(40))


def test_pictures_of_different_sizes_are_a_list_however_many_they_are():
    images = [torch.full((1, 1, 100 + k, 80), k, dtype=torch.uint8) for k in range(10)]
    for in_memory, side in ((1 << 20, 109), (1 << 10, 64)):
        _, kept = recorded(images, in_memory)
        assert [picture.max() for picture in kept] == list(range(10))
        assert max(picture.shape[1] for picture in kept) == side


def test_means_of_areas_are_kept_when_all_are_shrunk():
    half = torch.zeros(3, 1, 128, 128)
    half[..., 64:] = 1
    _, kept = recorded([half], 1 << 10)
    assert (kept[..., :32] == 0).all()
    assert (kept[..., 32:] == 255).all()
