"""Padding never counts as tokens without a word: the model's mask is used, or it is said that there is none."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.rounding import assert_same_sums, whole_numbers, whole_samples
from torchviz_layers import capture, extract
from torchviz_layers.exceptions import CaptureError

LENGTHS = torch.tensor([5, 2, 3, 5, 1, 4])
TOKENS = torch.arange(5) < LENGTHS[:, None]


def net(*names):
    """Return a model whose forward takes `x` and arguments of these names."""
    space = {}
    arguments = "".join(f", {name}=None" for name in names)
    exec(f"def forward(self, x{arguments}):\n    return self.linear(x)", space)
    kind = type("Net", (nn.Module,), {"forward": space["forward"]})
    model = kind()
    model.linear = whole_numbers(nn.Linear(3, 2))
    return model


@pytest.fixture
def x():
    return whole_samples(6, 5, 3)


def truth(model, x):
    rows = model.linear(x).detach()
    mean = torch.stack([row[:length].mean(0) for row, length in zip(rows, LENGTHS, strict=True)])
    last = torch.stack([row[length - 1] for row, length in zip(rows, LENGTHS, strict=True)])
    return {"token_mean": mean, "last_token": last}


MASKS = {
    "attention_mask": TOKENS.long(),
    "src_key_padding_mask": ~TOKENS,
    "key_padding_mask": torch.zeros(6, 5).masked_fill(~TOKENS, -torch.inf),
    "padding_mask": ~TOKENS,
}


@pytest.mark.parametrize("by", ["name", "position"])
@pytest.mark.parametrize("pool", ["token_mean", "last_token"])
@pytest.mark.parametrize("name", MASKS)
def test_the_models_own_mask_leaves_padding_out(x, name, pool, by):
    model, mask = net(name), MASKS[name]
    expected = truth(model, x)[pool]
    if by == "name":
        batches = [{"x": x[:4], name: mask[:4]}, {"x": x[4:], name: mask[4:]}]
    else:
        batches = [((x[:4], mask[:4]), None), ((x[4:], mask[4:]), None)]
    assert_same_sums(extract(model, batches, "linear", pool=pool)["linear"], expected, summands=5)
    with capture(model, "linear", pool=pool) as acts:
        model(x, **{name: mask}) if by == "name" else model(x, mask)
    assert_same_sums(acts["linear"], expected, summands=5)


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("mask", TOKENS),
        ("padding_mask", TOKENS),
        ("padding_mask", (~TOKENS).long()),
        ("attention_mask", 1.0 - TOKENS * 9),
    ],
    ids=["another name", "ones are tokens", "numbers", "added to scores"],
)
def test_a_mask_whose_ones_may_be_either_is_an_error_and_mask_the_way_out(x, name, mask):
    model, batches = net(name), [{"x": x, name: mask}]
    with pytest.raises(
        CaptureError, match=f"'linear': whether the ones of {name} are tokens or padding is not known.*mask="
    ):
        extract(model, batches, "linear", pool="token_mean")
    with pytest.raises(CaptureError, match="needs mask="), capture(model, "linear", pool="token_mean"):
        model(**batches[0])
    for way in (TOKENS, lambda inputs: TOKENS[: len(inputs["x"])]):
        acts = extract(model, batches, "linear", pool="token_mean", mask=way)
        assert_same_sums(acts["linear"], truth(model, x)["token_mean"], summands=5)


@pytest.mark.parametrize("pool", ["token_mean", "cls", "last_token"])
def test_an_argument_of_true_and_false_for_each_token_is_a_mask_whatever_its_name(x, pool):
    left = TOKENS.flip(1)
    with pytest.raises(CaptureError, match="whether the ones of valid are tokens or padding is not known"):
        extract(net("valid"), [{"x": x, "valid": left}], "linear", pool=pool)


def test_a_mask_of_all_samples_is_cut_into_batches(x):
    model = net("ignored")
    acts = extract(model, x.split(4), "linear", pool="last_token", mask=TOKENS)
    np.testing.assert_array_equal(acts["linear"], truth(model, x)["last_token"])
    with pytest.raises(CaptureError, match=r"mask=: Tensor\(1, 5\) for samples 4 to 5; shape \(2, tokens\) expected"):
        extract(model, x.split(4), "linear", pool="last_token", mask=TOKENS[:5])


@pytest.mark.parametrize("options", [{}, {"mask": torch.ones(6, 7)}])
def test_where_no_mask_is_found_it_is_said_once(x, caplog, options):
    with caplog.at_level(logging.WARNING, "torchviz_layers"):
        extract(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), x.split(3), pool="token_mean", **options)
    (message,) = [record.message for record in caplog.records]
    assert "the 5 tokens of '0', so that all of them count, padding too; mask= says which do" in message
    assert ("mask= of shape (3, 7) does not fit" if options else "no mask among the model's arguments fits") in message


def test_two_masks_of_one_shape_that_differ_are_an_error(x):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x, attention_mask=None, decoder_input_ids=None):  # noqa: ARG002 the pooling reads them
            return self.linear(x)

    batch = {"x": x, "attention_mask": TOKENS.long(), "decoder_input_ids": torch.ones(6, 5).long()}
    with pytest.raises(CaptureError, match=r"attention_mask and decoder_input_ids .* differ; mask= says which count"):
        extract(Both(), [batch], "linear", pool="token_mean")


def test_packed_sequences_are_pooled_by_their_lengths(x):
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(3, 4, batch_first=True)

        def forward(self, x, lengths):
            packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            return self.gru(packed)[1][0]

    model = Packed()
    acts = extract(model, [{"x": x, "lengths": LENGTHS}], "gru", select=0, pool="last_token")
    assert_same_sums(acts["gru"], acts.predictions, summands=1)


@pytest.mark.parametrize("by", ["mask of the model", "mask="])
def test_cls_is_the_first_token_where_padding_is_on_the_left(x, by, caplog):
    left, model = TOKENS.flip(1), net("attention_mask")
    rows = model.linear(x).detach()
    expected = torch.stack([row[5 - length] for row, length in zip(rows, LENGTHS, strict=True)])
    assert not torch.equal(expected, rows[:, 0])
    if by == "mask=":
        acts = extract(model, x.split(4), "linear", pool="cls", mask=left)
        with capture(model, "linear", pool="cls", mask=left) as captured:
            model(x)
    else:
        batches = [{"x": x[rows], "attention_mask": left[rows].long()} for rows in (slice(4), slice(4, 6))]
        acts = extract(model, batches, "linear", pool="cls")
        with capture(model, "linear", pool="cls") as captured:
            model(x, left.long())
    np.testing.assert_array_equal(acts["linear"], expected)
    np.testing.assert_array_equal(captured["linear"].detach(), expected)
    assert caplog.records == []


def test_cls_is_position_0_where_padding_is_on_the_right_or_unknown_to_the_model(x, caplog):
    for model, batch in [(net("attention_mask"), {"x": x, "attention_mask": TOKENS}), (net("other"), x)]:
        acts = extract(model, [batch], "linear", pool="cls")
        np.testing.assert_array_equal(acts["linear"], model.linear(x)[:, 0].detach())
    assert caplog.records == []  # a vision transformer has a class token and no mask


def test_cls_without_a_mask_that_fits_is_said(x, caplog):
    acts = extract(net("attention_mask"), [{"x": x, "attention_mask": torch.ones(6, 4)}], "linear", pool="cls")
    assert acts["linear"].shape == (6, 2)
    (message,) = [record.message for record in caplog.records]
    assert "attention_mask of shape (6, 4) among the model's arguments fits the 5 tokens of 'linear'" in message
    assert "so that position 0 counts, padding or not; mask= says which do" in message


def test_cls_heeds_two_masks_whose_first_tokens_are_the_same_only(x):
    model = net("attention_mask", "decoder_input_ids")
    words = torch.ones(6, 5).long()
    right = {"x": x, "attention_mask": TOKENS.long(), "decoder_input_ids": words}
    np.testing.assert_array_equal(
        extract(model, [right], "linear", pool="cls")["linear"], model.linear(x)[:, 0].detach()
    )
    with pytest.raises(CaptureError, match="differ; mask= says which count"):
        extract(model, [right | {"attention_mask": TOKENS.flip(1).long()}], "linear", pool="cls")
    with pytest.raises(CaptureError, match="whether the ones of mask are tokens or padding is not known"):
        extract(net("mask"), [{"x": x, "mask": TOKENS}], "linear", pool="cls")


@pytest.mark.parametrize("pool", ["token_mean", "cls", "last_token"])
def test_a_sample_of_which_no_token_counts_is_nan(x, pool):
    model, mask = net("attention_mask"), TOKENS.long().clone()
    whole = extract(model, [{"x": x, "attention_mask": mask}], "linear", pool=pool)["linear"]
    mask[2] = 0
    rows = extract(model, [{"x": x, "attention_mask": mask}], "linear", pool=pool)["linear"]
    assert np.isnan(rows[2]).all()
    np.testing.assert_array_equal(np.delete(rows, 2, 0), np.delete(whole, 2, 0))
