"""Where an extraction runs: which card is a process's own, models that are offloaded. No card is needed."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests.fake_cards import FakeCurrentDevice
from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import extract, list_layers
from torchviz_layers._common import distributed
from torchviz_layers._common.distributed import WorkerGroup, local_device, worker_group
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.extraction import model_run, runner
from torchviz_layers.extraction.model_device import model_on_device
from torchviz_layers.extraction.staging import StagedTable
from torchviz_layers.hooks.batches import as_arguments
from torchviz_layers.hooks.devices import device_of

CPU = torch.device("cpu")


@pytest.fixture
def cards(monkeypatch):
    """A machine with a number of cards, the second of which is the current one; return how to say how many."""

    def set_count(count):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return set_count


@pytest.mark.parametrize(
    ("local_rank", "count", "expected"),
    [(None, 4, 1), ("0", 4, 0), ("3", 4, 3), ("3", 2, 1), ("2", 1, 0)],
    ids=["no rank", "first", "last", "fewer cards than processes", "one visible card"],
)
def test_every_process_has_a_card_of_those_that_it_sees(cards, monkeypatch, local_rank, count, expected):
    cards(count)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert local_device() == torch.device("cuda", expected)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_processes_talk_in_the_same_way_whatever_cards_they_see(cards, monkeypatch, count):
    cards(count)
    seen = []
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)

    @contextmanager
    def group():
        seen.append("group")
        yield WorkerGroup(1, 2)

    monkeypatch.setattr(distributed, "_stores", [(dist.HashStore(), 1, 2)])
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: seen.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: seen.append("end"))
    monkeypatch.setattr(distributed, "_patient_group", group)
    monkeypatch.setattr(torch.cuda, "device", FakeCurrentDevice(seen))
    with worker_group() as found:
        seen.append(found.rank)
    expected = {
        0: ["gloo", "group", 1, "end"],
        1: ["gloo", "enter cuda:0", "group", 1, "leave cuda:0", "end"],
        2: ["gloo", "enter cuda:1", "group", 1, "leave cuda:1", "end"],
    }
    assert seen == expected[count]


def test_processes_meet_where_no_address_of_an_earlier_group_is_left(monkeypatch):
    found = []

    def rendezvous(url):
        found.append(url)
        yield dist.HashStore(), 1, 2

    monkeypatch.setattr(distributed, "_stores", [])
    monkeypatch.setattr(dist, "rendezvous", rendezvous)
    rank, size, first = distributed._join_store()
    _, _, second = distributed._join_store()
    first.set("address", "of the first group")
    assert rank == 1
    assert size == 2
    assert not second.check(["address"])
    assert found == ["env://"]  # once: the first process may be the store's server


class Model(nn.Module):
    """Counts in `seen` how often it runs."""

    def __init__(self, seen, most=100):
        super().__init__()
        self.net = whole_numbers(nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)))
        self.seen, self.most = seen, most

    def forward(self, x):
        self.seen.append("forward")
        x = self.net[1](self.net[0](x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError
        return self.net[2](x)


@pytest.fixture
def second_card(monkeypatch):
    """Let an extraction believe that it runs on `cuda:1`, while all tensors are on the CPU; return what happens."""
    seen = []

    @contextmanager
    def pretended(_model, _wanted):
        yield torch.device("cuda:1")

    def on_cpu(inputs, _device):
        return as_arguments(inputs, CPU)

    monkeypatch.setattr(model_run, "model_on_device", pretended)
    monkeypatch.setattr(model_run, "as_arguments", on_cpu)
    monkeypatch.setattr(runner, "as_arguments", on_cpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "a card")
    monkeypatch.setattr(torch.cuda, "device", FakeCurrentDevice(seen))
    return seen


def test_the_card_of_an_extraction_is_the_current_one_as_long_as_it_runs(second_card):
    extract(Model(second_card), whole_samples(6, 3).split(2))
    assert second_card[0] == "enter cuda:1"
    assert second_card[-1] == "leave cuda:1"
    entered = [second_card[: i + 1].count("enter cuda:1") for i in range(len(second_card))]
    left = [second_card[: i + 1].count("leave cuda:1") for i in range(len(second_card))]
    assert all(into > out for into, out in zip(entered[:-1], left[:-1], strict=True))
    assert second_card.count("forward") == 4


def test_rows_that_pass_through_pinned_memory_are_those_that_do_not(second_card, tmp_path, monkeypatch):
    settled, settle = [], StagedTable.settle
    monkeypatch.setattr(StagedTable, "settle", lambda self: settled.append(self) or settle(self))
    batches = [(rows, torch.arange(8)) for rows in whole_samples(24, 3).split(8)]
    acts = extract(Model(second_card, most=3), batches, out=tmp_path / "store")
    assert settled
    monkeypatch.undo()
    truth = extract(Model([]), batches, device="cpu")
    for name, rows in truth.items():
        np.testing.assert_array_equal(acts[name][:], rows)
    np.testing.assert_array_equal(acts.targets, truth.targets)
    np.testing.assert_array_equal(acts.predictions, truth.predictions)
    np.testing.assert_array_equal(acts.ids, truth.ids)


class Offloaded(nn.Linear):
    """A layer whose weights a hook of `accelerate`'s kind brings in for each call."""

    def __init__(self, *sizes, hook):
        super().__init__(*sizes)
        whole_numbers(self)
        self.kept = {name: parameter.detach().clone() for name, parameter in self.named_parameters()}
        self._hf_hook = hook
        for name in self.kept:
            setattr(self, name, nn.Parameter(torch.empty_like(getattr(self, name), device="meta")))

    def forward(self, x):
        return nn.functional.linear(x, **self.kept)


def hook(device):
    return SimpleNamespace(execution_device=device)


HOOKS = {
    "the layer's": (None, hook("cpu")),
    "the root's": (hook("cpu"), hook(None)),
    "one of several": (SimpleNamespace(hooks=(hook(None), hook("cpu"))), hook(None)),
}


@pytest.mark.parametrize("hooks", HOOKS)
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_layers_of_an_offloaded_model_are_extracted(hooks, device):
    of_root, of_layer = HOOKS[hooks]
    model = nn.Sequential(Offloaded(3, 4, hook=of_layer), nn.Linear(4, 2))
    if of_root is not None:
        model._hf_hook = of_root
    samples = whole_samples(6, 3)
    acts = extract(model, samples.split(2), device=device)
    np.testing.assert_array_equal(acts["0"], model[0](samples))
    assert model[0].weight.is_meta
    assert [layer.name for layer in list_layers(model, samples)] == ["0", "1"]


def test_a_model_that_hooks_manage_gets_its_inputs_where_they_say_and_stays(cards):
    cards(2)
    model = nn.Sequential(Offloaded(3, 4, hook=hook(None)))
    model._hf_hook = hook("cuda:1")
    assert device_of(model) == torch.device("cuda:1")
    for wanted in ("auto", "cpu", "cuda:0"):
        with model_on_device(model, wanted) as device:
            assert device == torch.device("cuda:1")
            assert model[0].weight.is_meta


def test_weights_that_nobody_brings_in_are_an_error():
    model = nn.Linear(3, 2, device="meta")
    with pytest.raises(CaptureError, match="hold no numbers"):
        extract(model, whole_samples(4, 3).split(2))
