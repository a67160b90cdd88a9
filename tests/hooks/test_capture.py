import contextlib
import re
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.clone_oracle import CloneOracle, assert_recorded
from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import capture, list_layers
from torchviz_layers.exceptions import CaptureError, UnknownLayerError
from torchviz_layers.hooks import computing_layers


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        self.conv2 = nn.Conv2d(2, 2, 3)
        self.relu = nn.ReLU()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32, 5), nn.Dropout(), nn.Linear(5, 3))
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.relu(self.conv2(self.relu(self.conv1(x)))))


@pytest.fixture
def net():
    return Net().eval()


@pytest.fixture
def x():
    return torch.randn(4, 1, 8, 8)


ALL = ["conv1", "relu", "conv2", "relu:1", "head.0", "head.1", "head.2", "head.3"]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (None, ALL),
        ("conv2", ["conv2"]),
        ("conv*", ["conv1", "conv2"]),
        (re.compile(r"head\.[13]$"), ["head.1", "head.3"]),
        (nn.Linear, ["head.1", "head.3"]),
        (-1, ["head.3"]),
        ([0, -2], ["conv1", "head.2"]),
        (1, ["relu", "relu:1"]),
        ("relu:1", ["relu:1"]),
        (["relu:1", "relu"], ["relu", "relu:1"]),
        ("head", ["head"]),
        ("", [""]),
        (lambda name, module: isinstance(module, nn.Conv2d) and name.endswith("2"), ["conv2"]),
        (["head.3", "conv1", "conv*"], ["conv1", "conv2", "head.3"]),
    ],
)
def test_selectors_choose_layers_in_order_of_execution(net, x, layers, expected):
    with capture(net, layers) as acts:
        net(x)
    assert list(acts) == expected


def test_a_module_object_chooses_itself(net, x):
    with capture(net, [net.head[1], net.conv1]) as acts:
        net(x)
    assert list(acts) == ["conv1", "head.1"]


def test_values_are_what_the_layers_output(net, x):
    with capture(net) as acts, torch.no_grad():
        result = net(x)
    first = F.relu(F.conv2d(x, net.conv1.weight, net.conv1.bias))
    torch.testing.assert_close(acts["relu"], first)
    assert torch.equal(acts["head.3"], result)
    assert torch.equal(acts[-1], result)
    assert acts["relu:0"] is acts["relu"]


@pytest.mark.parametrize("wanted", ["conv9", "hed.1", "*.nothing", re.compile("nothing"), nn.LSTM])
def test_a_selector_that_matches_nothing_is_an_error_that_lists_names(net, wanted):
    with pytest.raises(UnknownLayerError, match=r"matches no layer of Net.*list_layers"):
        capture(net, [wanted])


def test_the_error_for_a_misspelt_name_offers_close_ones(net):
    with pytest.raises(UnknownLayerError, match="'conv3' matches no layer of Net; did you mean 'conv"):
        capture(net, "conv3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": []}, "the list is empty"),
        ({"layers": [3.5]}, "3.5 is a float"),
        ({"layers": nn.Linear(1, 1)}, "not a module of Net"),
        ({"at": "middle"}, "at='middle' is none of 'output', 'input'"),
        ({"calls": "second"}, "calls='second'"),
        ({"pool": "max"}, "pool='max' is none of none, flatten, gap"),
    ],
)
def test_wrong_options_are_named(net, options, message):
    with pytest.raises(CaptureError, match=message):
        capture(net, **options)


def test_what_is_looked_up_in_vain_is_explained(net, x):
    with capture(net, ["conv1", "unused"]) as acts:
        with pytest.raises(UnknownLayerError, match="the model has not run inside the block"):
            acts["conv1"]
        net(x)
    with pytest.raises(UnknownLayerError, match="'unused': did not run"):
        acts["unused"]
    with pytest.raises(UnknownLayerError, match="'conv2': it ran, but"):
        acts["conv2"]
    with pytest.raises(UnknownLayerError, match="did you mean"):
        acts["conv_1"]
    with pytest.raises(UnknownLayerError, match="index 3 is out of range"):
        acts[3]
    assert "conv2" not in acts
    assert "conv1" in acts


def test_hooks_are_gone_after_an_error_in_the_block(net, x):
    with contextlib.suppress(ZeroDivisionError), capture(net):
        net(x)
        _ = 1 / 0
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks
    assert not any(module._forward_pre_hooks_with_kwargs for module in net.modules())


def test_a_failing_forward_pass_does_not_confuse_the_next(net, x):
    with capture(net) as acts:
        with pytest.raises(RuntimeError):
            net(x[:, :, :5])
        net(x)
    assert list(acts) == ALL


def test_the_record_holds_the_last_forward_pass(net, x):
    with capture(net, -1) as acts:
        net(x)
        result = net(x + 1)
    assert torch.equal(acts["head.3"], result)


def test_a_part_of_the_model_may_run_by_itself(net, x):
    with capture(net, "conv*") as acts:
        net.conv1(x)
    assert list(acts) == ["conv1"]


def test_captures_nest(net, x):
    with capture(net, "conv1") as outer, capture(net, "conv2") as inner:
        net(x)
    assert list(outer) == ["conv1"]
    assert list(inner) == ["conv2"]


def test_gradients_flow_through_what_is_kept_on_request(net, x):
    with capture(net, ["conv2", "head.1"], detach=False) as acts:
        result = net(x)
    (gradient,) = torch.autograd.grad(result[:, 0].sum(), acts["conv2"])
    assert gradient.shape == acts["conv2"].shape
    assert gradient.abs().sum() > 0
    with capture(net, "conv2") as detached:
        net(x)
    assert not detached["conv2"].requires_grad


def test_an_overwritten_activation_stays_differentiable():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)), torch.randn(2, 3)
    with capture(model, detach=False) as acts:
        result = model(x)
    assert acts["1"] is result
    expected = F.linear(x, model[0].weight, model[0].bias)
    assert torch.equal(acts["0"], expected)
    acts["0"].sum().backward()
    torch.testing.assert_close(model[0].weight.grad, x.sum(0).expand(4, 3))


@pytest.mark.parametrize("kind", ["activation", "sum", "structure", "half overwritten"])
def test_the_gradient_of_an_activation_that_is_overwritten_in_place_can_be_taken(kind):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 4)

        def forward(self, x):
            return (self.fc(x), {"again": self.fc(x)})

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.relu = (Pair() if kind == "structure" else nn.Linear(3, 4)), nn.ReLU(inplace=True)

        def forward(self, x):
            out = self.layer(x)
            if kind == "structure":
                return (self.relu(out[0]) * out[1]["again"]).sum()
            if kind == "sum":
                out += x.sum()
            elif kind == "half overwritten":
                out[:, :2] *= 3
            return self.relu(out).square().sum()

    model, x = Model(), torch.randn(5, 3)
    with capture(model, "layer", detach=False) as acts:
        loss = model(x)
    first = acts["layer"] if kind != "structure" else acts["layer"][0]
    plain = F.linear(x, *model.layer.parameters())
    assert torch.equal(first, plain)
    before = plain.detach().requires_grad_()
    scale = torch.tensor([3.0, 3.0, 1.0, 1.0]) if kind == "half overwritten" else 1
    after = (before * scale + (x.sum() if kind == "sum" else 0)).relu()
    expected = (after * plain.detach()).sum() if kind == "structure" else after.square().sum()
    (gradient,) = torch.autograd.grad(loss, first, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, before)[0])
    first.retain_grad()
    loss.backward()
    torch.testing.assert_close(first.grad, gradient)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("overwrites", ["module", "model"])
def test_an_input_that_is_overwritten_in_place_has_no_gradient_and_the_error_says_what_to_do(overwrites):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.act = nn.Linear(3, 4), nn.ReLU(inplace=True) if overwrites == "module" else nn.Flatten()

        def forward(self, x):
            out = self.fc(x)
            result = self.act(out)
            if overwrites == "model":
                out *= 2
            return result.sum()

    model, x = Model(), torch.randn(2, 3)
    with capture(model, at="input", detach=False) as acts:
        model(x)
    for read in (lambda: acts["act"], lambda: dict(acts)):
        with pytest.raises(
            CaptureError, match=r"'act': its input was overwritten in place.*inplace=False.*detach=True"
        ):
            read()
    assert "act: Tensor(2, 4)" in repr(acts)
    assert torch.equal(acts["fc"], x)
    with capture(model, "act", at="input") as values, torch.no_grad():
        model(x)
    assert torch.equal(values["act"], F.linear(x, *model.fc.parameters()))


def test_the_ways_out_of_an_overwritten_input_lead_to_its_gradient():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)), torch.randn(2, 3)
    expected = (F.linear(x, *model[0].parameters()) > 0).float()
    with capture(model, "0", detach=False) as acts:
        result = model(x)
    assert torch.equal(torch.autograd.grad(result.sum(), acts["0"])[0], expected)
    model[1].inplace = False
    with capture(model, "1", at="input", detach=False) as acts:
        result = model(x)
    assert torch.equal(torch.autograd.grad(result.sum(), acts["1"])[0], expected)


def test_the_graph_is_kept_inside_structures_too():
    class Pair(NamedTuple):
        first: torch.Tensor
        second: torch.Tensor

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 4)

        def forward(self, x):
            return Pair(self.fc(x), self.fc(x + 1))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def forward(self, x):
            pair = self.two(x)
            return pair.first.relu_() + pair.second

    model, x = Model(), torch.randn(2, 3)
    with capture(model, "two", detach=False) as acts:
        result = model(x)
    pair = acts["two"]
    assert isinstance(pair, Pair)
    torch.testing.assert_close(pair.first, model.two.fc(x))  # not what relu_ made of it
    (gradient,) = torch.autograd.grad(result.sum(), pair.second)
    assert torch.equal(gradient, torch.ones(2, 4))


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("at", ["output", "input"])
def test_a_scripted_part_is_one_layer(at):
    part = torch.jit.trace(whole_numbers(nn.Sequential(nn.Linear(3, 2), nn.ReLU())), torch.ones(1, 3))
    model, x = nn.Sequential(part, nn.Linear(2, 2)), whole_samples(4, 3)
    with capture(model, at=at) as acts:
        model(x)
    assert list(acts) == ["0", "1"]
    assert torch.equal(acts["0" if at == "output" else "1"], part(x))


def test_device_and_dtype_of_copies_are_the_callers(net, x):
    with capture(net, dtype=torch.float64, device="cpu") as acts:
        net(x)
    assert acts["conv1"].dtype == torch.float64


def test_integers_keep_their_type():
    model = nn.Sequential(nn.Identity(), nn.Embedding(5, 2))
    with capture(model, dtype=torch.float16) as acts:
        model(torch.tensor([1, 2]))
    assert acts["0"].dtype == torch.int64
    assert acts["1"].dtype == torch.float16


POOLS = {
    "flatten": lambda t: t.flatten(1),
    "gap": lambda t: t.mean((2, 3)),
    "token_mean": lambda t: t.mean((1, 2)),
    "cls": lambda t: t[:, 0],
    "last_token": lambda t: t[:, -1],
}


@pytest.mark.parametrize("pool", [*POOLS, "function"])
def test_pooling_inside_the_hook(net, x, pool):
    with capture(net, "conv1") as plain:
        net(x)
    chosen = POOLS.get(pool, lambda t: t.amax((2, 3)))
    with capture(net, ["conv1", "head.1"], pool=pool if pool in POOLS else {"conv*": chosen}) as acts:
        net(x)
    torch.testing.assert_close(acts["conv1"], chosen(plain["conv1"]))
    assert acts["head.1"].shape == (4, 5)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 3)

    def forward(self, input_ids, attention_mask=None):  # noqa: ARG002 the capture reads it
        return {"last": self.embed(input_ids)}


@pytest.mark.parametrize("given", [True, False])
def test_token_pools_heed_the_attention_mask(given):
    model, ids = Tokens(), torch.randint(9, (3, 4))
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
    options, kwargs = ({"mask": mask}, {}) if given else ({}, {"attention_mask": mask})
    with capture(model, pool="token_mean", **options) as mean:
        model(ids, **kwargs)
    with capture(model, pool="last_token", **options) as last:
        model(ids, **kwargs)
    rows = model.embed(ids)
    torch.testing.assert_close(mean["embed"], torch.stack([rows[0, :2].mean(0), rows[1].mean(0), rows[2, 2:].mean(0)]))
    torch.testing.assert_close(last["embed"], torch.stack([rows[0, 1], rows[1, 3], rows[2, 3]]))


class Nested(nn.Module):
    """Outputs a structure."""

    def forward(self, x):
        return {"features": x * 2, "parts": (x, [x + 1])}


def test_nested_outputs_keep_their_structure_and_select_reaches_into_it():
    model, x = nn.Sequential(Nested()), torch.randn(2, 3)
    with capture(model) as acts:
        model(x)
    assert torch.equal(acts["0"]["parts"][1][0], x + 1)
    for select, expected in (("features", x * 2), (("parts", 1, 0), x + 1), (lambda out: out["parts"][0], x)):
        with capture(model, "0", select=select) as chosen:
            model(x)
        assert torch.equal(chosen["0"], expected)
    message = r"select='nothing' was not found in dict\(features=Tensor\(2, 3\)"
    with capture(model, "0", select="nothing"), pytest.raises(CaptureError, match=message):
        model(x)


def test_an_ambiguous_output_is_an_error_that_prints_its_structure():
    model, x = nn.Sequential(Nested()), torch.randn(2, 3)
    structure = r"dict\(features=Tensor\(2, 3\), parts=tuple\(Tensor\(2, 3\), list\(Tensor\(2, 3\)\)\)\)"
    message = rf"'0'.*3 tensors: {structure}.*select='features'"
    with capture(model, "0", pool="flatten"), pytest.raises(CaptureError, match=message):
        model(x)


def test_a_module_that_says_it_is_one_layer_is_listed_whole():
    class Activated(nn.Module):
        is_layer = True

        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 2, 3), nn.ReLU()

        def forward(self, images):
            return self.relu(self.conv(images))

    model, x = nn.Sequential(Activated(), nn.Flatten()), torch.randn(2, 1, 4, 4)
    with capture(model) as acts:
        model(x)
    with capture(model, "*") as matched:
        model(x)
    with capture(model, "0.conv") as inner:
        model(x)
    assert list(acts) == list(matched) == ["0", "1"]
    assert list(inner) == ["0.conv"]
    assert [layer.name for layer in list_layers(model)] == ["0", "1"]


@pytest.mark.parametrize("options", [{}, {"calls": "last"}, {"layers": [-1, "relu"]}])
def test_the_values_are_those_that_a_cloning_hook_sees(net, x, options):
    with CloneOracle(net) as oracle, capture(net, **options) as acts:
        net(x)
    assert_recorded(acts, oracle.last_calls() if options.get("calls") == "last" else oracle.calls())


def test_the_oracle_finds_a_difference(net, x):
    with CloneOracle(net) as oracle, capture(net, "conv1") as acts:
        net(x)
    acts["conv1"].add_(1)
    with pytest.raises(AssertionError, match="'conv1': other numbers"):
        assert_recorded(acts, oracle.calls())


def test_listing_with_an_example_tells_what_ran_and_why_the_rest_did_not(net, x):
    table = list_layers(net.train(), x)
    assert [layer.name for layer in table] == [
        "conv1",
        "relu",
        "conv2",
        "head.0",
        "head.1",
        "head.2",
        "head.3",
        "unused",
    ]
    relu = table[1]
    assert (relu.kind, relu.calls, relu.output_shape, relu.dtype) == ("ReLU", 2, (4, 2, 6, 6), torch.float32)
    assert relu.bytes_per_sample == (2 * 6 * 6 + 2 * 4 * 4) * 4  # both calls
    assert "did not run" in table[-1].reason
    assert all(module.training for module in net.modules())
    assert table.names == [layer.name for layer in table][:-1]
    printed = repr(table).splitlines()
    assert table.bytes_per_sample == 4 * (72 + (72 + 32) + 32 + 32 + 5 + 5 + 3)
    assert printed[0] == "Net: 8 layers, 1.01 kB a sample"
    assert printed[4].split() == ["relu", "ReLU", "4", "x", "2", "x", "6", "x", "6", "float32", "416", "2"]


def test_listing_without_an_example_goes_by_registration(net):
    assert [layer.name for layer in list_layers(net)] == [
        "conv1", "conv2", "relu", "head.0", "head.1", "head.2", "head.3", "unused",
    ]  # fmt: skip
    assert all(layer.calls is None for layer in list_layers(net))


def test_listing_can_include_modules_made_of_others(net, x):
    assert [layer.name for layer in list_layers(net, x, leaves_only=False)][:2] == ["", "conv1"]


def test_a_failing_example_says_how_far_it_got(net):
    with pytest.raises(
        CaptureError, match=r"Net fails on this example \(Tensor\(4, 1, 9, 9\)\).*layers that ran: conv1"
    ):
        list_layers(net, torch.ones(4, 1, 9, 9))


def test_computing_layers_leave_out_those_that_pass_their_input_on(net, x):
    assert computing_layers(net) == ["conv1", "conv2", "relu", "head.1", "head.3", "unused"]
    assert computing_layers(net, x) == ["conv1", "relu", "conv2", "head.1", "head.3"]


def test_a_model_without_children_is_its_own_layer():
    model, x = nn.Linear(3, 2), torch.randn(1, 3)
    with capture(model) as acts:
        result = model(x)
    assert torch.equal(acts[""], result)
    assert "(model)" in repr(acts)


def test_something_that_is_no_module_is_refused():
    with pytest.raises(CaptureError, match=r"expected a torch\.nn\.Module, got builtin_function_or_method"):
        capture(len)


def test_a_recursive_module_starts_one_pass():
    class Recursive(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Linear(2, 2)

        def forward(self, x, depth=2):
            x = self.step(x)
            return self(x, depth - 1) if depth else x

    model = Recursive()
    with capture(model, "step") as acts:
        model(torch.ones(1, 2))
    assert list(acts) == ["step", "step:1", "step:2"]
