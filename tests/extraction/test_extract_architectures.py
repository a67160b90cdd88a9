"""Well-known architectures in batches of 8, 8 and 3: each stored layer has the rows of a loop of single samples."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch

from torchviz_layers import capture, extract, list_layers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CUTS = [(0, 8), (8, 16), (16, 19)]
# Kernels for one sample and for eight add in other orders; some hundred layers deep that is some parts in 100,000.
ROUNDING = 1e-4
# The heads of boxes, masks and keypoints have a row for each proposal, so that none of them is stored, however few.
FEW = {"rpn_post_nms_top_n_test": 20, "box_detections_per_img": 2}


def torchvision_names():
    models = pytest.importorskip("torchvision.models")
    return [*models.list_models(models.detection), *models.list_models(models.segmentation)]


def spread_numbers(rows):
    """Return at most 400 numbers a sample, from all channels alike."""
    flat = rows.flatten(1)
    return flat[:, :: flat.shape[1] // 200 or 1]


def single_samples(run, model, layers):
    """Return the rows of `layers` (`name`, `name:call`) that plain hooks record where `run(k, k + 1)` runs sample k."""
    rows, calls = {layer: [] for layer in layers}, Counter()

    def record(name, _module, _args, output):
        key = f"{name}:{calls[name]}" if calls[name] else name
        calls[name] += 1
        if key in rows:
            images = output if isinstance(output, torch.Tensor) else output[0].tensors  # of torchvision's `transform`
            rows[key].append(spread_numbers(images).clone())

    names = {layer.partition(":")[0] for layer in layers}
    handles = [model.get_submodule(name).register_forward_hook(partial(record, name)) for name in names]
    with torch.no_grad():
        for k in range(19):
            calls.clear()
            run(k, k + 1)
    for handle in handles:
        handle.remove()
    return {layer: torch.cat(parts).numpy() for layer, parts in rows.items()}


def assert_rows_are_the_samples(model, batch, run):
    """Hold `extract` of `batch(start, stop)` and `capture` to a loop of single samples; return the activations."""
    acts = extract(model, [batch(*cut) for cut in CUTS], pool=spread_numbers, progress=False)
    assert len(acts) > 10
    one_by_one = single_samples(run, model, list(acts))
    with capture(model, list(acts), pool=spread_numbers) as captured, torch.no_grad():
        run(0, 3)
    assert set(captured) == set(acts)
    for layer, rows in acts.items():
        assert len(rows) == 19
        truth = one_by_one[layer]
        tolerance = {"rtol": 0, "atol": ROUNDING * np.abs(truth).max() + 1e-6, "err_msg": layer}
        np.testing.assert_allclose(rows, truth, **tolerance)
        np.testing.assert_allclose(captured[layer], truth[:3], **tolerance)
    return acts


@pytest.mark.parametrize("name", torchvision_names())
def test_torchvision_detection_keypoints_and_segmentation(name):
    from torchvision import models

    few = FEW if "rcnn" in name else {}
    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=3, **few).eval()
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
    acts = assert_rows_are_the_samples(model, batch, lambda start, stop: model(part(start, stop)))
    assert {layer.partition(":")[0] for layer in acts} == {layer.name for layer in table if layer.per_sample}
    assert not any(layer.startswith("roi_heads") for layer in acts)


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

    acts = assert_rows_are_the_samples(model.eval(), part, lambda start, stop: model(**part(start, stop)))
    assert set(acts.skipped) == without
    assert {layer.name for layer in list_layers(model, part(0, 8)) if layer.per_sample is False} == without
    with capture(model) as captured, torch.no_grad():
        model(**part(0, 3))
    assert set(captured) == set(acts) | without
