import itertools

import pytest
import torch

from torchviz_layers._common.devices import available_device, float32_products
from torchviz_layers.exceptions import CaptureError, ReducerError

CPU = torch.device("cpu")


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


@pytest.fixture
def settings():
    """The three settings of precision, from PyTorch 2.9 on: each takes the one before it where it has none itself."""
    chain = torch.backends, torch.backends.cudnn, torch.backends.cuda.matmul
    if not hasattr(chain[-1], "fp32_precision"):
        pytest.skip("this PyTorch has the old setting only")
    legacy = torch.get_float32_matmul_precision()
    yield chain
    for one in chain:
        one.fp32_precision = "none"
    torch.set_float32_matmul_precision(legacy)
    chain[-1].fp32_precision = "none"


@pytest.mark.parametrize("wanted", ["ieee", "tf32"])
@pytest.mark.parametrize("values", itertools.product(["none", "ieee", "tf32"], repeat=3), ids="-".join)
def test_the_new_settings_of_precision_are_left_as_they_were(settings, values, wanted):
    def effective(*values):
        for one, value in zip(settings, values, strict=True):
            one.fp32_precision = value
        return [one.fp32_precision for one in settings]

    # What each of the settings follows, once the ones above it change.
    expected = [effective(*values), effective("ieee", *values[1:]), effective(values[0], "tf32", values[2])]
    effective(*values)
    with float32_products(CPU, wanted):
        assert settings[-1].fp32_precision == wanted
    assert [one.fp32_precision for one in settings] == expected[0]
    settings[0].fp32_precision = "ieee"
    assert [one.fp32_precision for one in settings] == expected[1]
    settings[0].fp32_precision, settings[1].fp32_precision = values[0], "tf32"
    assert [one.fp32_precision for one in settings] == expected[2]


@pytest.mark.parametrize("value", ["medium", "high", "highest"])
def test_pytorch_before_2_9_is_set_by_its_own_name(monkeypatch, value):
    state = [value]
    monkeypatch.setattr(torch.backends.cuda, "matmul", object())
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: state[-1])
    monkeypatch.setattr(torch, "set_float32_matmul_precision", state.append)
    with float32_products(CPU):
        assert state[-1] == "highest"
    with float32_products(CPU, "tf32"):
        assert state[-1] == "high"
    assert state == [value, "highest", value, "high", value]
