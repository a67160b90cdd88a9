"""Models, outputs and calls that are legal in PyTorch and rare: what is recorded is still what the layers output."""

import copy
import gc
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.clone_oracle import CloneOracle, assert_recorded
from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import capture, extract, list_layers
from torchviz_layers.exceptions import CaptureError, UnknownLayerError


@pytest.fixture
def x():
    return whole_samples(4, 3)


@pytest.fixture
def net():
    return whole_numbers(nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))).eval()


class Call(nn.Module):
    """A module that is a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def linear(layer, x):
    return F.linear(x, layer.weight, layer.bias).detach()


# hooks of the model's owner


def test_the_output_is_the_one_that_the_owners_hooks_return(net, x):
    net[0].register_forward_hook(lambda _module, _args, output: output + 100, always_call=True)
    with capture(net) as acts:
        net(x)
        assert len(net[0]._forward_hooks) == 1  # ours comes and goes with each call
    assert torch.equal(acts["0"], linear(net[0], x) + 100)


def test_the_input_is_the_one_that_the_owners_hooks_return(net, x):
    net[0].register_forward_pre_hook(lambda _module, args: (args[0] + 100,))
    with capture(net, at="input") as acts:
        net(x)
        other = copy.deepcopy(net)
        other(x - 1)
    assert torch.equal(acts["0"], x + 100)
    assert len(net[0]._forward_pre_hooks) == 1
    assert all(not module._forward_hooks for module in net)


@pytest.mark.parametrize("always_call", [False, True])
def test_an_owners_hook_that_raises_leaves_nothing_behind(net, x, always_call):
    def refuse(_module, _args, _output):
        raise ValueError("no")

    handle = net[2].register_forward_hook(refuse, always_call=always_call)
    with capture(net) as acts:
        with pytest.raises(ValueError, match="no"):
            net(x)
        handle.remove()
        net(x)
    assert list(acts) == ["0", "1", "2"]
    assert not any(module._forward_hooks for module in net.modules())


def test_a_copy_made_meanwhile_keeps_its_fast_path():
    model = nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    with capture(model) as acts:
        other = copy.deepcopy(model)
        model(torch.randn(2, 3, 8))
    assert "linear1" in acts
    assert not other._forward_hooks
    assert not other._forward_pre_hooks


# ways to call


def test_every_call_of_a_module_that_calls_itself_is_kept(x):
    class Doubled(nn.Module):
        def forward(self, x, depth=2):
            return self(x, depth - 1) * 2 if depth else x + 1

    model = nn.Sequential(Doubled())
    with CloneOracle(model) as oracle, capture(model) as acts:
        model(x)
    assert list(acts) == ["0", "0:1", "0:2"]
    assert_recorded(acts, oracle.calls())
    assert [torch.equal(acts[key], (x + 1) * 2**call) for call, key in enumerate(acts)] == [True] * 3


def test_a_module_without_children_is_a_layer_though_it_runs_another(x):
    first = nn.Linear(3, 3)
    model = nn.Sequential(first, Call(lambda x: first(x) * 2))
    with capture(model) as acts:
        model(x)
    assert list(acts) == ["0", "0:1", "1"]
    assert torch.equal(acts["1"], acts["0:1"] * 2)


def test_a_model_that_calls_itself(x):
    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Linear(3, 3)

        def forward(self, x, depth=2):
            return self.step(x if not depth else self(x, depth - 1))

    model = Again()
    with CloneOracle(model) as oracle, capture(model, ["step", ""]) as acts:
        model(x)
    assert_recorded(acts, oracle.calls())
    assert list(acts) == ["step", "", "step:1", ":1", "step:2", ":2"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_pass_that_was_broken_off_does_not_run_into_the_next(net, x, error):
    net.add_module("3", Call(lambda x: x))

    def stop(_):
        raise error

    with capture(net) as acts:
        net[3].function = stop
        with pytest.raises(error):
            net(x)
        net[3].function = torch.neg
        net(x + 1)
    assert list(acts) == ["0", "1", "2", "3"]
    assert torch.equal(acts["0"], linear(net[0], x + 1))


def test_an_extraction_that_stops_early_inside_the_block_does_not_run_into_the_next_pass(net, x):
    with capture(net) as acts:
        extract(net, [x] * 4, layers="0", predictions=False)
        net(x + 1)
    assert list(acts) == ["0", "1", "2"]
    assert torch.equal(acts["0"], linear(net[0], x + 1))


def test_a_module_that_answers_nothing_has_run(x):
    model = nn.Sequential(Call(lambda x: x))
    model[0].register_module("quiet", Call(lambda *_: None))
    model[0].function = lambda x: model[0].quiet(x) or model[0].quiet(x) or x
    with capture(model, pool="gap") as acts:
        model(x)
    assert acts["0.quiet"] is None
    assert acts["0.quiet:1"] is None
    assert "did not run" not in str(list_layers(model, x))
    with pytest.raises(CaptureError, match=r"'0\.quiet': its output holds no tensor"):
        extract(model, [x], layers="0.quiet")


def test_a_layer_that_runs_in_another_thread_is_said_to(x):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            with ThreadPoolExecutor(2) as pool:
                return sum(pool.map(lambda branch: branch(x), [self.a, self.b]))

    model = Branches()
    with capture(model) as acts:
        model(x)
    with pytest.raises(UnknownLayerError, match="'a': ran in another thread only"):
        acts["a"]


# function transforms


def test_what_vmap_maps_over_comes_first(net, x):
    with capture(net) as acts:
        torch.func.vmap(net)(x)
    torch.testing.assert_close(acts["0"], linear(net[0], x))
    scaled = [{name: value.detach() * k for name, value in net.named_parameters()} for k in (1, 2)]
    stacked = {name: torch.stack([one[name] for one in scaled]) for name in scaled[0]}
    sample = torch.func.vmap(lambda weights, x: torch.func.functional_call(net, weights, x), (None, 0))
    with capture(net) as acts:
        torch.func.vmap(sample, (0, None))(stacked, x)
    expected = torch.stack([F.linear(x, one["0.weight"], one["0.bias"]) for one in scaled])
    torch.testing.assert_close(acts["0"], expected)


def test_activations_under_a_gradient_transform_are_readable_afterwards(net, x):
    with capture(net) as acts:
        torch.func.vmap(torch.func.grad(lambda x: net(x).sum()))(x)
    torch.testing.assert_close(acts["0"] + 0, linear(net[0], x))


def test_a_block_inside_a_transform_can_be_differentiated(net, x):
    def first_layer(x):
        with capture(net, "0", detach=False) as acts:
            net(x)
        return acts["0"].sum()

    torch.testing.assert_close(torch.func.grad(first_layer)(x), net[0].weight.detach().sum(0).expand(4, 3))


def test_extraction_of_a_model_that_uses_vmap_inside(x):
    model = nn.Sequential(nn.Linear(3, 3))
    model.forward = lambda x: torch.func.vmap(model[0])(x)
    np.testing.assert_allclose(extract(model, [x])["0"], linear(model[0], x).numpy(), rtol=1e-6)


# kinds of output


@dataclass(slots=True)
class Slotted:
    a: Any


@dataclass
class Outer:
    a: Any


class Pair(NamedTuple):
    a: Any
    b: Any = None


def cycle(tensor):
    first = SimpleNamespace(tensor=tensor)
    first.second = SimpleNamespace(tensor=tensor, first=first)
    return first


OUTPUTS = {
    "slots": (Slotted, lambda out: out.a),
    "nested records": (lambda x: Outer(Outer({"k": Slotted(x)})), lambda out: out.a.a["k"].a),
    "namespace": (lambda x: SimpleNamespace(inner=SimpleNamespace(x=x)), lambda out: out.inner.x),
    "named tuple": (Pair, lambda out: out.a),
    "deque": (lambda x: deque([x]), lambda out: out[0]),
    "set": (lambda x: {x}, lambda out: next(iter(out))),
    "distribution": (
        lambda x: torch.distributions.Independent(torch.distributions.Normal(x, torch.ones_like(x)), 1),
        lambda out: out.base_dist.loc,
    ),
    "cycle": (cycle, lambda out: out.second.first.second.tensor),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_tensors_are_copied_wherever_they_are(x, kind):
    make, get = OUTPUTS[kind]
    model = nn.Sequential(nn.Linear(3, 3), Call(make))
    with capture(model) as acts, torch.no_grad():
        result = model(x)
        assert type(acts["1"]) is type(result)
        expected = get(result).clone()
        get(result).zero_()
    assert isinstance(get(acts["1"]), Tensor)
    assert torch.equal(get(acts["1"]), expected)


def test_an_array_is_copied_though_it_shares_its_memory_with_a_tensor(x):
    model = nn.Sequential(nn.Linear(3, 3), Call(lambda tensor: tensor.numpy()))
    with capture(model) as acts, torch.no_grad():
        result = model(x)
        expected = result.copy()
        result += 1
    np.testing.assert_array_equal(acts["1"], expected)


class Stages(nn.Module):
    """Runs the entries of a list, and the forward of one layer without its hooks."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.head.forward(x)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("stages", r"a ModuleList contains modules and has no forward; choose those, for example 'stages\.\*'"),
        ("head", r"or \.forward\(\.\.\.\) was called, which runs no hooks"),
    ],
)
def test_what_runs_no_hooks_is_named_with_the_reason(layer, reason, x):
    model = Stages()
    with capture(model, layers=layer) as acts:
        model(x)
    with pytest.raises(UnknownLayerError, match=rf"'{layer}': .*{reason}"):
        acts[layer]
    with pytest.raises(UnknownLayerError, match=rf"'{layer}': .*{reason}"):
        extract(model, [x], layers=layer, progress=False)
    assert [info.name for info in list_layers(model, x) if info.reason] == ["head"]


def test_nothing_is_kept_alive_after_the_block(net, x):
    gc.disable()
    try:
        with capture(net) as acts:
            net(x)
        value, model = weakref.ref(acts["0"]), weakref.ref(net[0])
        del acts
        assert value() is None
        rows = extract(net, [x], layers="0")
        module = nn.Sequential(nn.Linear(3, 3))
        model = weakref.ref(module)
        extract(module, [x])
        del module
        assert model() is None
        assert rows["0"].shape == (4, 3)
    finally:
        gc.enable()
