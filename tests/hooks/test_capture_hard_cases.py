"""Eighteen situations in which the usual hook is wrong; each test shows that it is, and that ours is not."""

import copy
import pickle
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from tests.rounding import assert_same_sums, whole_numbers, whole_samples
from torchviz_layers import capture, extract, list_layers
from torchviz_layers.exceptions import CaptureError, DataError, UnknownLayerError


@contextmanager
def naive_hooks(model, *, names=None):
    """The recipe of a thousand tutorials: `seen[name] = output.detach()` on every leaf."""
    seen, handles = {}, []
    for name, module in model.named_modules():
        if (names is None and not list(module.children())) or (names is not None and name in names):
            handles.append(
                module.register_forward_hook(lambda _m, _i, o, name=name: seen.__setitem__(name, o.detach()))
            )
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class Block(nn.Module):
    """conv -> bn -> relu, plus the input, relu again: the shape of resnet18's blocks."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.bn = nn.BatchNorm2d(2)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        out = self.relu(self.bn(self.conv(x)))
        out = self.conv2(out)
        out += x
        return self.relu(out)


@pytest.fixture
def block():
    return whole_numbers(Block()).eval()


@pytest.fixture
def images():
    return whole_samples(4, 2, 5, 5)


def test_case_1_an_inplace_relu_does_not_overwrite_the_layer_before(block, images):
    with torch.no_grad():
        truth = block.bn(block.conv(images))
        with naive_hooks(block) as seen:
            block(images)
        with capture(block) as acts:
            block(images)
    assert not torch.equal(seen["bn"], truth)
    assert torch.equal(acts["bn"], truth)


def test_case_2_an_inplace_sum_does_not_overwrite_a_capture(block, images):
    with torch.no_grad():
        truth = block.conv2(F.relu(block.bn(block.conv(images))))
        with naive_hooks(block) as seen:
            block(images)
        with capture(block) as acts:
            block(images)
    assert not torch.equal(seen["conv2"], truth)
    assert torch.equal(acts["conv2"], truth)


def test_case_3_inputs_are_recorded_before_the_module_changes_them(block, images):
    with torch.no_grad():
        truth = block.bn(block.conv(images))
        seen = {}
        handle = block.relu.register_forward_hook(lambda _m, args, _o: seen.setdefault("relu", args[0].clone()))
        block(images)
        handle.remove()
        with capture(block, "relu", at="input") as acts:
            block(images)
    assert not torch.equal(seen["relu"], truth)
    assert torch.equal(acts["relu"], truth)


def test_case_3_inputs_given_by_name_alone_are_recorded():
    class Scale(nn.Module):
        def forward(self, *, x, factor):
            return x * factor

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = Scale()

        def forward(self, x):
            return self.scale(x=x, factor=torch.tensor(2.0))

    model, x, seen = Model(), torch.randn(3, 2), []
    handle = model.scale.register_forward_pre_hook(lambda _m, args: seen.append(args))
    model(x)
    handle.remove()
    with capture(model, "scale", at="input") as acts:
        model(x)
    assert seen == [()]
    assert torch.equal(acts["scale"]["x"], x)
    assert acts["scale"]["factor"] == 2


def test_case_4_every_call_of_a_reused_module_is_kept_in_order(block, images):
    with torch.no_grad():
        first = F.relu(block.bn(block.conv(images)))
        last = F.relu(block.conv2(first) + images)
        with naive_hooks(block) as seen:
            block(images)
        recorded = {}
        for calls in ("all", "first", "last"):
            with capture(block, calls=calls) as acts:
                block(images)
            recorded[calls] = acts
    assert not torch.equal(seen["relu"], first)
    assert list(recorded["all"]) == ["conv", "bn", "relu", "conv2", "relu:1"]
    assert torch.equal(recorded["all"]["relu"], first)
    assert torch.equal(recorded["all"]["relu:1"], last)
    assert torch.equal(recorded["first"]["relu"], first)
    assert list(recorded["first"]) == ["conv", "bn", "relu", "conv2"]
    assert torch.equal(recorded["last"]["relu"], last)
    assert list(recorded["last"]) == ["conv", "bn", "conv2", "relu"]


def test_case_4_a_module_under_two_names_is_found_by_both():
    model = nn.Module()
    model.encoder = nn.Linear(3, 3)
    model.decoder = model.encoder
    model.forward = lambda x: model.decoder(model.encoder(x))
    x = torch.randn(2, 3)
    with torch.no_grad():
        with naive_hooks(model) as seen:
            model(x)
        with capture(model) as acts:
            model(x)
        with capture(model, ["decoder"]) as chosen:
            model(x)
    assert "decoder" not in seen
    assert torch.equal(acts["decoder"], acts["encoder"])
    assert torch.equal(acts["decoder:1"], model.encoder(model.encoder(x)))
    assert list(chosen) == ["decoder", "decoder:1"]
    assert torch.equal(chosen["encoder:1"], chosen["decoder:1"])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.attn(x, x, x)[0])


def test_case_5_a_module_that_only_holds_weights_is_reported():
    model, x = Attention().eval(), torch.randn(2, 3, 4)
    with naive_hooks(model) as seen:
        model(x)
    assert "attn.out_proj" not in seen  # without a reason; nor is the attention's own output there
    assert "attn" not in seen
    with capture(model) as acts:
        model(x)
    assert list(acts) == ["attn", "head"]
    with pytest.raises(UnknownLayerError, match=r"attn\.out_proj.*MultiheadAttention reads its weights itself"):
        acts["attn.out_proj"]
    with pytest.raises(UnknownLayerError, match="reads its weights itself"):
        extract(model, [x], ["attn.out_proj"])
    silent = {layer.name: layer.reason for layer in list_layers(model, x) if layer.reason}
    assert list(silent) == ["attn.out_proj"]


def encoder(**options):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 2, **options).eval()


def test_case_6_the_fast_path_of_a_transformer_layer_does_not_bypass_the_hooks():
    model, x, seen = encoder(enable_nested_tensor=False), torch.randn(3, 5, 8), []
    with torch.no_grad():
        handle = nn.modules.module.register_module_forward_hook(lambda module, _i, _o: seen.append(module))
        plain = model(x)
        handle.remove()
        with capture(model) as acts:
            output = model(x)
    assert model.layers[0].linear1 not in seen
    assert acts["layers.0.linear1"].shape == (3, 5, 16)
    assert torch.equal(acts["layers.1.norm2"], output)
    torch.testing.assert_close(output, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_case_6_nested_tensors_inside_a_masked_encoder_become_padded_rows():
    model, x = encoder(), torch.randn(3, 5, 8)
    padding = torch.arange(5) >= torch.tensor([[5], [3], [2]])
    with torch.no_grad():
        with naive_hooks(model, names=["layers.0.linear1"]) as seen:
            model(x, src_key_padding_mask=padding)
        with pytest.raises(RuntimeError):
            seen["layers.0.linear1"].numpy()
        acts = extract(model, [{"src": x, "src_key_padding_mask": padding}], ["layers.0.linear1", "layers.1.norm2"])
        truth = model(x, src_key_padding_mask=padding)
    assert acts["layers.0.linear1"].shape == (3, 5, 16)
    assert np.all(acts["layers.0.linear1"][2, 2:] == 0)
    np.testing.assert_allclose(acts["layers.1.norm2"][0], truth[0], atol=1e-5)


class Tagger(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, **options)

    def forward(self, x):
        return self.lstm(x)[0]


def test_case_7_time_major_tuples_become_rows_of_samples():
    model, x = Tagger(), torch.randn(5, 2, 3)  # (time, batch, features)
    with pytest.raises(AttributeError), naive_hooks(model):
        model(x)
    with capture(model) as acts:
        output = model(x)
    assert torch.equal(acts["lstm"][0], output)
    assert torch.equal(acts["lstm"][1][0][0], output[-1])
    with pytest.raises(CaptureError, match=r"'lstm'.*3 tensors.*tuple\(Tensor\(2, 5, 4\), tuple.*select=0"):
        extract(model, [x.transpose(0, 1)], ["lstm"])

    class BatchFirstInput(nn.Module):
        def __init__(self):
            super().__init__()
            self.tagger = model

        def forward(self, x):
            return self.tagger(x.transpose(0, 1)).transpose(0, 1)

    rows = extract(BatchFirstInput(), [x.transpose(0, 1)], ["tagger.lstm"], select=0, pool="last_token")
    assert_same_sums(rows["tagger.lstm"], output[-1], summands=5 * (3 + 4 + 2))  # five steps of one cell


def test_case_7_inner_layers_of_a_time_major_transformer_give_rows_of_samples():
    model = nn.TransformerEncoderLayer(8, 2, 16).eval()  # (time, batch, features), as is the default
    x = torch.randn(3, 3, 8)  # as many steps as samples: the shape cannot tell

    class BatchFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = model

        def forward(self, x):
            return self.layer(x.transpose(0, 1)).transpose(0, 1)

    with torch.no_grad(), naive_hooks(model) as seen:
        model(x.transpose(0, 1))
    acts = extract(BatchFirst(), [x], ["layer.linear1", "layer.norm2"])
    assert not np.array_equal(seen["linear1"], acts["layer.linear1"])
    by_batch = seen["linear1"].transpose(0, 1)
    assert_same_sums(acts["layer.linear1"], by_batch, summands=4 * 8 + 3)  # four products of 8, attention to 3 steps
    np.testing.assert_array_equal(acts["layer.norm2"], acts.predictions)


def test_case_7_packed_sequences_become_padded_rows():
    class Packed(Tagger):
        def forward(self, x, lengths):
            return self.lstm(pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False))[1][0][0]

    model, x, lengths = Packed(batch_first=True), torch.randn(3, 5, 3), torch.tensor([2, 5, 3])
    acts = extract(model, [{"x": x, "lengths": lengths}], ["lstm"], select=0)
    assert acts["lstm"].shape == (3, 5, 4)
    assert np.all(acts["lstm"][0, 2:] == 0)
    assert_same_sums(acts["lstm"][1, -1], acts.predictions[1], summands=1)  # both of one pass


@pytest.mark.parametrize("in_place", [False, True])
def test_case_8_a_compiled_model_fires_its_hooks(in_place):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    compiled, x = model, torch.randn(2, 3)
    if in_place:
        model.compile(backend="eager")
    else:
        compiled = torch.compile(model, backend="eager")
    compiled(x)
    with naive_hooks(model) as seen:
        compiled(x)
    assert in_place or seen == {}  # torch 2.8 still calls hooks that come after compiling in place
    with capture(compiled) as acts:
        compiled(x)
    torch.testing.assert_close(acts["0"], F.linear(x, model[0].weight, model[0].bias))
    np.testing.assert_allclose(extract(compiled, [x])["1"], acts["1"].numpy())
    assert torch._dynamo.eval_frame._stance.stance == "default"
    torch._dynamo.reset()


def test_case_8_a_compiled_function_that_calls_the_model_fires_its_hooks():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(2, 3)
    doubled = torch.compile(lambda x: model(x) * 2, backend="eager")
    doubled(x)
    with naive_hooks(model) as seen:
        doubled(x)
    with capture(model) as acts:
        output = doubled(x)
    assert seen == {}
    assert torch.equal(acts["1"] * 2, output)
    torch._dynamo.reset()


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_case_9_checkpointing_in_backward_adds_no_calls(use_reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))

        def forward(self, x):
            return checkpoint(self.body, x, use_reentrant=use_reentrant)

    model, x, fired = Checkpointed(), torch.randn(2, 3, requires_grad=True), []
    handle = model.body[0].register_forward_hook(lambda _m, _i, o: fired.append(o))
    model(x).sum().backward()
    handle.remove()
    with capture(model) as acts:
        output = model(x)
        output.sum().backward()
    assert len(fired) == 2
    assert list(acts) == ["body.0", "body.1", "body.2"]
    assert torch.equal(acts["body.2"], output)


class Reused(nn.Module):
    """relu twice, then an expensive head that counts how often it runs."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.relu = nn.ReLU()
        self.heads = 0

    def forward(self, x):
        x = self.relu(self.second(self.relu(self.first(x))))
        try:
            x = self.head(x)
        except Exception:
            x = x * 0
        self.heads += 1
        return x


def test_case_10_stopping_early_keeps_the_later_calls_of_a_reused_module():
    class Stop(Exception):  # noqa: N818 the recipe's
        pass

    model, x, seen = whole_numbers(Reused()), whole_samples(12, 3), []

    def stop(_module, _args, output):
        seen.append(output)
        raise Stop

    handle = model.relu.register_forward_hook(stop)
    with pytest.raises(Stop):
        model(x)
    handle.remove()
    assert len(seen) == 1
    acts = extract(model, x.split(2), ["relu"], predictions=False)
    assert list(acts) == ["relu", "relu:1"]
    assert model.heads == 2  # two whole passes to learn from, then none of four: the model cannot swallow the stop
    with torch.no_grad():
        np.testing.assert_array_equal(acts["relu:1"], model.relu(model.second(model.relu(model.first(x)))))


def test_case_10_nothing_stops_early_where_the_number_of_calls_varies():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.step, self.head = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x, times):
            for _ in range(int(times[0])):
                x = self.step(x)
            return self.head(x)

    x = torch.randn(8, 3)
    times = [2, 2, 3, 1]
    batches = [{"x": rows, "times": torch.full((2,), n)} for rows, n in zip(x.split(2), times, strict=True)]
    acts = extract(Loop(), batches, ["step"], predictions=False)
    assert list(acts) == ["step", "step:1", "step:2"]
    assert acts.missing["step:1"].tolist() == [False] * 6 + [True] * 2
    assert acts.missing["step:2"].tolist() == [True] * 4 + [False] * 2 + [True] * 2
    assert not np.isnan(acts["step:2"][4:6]).any()


def test_case_11_a_layer_that_is_skipped_keeps_its_samples_apart():
    class LayerDrop(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.sometimes = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            x = self.always(x)
            return self.sometimes(x) if x.sum() > -1e9 and len(x) == 2 else x

    model = LayerDrop()
    x, ids = torch.randn(7, 3), ["a", "b", "c", "d", "e", "f", "g"]
    batches = [(x[:2], None, ids[:2]), (x[2:5], None, ids[2:5]), (x[5:], None, ids[5:])]
    rows, handle = [], model.sometimes.register_forward_hook(lambda _m, _i, o: seen.append(o))
    seen = rows
    with torch.no_grad():
        for inputs, _, _ in batches:
            model(inputs)
    handle.remove()
    assert torch.cat(rows).shape == (4, 3)  # of which samples, nobody knows
    acts = extract(model, batches)
    assert acts["sometimes"].shape == (7, 3)
    assert acts.ids[acts.missing["sometimes"]].tolist() == ["c", "d", "e"]
    assert np.isnan(acts["sometimes"][2:5]).all()
    np.testing.assert_array_equal(acts["sometimes"][5:], acts.predictions[5:])
    assert "3 rows missing" in repr(acts)


def test_case_12_parametrizations_are_no_layers():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU())
    x = torch.randn(2, 3)
    with naive_hooks(model) as seen:
        model(x)
    assert list(seen) == ["0.parametrizations.weight.0", "1"]  # a weight is taken for an output, the layer is not there
    with capture(model) as acts:
        output = model(x)
    assert list(acts) == ["0", "1"]
    assert torch.equal(acts["1"], output)
    assert [layer.name for layer in list_layers(model)] == ["0", "1"]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_case_12_quantized_modules_are_layers_though_they_have_children():
    if not torch.backends.quantized.supported_engines:
        pytest.skip("this build of PyTorch has no quantized kernels")
    model, x = nn.Sequential(torch.ao.nn.quantized.dynamic.Linear(3, 4), nn.ReLU()), torch.randn(2, 3)
    with naive_hooks(model) as seen:
        model(x)
    with capture(model) as acts:
        output = model(x)
    assert list(seen) == ["1"]  # the layer has a child that holds its weights and never runs
    assert list(acts) == ["0", "1"] == list_layers(model).names == list_layers(model, x).names
    assert torch.equal(acts["1"], output)
    assert extract(model, [x])["0"].shape == (2, 4)


def test_case_13_layers_that_pass_their_input_on_share_no_memory():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Identity(), nn.Unflatten(1, (2, 2)), nn.Flatten()).eval()
    x = torch.randn(2, 3)
    with torch.no_grad():
        with naive_hooks(model) as seen:
            model(x)
        with capture(model) as acts:
            model(x)
    assert len({tensor.untyped_storage().data_ptr() for tensor in seen.values()}) < len(seen)
    assert len({tensor.untyped_storage().data_ptr() for tensor in acts.values()}) == len(acts) == 5


def test_case_13_one_token_does_not_keep_the_others_in_memory():
    model, x = whole_numbers(nn.Sequential(nn.Linear(4, 4))), whole_samples(2, 1000, 4)
    with torch.no_grad():
        with naive_hooks(model) as seen:
            model(x)
        with capture(model, pool="cls") as acts:
            model(x)
    assert seen["0"][:, 0].untyped_storage().nbytes() == 2 * 1000 * 4 * 4
    assert acts["0"].untyped_storage().nbytes() == 2 * 4 * 4
    assert torch.equal(acts["0"], seen["0"][:, 0])


def test_case_14_bfloat16_of_autocast_becomes_float32_in_numpy_only():
    model, x = nn.Sequential(nn.Linear(3, 4)), torch.randn(2, 3)
    with torch.autocast("cpu", torch.bfloat16), naive_hooks(model) as seen:
        model(x)
    with pytest.raises(TypeError):
        seen["0"].numpy()
    with torch.autocast("cpu", torch.bfloat16), capture(model) as acts:
        model(x)
    assert acts["0"].dtype == torch.bfloat16
    rows = extract(model, [x], autocast=torch.bfloat16)
    assert rows["0"].dtype == np.float32
    np.testing.assert_array_equal(rows["0"], acts["0"].float().numpy())


def test_case_14_what_is_captured_in_inference_mode_can_be_trained_on():
    model, probe, x = nn.Sequential(nn.Linear(3, 4)), nn.Linear(4, 1), torch.randn(2, 3)
    with torch.inference_mode(), naive_hooks(model) as seen:
        model(x)
    with pytest.raises(RuntimeError, match=r"[Ii]nference"):
        probe(seen["0"]).sum().backward()
    with torch.inference_mode(), capture(model) as acts:
        model(x)
    probe(acts["0"]).sum().backward()
    assert probe.weight.grad is not None


def test_case_14_extraction_leaves_statistics_and_training_flags_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
    model[2].eval()
    before = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    x = torch.randn(8, 3)
    extract(model, [x])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == flags
    with naive_hooks(model):
        model(x)
    assert not torch.equal(before["1.running_mean"], model[1].running_mean)


def test_case_15_wrappers_add_nothing_to_the_names():
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    inner, x = nn.Linear(3, 3), torch.randn(2, 3)
    model = nn.DataParallel(nn.Sequential(checkpoint_wrapper(inner), torch.compile(nn.ReLU(), backend="eager")))
    with torch.no_grad(), naive_hooks(model) as seen:
        model(x)
    assert any("_checkpoint_wrapped_module" in name for name in seen)
    with capture(model) as acts:
        output = model(x)
    assert list(acts) == ["0", "1"]
    assert torch.equal(acts["1"], output)
    assert torch.equal(acts["module.0._checkpoint_wrapped_module"], acts["0"])
    torch._dynamo.reset()


def test_case_15_a_batch_spread_over_cards_is_refused_with_a_way_out():
    model = nn.DataParallel(nn.Sequential(nn.Linear(3, 2)))
    model.device_ids = [0, 1]  # as on a machine with two cards, where each replica sees half of the batch
    with pytest.raises(CaptureError, match=r"splits each batch over 2 devices; capture\(model\.module\)"):
        capture(model)


def test_case_15_a_distributed_model_goes_by_plain_names(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(3, 2)))
        acts = extract(model, [torch.ones(2, 3)])
        with capture(model) as direct:
            model(torch.ones(2, 3))
    finally:
        torch.distributed.destroy_process_group()
    assert list(acts) == list(direct) == ["0"]


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_case_15_models_that_hooks_cannot_see_into_are_refused_with_a_way_out():
    model = torch.jit.trace(nn.Sequential(nn.Linear(3, 2)), torch.ones(1, 3))
    with pytest.raises(CaptureError, match=r"TorchScript.*the torch\.nn\.Module it was made from"):
        capture(model)
    with pytest.raises(CaptureError, match="TorchScript"):
        list_layers(model)


def test_case_15_sharded_models_are_refused_with_a_way_out(tmp_path):
    from torch.distributed.fsdp import fully_shard

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        mesh = torch.distributed.init_device_mesh("cpu", (1,))
        model = nn.Sequential(nn.Linear(3, 2))
        fully_shard(model[0], mesh=mesh)
        with pytest.raises(CaptureError, match=r"sharded by FSDP.*get_model_state_dict"):
            capture(model)
    finally:
        torch.distributed.destroy_process_group()


def test_case_16_two_threads_capturing_from_one_model_do_not_mix():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    barrier, results, naive = threading.Barrier(2), {}, []
    handle = model[0].register_forward_hook(lambda _m, _i, o: naive.append(float(o.detach().mean())))

    def work(value):
        x = torch.full((2, 3), value)
        for _ in range(20):
            barrier.wait()
            with capture(model) as acts:
                barrier.wait()
                output = model(x)
                barrier.wait()
            results.setdefault(value, []).append(torch.equal(acts["1"], output) and len(acts) == 2)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1.0, -1.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handle.remove()
    assert len(set(naive)) == 2  # the usual hook records both threads
    assert results == {1.0: [True] * 20, -1.0: [True] * 20}


def test_case_16_a_copy_or_a_pickle_made_meanwhile_carries_no_hook():
    model, x = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.randn(2, 3)
    with naive_hooks(model):
        assert any(module._forward_hooks for module in copy.deepcopy(model).modules())
        with pytest.raises((AttributeError, pickle.PicklingError)):
            pickle.dumps(model)
    for at in ("output", "input"):
        with capture(model, at=at) as acts:
            clone, again = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
            model(x)
            kept = acts["0"].clone()
            clone(x + 1)
            again(x + 1)
        assert torch.equal(acts["0"], kept)
        for other in (clone, again):
            hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in other.modules()]
            assert not any(after or before for after, before in hooks)


def test_case_17_a_changed_shape_is_named_or_padded():
    model = whole_numbers(nn.Sequential(nn.Conv1d(1, 2, 3)))
    batches = [torch.ones(2, 1, 8), torch.ones(2, 1, 10)]
    with pytest.raises(RuntimeError, match="must match"):
        torch.cat([model(batch) for batch in batches])
    with pytest.raises(CaptureError, match=r"'0': its rows have shape \(2, 8\) at sample 2 and had \(2, 6\) before"):
        extract(model, batches)
    acts = extract(model, [*batches, torch.ones(1, 1, 6)], ragged="pad")
    assert acts["0"].shape == (5, 2, 8)
    with torch.no_grad():
        np.testing.assert_array_equal(acts["0"][:2, :, :6], model(batches[0]))
        np.testing.assert_array_equal(acts["0"][2:4], model(batches[1]))
    assert np.all(acts["0"][:2, :, 6:] == 0)
    assert np.all(acts["0"][4, :, 4:] == 0)


def test_case_18_the_last_batch_may_be_smaller_and_a_loader_empty_or_broken(tmp_path):
    model, x = whole_numbers(nn.Sequential(nn.Linear(3, 2))), whole_samples(10, 3)
    seen = np.empty((12, 2), np.float32)  # the preallocated recipe: as many rows as batches times their size
    row = 0
    with torch.no_grad():
        for rows in x.split(4):
            seen[row : row + 4] = 0
            with pytest.raises(ValueError, match="broadcast") if len(rows) < 4 else contextmanager(lambda: iter([0]))():
                seen[row : row + 4] = model(rows).numpy()
            row += 4
    acts = extract(model, x.split(4))
    with torch.no_grad():
        np.testing.assert_array_equal(acts["0"], model(x))
    with pytest.raises(DataError, match="yields no sample"):
        extract(model, [])

    class Broken:
        def __iter__(self):
            yield from [(x[:4], None, np.arange(4)), (x[4:8], None, np.arange(4, 8))]
            raise OSError("the disk went away")

    from torchviz_layers import Activations

    with pytest.raises(OSError, match="the disk went away"):
        extract(model, Broken(), out=tmp_path / "acts.zarr")
    stored = Activations.load(tmp_path / "acts.zarr")
    assert not stored.complete
    np.testing.assert_array_equal(stored["0"], acts["0"][:8])
    batches = [(rows, None, ids.numpy()) for rows, ids in zip(x.split(4), torch.arange(10).split(4), strict=True)]
    whole = extract(model, batches, out=tmp_path / "acts.zarr", resume=True)
    assert whole.complete
    np.testing.assert_array_equal(whole["0"][:], acts["0"])
