"""`load_model`: bundled models, factories, torchvision, and the transforms of inputs."""

import copy
import pickle

import pytest
import torch
from torch import nn

from torchviz_layers import load_dataset, load_model
from torchviz_layers.exceptions import ConversionError, ModelError
from torchviz_layers.models import check_input, fitting_transform, model_transform, parse_transform, trained_on


def tiny() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def not_a_model() -> int:
    return 3


def failing() -> nn.Module:
    raise ValueError("the config is gone")


def needs_a_width(width: int) -> nn.Module:
    return nn.Linear(width, width)


ready = tiny()
HERE = __name__


@pytest.mark.parametrize(("name", "shape"), [("mnist_dense128", (28, 28)), ("mnist_lenet60", (1, 32, 32))])
def test_bundled_models_bring_the_transform_that_makes_an_mnist_image_fit(name, shape):
    model = load_model(name)
    images = torch.rand(3, 1, 28, 28)
    assert model.transform(images).shape == (3, *shape)
    with torch.no_grad():
        probabilities = model(model.transform(images))
    assert torch.allclose(probabilities.sum(1), torch.ones(3), atol=1e-5)
    assert not model.training


@pytest.mark.parametrize(("name", "accuracy"), [("mnist_dense128", 0.68), ("mnist_lenet60", 0.85)])
def test_bundled_models_read_digits_that_they_never_saw_far_better_than_chance(name, accuracy):
    model, digits = load_model(name), load_dataset("digits")
    with torch.no_grad():
        said = torch.cat([model(x).argmax(1) for x, _, _ in digits.batches(512, model.transform)])
    assert (said.numpy() == digits.targets).mean() > accuracy - 0.05


def test_a_bundled_model_is_known_to_be_trained_on_mnist_until_its_weights_change():
    model = load_model("mnist_lenet60")
    assert trained_on(model) == trained_on(copy.deepcopy(model)) == "mnist"
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    assert trained_on(model) is None
    assert trained_on(load_model(f"{HERE}:tiny")) is None


def test_module_in_a_factorys_place_is_taken_as_it_is():
    assert load_model(f"{HERE}:ready") is ready


@pytest.mark.parametrize("code", ["def x(:", "raise RuntimeError('no config')", "import no_such_library"])
def test_code_that_does_not_import_is_an_error_of_the_model(code, tmp_path, monkeypatch):
    (tmp_path / "broken_model.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"'broken_model:make' .*(invalid syntax|no config|no_such_library)"):
        load_model("broken_model:make")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nonsense", "not found: expected a bundled name"),
        ("no.such.module:factory", "not found"),
        (f"{HERE}:absent", "not found"),
        (f"{HERE}:not_a_model", "returned 3, which is no"),
        (f"{HERE}:failing", "failed: ValueError: the config is gone"),
        (f"{HERE}:needs_a_width", "failed: TypeError: .*'width'"),
        (":make", "':make' was not found"),
        ("./models.py:make", "names joined by dots"),
        ("torchvision:resnet19", "'resnet19'; there are resnet18"),
        ("torchvision:resnet18@BEST", "'BEST'; it has IMAGENET1K_V1"),
        ("weights.pth", "weights alone are no model"),
    ],
)
def test_a_model_that_is_not_found_lists_what_is_expected(spec, message):
    with pytest.raises(ModelError, match=message):
        load_model(spec)


def test_missing_keras_file_is_a_conversion_error_with_its_name():
    with pytest.raises(ConversionError, match=r"nothing_here\.h5"):
        load_model("nothing_here.h5")


def test_torchvision_architecture_comes_randomly_initialised_without_weights():
    model = load_model("torchvision:squeezenet1_1", transform="resize=64+rgb")
    with torch.no_grad():
        assert model(model.transform(torch.rand(1, 1, 28, 28))).shape == (1, 1000)


class Detector(nn.Module):
    """A network with a child called `transform`, as torchvision's detectors have one."""

    def __init__(self) -> None:
        super().__init__()
        self.transform = nn.Linear(4, 4)
        self.input_shapes = ((3,),)  # of another meaning than a converted model's

    def forward(self, x):
        return self.transform(x.flatten(1))


class Method(nn.Module):
    def transform(self, x):
        return x * 2

    def forward(self, x):
        return self.transform(x)


def with_a_function() -> nn.Module:
    model = tiny()
    model.transform = torch.neg
    return model


@pytest.mark.parametrize("text", [None, "none", "pad=1"])
def test_a_child_called_transform_stays_and_runs(text):
    model = load_model(f"{HERE}:Detector", transform=text)
    x = torch.rand(2, 1, 2, 2)
    assert isinstance(model.transform, nn.Linear)
    assert torch.equal(model(x), model.transform(x.flatten(1)))
    if text == "pad=1":
        assert model_transform(model)(x).shape == (2, 1, 4, 4)
        assert model_transform(pickle.loads(pickle.dumps(model)))(x).shape == (2, 1, 4, 4)
    else:
        assert model_transform(model) is None
    check_input(model, (1, 2, 2))  # its own input_shapes is no fact of ours


@pytest.mark.parametrize("value", [nn.Identity(), None, True, "resize"])
def test_a_transform_that_is_part_of_the_network_is_not_taken_for_ours(value):
    model = nn.Module()
    model.transform = value
    assert model_transform(model) is None


def test_a_method_called_transform_belongs_to_the_network():
    model = load_model(f"{HERE}:Method", transform="flatten")
    assert model(torch.ones(1)) == 2
    assert model_transform(model)(torch.ones(1, 2, 2)).shape == (1, 4)
    assert model_transform(Method()) is None


def test_a_function_that_a_factory_sets_as_transform_is_used_unless_another_is_given():
    assert model_transform(load_model(f"{HERE}:with_a_function")) is torch.neg
    assert model_transform(load_model(f"{HERE}:with_a_function", transform="none")) is None
    assert load_model(f"{HERE}:with_a_function").transform is torch.neg


def test_a_detector_of_torchvision_comes_without_a_download_and_keeps_its_transform(monkeypatch):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("fetched weights"))
    model = load_model("torchvision:ssdlite320_mobilenet_v3_large", transform="resize=64")
    assert type(model.transform).__name__ == "GeneralizedRCNNTransform"
    with torch.no_grad():
        assert model([torch.rand(3, 64, 64)])[0].keys() >= {"boxes", "scores"}
    assert model_transform(model)(torch.rand(1, 3, 8, 8)).shape == (1, 3, 64, 64)


def test_a_transform_of_an_earlier_load_is_forgotten_and_one_set_later_is_used():
    assert load_model(f"{HERE}:ready", transform="flatten").transform is not None
    model = load_model(f"{HERE}:ready")
    assert model.transform is None
    model.transform = torch.neg
    try:
        assert model_transform(model) is torch.neg
    finally:
        model.transform = None


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("pad=2", (2, 1, 32, 32)),
        ("squeeze", (2, 28, 28)),
        ("flatten", (2, 784)),
        ("resize=8+rgb", (2, 3, 8, 8)),
        ("rgb+gray", (2, 1, 28, 28)),
    ],
)
def test_transforms_as_text_do_what_they_say_and_survive_pickling(text, shape):
    transform = pickle.loads(pickle.dumps(parse_transform(text)))
    assert transform(torch.rand(2, 1, 28, 28)).shape == shape


def test_none_changes_nothing_and_unknown_words_list_the_known():
    assert parse_transform("none") is None
    with pytest.raises(ModelError, match=r"'pad=x' is none of pad=N, .*squeeze"):
        parse_transform("squeeze+pad=x")


@pytest.mark.parametrize(
    ("name", "image_shape", "text"),
    [
        ("mnist_lenet60", (1, 32, 32), "none"),
        ("mnist_lenet60", (1, 28, 28), "pad=2"),
        ("mnist_lenet60", (1, 31, 31), None),
        ("mnist_lenet60", (1, 8, 8), None),
        ("mnist_lenet60", (3, 28, 28), None),
        ("mnist_dense128", (1, 28, 28), "squeeze"),
        (f"{HERE}:tiny", (1, 2, 2), None),
    ],
)
def test_only_a_transform_that_loses_nothing_is_proposed(name, image_shape, text):
    assert fitting_transform(load_model(name), image_shape) == text


def test_size_that_pooling_would_let_through_is_refused_with_both_shapes():
    model = load_model("mnist_lenet60")
    assert model(torch.zeros(1, 1, 30, 30)).shape == (1, 10)  # PyTorch alone would say nothing
    check_input(model, (1, 32, 32))
    with pytest.raises(ModelError, match=r"net: samples of shape \(1, 30, 30\) do not fit, it wants \(1, 32, 32\)"):
        check_input(model, (1, 30, 30), "net")
