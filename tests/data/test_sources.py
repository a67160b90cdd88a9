"""What networks are fed: what a plain loop over the data yields; of bare data, floats with channels first."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from torchviz_layers import Samples
from torchviz_layers.exceptions import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (9, 8, 10, 3), np.uint8)
FLOATS = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
LABELS = np.arange(9) % 3
ROWS = torch.from_numpy(RNG.normal(size=(9, 5)).astype("f4"))


class Items(Dataset):
    def __init__(self, make):
        self.make = make

    def __len__(self):
        return 9

    def __getitem__(self, row):
        return self.make(row)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(FLOATS[row], int(LABELS[row])) for row in range(9)])


def fed(samples, batch_size=4):
    return torch.cat([inputs for inputs, _, _ in samples.batches(batch_size)])


PAIRS = Items(lambda row: (FLOATS[row], int(LABELS[row])))


@pytest.mark.parametrize(
    "data",
    [
        PAIRS,
        Subset(PAIRS, range(2, 7)),
        ConcatDataset([PAIRS, Subset(PAIRS, [8, 0])]),
        TensorDataset(FLOATS, torch.from_numpy(LABELS)),
        Items(lambda row: (FLOATS[row].numpy(), int(LABELS[row]))),
        Items(lambda row: (ROWS[row].double(), int(LABELS[row]))),
        Items(lambda row: (ROWS[row].half().numpy(), int(LABELS[row]))),
        Items(lambda row: (torch.from_numpy(PIXELS[row]), int(LABELS[row]))),
    ],
    ids=["pairs", "subset", "concatenated", "tensors", "arrays", "float64", "float16", "bytes"],
)
def test_items_of_a_dataset_come_as_a_plain_loop_yields_them(data):
    samples = Samples.of(data)
    loop = list(DataLoader(data, 4))
    batches = list(samples.batches(4))
    assert len(batches) == len(loop)
    for (inputs, targets, _), (wanted, labels) in zip(batches, loop, strict=True):
        assert inputs.dtype == wanted.dtype
        assert torch.equal(inputs, wanted)
        assert torch.equal(targets, labels)
    assert samples.targets.tolist() == torch.cat([labels for _, labels in loop]).tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_keeps_its_batches_and_collation(workers):
    def collate(items):
        return torch.stack([x for x, _ in items]) * 2, [label for _, label in items]

    loader = DataLoader(PAIRS, 5, collate_fn=collate, drop_last=True, num_workers=workers)
    samples = Samples.of(loader)
    batches = list(samples.batches(2))
    assert [len(inputs) for inputs, _, _ in batches] == [5]
    assert torch.equal(batches[0][0], FLOATS[:5] * 2)
    assert len(samples) == 5
    assert samples.targets.tolist() == LABELS[:5].tolist()


def test_a_batch_sampler_of_ones_own_decides_the_order():
    samples = Samples.of(DataLoader(PAIRS, batch_sampler=[[3, 1], [8]]))
    assert torch.equal(fed(samples), FLOATS[[3, 1, 8]])
    assert samples.targets.tolist() == LABELS[[3, 1, 8]].tolist()


def test_a_stream_and_a_generator_are_read_in_their_order():
    assert torch.equal(fed(Samples.of(Stream())), FLOATS)
    assert torch.equal(fed(Samples.of(DataLoader(Stream(), 2))), FLOATS)
    samples = Samples.of((FLOATS[row], int(LABELS[row])) for row in range(9))
    for _ in range(2):  # the generator itself could be read only once
        assert torch.equal(fed(samples), FLOATS)


def test_batches_in_a_list_or_of_another_librarys_loader_are_batches():
    class Loader:
        def __iter__(self):
            return iter(DataLoader(TensorDataset(FLOATS, torch.from_numpy(LABELS)), 4))

    for data in (list(Loader()), iter(Loader()), Loader()):
        samples = Samples.of(data)
        assert torch.equal(fed(samples), FLOATS)
        assert samples.targets.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (PIXELS, FLOATS),
        (torch.from_numpy(PIXELS), FLOATS),
        (torch.from_numpy(PIXELS).permute(0, 3, 1, 2), FLOATS),
        (list(PIXELS), FLOATS),
        ([Image.fromarray(picture) for picture in PIXELS], FLOATS),
        (PIXELS[..., 0], FLOATS[:, :1]),
        ([Image.fromarray(picture[..., 0]) for picture in PIXELS], FLOATS[:, :1]),
        (PIXELS.astype(np.uint16) * 257, FLOATS),
        (PIXELS.astype(np.int64), FLOATS),
        (torch.from_numpy(PIXELS.astype(np.int32)), FLOATS),
        (FLOATS, FLOATS),
        (FLOATS.permute(0, 2, 3, 1).numpy(), FLOATS),
        (FLOATS.permute(0, 2, 3, 1), FLOATS.permute(0, 2, 3, 1)),
        (FLOATS.double(), FLOATS),
        (FLOATS.numpy().astype(">f4"), FLOATS),
        (FLOATS.clone().requires_grad_(), FLOATS),
        (FLOATS.bfloat16(), FLOATS.bfloat16()),
        (FLOATS[:, 0], FLOATS[:, 0]),
        (ROWS.numpy().astype(np.float64), ROWS),
        (ROWS.numpy().astype(np.float16), ROWS.half().float()),
        (ROWS.tolist(), ROWS),
        (np.ma.masked_array(ROWS.numpy()), ROWS),
        (ROWS > 0, (ROWS > 0).float()),
        (np.arange(18).reshape(9, 2), torch.arange(18).reshape(9, 2)),
    ],
)
def test_bare_data_are_fed_as_floats_with_channels_first(given, wanted):
    batch = fed(Samples.of(given))
    assert batch.dtype == wanted.dtype
    assert not batch.requires_grad
    torch.testing.assert_close(batch, wanted, rtol=0, atol=1e-6)  # a division by 255 in either order


def test_samples_targets_and_ids_may_be_given_together():
    samples = Samples.of((FLOATS, LABELS, list("abcdefghi")))
    assert torch.equal(fed(samples), FLOATS)
    assert samples.targets.tolist() == LABELS.tolist()
    assert samples.ids.tolist() == list("abcdefghi")


def test_arrays_of_a_store_are_read_slice_by_slice():
    import zarr

    assert torch.equal(fed(Samples.of((zarr.array(ROWS.numpy()), LABELS))), ROWS)


def test_files_that_are_mapped_and_arrays_that_are_read_only_are_fed(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS.numpy())
    for array in (np.load(tmp_path / "rows.npy", mmap_mode="r"), np.broadcast_to(ROWS.numpy(), ROWS.shape)):
        assert torch.equal(fed(Samples.of(array)), ROWS)


def test_whole_numbers_that_are_no_8_bit_pictures_are_refused():
    with pytest.raises(DataError, match="pictures of whole numbers from 0 to"):
        Samples.of(PIXELS.astype(np.int64) * 9)
    assert "taken as 8-bit" in Samples.of(PIXELS.astype(np.int64)).notice


def test_pictures_of_different_sizes_need_a_transform():
    pictures = [Image.fromarray(PIXELS[0]), Image.fromarray(PIXELS[1, :5])]
    with pytest.raises(DataError, match=r"different shapes.*transform="):
        fed(Samples.of(pictures))

    def resized(picture):
        return torch.from_numpy(np.asarray(picture.resize((4, 4))).copy()).permute(2, 0, 1) / 255

    samples = Samples.of(pictures, transform=resized)
    assert fed(samples).shape == (2, 3, 4, 4)
    assert [picture.shape for picture in samples.shown.images] == [(3, 8, 10), (3, 5, 10)]  # as they were


def test_a_transform_makes_the_input_and_not_what_is_shown():
    samples = Samples.of((PIXELS, LABELS), transform=lambda picture: torch.from_numpy(picture).flatten() * 2.0)
    torch.testing.assert_close(fed(samples), torch.from_numpy(PIXELS).flatten(1) * 2.0)
    np.testing.assert_array_equal(samples.shown.images, PIXELS.transpose(0, 3, 1, 2))


def test_texts_are_fed_as_they_are_tokenized_or_collated():
    texts = ["a bee", "an ant and", "cats"]

    def tokenizer(batch, padding, truncation, return_tensors):
        assert (padding, truncation, return_tensors) == (True, True, "pt")
        longest = max(map(len, batch))
        ids = torch.tensor([[ord(letter) for letter in text.ljust(longest)] for text in batch])
        return {"input_ids": ids, "attention_mask": (ids != ord(" ")).long()}

    ((inputs, targets, _),) = Samples.of((texts, [0, 1, 0])).batches()
    assert inputs == texts
    assert list(targets) == [0, 1, 0]
    for data in (texts, np.array(texts), [{"text": text, "label": 0} for text in texts], DataLoader(texts, 2)):
        samples = Samples.of(data, tokenizer=tokenizer)
        batches = [inputs for inputs, _, _ in samples.batches(2)]
        assert [set(inputs) for inputs in batches] == [{"input_ids", "attention_mask"}] * 2
        assert torch.equal(batches[0]["input_ids"], tokenizer(texts[:2], True, True, "pt")["input_ids"])
        assert samples.view == "text"
        assert samples.shown.texts == texts
    ((inputs, _, _),) = Samples.of(texts, collate=lambda batch: torch.tensor([[len(text)] for text in batch])).batches()
    assert inputs.tolist() == [[5], [10], [4]]


def test_a_dict_is_divided_into_inputs_targets_ids_and_columns():
    def item(row):
        return {"image": FLOATS[row], "label": int(LABELS[row]), "id": f"s{row}", "age": row, "site": "AB"[row % 2]}

    for data in (Items(item), [item(row) for row in range(9)], DataLoader(Items(item), 4)):
        samples = Samples.of(data)
        assert torch.equal(fed(samples), FLOATS)
        assert samples.targets.tolist() == LABELS.tolist()
        assert samples.ids.tolist() == [f"s{row}" for row in range(9)]
        assert samples.columns["age"].tolist() == list(range(9))
        assert samples.columns["site"].tolist() == list("ABABABABA")
    whole = {"image": PIXELS, "label": LABELS, "id": np.arange(9) + 5, "age": np.arange(9), "site": list("ABABABABA")}
    samples = Samples.of(whole)
    torch.testing.assert_close(fed(samples), FLOATS)
    assert samples.ids.tolist() == list(range(5, 14))
    assert set(samples.columns) == {"age", "site"}


def test_several_inputs_of_a_dict_are_the_networks_keyword_arguments():
    for data in (
        Items(lambda row: {"x": ROWS[row], "more": FLOATS[row], "y": int(LABELS[row])}),
        {"x": ROWS, "more": FLOATS, "y": LABELS},
        DataLoader(Items(lambda row: {"x": ROWS[row], "more": FLOATS[row], "y": int(LABELS[row])}), 4),
    ):
        samples = Samples.of(data)
        batches = [inputs for inputs, _, _ in samples.batches(4)]
        assert torch.equal(torch.cat([inputs["x"] for inputs in batches]), ROWS)
        assert torch.equal(torch.cat([inputs["more"] for inputs in batches]), FLOATS)
        assert samples.targets.tolist() == LABELS.tolist()
        assert samples.view == "image"


def test_a_dict_of_numbers_is_a_row_with_names():
    for data in (
        [{"a": row, "b": row / 2, "kind": "xy"[row % 2], "label": row % 2} for row in range(4)],
        {"a": np.arange(4), "b": np.arange(4) / 2, "kind": list("xyxy"), "label": [0, 1, 0, 1]},
        np.array(
            [(r, r / 2, "xy"[r % 2], r % 2) for r in range(4)],
            [("a", int), ("b", float), ("kind", "U1"), ("label", int)],
        ),
    ):
        samples = Samples.of(data)
        assert fed(samples).tolist() == [[row, row / 2] for row in range(4)]
        assert samples.view == "row"
        assert samples.shown.row_names == ("a", "b")
        assert samples.targets.tolist() == [0, 1, 0, 1]
        assert samples.columns["kind"].tolist() == list("xyxy")


def test_targets_may_be_a_column():
    data = [{"x": ROWS[row], "age": row / 3} for row in range(9)]
    samples = Samples.of(data, targets="age")
    np.testing.assert_allclose(samples.targets, np.arange(9) / 3)
    assert samples.task == "regression"
    with pytest.raises(DataError, match="row 0 has x, age"):
        fed(Samples.of(data, targets="size"))


@pytest.mark.parametrize(("third", "ids"), [("abcdefghi", list("abcdefghi")), (range(5, 14), list(range(5, 14)))])
def test_a_third_part_of_an_item_is_its_id(third, ids):
    for data in (
        Items(lambda row: (ROWS[row], 0, third[row])),
        DataLoader(Items(lambda row: (ROWS[row], 0, third[row])), 4),
    ):
        samples = Samples.of(data)
        assert samples.ids.tolist() == ids
        assert not samples.notice


def test_more_parts_of_an_item_are_left_out_with_a_notice():
    for data in (Items(lambda row: (ROWS[row], 0, ROWS[row])), Items(lambda row: (ROWS[row], 0, row, "more"))):
        samples = Samples.of(data)
        assert torch.equal(fed(samples), ROWS)
        assert "left out" in samples.notice


def test_masks_and_boxes_are_no_classes_and_the_notice_says_so():
    masks = Samples.of(Items(lambda row: (FLOATS[row], torch.zeros(8, 10, dtype=torch.long))))
    boxes = Samples.of(Items(lambda row: (FLOATS[row], {"boxes": torch.zeros(row, 4), "labels": torch.zeros(row)})))
    for samples, what in ((masks, r"targets of shape (8, 10)"), (boxes, "targets of type dict")):
        assert torch.equal(fed(samples), FLOATS)
        assert samples.task is None
        assert samples.targets is None
        assert what in samples.notice


def test_ids_of_files_come_through_wrappers(tmp_path):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    for row in range(4):
        folder = tmp_path / ("cat", "dog")[row % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(PIXELS[row]).save(folder / f"{row}.png")
    data = ImageFolder(tmp_path, ToTensor())
    for given in (Subset(data, [3, 0]), DataLoader(Subset(data, [3, 0]), 1)):
        samples = Samples.of(given)
        assert samples.ids.tolist() == ["dog/3.png", "cat/0.png"]
        assert samples.class_names == ("cat", "dog")
        assert samples.targets.tolist() == [1, 0]


def test_a_limit_takes_the_head_of_what_is_given_beside_a_stream():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(torch.arange(40.0).reshape(20, 2))

    samples = Samples.of(Stream(), targets=list(range(20)), columns={"age": list(range(20, 40))}, limit=5)
    assert len(samples) == 5
    assert samples.targets.tolist() == list(range(5))
    assert samples.columns["age"].tolist() == list(range(20, 25))
