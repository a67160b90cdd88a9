"""Which axis is that of the samples: never read off one batch, whose size may be the length of a sequence too."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import Samples, extract, list_layers, visualize_layers
from torchviz_layers.exceptions import CaptureError, StoreError, UnknownLayerError

STEPS = 4


class Positions(nn.Module):
    """A sequence model whose table of positions has no axis of samples."""

    def __init__(self, axis=False):
        super().__init__()
        self.embed, self.positions, self.linear = nn.Linear(3, 2), nn.Embedding(STEPS, 2), nn.Linear(2, 2)
        self.axis = axis

    def forward(self, x):
        table = self.positions(torch.arange(x.shape[1])[None] if self.axis else torch.arange(x.shape[1]))
        return self.linear(self.embed(x) + table).mean(1)


@pytest.fixture
def x():
    return whole_samples(10, STEPS, 3)


@pytest.fixture
def model():
    return whole_numbers(Positions()).eval()


def singles(model, x, layer):
    """Return a layer's rows from a loop over single samples."""
    rows = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: rows.append(output[0]))
    with torch.no_grad():
        for sample in x:
            model(sample[None])
    handle.remove()
    return torch.stack(rows).numpy()


@pytest.mark.parametrize(("axis", "size"), [(False, STEPS), (True, 1), (False, 3)])
def test_a_table_of_positions_as_long_as_the_batch_is_left_out_with_the_reason(x, axis, size):
    model = whole_numbers(Positions(axis)).eval()
    acts = extract(model, x.split(size))  # the last batch is shorter
    assert list(acts) == ["embed", "linear"]
    assert "has no row for each" in acts.skipped["positions"]
    for layer in acts:
        np.testing.assert_array_equal(acts[layer], singles(model, x, layer))


def test_a_table_of_positions_that_is_asked_for_by_name_is_an_error_that_says_why(model, x):
    both = r"of shape \(4, 2\) for 4 samples and \(4, 2\) for 2; leave it out"
    with pytest.raises(CaptureError, match=f"'positions': its output has no row for each sample.*{both}"):
        extract(model, x.split(STEPS), ["positions"])


def test_a_long_extraction_does_not_end_at_its_shorter_last_batch_and_resumes(model, x, tmp_path, monkeypatch):
    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", STEPS)

    def broken():
        yield from x.split(STEPS)[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(model, broken(), out=tmp_path / "acts.zarr", total=10)
    acts = extract(model, x.split(STEPS), out=tmp_path / "acts.zarr", resume=True)
    assert list(acts) == ["embed", "linear"]
    assert "has no row for each sample" in acts.skipped["positions"]
    np.testing.assert_array_equal(acts["linear"][:], singles(model, x, "linear"))


def test_a_store_that_holds_a_table_as_rows_is_refused(model, x, tmp_path):
    from torchviz_layers.extraction.store import Store

    def broken():
        yield from x.split(STEPS)[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(model, broken(), out=tmp_path / "acts.zarr", total=10)
    store = Store.reopen(tmp_path / "acts.zarr")
    store.array("positions", layer=True, shape=(2,), dtype=np.dtype("float32"), rows=10)
    with pytest.raises(StoreError, match="holds 'positions', which gives no rows"):
        extract(model, x.split(STEPS), out=tmp_path / "acts.zarr", resume=True)


def test_predictions_that_are_no_row_a_sample_are_not_kept(x):
    class Table(Positions):
        def forward(self, x):
            super().forward(x)
            return self.positions.weight

    assert extract(Table(), [x[:STEPS]], "linear").predictions is None


def test_the_axis_of_a_time_major_table_is_said(x):
    class Transposed(nn.Module):
        def forward(self, x):
            return x.transpose(0, 1)

    net = nn.Sequential(Transposed(), Transposed())
    with pytest.raises(CaptureError, match=r"'0': .*its axis 1 has: pass batch_dim=1"):
        extract(net, x.split(STEPS), "0")
    acts = extract(net, x.split(STEPS), batch_dim={"0": 1})
    np.testing.assert_array_equal(acts["0"], x)
    np.testing.assert_array_equal(acts["1"], x)


def test_rows_that_happen_to_be_as_many_as_the_steps_of_a_batch_first_layer_stay_where_they_are(x):
    class Mixed(nn.Module):
        batch_first = False

        def __init__(self):
            super().__init__()
            self.linear = whole_numbers(nn.Linear(3, 2))  # of rows (n, steps, 3), whatever its owner says

        def forward(self, x):
            return self.linear(x)

    model = Mixed()
    np.testing.assert_array_equal(extract(model, x.split(STEPS), "linear")["linear"], model(x).detach())


def test_inputs_are_held_to_their_axis_too(model, x):
    acts = extract(model, x.split(STEPS), at="input")
    assert list(acts) == ["embed", "linear"]
    np.testing.assert_array_equal(acts["embed"], x)


def test_the_pass_that_shows_the_axis_leaves_nothing_behind(x):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))
            self.register_buffer("last", torch.zeros(()))
            self.linear, self.passes, self.total = nn.Linear(3, 2), 0, torch.zeros(())

        def forward(self, x):
            self.passes += 1
            self.seen += len(x)
            self.last = torch.tensor(float(len(x)))
            self.total += len(x)
            return self.linear(x) + torch.rand(len(x), STEPS, 2)

    model, other = Counting(), Counting()
    torch.manual_seed(0)
    acts = extract(model, x.split(3))
    torch.manual_seed(0)
    with torch.no_grad():
        truth = [other.forward(part) - other.linear(part) for part in x.split(3)]
    assert (model.passes, int(model.seen), int(model.total), int(model.last)) == (4, 10, 10, 1)
    noise = acts.predictions - acts["linear"]
    np.testing.assert_allclose(noise, torch.cat(truth), atol=1e-5)  # the same random numbers


def test_a_model_made_for_one_batch_size_is_extracted_and_what_is_not_known_is_said(caplog, x):
    class Fixed(Positions):
        def forward(self, x):
            if len(x) != STEPS:
                raise ValueError("batches of 4 only")
            return super().forward(x)

    with caplog.at_level(logging.WARNING, "torchviz_layers"):
        acts = extract(Fixed(), x[:8].split(STEPS), "linear")
    assert acts["linear"].shape == (8, STEPS, 2)
    (message,) = [record.message for record in caplog.records]
    assert (
        "seen with 4 samples a batch only (a pass with another number failed: ValueError: batches of 4 only)" in message
    )
    assert "linear" in message


def test_the_listing_says_which_layers_have_no_axis_of_samples(model, x):
    for size in (1, 2, STEPS):
        table = list_layers(model, x[:size])
        assert {layer.name: layer.per_sample for layer in table} == {"positions": False, "embed": True, "linear": True}
        assert table[0].bytes_per_sample is None
        assert "4 x 2 (no axis of samples)" in repr(table)


def test_a_page_of_all_layers_leaves_the_table_of_positions_out():
    images = torch.rand(32, 1, STEPS, 3).numpy()
    model = nn.Sequential(nn.Flatten(1, 2), Positions())
    page = visualize_layers(model, Samples.of((images, np.arange(32) % 2)), progress=False, reducer="pca")
    names = [panel.layer for panel in page.data.networks[0].panels]
    assert "1.linear" in names
    assert "1.positions" not in names


def test_a_layer_left_out_is_looked_up_with_its_reason(model, x):
    with pytest.raises(UnknownLayerError, match="'positions' gave no rows: its output has no row for each sample"):
        extract(model, x.split(STEPS))["positions"]


class Squeezing(nn.Module):
    """Takes away every axis of length 1, that of a single sample too, before its last layer or after it."""

    def __init__(self, before: bool) -> None:
        super().__init__()
        self.linear, self.act, self.before = nn.Linear(3, 1), nn.Sigmoid(), before

    def forward(self, x):
        y = self.linear(x)
        return self.act(y.squeeze()) if self.before else self.act(y).squeeze()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 7])
def test_a_batch_of_one_whose_axis_is_squeezed_away_is_a_row_all_the_same(tmp_path, batch, before):
    torch.manual_seed(0)
    model, samples = Squeezing(before), torch.randn(7, 3)
    acts = extract(model, samples.split(batch), out=tmp_path / "a.zarr", progress=False)
    with torch.no_grad():
        expected = torch.cat([model(samples[i : i + 1]).reshape(1) for i in range(7)])
    np.testing.assert_allclose(acts.predictions[:], expected, rtol=1e-5)
    np.testing.assert_allclose(acts["act"][:].reshape(-1), expected, rtol=1e-5)
    assert acts["linear"].shape == (7, 1)
    assert not acts.skipped
