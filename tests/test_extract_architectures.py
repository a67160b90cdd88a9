"""Well-known architectures in batches of 8, 8 and 3: each stored layer has the rows of a loop of single samples."""

import numpy as np
import pytest
import torch

from torchviz_layers import capture, extract, list_layers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CUTS = [(0, 8), (8, 16), (16, 19)]
SINGLES = [(k, k + 1) for k in range(19)]
# Kernels for one sample and for eight add in other orders; some hundred layers deep that is some parts in 100,000.
ROUNDING = 1e-4


def first_numbers(rows):
    return rows.flatten(1)[:, :50]


def torchvision_names():
    models = pytest.importorskip("torchvision.models")
    return [*models.list_models(models.detection), *models.list_models(models.segmentation)]


def assert_rows_are_the_samples(model, batch, pool="none"):
    """Hold what `extract` stores of `batch(start, stop)` to a loop of single samples; return the activations."""
    acts = extract(model, [batch(*cut) for cut in CUTS], pool=pool, progress=False)
    assert len(acts) > 10
    one_by_one = extract(model, [batch(*cut) for cut in SINGLES], list(acts), pool=pool, progress=False)
    for layer, rows in acts.items():
        assert len(rows) == 19
        scale = np.abs(one_by_one[layer]).max()
        np.testing.assert_allclose(rows, one_by_one[layer], rtol=0, atol=ROUNDING * scale + 1e-6, err_msg=layer)
    return acts


@pytest.mark.parametrize("name", torchvision_names())
def test_torchvision_detection_keypoints_and_segmentation(name):
    from torchvision import models

    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=3).eval()
    x = torch.rand(19, 3, 64, 64)
    if hasattr(model, "transform"):
        if not name.startswith("ssd"):
            model.transform.min_size, model.transform.max_size = (64,), 64

        def part(start, stop):
            return list(x[start:stop])
    else:

        def part(start, stop):
            return x[start:stop]

    def batch(start, stop):
        return part(start, stop), None

    table = list_layers(model, part(0, 8))
    assert any(layer.per_sample for layer in table)
    with capture(model, table.names[0]) as acts, torch.no_grad():
        model(part(0, 3))
    assert len(acts) == 1
    assert_rows_are_the_samples(model, batch, first_numbers)


@pytest.mark.filterwarnings("ignore")  # other people's
@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_transformers_as_long_as_the_batch(name):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
    words = torch.randint(3, 50, (19, 8))
    inputs = {"input_ids": words, "attention_mask": (torch.arange(8) < torch.randint(3, 9, (19, 1))).long()}
    if name == "gpt2":
        model = transformers.GPT2Model(transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2))
        without = {"wpe"}
    else:
        config = transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        model, inputs = transformers.T5Model(config), inputs | {"decoder_input_ids": words[:, :8]}
        bias = "block.0.layer.0.SelfAttention.relative_attention_bias"
        without = {f"encoder.{bias}", f"decoder.{bias}"}

    def part(start, stop):
        return {key: value[start:stop] for key, value in inputs.items()}

    acts = assert_rows_are_the_samples(model.eval(), part)
    assert set(acts.skipped) == without
    assert {layer.name for layer in list_layers(model, part(0, 8)) if layer.per_sample is False} == without
    with capture(model) as captured, torch.no_grad():
        model(**part(0, 3))
    assert set(captured) == set(acts) | without
