import pytest
import torch

from torchviz_layers._common.devices import available_device
from torchviz_layers.exceptions import CaptureError, ReducerError


@pytest.fixture
def two_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_there_is_returned(name):
    assert available_device(name, CaptureError) == torch.device(name)
    assert available_device(torch.device(name), CaptureError) == torch.device(name)


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("error", [CaptureError, ReducerError])
def test_a_card_that_is_not_there_is_an_error_of_the_callers_kind(error):
    with pytest.raises(error, match="device='cuda:2': there are 2 CUDA cards, counted from 0"):
        available_device("cuda:2", error)


@pytest.mark.parametrize("name", ["tpu", None, "cuda:x"])
def test_what_is_no_device_is_named_with_examples_of_devices(name):
    with pytest.raises(CaptureError, match=r"is no device; write 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"):
        available_device(name, CaptureError)
