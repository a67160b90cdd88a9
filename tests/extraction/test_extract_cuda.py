"""What only a CUDA card can show."""

import numpy as np
import pytest
import torch
from torch import nn

from torchviz_layers import capture, extract

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")]


@pytest.fixture
def model():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 900, 5)
    )


@pytest.fixture
def batches():
    return [(x, torch.arange(len(x))) for x in torch.rand(500, 3, 32, 32).split(64)]


def test_rows_copied_while_the_card_computes_are_those_of_a_cloning_hook(model, batches):
    acts = extract(model, batches, device="cuda")
    assert next(model.parameters()).device.type == "cpu"
    model.cuda().eval()
    rows = []
    handle = model[1].register_forward_hook(lambda _m, _i, o: rows.append(o.clone()))
    with torch.no_grad():
        for x, _ in batches:
            model(x.cuda())
    handle.remove()
    np.testing.assert_array_equal(acts["1"], torch.cat(rows).cpu())


def test_auto_goes_to_the_card_and_comes_back(model, batches):
    acts = extract(model, batches)
    assert acts.provenance["device"] == torch.cuda.get_device_name()
    assert next(model.parameters()).device.type == "cpu"


def test_rows_can_stay_on_the_card(model, batches):
    acts = extract(model, batches, device="cuda", keep_on="cuda", pool="flatten")
    assert acts["0"].is_cuda
    assert acts["0"].shape == (500, 8 * 900)
    np.testing.assert_array_equal(acts["0"].cpu(), extract(model, batches, device="cuda", pool="flatten")["0"])


def test_a_batch_that_does_not_fit_is_halved(model):
    free, _ = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (600 << 20) / free))
    try:
        acts = extract(model, [torch.rand(20_000, 3, 32, 32)], ["4"], device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert acts["4"].shape == (20_000, 5)


def test_capture_on_the_card_copies_to_the_wanted_device(model):
    model.cuda().eval()
    with capture(model, "1", device="cpu") as acts, torch.no_grad():
        model(torch.rand(4, 3, 32, 32, device="cuda"))
    assert acts["1"].device.type == "cpu"
