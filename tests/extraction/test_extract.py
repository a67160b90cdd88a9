import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.clone_oracle import CloneOracle
from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import extract
from torchviz_layers._common.memory import available_memory, parse_size
from torchviz_layers.exceptions import CaptureError, DataError, UnknownLayerError
from torchviz_layers.extraction.columns import Column


@pytest.fixture
def model():
    return whole_numbers(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(32, 3)))


@pytest.fixture
def images():
    return whole_samples(10, 1, 6, 6)


@pytest.fixture
def truth(model, images):
    """Every layer's rows, computed layer by layer without hooks."""
    rows, out = {}, images
    with torch.no_grad():
        for name, layer in model.named_children():
            out = layer(out)
            rows[name] = out.clone().numpy()
            out = out.clone()
    rows["0"] = nn.functional.conv2d(images, model[0].weight, model[0].bias).detach().numpy()
    return rows


def assert_equal(acts, truth):
    assert list(acts) == list(truth)
    for layer, rows in truth.items():
        np.testing.assert_array_equal(acts[layer], rows, err_msg=layer)


TARGETS = torch.arange(10) % 3
NAMES = np.array([f"sample-{i}" for i in range(10)])


def loaders(images):
    dataset = TensorDataset(images, TARGETS)
    cut = [slice(0, 4), slice(4, 8), slice(8, 10)]
    return {
        "tensors": images.split(4),
        "tuples": [(images[s], TARGETS[s]) for s in cut],
        "triples": [(images[s], TARGETS[s], NAMES[s]) for s in cut],
        "lists of names": [[images[s], TARGETS[s], list(NAMES[s])] for s in cut],
        "no targets": [(images[s], None, NAMES[s]) for s in cut],
        "mappings": [{"input": images[s], "labels": TARGETS[s], "ids": list(NAMES[s])} for s in cut],
        "tuples of arguments": [((images[s],), TARGETS[s]) for s in cut],
        "DataLoader": DataLoader(dataset, batch_size=4),
        "DataLoader of images": DataLoader(images, batch_size=3),
        "generator": (batch for batch in images.split(4)),
    }


@pytest.mark.parametrize("kind", loaders(torch.zeros(10, 1, 6, 6)))
def test_any_iterable_of_batches_gives_the_rows(model, images, truth, kind):
    acts = extract(model, loaders(images)[kind])
    assert_equal(acts, truth)
    np.testing.assert_array_equal(acts.predictions, truth["3"])
    named = kind in ("triples", "lists of names", "no targets", "mappings")
    assert acts.ids.tolist() == (NAMES.tolist() if named else list(range(10)))
    labelled = kind not in ("tensors", "no targets", "DataLoader of images", "generator")
    assert (acts.targets.tolist() == TARGETS.tolist()) if labelled else acts.targets is None


def test_one_pass_serves_layers_and_predictions_after_two_samples_that_show_their_axis(model, images):
    passes = []
    handle = model.register_forward_hook(lambda _module, args, _output: passes.append(len(args[0])))
    extract(model, images.split(4))
    handle.remove()
    assert passes == [2, 4, 4, 2]


def test_layers_by_index_run_only_the_first_batch_twice(model, images, truth):
    acts = extract(model, images.split(4), [-1, -2])
    assert_equal(acts, {name: truth[name] for name in ("2", "3")})


@pytest.mark.parametrize(
    ("pool", "shape"),
    [("gap", (10, 2)), ("flatten", (10, 32)), ({"0": "gap"}, (10, 2)), (lambda t: t.amax((2, 3)), (10, 2))],
)
def test_rows_are_pooled_inside_the_hook(model, images, truth, pool, shape):
    acts = extract(model, images.split(4), ["0"], pool=pool)
    assert acts["0"].shape == shape
    if pool == "gap":
        np.testing.assert_array_equal(acts["0"], truth["0"].mean((2, 3)))  # 16 positions: the mean is exact


def test_rows_take_the_wanted_type(model, images, truth):
    acts = extract(model, images.split(4), dtype=torch.float16)
    assert acts["0"].dtype == np.float16
    np.testing.assert_allclose(acts["0"], truth["0"], atol=1e-2)
    assert acts.predictions.dtype == np.float32


def test_inputs_can_be_extracted(model, images, truth):
    acts = extract(model, images.split(4), ["1", "3"], at="input")
    np.testing.assert_array_equal(acts["1"], truth["0"])
    np.testing.assert_array_equal(acts["3"], truth["2"])


def test_rows_can_stay_on_a_device_as_tensors(model, images, truth):
    acts = extract(model, images.split(4), keep_on="cpu")
    assert all(isinstance(rows, torch.Tensor) for rows in acts.values())
    assert_equal({name: rows.numpy() for name, rows in acts.items()}, truth)
    kept = extract(model, images.split(4), keep_on="cpu", autocast=torch.bfloat16)
    assert kept["0"].dtype == torch.bfloat16


def test_an_unknown_number_of_samples_grows_the_arrays(model, images, truth):
    acts = extract(model, iter(images.split(1)))
    assert_equal(acts, truth)


@pytest.mark.parametrize("total", [7, 10, 25])
def test_a_wrong_number_of_samples_does_no_harm(model, images, truth, total):
    acts = extract(model, iter(images.split(4)), total=total)
    assert_equal(acts, truth)


def test_the_model_is_afterwards_as_it_was(model, images):
    before = {name: sorted(vars(module)) for name, module in model.named_modules()}
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CaptureError, match="its rows have shape"):
        extract(model, [images, images[:, :, :3]])
    extract(model, images.split(4))
    assert {name: sorted(vars(module)) for name, module in model.named_modules()} == before
    assert all(module.training for module in model.modules())
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert not nn.modules.module._global_forward_hooks


def test_a_layer_whose_rows_are_not_the_samples_is_an_error_or_is_skipped(images):
    class Windows(nn.Module):
        def forward(self, x):
            return x.reshape(-1, 3)

    model = nn.Sequential(Windows(), nn.Unflatten(0, (-1, 12)), nn.Flatten())
    with pytest.raises(CaptureError, match=r"'0': its output of shape \(48, 3\) has no row for each of 4 samples"):
        extract(model, images.split(4), ["0"])
    acts = extract(model, images.split(4))
    assert list(acts) == ["1", "2"]
    assert "shape (48, 3)" in acts.skipped["0"]
    with pytest.raises(UnknownLayerError, match="'0' gave no rows"):
        acts["0"]
    rows = extract(model, images.split(4), ["0"], select=lambda out: out.reshape(-1, 12, 3))
    assert rows["0"].shape == (10, 12, 3)


def test_a_call_that_does_not_happen_is_an_error(model, images):
    with pytest.raises(UnknownLayerError, match="'0:3': '0' ran 1 times"):
        extract(model, images.split(4), ["0:3"])


def test_the_axis_of_the_samples_can_be_said(images):
    class Transposed(nn.Module):
        def forward(self, x):
            return x.flatten(1).T

    acts = extract(nn.Sequential(Transposed()), images.split(4), ["0"], batch_dim=1)
    np.testing.assert_array_equal(acts["0"], images.flatten(1))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (3, "data of type int .* are no samples; accepted: a torch Dataset or DataLoader"),
        ([object()], "the sample is of type object"),
        (iter([object()]), "a batch is a tensor"),
        ([(torch.zeros(2, 1, 6, 6), torch.zeros(3))], r"targets of shape \(3,\) do not fit 2 samples"),
        ([torch.tensor(1.0)], "no tensor of this batch has an axis of samples"),
        ([], "yields no sample"),
    ],
)
def test_what_is_no_loader_is_refused(model, batches, message):
    with pytest.raises(DataError, match=message):
        extract(model, batches)


def test_nonfinite_rows_are_counted_named_kept_or_refused(model, images):
    images[3] = float("nan")
    images[7] = float("inf")
    acts = extract(model, [(images, None, NAMES)])
    assert acts.nonfinite()["0"].tolist() == ["sample-3", "sample-7"]
    with pytest.raises(CaptureError, match=r"'0': NaN or infinity in the rows of 2 samples \(sample-3, sample-7\)"):
        extract(model, [(images, None, NAMES)], nonfinite="refuse")


def test_the_rows_are_those_that_a_cloning_hook_sees(model, images):
    with CloneOracle(model) as oracle:
        acts = extract(model, [images])
    seen = oracle.calls()
    assert_equal(acts, {name: seen[name] for name in acts})
    pooled = extract(model, images.split(4), pool="gap", calls="last", dtype=torch.float16)
    np.testing.assert_allclose(pooled["0"], oracle.last_calls()["0"].mean((2, 3)), rtol=1e-3)


@pytest.mark.parametrize("order", [1, -1], ids=["then none", "none at first"])
def test_targets_of_some_batches_only_are_an_error(model, images, order):
    batches = [(images[:4], TARGETS[:4]), (images[4:], None)]
    with pytest.raises(DataError, match=r"targets c[oa]me with"):
        extract(model, batches[::order])


def test_thumbnails_are_kept_on_request(model, images):
    images = images.abs() / 2
    acts = extract(model, images.split(4), thumbnails=3)
    assert acts.thumbnails.shape == (10, 3, 3, 1)
    assert acts.thumbnails.dtype == np.uint8
    expected = images.reshape(10, 3, 2, 3, 2).mean((2, 4)) * 255
    np.testing.assert_allclose(acts.thumbnails[..., 0], expected.round(), atol=1)


def test_a_card_that_is_not_there_is_an_error(model, images):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA card")
    with pytest.raises(CaptureError, match="has no CUDA card"):
        extract(model, images.split(4), device="cuda")
    with pytest.raises(CaptureError, match="device='gpu' is no device"):
        extract(model, images.split(4), device="gpu")


def test_batches_too_large_for_the_card_are_halved_and_that_is_said_once(model, images, truth, caplog):
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.sizes = model, []

        def forward(self, x):
            x = self.net[0](x)
            self.sizes.append(len(x))
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.net[1:](x)

    small = Small()
    with caplog.at_level(logging.WARNING, "torchviz_layers"):
        acts = extract(small, [(images[:8], TARGETS[:8]), (images[8:], TARGETS[8:])], ["net.0", "net.3"])
    assert_equal({name.removeprefix("net."): rows for name, rows in acts.items()}, {"0": truth["0"], "3": truth["3"]})
    assert acts.targets.tolist() == TARGETS.tolist()
    assert small.sizes == [2, 8, 4, 3, 1, 2, 2, 2, 2, 2]  # 3 and 1 show the axis where parts of 2 cannot
    assert [record.message for record in caplog.records] == [
        "out of memory on cpu with 8 samples at a time; continuing with 4",
        "out of memory on cpu with 4 samples at a time; continuing with 2",
    ]


def test_a_card_too_small_for_one_sample_is_an_error(images):
    class Hopeless(nn.Module):
        def forward(self, _x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(CaptureError, match="too small for one sample"):
        extract(Hopeless(), images.split(4))


@pytest.mark.parametrize(
    ("size", "expected"),
    [(5, 5), ("8 GB", 8_000_000_000), ("1.5kB", 1500), ("2 GiB", 2 << 30), ("10", 10), ("3 MB", 3_000_000)],
)
def test_sizes_are_read_as_people_write_them(size, expected):
    assert parse_size(size) == expected


def test_a_size_that_is_none_is_named(model, images):
    with pytest.raises(CaptureError, match="max_memory='much'"):
        extract(model, images.split(4), max_memory="much")


def test_the_available_memory_is_known():
    assert (available_memory() or 0) > 1 << 20


def test_a_column_grows_without_losing_rows():
    column = Column("x", (3,), np.dtype(np.float32))
    rows = torch.randn(100, 3)
    for start in range(0, 100, 7):
        column.write(start, rows[start : start + 7])
    np.testing.assert_array_equal(column.finish(100), rows)


def test_progress_shows_only_what_takes_long(model, images, capsys):
    extract(model, images.split(4), progress=True)
    assert capsys.readouterr().err == ""
