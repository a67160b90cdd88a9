"""Data that are no batches: whatever `Samples.of` takes."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import Samples, extract
from torchviz_layers.exceptions import DataError, ModelError
from torchviz_layers.extraction import InputRows
from torchviz_layers.extraction.feeding import TargetColumn

N = 20
PICTURES = np.random.default_rng(0).integers(0, 256, (N, 6, 6, 3), np.uint8)
FED = torch.from_numpy(PICTURES).permute(0, 3, 1, 2).float() / 255  # as a network is fed them
ROWS = whole_samples(N, 5)
CLASSES = np.arange(N) % 3
NAMES = np.array(["ant", "bee", "cat"])[CLASSES]


class Fed(nn.Module):
    """Outputs what it is fed."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x):
        return self.layer(x)


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(ROWS, CLASSES.tolist(), strict=True))


class Like:
    """A dataset that is none of PyTorch's."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        return ROWS[index], int(CLASSES[index])


def pictures():
    from PIL import Image

    return [Image.fromarray(picture) for picture in PICTURES]


def frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    return pandas.DataFrame(ROWS.numpy(), columns=list("abcde"))


@pytest.mark.parametrize(
    ("make", "fed", "targets"),
    [
        (lambda: ROWS, ROWS, None),
        (lambda: ROWS.numpy(), ROWS, None),
        (lambda: PICTURES, FED, None),
        (lambda: (FED, CLASSES), FED, CLASSES),
        (lambda: (ROWS, torch.eye(3)[CLASSES]), ROWS, np.eye(3)[CLASSES]),
        (lambda: (ROWS, ROWS[:, 0]), ROWS, ROWS[:, 0]),
        (lambda: (ROWS, list(NAMES)), ROWS, NAMES),
        (lambda: (ROWS, None), ROWS, None),
        (lambda: {"rows": ROWS, "label": CLASSES}, ROWS, CLASSES),
        (lambda: TensorDataset(ROWS, torch.from_numpy(CLASSES)), ROWS, CLASSES),
        (lambda: Items(list(zip(ROWS, NAMES, strict=True))), ROWS, NAMES),
        (Stream, ROWS, CLASSES),
        (Like, ROWS, CLASSES),
        (lambda: list(zip(ROWS, CLASSES.tolist(), strict=True)), ROWS, CLASSES),
        (lambda: [{"x": row, "label": int(label)} for row, label in zip(ROWS, CLASSES, strict=True)], ROWS, CLASSES),
        (pictures, FED, None),
        (lambda: (pictures(), CLASSES), FED, CLASSES),
        (frame, ROWS, None),
        (lambda: Samples.of(ROWS, targets=CLASSES), ROWS, CLASSES),
    ],
    ids=[
        "tensor", "array", "uint8 pictures", "pair", "pair of tensors", "pair with numbers", "pair with texts",
        "pair without targets", "dict", "TensorDataset", "Dataset", "IterableDataset", "duck", "list of pairs",
        "list of dicts", "PIL", "pair with PIL", "DataFrame", "Samples",
    ],
)  # fmt: skip
def test_samples_are_read_in_batches(make, fed, targets):
    sizes = []
    model = Fed()
    model.register_forward_hook(lambda _module, args, _output: sizes.append(len(args[0])))
    acts = extract(model, make(), batch_size=8)
    np.testing.assert_allclose(acts["layer"], fed, rtol=1e-6)  # x / 255 and x * (1 / 255) differ by rounding
    assert sizes == [2, 8, 8, 4]
    assert acts.targets is None if targets is None else np.array_equal(acts.targets, targets)


@pytest.mark.parametrize(
    "batches",
    [
        (ROWS[:8], ROWS[8:]),
        ROWS.split(10),
        [ROWS[:10], ROWS[10:]],
        ((ROWS[:10], CLASSES[:10]), (ROWS[10:], CLASSES[10:])),
        DataLoader(TensorDataset(ROWS), batch_size=7),
        (part for part in ROWS.split(4)),
    ],
    ids=["two tensors", "split", "list", "tuples", "DataLoader", "generator"],
)
def test_batches_stay_batches(batches):
    acts = extract(Fed(), batches, batch_size=3)
    np.testing.assert_array_equal(acts["layer"], ROWS)


def test_a_tuple_of_two_of_one_length_and_other_shapes_is_samples_and_targets_and_a_list_is_batches():
    one, other = torch.zeros(4, 6), torch.ones(4, 8)
    assert extract(Fed(), (one, other)).targets.shape == (4, 8)
    assert extract(Fed(), [one, other], ragged="pad").n_samples == 8


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (object(), "data of type object"),
        ("no such data", "'no such data' names nothing here"),
        ((FED, CLASSES[:10]), "10"),
        (["a text", "and another"], "the samples are texts.*tokenizer"),
        (Items([]), "empty"),
    ],
)
def test_what_is_neither_batches_nor_samples_is_an_error(data, message):
    with pytest.raises(DataError, match=message):
        extract(Fed(), data)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, None])
def test_a_batch_size_that_is_none_is_an_error(size):
    with pytest.raises(DataError, match=r"batch_size=.*at least 1"):
        extract(Fed(), ROWS, batch_size=size)


def with_transform(function):
    model = Fed()
    model.transform = function
    return model


def test_each_model_has_its_own_transform_of_pictures_and_the_inputs_stay():
    models = {
        "inputs": InputRows(),
        "plain": Fed(),
        "padded": with_transform(lambda x: nn.functional.pad(x, (1, 1, 1, 1))),
        "writes": with_transform(lambda x: x.mul_(0)),
        "flat": with_transform(lambda x: x.flatten(1)),
    }
    captured = extract(models, PICTURES, batch_size=8)
    np.testing.assert_allclose(captured["inputs"]["input"], FED.flatten(1), rtol=1e-6)
    np.testing.assert_allclose(captured["plain"]["layer"], FED, rtol=1e-6)
    assert captured["padded"]["layer"].shape == (N, 3, 8, 8)
    np.testing.assert_allclose(captured["flat"]["layer"], FED.flatten(1), rtol=1e-6)


@pytest.mark.parametrize(
    "data", [FED * 2 - 1, ROWS, [FED], DataLoader(FED, 4)], ids=["range", "rows", "list", "loader"]
)
def test_a_transform_is_for_pictures_in_0_to_1_alone(data):
    acts = extract(with_transform(lambda x: x + 100), data)
    assert acts["layer"].max() < 50


def test_a_transform_that_fails_or_loses_samples_is_named():
    def fails(_pictures):
        raise ValueError("too small")

    with pytest.raises(DataError, match=r"^net: the transform fails on images of shape \(3, 6, 6\): too small"):
        extract({"inputs": InputRows(), "net": with_transform(fails)}, FED)
    with pytest.raises(DataError, match=r"the transform makes Tensor\(3, 6, 6\) of 20 images"):
        extract(with_transform(lambda x: x[0]), FED)


def test_inputs_that_do_not_go_through_are_described_by_what_they_are():
    net = whole_numbers(nn.Linear(7, 2))
    with pytest.raises(ModelError, match=r"^net: samples of shape \(5,\) do not go through \(mat1 and mat2"):
        extract({"net": net}, ROWS)
    with pytest.raises(ModelError, match=r"^net: images of shape \(3, 6, 6\) do not go through .* set model.transform"):
        extract({"net": net}, FED)


def test_a_model_that_was_converted_takes_no_other_shape():
    from torchviz_layers import load_model

    with pytest.raises(ModelError, match=r"^net: samples of shape \(3, 10, 10\) do not fit, it wants \(1, 32, 32\)"):
        extract({"net": load_model("mnist_lenet60")}, FED)


@pytest.mark.parametrize(
    ("batches", "kept"),
    [
        ([[None, 1], None, [2, None]], [-100, 1, -100, -100, 2, -100]),
        ([[1.5, None], torch.tensor([0.5, 2.0]), None], [1.5, np.nan, 0.5, 2.0, np.nan, np.nan]),
        ([["a", None], ["bb", "c"], None], ["a", "", "bb", "c", "", ""]),
        ([torch.ones(2, 3), None, np.zeros((2, 3))], [[1] * 3] * 2 + [[np.nan] * 3] * 2 + [[0] * 3] * 2),
        ([torch.tensor([True, False]), None, [None, True]], [1, 0, -100, -100, -100, 1]),
        ([None, [1, 2], [1, 2]], None),
        ([[{"boxes": torch.zeros(1, 4)}] * 2] * 3, None),
        ([[torch.zeros(2), torch.zeros(3)]] * 3, None),
    ],
    ids=["classes", "numbers", "texts", "rows", "yes or no", "none at first", "boxes", "lengths"],
)
def test_targets_of_some_samples_and_none_of_others_are_one_column(batches, kept):
    column = TargetColumn()
    rows = [column.rows(targets, 2) for targets in batches]
    if kept is None:
        assert rows == [None] * 3
    else:
        np.testing.assert_array_equal(np.concatenate(rows), kept)


def test_samples_without_a_target_stop_nothing():
    targets = [1, None, 2, 0, None, 1]
    acts = extract(Fed(), Items(list(zip(ROWS[:6], targets, strict=True))), batch_size=2)
    assert acts.targets.tolist() == [1, -100, 2, 0, -100, 1]


def test_samples_go_to_stores_that_resume(tmp_path, monkeypatch):
    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", 4)

    class Fails(Items):
        stop = 100

        def __getitem__(self, index):
            if index >= self.stop:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    data = Fails(list(zip(ROWS, CLASSES.tolist(), strict=True)))
    models = {"inputs": InputRows(), "net": Fed()}
    data.stop = 10
    with pytest.raises(KeyboardInterrupt):
        extract(models, data, out=tmp_path / "s", batch_size=4)
    data.stop = 100
    ran = []
    models["net"].register_forward_hook(lambda *_: ran.append(1))
    resumed = extract({**models, "inputs": InputRows()}, data, out=tmp_path / "s", resume=True, batch_size=4)
    assert len(ran) == 1 + 3  # the pass that shows the axis, and the batches from row 8 on
    for acts in resumed.values():
        np.testing.assert_array_equal(acts[0][:], ROWS)
        np.testing.assert_array_equal(acts.targets, CLASSES)


def test_keyword_arguments_go_to_the_models_that_name_them():
    class Both(nn.Module):
        def forward(self, x, scale):
            return x * scale[:, None]

    class One(nn.Module):
        def forward(self, x):
            return x + 0

    data = {"x": ROWS, "scale": ROWS[:, :1]}
    captured = extract({"inputs": InputRows(), "both": Both(), "one": One()}, [{"x": ROWS, "scale": ROWS[:, 0]}])
    np.testing.assert_array_equal(captured["both"][""], ROWS * ROWS[:, :1])
    np.testing.assert_array_equal(captured["one"][""], ROWS)
    with pytest.raises(DataError, match="one: batches: key 'scale': forward of One takes x only"):
        extract({"inputs": InputRows(), "one": One()}, data)
    np.testing.assert_array_equal(extract(One(), data, inputs="x")[""], ROWS)
