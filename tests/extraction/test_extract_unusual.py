"""Loaders, outputs and interruptions that are legal and rare: the rows are right, or an error says what is wrong."""

import gc
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Sampler, SequentialSampler, SubsetRandomSampler, TensorDataset

from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import extract, list_layers
from torchviz_layers.exceptions import CaptureError, DataError, StoreError
from torchviz_layers.extraction import Activations
from torchviz_layers.extraction.columns import Column
from torchviz_layers.extraction.table import Table
from torchviz_layers.hooks.pooling import apply_pool


@pytest.fixture
def x():
    return whole_samples(20, 3)


@pytest.fixture
def net():
    return whole_numbers(nn.Sequential(nn.Linear(3, 5), nn.ReLU(inplace=True), nn.Linear(5, 2))).eval()


@pytest.fixture
def truth(net, x):
    return F.linear(x, net[0].weight, net[0].bias).detach().numpy()


class Beside(nn.Module):
    """A model with a layer `beside` that outputs `function(x)`."""

    class Branch(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x)

    def __init__(self, function):
        super().__init__()
        self.linear, self.beside = nn.Linear(3, 2), self.Branch(function)

    def forward(self, x):
        self.beside(x)
        return self.linear(x)


# loaders


class Counting(Sampler):
    """A sampler that doesn't know how much it gives."""

    def __init__(self):
        pass

    def __iter__(self):
        return iter(range(20))


def test_a_sampler_may_not_know_its_length(net, x, truth):
    loader = DataLoader(TensorDataset(x), batch_size=4, sampler=Counting())
    np.testing.assert_array_equal(extract(net, loader)["0"], truth)


class Shuffled:
    """A sampler of batches with nothing that says that it shuffles."""

    def __iter__(self):
        return iter(torch.randperm(20).split(4))


@pytest.mark.parametrize("plan", [Shuffled(), BatchSampler(SubsetRandomSampler(range(20)), 4, False)])
def test_batches_in_another_order_each_time_cannot_be_resumed(net, x, tmp_path, plan):
    with pytest.raises(CaptureError, match="not known to come in the same order"):
        extract(net, DataLoader(TensorDataset(x), batch_sampler=plan), out=tmp_path / "acts", resume=True)


def test_a_complete_store_of_another_number_of_samples_is_refused(net, x, tmp_path):
    def loader(samples):
        plan = BatchSampler(SequentialSampler(range(samples)), 4, drop_last=True)
        return DataLoader(TensorDataset(x), batch_sampler=plan)

    for _ in range(2):
        assert extract(net, loader(13), out=tmp_path / "acts", resume=True).n_samples == 12
    with pytest.raises(StoreError, match="holds all of 12 samples, and the loader gives 20"):
        extract(net, loader(20), out=tmp_path / "acts", resume=True)


def test_targets_that_turn_from_counts_into_fractions_are_refused(net, x):
    batches = [(x[:2], [0, 1]), (x[2:4], [0.5, 1])]
    with pytest.raises(DataError, match="'targets': float64 at sample 2, and int64 before"):
        extract(net, batches)
    assert extract(net, batches[::-1]).targets.tolist() == [0.5, 1, 0, 1]


def test_text_in_bytes_keeps_its_length(net, x):
    batches = [(x[:2], None, [b"a", b"b"]), (x[2:4], None, [b"longer", b"ids"])]
    assert extract(net, batches).ids.tolist() == ["a", "b", "longer", "ids"]


def test_targets_of_types_that_numpy_lacks_are_raised(net, x):
    assert extract(net, [(x, x[:, 0].bfloat16())]).targets.dtype == np.float32


def test_pictures_are_the_same_whatever_the_batches():
    x = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    x[0] *= 3  # is stretched, the others are not
    whole, single = (extract(nn.Flatten(), x.split(size), thumbnails=6).thumbnails for size in (4, 1))
    np.testing.assert_array_equal(whole, single)


# outputs


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (lambda x: x.relu().to_sparse(), "float32"),
        (lambda x: x.relu().to_sparse_csr(), "float32"),
        (lambda x: x.to(torch.float8_e4m3fn), "float32"),
        (lambda x: (x + 1j).to(torch.complex32), "complex64"),
    ],
    ids=["sparse", "csr", "float8", "complex32"],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:ComplexHalf support")
def test_answers_that_numpy_cannot_hold_become_ones_that_it_can(x, tmp_path, function, dtype):
    output = function(x)
    expected = (output if output.layout == torch.strided else output.to_dense()).to(getattr(torch, dtype)).numpy()
    for options in ({}, {"out": tmp_path / "acts"}):
        rows = extract(Beside(function), x.split(4), **options)["beside"][:]
        assert rows.dtype == dtype
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:.*quantized.*:DeprecationWarning")
def test_quantized_answers_become_numbers(x):
    rows = extract(Beside(lambda x: torch.quantize_per_tensor(x, 0.5, 0, torch.qint8)), [x])["beside"]
    np.testing.assert_array_equal(rows, (x / 0.5).round().numpy() * 0.5)


def test_a_layer_that_changes_its_type_is_named(x):
    def output(x, seen=[]):  # noqa: B006 it remembers
        seen.append(x)
        return x.int() if len(seen) <= 2 else x  # the pass that shows the axis of the samples, and the first batch

    with pytest.raises(CaptureError, match=r"'beside': torch\.float32 at sample 10, and torch\.int32 before"):
        extract(Beside(output), x.split(10))


def test_rows_bring_no_graph_along(x):
    class WithGradients(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x):
            with torch.enable_grad():
                return self.linear(x)

    rows = extract(WithGradients(), x.split(4), layers="linear", keep_on="cpu")["linear"]
    assert not rows.requires_grad


def test_rows_that_overflow_the_type_are_refused(net, x):
    with pytest.raises(CaptureError, match="NaN or infinity in the rows of 20 samples"):
        extract(net, [x * 1e6], dtype=torch.float16, nonfinite="refuse")


@pytest.mark.parametrize("pool", [lambda rows: rows[:1], lambda rows: rows.sum(), lambda rows: rows.numpy()])
def test_a_pool_that_makes_other_than_one_row_a_sample_is_an_error(net, x, pool):
    with pytest.raises(CaptureError, match=r"'0': pool= made .* of 4 rows; it must keep one a sample"):
        extract(net, x.split(4), layers="0", pool=pool)


@pytest.mark.parametrize("pool", ["gap", "token_mean"])
def test_means_of_integers_are_fractions(pool):
    rows = torch.arange(24).reshape(2, 3, 4)
    axis = 2 if pool == "gap" else 1
    np.testing.assert_allclose(apply_pool(pool, rows), rows.numpy().mean(axis), rtol=1e-6)
    mask = torch.ones(2, 3, dtype=torch.long)
    np.testing.assert_allclose(apply_pool(pool, rows, mask), rows.numpy().mean(axis), rtol=1e-6)


def test_means_of_many_tokens_in_half_precision_neither_overflow_nor_hear_padding():
    rows = torch.full((1, 600, 2), 1000.0).half()
    rows[:, 500:] = torch.nan
    mask = (torch.arange(600) < 500).long()[None]
    assert apply_pool("token_mean", rows, mask).tolist() == [[1000, 1000]]


def test_a_layer_chosen_by_a_pattern_may_run_for_the_first_time_later(x):
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.middle, self.late, self.passes = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), 0

        def forward(self, x):
            self.passes += 1
            x = self.middle(self.first(x))
            return self.late(x) if self.passes > 3 else x[:, :2]

    acts = extract(Late(), x.split(4), layers=["first", re.compile("late")], predictions=False)
    assert acts.missing["late"].tolist() == [True] * 12 + [False] * 8
    assert acts.skipped == {}
    assert "late: did not run" in repr(extract(Late(), [x], layers=["first", "lat*"]))


def test_a_model_without_weights_yet_is_refused(x):
    with pytest.raises(CaptureError, match="lazy layers without weights yet"):
        extract(nn.Sequential(nn.LazyLinear(2)), [x])


# stores


def test_a_temporary_store_lives_as_long_as_what_reads_it(net, x, truth):
    acts = extract(net, x.split(4), layers="0", max_memory=100)
    path, rows = acts.path, acts["0"]
    del acts
    gc.collect()
    np.testing.assert_array_equal(rows[:], truth)
    del rows
    gc.collect()
    assert not path.exists()


@pytest.mark.parametrize("name", ["layer." * 60 + "0", "ж" * 150])
def test_names_too_long_for_a_file_can_be_stored(tmp_path, name):
    names = [name, name + "1"]
    Activations({layer: np.full((2, 1), k) for k, layer in enumerate(names)}).save(tmp_path / "acts")
    loaded = Activations.load(tmp_path / "acts")
    assert [loaded[layer][0].tolist() for layer in names] == [[0], [1]]


@pytest.mark.parametrize("where", [(Column, "drain"), (Table, "_flush_full"), (Table, "_flush"), (Column, "window")])
@pytest.mark.parametrize("after", [2, 3, 4])
def test_an_interruption_at_an_awkward_moment_leaves_nothing_wrong(net, x, truth, tmp_path, monkeypatch, where, after):
    monkeypatch.setattr(Table, "chunk_rows", lambda *_: 6)
    owner, method = where
    calls, original = [], getattr(owner, method)

    def interrupted(*args):
        calls.append(args)
        if len(calls) == after:
            raise KeyboardInterrupt
        return original(*args)

    loader = DataLoader(TensorDataset(x, torch.arange(20)), batch_size=4)
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            extract(net, loader, layers="0", out=tmp_path / "acts")
    stored = Activations.load(tmp_path / "acts")
    np.testing.assert_array_equal(stored["0"][:], truth[: stored.n_samples])
    acts = extract(net, loader, layers="0", out=tmp_path / "acts", resume=True)
    np.testing.assert_array_equal(acts["0"][:], truth)
    assert acts.targets.tolist() == list(range(20))


# models that write to their inputs


class InPlaceScaling(nn.Module):
    """Scales its input where it lies, as preprocessing inside a model may."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        x -= 1
        x *= 2
        return self.layer(x)


@pytest.mark.parametrize("layers", [None, [-1]], ids=["all layers", "by index"])
@pytest.mark.parametrize("fixed", [False, True], ids=["any batch size", "one batch size"])
def test_a_model_that_overwrites_its_inputs_gets_each_sample_as_it_was(layers, fixed, x):
    model = whole_numbers(InPlaceScaling()).eval()
    if fixed:
        model.register_forward_pre_hook(lambda _, args: _refuse_other_sizes(args, 10))
    before = x.clone()
    acts = extract(model, list(x.split(10)), layers=layers, progress=False)
    expected = F.linear(2 * (before - 1), model.layer.weight, model.layer.bias).detach().numpy()
    np.testing.assert_array_equal(acts["layer"], expected)
    np.testing.assert_array_equal(acts.predictions, expected)
    assert torch.equal(x, before)


def _refuse_other_sizes(args, size):
    if len(args[0]) != size:
        raise ValueError(f"made for {size} samples")


def test_an_activation_in_place_at_the_beginning_leaves_the_batch_and_its_pictures_alone():
    images = torch.rand(4, 3, 8, 8)
    before = images.clone()
    model = nn.Sequential(nn.Threshold(2.0, 0.0, inplace=True), nn.Flatten())
    acts = extract(model, [images], thumbnails=8, progress=False)
    assert not acts["0"].any()
    assert acts.thumbnails.any()
    acts = extract(model, [images], layers="0", at="input", progress=False)
    np.testing.assert_array_equal(acts["0"], before.numpy())
    list_layers(model, images)
    assert torch.equal(images, before)


# batches of another type than the weights


@pytest.mark.parametrize(
    ("weights", "batch"),
    [(torch.float32, torch.float64), (torch.float16, torch.float32), (torch.float32, torch.uint8)],
    ids=lambda dtype: str(dtype).removeprefix("torch."),
)
def test_a_batch_of_another_type_than_the_weights_is_an_error_that_names_both(weights, batch, x):
    model = nn.Sequential(nn.Linear(3, 2)).to(weights)
    names = [str(dtype).removeprefix("torch.") for dtype in (batch, weights)]
    message = (
        rf"the batch is {names[0]} and the weights are {names[1]}: convert the batch with x\.to\(torch\.{names[1]}\)"
    )
    with pytest.raises(RuntimeError, match=message):
        extract(model, [x.to(batch)], progress=False)
    with pytest.raises(CaptureError, match=message):
        list_layers(model, x.to(batch))


def test_an_error_of_the_models_own_is_passed_on_as_it_is(x):
    class Failing(nn.Linear):
        def forward(self, _x):
            raise RuntimeError("this type of input is not for me")

    with pytest.raises(RuntimeError, match=r"this type of input is not for me$"):
        extract(Failing(3, 2), [x], progress=False)
